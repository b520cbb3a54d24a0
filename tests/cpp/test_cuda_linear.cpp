// SPDX-License-Identifier: BSD-3-Clause
// CUDA's words on designs that lie on the device, or on the host in more than one
// block, against the CPU's; and what only CUDA's words do otherwise.
#include "sparse_design.hpp"

#include <algorithm>
#include <vector>

namespace upweight::test {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// The same rows for CUDA (`there`) and for the CPU.
template <class T>
struct Twice {
  Design<T> there, here;
};

/// Whether word(backend, design, out) leaves the same on both backends.
template <class T>
void compare(const Twice<T>& X, index rows, index cols, double tolerance,
             const auto& word) {
  Values actual = random_grid(rows, cols, 90, 2), expected(rows, cols);
  word(*words<T>(1), X.there, Matrix(actual));
  word(*cpu_backend<T>(2), X.here, Matrix(expected));
  CHECK(relative_error(actual, expected) < tolerance);
  CHECK(actual.gaps_untouched());
}

/// Every word on rows, for few outputs and many.
template <class T>
void compare_rows(const Twice<T>& X) {
  const index n = X.here.rows(), q = X.here.columns();
  for (const index K : {1, 3, 11}) {
    CAPTURE(K);
    const Values theta = random_grid(K, q, 2, 1), a = random_grid(n, K, 3, 1);
    compare(X, n, K, 1e-13, [&](auto& words, auto rows, Matrix out) {
      words.linear_predictor(rows, theta, out);
    });
    compare(X, K, q, 1e-12,
            [&](auto& words, auto rows, Matrix out) { words.gradient(rows, a, out); });
  }
  const Values a = random_grid(n, 2, 3, 1);
  compare(X, n, 2 * q, 1e-15, [&](auto& words, auto rows, Matrix out) {
    words.gradient_rows(rows, a, out);
  });
  const std::vector<double> penalty = random_penalty(q);
  std::vector<double> tie(static_cast<std::size_t>(q), 0.0);
  tie.back() = 0.75;
  for (const auto kind :
       {RandomWeights::separable, RandomWeights::softmax, RandomWeights::outer}) {
    const index K = 3;
    const RandomWeights W(kind, n, K);
    for (const index B : {1, 13}) {
      CAPTURE(B);
      for (const index gap : {0, 1}) {
        const Values V = random_grid(B, K * q, 6, gap);
        compare(X, B, K * q, 1e-12, [&](auto& words, auto rows, Matrix out) {
          words.hessian_product(rows, W.view(), penalty, tie, V, out);
        });
      }
    }
    compare(X, 1, K * q, 1e-12, [&](auto& words, auto rows, Matrix out) {
      words.hessian_diagonal(rows, W.view(), penalty, out);
    });
  }
  Values scale(1, q);
  for (index j = 0; j < q; ++j)
    scale(0, j) = 0.5 + double(j);
  compare(X, n, 1, 1e-13, [&](auto& words, auto rows, Matrix out) {
    words.scaled_norm(rows, a, scale, out);
  });
}

/// gram, and the leverages that its factor gives, of every coupling.
template <class T>
void compare_gram(const Twice<T>& X) {
  const index n = X.here.rows(), q = X.here.columns(), K = 3;
  const std::vector<double> penalty = random_penalty(q);
  const Values r = random_grid(n, K, 8);
  for (const auto kind :
       {RandomWeights::separable, RandomWeights::softmax, RandomWeights::outer})
    for (const auto coupling : {Coupling::shared, Coupling::separate, Coupling::full}) {
      const bool full = coupling == Coupling::full;
      if (full != (kind != RandomWeights::separable))
        continue;
      CAPTURE(static_cast<int>(kind));
      const RandomWeights W(kind, n, K);
      const index order = full ? K * q : q;
      const index rows = coupling == Coupling::separate ? K * q : order;
      compare(X, rows, order, 1e-12, [&](auto& words, auto design, Matrix out) {
        Values g(K, q);
        words.gram(design, W.view(), coupling, penalty, r, out, g);
      });
      compare(X, K, q, 1e-12, [&](auto& words, auto design, Matrix out) {
        Values H(rows, order);
        words.gram(design, W.view(), coupling, penalty, r, H, out);
      });
      Values H(rows, order);
      cpu_backend<T>(2)->gram(X.here, W.view(), coupling,
                              std::vector<double>(std::size_t(q), double(n)), {}, H,
                              {});
      const Factor factor{H, rows / order};
      REQUIRE(cpu_backend<T>(2)->potrf(H, factor.count, 1e-14) == -1);
      compare(X, n, full ? K * K : K, 1e-12, [&](auto& words, auto design, Matrix out) {
        words.leverage_blocks(design, factor, K, out);
      });
      compare(X, n, 1, 1e-12, [&](auto& words, auto design, Matrix out) {
        words.quadratic_form(design, factor, r, out);
      });
    }
}

}  // namespace

TEST_CASE_TEMPLATE("words on rows of the device agree with the CPU's", T, double,
                   float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  for (const auto& [n, q] : {std::pair(1, 3), std::pair(301, 9), std::pair(1200, 300)})
    for (const bool intercept : {false, true}) {
      CAPTURE(n);
      CAPTURE(intercept);
      const RandomDesign<T> X(n, q, intercept);
      const Resident<T> there = cuda->resident(X.view());
      REQUIRE(is_device_memory(there.design.features.data));
      compare_rows<T>({there.design, X.view()});
      if (n < 1000)
        compare_gram<T>({there.design, X.view()});
    }
}

TEST_CASE("words on rows go on from one tile to the next") {
  if (!testing_cuda())
    return;
  // over 32 MB: several tiles on the device, two blocks from the host
  const RandomDesign<double> X(13000, 350, true);
  const Resident<double> there = words<double>(1)->resident(X.view());
  compare_rows<double>({there.design, X.view()});
  compare_rows<double>({X.view(), X.view()});
}

TEST_CASE_TEMPLATE("gram and leverages go on from one tile to the next", T, double,
                   float) {
  if (!testing_cuda())
    return;
  const RandomDesign<T> X(15000, 70, true);  // K = 3 outputs: tiles of 11,000 rows
  const Resident<T> there = words<T>(1)->resident(X.view());
  compare_gram<T>({there.design, X.view()});
}

TEST_CASE_TEMPLATE("sums by columns of a sparse design agree with those by rows", T,
                   double, float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  // columns whole and cut into parts (from 16,384 rows on), none, one entry in all
  for (const auto& [n, p, density] :
       {Shape{1, 1, 1.0}, Shape{9, 5, 0.0}, Shape{301, 40, 0.1}, Shape{33000, 20, 0.05},
        Shape{60, 3000, 0.01}})
    for (const bool intercept : {false, true}) {
      CAPTURE(n);
      CAPTURE(intercept);
      const SparseDesign<T> X(n, p, density, intercept);
      const Resident<T> there = cuda->resident(X.sparse());
      REQUIRE(there.design.by_columns.starts != nullptr);
      compare_rows<T>({there.design, X.sparse()});
      if (p < 1000)
        compare_gram<T>({there.design, X.sparse()});
      for (const index K : {33, 40}) {  // over what is taken at once
        const Values a = random_grid(n, K, 3);
        compare(
            Twice<T>{there.design, X.sparse()}, K, X.dense().columns(), 1e-12,
            [&](auto& words, auto rows, Matrix out) { words.gradient(rows, a, out); });
      }
    }
}

TEST_CASE_TEMPLATE("kernels agree with the CPU's wherever their rows lie", T, double,
                   float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  const index n = 2100, m = 70;  // blocks of 1024 where half is computed
  const RandomDesign<T> X(n, 7, true, 3), Y(m, 7, true, 4);
  const SparseDesign<T> SX(n, 6, 0.3, true), SY(m, 6, 0.3, true, 72);
  const Resident<T> dense = cuda->resident(X.view());
  const Resident<T> sparse = cuda->resident(SX.sparse());
  const Kernel kernels[] = {{Kernel::Kind::linear, 1, 0, 1},
                            {Kernel::Kind::rbf, 0.7, 0, 1},
                            {Kernel::Kind::poly, 0.5, 1.5, 3}};
  for (const Kernel& kernel : kernels) {
    for (const Design<T>& columns : {dense.design, X.view()}) {
      compare(Twice<T>{columns, X.view()}, m, n, 1e-13,
              [&](auto& words, auto rows, Matrix out) {
                words.kernel(kernel, Y.view(), rows, false, out);
              });
      compare(Twice<T>{columns, X.view()}, m, n, 1e-13,
              [&](auto& words, auto rows, Matrix out) {
                words.kernel(kernel, SY.sparse(), rows, false, out);
              });
    }
    compare(Twice<T>{sparse.design, SX.sparse()}, m, n, 1e-13,
            [&](auto& words, auto rows, Matrix out) {
              words.kernel(kernel, SY.sparse(), rows, false, out);
            });
    Values whole(n, n);
    cuda->kernel(kernel, dense.design, dense.design, true, whole);
    Values expected(n, n);
    cpu_backend<T>(2)->kernel(kernel, X.view(), X.view(), true, expected);
    CHECK(relative_error(whole, expected) < 1e-13);
    bool symmetric = true;
    for (index i = 0; i < n; ++i) {
      symmetric = symmetric && (kernel.kind != Kernel::Kind::rbf || whole(i, i) == 1.0);
      for (index j = 0; j < i; ++j)
        symmetric = symmetric && whole(i, j) == whole(j, i);
    }
    CHECK(symmetric);
    cuda->kernel(kernel, sparse.design, sparse.design, true, whole);
    cpu_backend<T>(2)->kernel(kernel, SX.sparse(), SX.sparse(), true, expected);
    CHECK(relative_error(whole, expected) < 1e-13);
  }
}

TEST_CASE("a long inner dimension is cut and summed whole") {
  if (!testing_cuda())
    return;
  for (const index k : {511, 512, 5003})
    for (const bool transposed : {false, true})
      for (const double beta : {0.0, -1.0}) {
        const Values A = random_grid(5, k, 91, 1);
        const Values B =
            transposed ? random_grid(7, k, 92, 2) : random_grid(k, 7, 92, 2);
        Values C = random_grid(5, 7, 93, 1), expected(5, 7);
        for (index i = 0; i < 5; ++i)
          for (index j = 0; j < 7; ++j) {
            for (index l = 0; l < k; ++l)
              expected(i, j) += 2 * A(i, l) * (transposed ? B(j, l) : B(l, j));
            expected(i, j) += beta * C(i, j);
            C(i, j) = beta == 0 ? nan : C(i, j);  // not read then
          }
        words<double>(1)->multiply(2, A, B, transposed, beta, C);
        CAPTURE(k);
        CHECK(relative_error(C, expected) < 1e-13);
        CHECK(C.gaps_untouched());
      }
}

TEST_CASE("pivots are chosen as LAPACK chooses them, within a panel and across") {
  if (!testing_cuda())
    return;
  for (const auto& [n, rank] :
       {std::pair(1, 1), std::pair(20, 7), std::pair(64, 64), std::pair(65, 65),
        std::pair(150, 64), std::pair(150, 100), std::pair(200, 200)}) {
    const Values A = random_grid(n, rank, 55);
    Values K(n, n, 2);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < n; ++j) {
        double sum = 0;
        for (index l = 0; l < rank; ++l)
          sum += A(i, l) * A(j, l);
        K(i, j) = j < i ? nan : sum;  // the lower triangle is nobody's
      }
    Values ours = K, theirs = K;
    std::vector<std::int64_t> order, expected;
    CHECK(words<double>(1)->potrf_pivoted(ours, 1e-9, order) == rank);
    CHECK(cpu_backend<double>(1)->potrf_pivoted(theirs, 1e-9, expected) == rank);
    CAPTURE(n);
    CHECK(std::equal(order.begin(), order.begin() + rank, expected.begin()));
    CHECK(std::is_permutation(order.begin(), order.end(), expected.begin(),
                              expected.end()));
    Values R(rank, n), back(n, n), given(n, n);
    for (index i = 0; i < rank; ++i)
      for (index j = i; j < n; ++j)
        R(i, j) = ours(i, j);
    for (index i = 0; i < n; ++i)
      for (index j = i; j < n; ++j) {
        for (index l = 0; l < std::min<index>(i + 1, rank); ++l)
          back(i, j) += R(l, i) * R(l, j);
        const auto a = static_cast<index>(order[std::size_t(i)]);
        const auto b = static_cast<index>(order[std::size_t(j)]);
        given(i, j) = K(std::min(a, b), std::max(a, b));
      }
    CHECK(relative_error(back, given) < 1e-12);
    CHECK(ours.gaps_untouched());
  }
}

TEST_CASE("a matrix of no positive pivot has rank 0") {
  if (!testing_cuda())
    return;
  for (const double diagonal : {0.0, -1.0, nan}) {
    Values K(3, 3);
    for (index i = 0; i < 3; ++i)
      K(i, i) = diagonal;
    std::vector<std::int64_t> order;
    CHECK(words<double>(1)->potrf_pivoted(K, 1e-12, order) == 0);
    CHECK(order == std::vector<std::int64_t>{0, 1, 2});
  }
}

TEST_CASE("potrf that fails leaves what lies under the diagonal as it was") {
  if (!testing_cuda())
    return;
  Values H(3, 3, {4, 2, 1, 7, 1, 0, 8, 9, 5});  // 4, 1 - 1: the second pivot is 0
  CHECK(words<double>(1)->potrf(H, 1, 1e-12) == 1);
  CHECK(H(1, 0) == 7);
  CHECK(H(2, 0) == 8);
  CHECK(H(2, 1) == 9);
}

TEST_CASE("segments without gaps are solved as those with them") {
  if (!testing_cuda())
    return;
  Values R(4, 4);
  const Values random = random_grid(4, 4, 95);
  for (index i = 0; i < 4; ++i)
    for (index j = i; j < 4; ++j)
      R(i, j) = i == j ? 2 + random(i, j) : random(i, j);
  const Values B = random_grid(5, 12, 96);
  for (const bool half : {false, true}) {
    Values close = B, apart(5, 12, 3);
    const auto cuda = words<double>(1);
    cuda->copy(B, apart);
    cuda->solve({R, 1}, close, half);
    cuda->solve({R, 1}, apart, half);
    CHECK(relative_error(close, apart) < 1e-15);
    CHECK(apart.gaps_untouched());
  }
}

TEST_CASE("the dual's words agree with the CPU's") {
  if (!testing_cuda())
    return;
  const index n = 9;
  const Values K = random_grid(n, n, 61, 2), s = random_grid(1, 4, 62);
  const std::vector<std::int64_t> rows = {7, 0, 3, 8};
  Values ours(4, 4, 1), theirs = ours;
  words<double>(1)->dual_gram(K, rows.data(), s, 0.5, ours);
  cpu_backend<double>(1)->dual_gram(K, rows.data(), s, 0.5, theirs);
  CHECK(relative_error(ours, theirs) < 1e-15);
  for (const bool intercept : {false, true})
    for (const bool with : {false, true}) {
      const index r = 2000;  // a team of a whole block
      const Values pull = random_grid(1, r, 63), C = random_grid(3, r, 64, 1);
      Values V = random_grid(3, r + (intercept ? 1 : 0), 65, 2), expected = V;
      const ConstMatrix c = with ? ConstMatrix(C) : ConstMatrix();
      words<double>(1)->dual_update(c, pull, 0.3, 1.7, intercept, V);
      cpu_backend<double>(1)->dual_update(c, pull, 0.3, 1.7, intercept, expected);
      CHECK(relative_error(V, expected) < 1e-13);
      CHECK(V.gaps_untouched());
    }
}

}  // namespace upweight::test
