// SPDX-License-Identifier: BSD-3-Clause
// Words on the rows of a sparse design against the same words on its dense copy.
#include "sparse_design.hpp"

#include <tuple>

namespace upweight::test {

TEST_CASE_TEMPLATE("words on sparse rows give what one computes by hand", T, double,
                   float) {
  // [0 2 0; 0 0 0; 1 0 3] and an intercept
  const T values[] = {2, 1, 3};
  const std::int32_t columns[] = {1, 0, 2};
  const std::int64_t starts[] = {0, 1, 1, 3};
  const Design<T> X = sparse_design(SparseView<T>{values, columns, starts}, 3, 3, true);
  CHECK(X.entries() == 3);
  const auto cpu = words<T>(1);
  Values eta(3, 1), g(1, 4), product(1, 4), H(4, 4), none;
  cpu->linear_predictor(X, Values(1, 4, {1, 10, 100, 1000}), eta);
  CHECK(eta.same_bits(Values(3, 1, {1020, 1000, 1301})));
  cpu->gradient(X, Values(3, 1, {1, 5, -1}), g);
  CHECK(g.same_bits(Values(1, 4, {-1, 2, -3, 5})));
  const Values w(3, 1, {1, 2, 3});
  cpu->hessian_product(X, {w, {}}, {0, 0, 0, 0}, {}, Values(1, 4, {1, 1, 0, 1}),
                       product);
  CHECK(product.same_bits(Values(1, 4, {6, 6, 18, 3 + 2 + 6})));
  cpu->gram(X, {w, {}}, Coupling::separate, {7, 0, 0, 0}, none, H, none);
  for (const auto& [i, j, expected] :
       {std::tuple(0, 0, 10.0), std::tuple(0, 2, 9.0), std::tuple(1, 3, 2.0),
        std::tuple(2, 3, 9.0), std::tuple(3, 3, 6.0), std::tuple(0, 1, 0.0)})
    CHECK(H(i, j) == expected);
}

TEST_CASE_TEMPLATE("linear_predictor of sparse rows, few outputs and many", T, double,
                   float) {
  each<T>(shapes, [](const SparseDesign<T>& X) {
    for (const index K : {1, 3, 4, 5, 16, 17, 40}) {
      const Values theta = random_grid(K, X.dense().columns(), 2, 1);
      CAPTURE(K);
      check_word(X, X.dense().rows(), K, 1e-14, [&](auto& cpu, auto rows, Matrix out) {
        cpu.linear_predictor(rows, theta, out);
      });
    }
  });
}

TEST_CASE_TEMPLATE("gradient and gradient_rows of sparse rows", T, double, float) {
  each<T>(shapes, [](const SparseDesign<T>& X) {
    const index n = X.dense().rows(), q = X.dense().columns();
    for (const index K : {1, 3, 5, 17}) {
      const Values a = random_grid(n, K, 3, 1);
      CAPTURE(K);
      check_word(X, K, q, 1e-13,
                 [&](auto& cpu, auto rows, Matrix out) { cpu.gradient(rows, a, out); });
      if (n * K * q < 1000000)
        check_word(X, n, K * q, 1e-15, [&](auto& cpu, auto rows, Matrix out) {
          cpu.gradient_rows(rows, a, out);
        });
    }
  });
}

TEST_CASE_TEMPLATE("hessian_product of sparse rows, for panels of all widths", T,
                   double, float) {
  each<T>(shapes, [](const SparseDesign<T>& X) {
    const index n = X.dense().rows(), q = X.dense().columns();
    for (const auto kind :
         {RandomWeights::separable, RandomWeights::softmax, RandomWeights::outer})
      for (const index K : {1, 2, 5})
        for (const index B : {1, 3, 16, 17, 100}) {
          if (B * K * q > 400000 || (K == 5 && B == 17))
            continue;
          const RandomWeights W(kind, n, K);
          const Values V = random_grid(B, K * q, 6, 1);
          std::vector<double> tie(static_cast<std::size_t>(q), 0.0);
          tie.back() = 0.75;
          CAPTURE(static_cast<int>(kind));
          CAPTURE(K);
          CAPTURE(B);
          check_word(X, B, K * q, 1e-13, [&](auto& cpu, auto rows, Matrix out) {
            cpu.hessian_product(rows, W.view(), random_penalty(q), tie, V, out);
          });
        }
  });
}

TEST_CASE_TEMPLATE("hessian_diagonal and scaled_norm of sparse rows", T, double,
                   float) {
  each<T>(shapes, [](const SparseDesign<T>& X) {
    const index n = X.dense().rows(), q = X.dense().columns();
    for (const auto kind :
         {RandomWeights::separable, RandomWeights::softmax, RandomWeights::outer}) {
      const RandomWeights W(kind, n, 3);
      check_word(X, 1, 3 * q, 1e-13, [&](auto& cpu, auto rows, Matrix out) {
        // without gaps, as the engine calls it
        Values own(1, 3 * q);
        cpu.hessian_diagonal(rows, W.view(), random_penalty(q), own);
        cpu.copy(own, out);
      });
    }
    Values scale(1, q);
    for (index j = 0; j < q; ++j)
      scale(0, j) = 0.5 + 0.01 * double(j);
    const Values a = random_grid(n, 3, 43);
    check_word(X, n, 1, 1e-14, [&](auto& cpu, auto rows, Matrix out) {
      cpu.scaled_norm(rows, a, scale, out);
    });
  });
}

TEST_CASE_TEMPLATE("gram of sparse rows, pair by pair and by dense tiles", T, double,
                   float) {
  // 3 entries a row of 150 columns: pairs pay; 0.5 of 150: tiles
  for (const Shape& s :
       {Shape{700, 150, 0.02}, Shape{300, 150, 0.5}, Shape{9, 5, 0}, Shape{40, 3, 0.5},
        Shape{5000, 700, 0.002}, Shape{300, 400, 0.5}})
    for (const bool intercept : {false, true})
      for (const auto kind :
           {RandomWeights::separable, RandomWeights::softmax, RandomWeights::outer})
        for (const auto coupling :
             {Coupling::shared, Coupling::separate, Coupling::full}) {
          const index K = s.p > 500 ? 2 : 3;
          const bool full = coupling == Coupling::full;
          if (full != (kind != RandomWeights::separable))
            continue;
          const SparseDesign<T> X(s.n, s.p, s.density, intercept);
          const index q = X.dense().columns();
          const RandomWeights W(kind, s.n, K);
          const Values r = random_grid(s.n, K, 8);
          std::vector<double> penalty = random_penalty(q);
          CAPTURE(s.n);
          CAPTURE(s.p);
          CAPTURE(intercept);
          CAPTURE(static_cast<int>(kind));
          const index rows = coupling == Coupling::shared ? q : K * q;
          Values gs(K, q), gd(K, q);
          bool first = true;  // the sparse design comes first
          check_word(
              X, rows, full ? K * q : q, 1e-13,
              [&](auto& cpu, auto design, Matrix out) {
                cpu.gram(design, W.view(), coupling, penalty, r, out, first ? gs : gd);
                first = false;
                const index order = full ? K * q : q;
                for (index i = 0; i < rows; ++i)  // upper triangles are what counts
                  for (index j = 0; j < i % order; ++j)
                    out(i, j) = 0;
              });
          CHECK(relative_error(gs, gd) < 1e-13);
        }
}

TEST_CASE_TEMPLATE("a block of sparse rows is a design of those rows", T, double,
                   float) {
  const SparseDesign<T> X(400, 60, 0.1, true);
  for (const auto& [first, count] :
       {std::pair(0, 400), std::pair(1, 1), std::pair(123, 200), std::pair(399, 1)}) {
    const Design<T> sparse = X.sparse().block(first, count);
    const Design<T> dense = X.dense().block(first, count);
    CHECK(sparse.is_sparse());
    CHECK(sparse.rows() == count);
    CHECK(sparse.entries() ==
          X.starts[std::size_t(first + count)] - X.starts[std::size_t(first)]);
    const Values V = random_grid(6, 61, 6), a = random_grid(count, 6, 7);
    const RandomWeights W(RandomWeights::separable, count, 1);
    const std::vector<double> penalty(61, 0.0);
    Values eta(count, 6), expected(count, 6), g(6, 61), eg(6, 61), h(6, 61), eh(6, 61);
    const auto cpu = words<T>(2);
    cpu->linear_predictor(sparse, V, eta);
    cpu->linear_predictor(dense, V, expected);
    cpu->gradient(sparse, a, g);
    cpu->gradient(dense, a, eg);
    cpu->hessian_product(sparse, W.view(), penalty, {}, V, h);
    cpu->hessian_product(dense, W.view(), penalty, {}, V, eh);
    CHECK(relative_error(eta, expected) < 1e-14);
    CHECK(relative_error(g, eg) < 1e-13);
    CHECK(relative_error(h, eh) < 1e-13);
  }
}

TEST_CASE_TEMPLATE("words on sparse rows give the same bits for any number of threads",
                   T, double, float) {
  for (const Shape& s : {Shape{5000, 40, 0.1}, Shape{300, 20000, 0.002}}) {
    const SparseDesign<T> X(s.n, s.p, s.density, true);
    const Design<T> rows = X.sparse();
    const index q = rows.columns();
    const auto same = [&](index m, index cols, const auto& word) {
      return same_for_any_threads([&](int threads) {
        Values out(m, cols);
        word(*words<T>(threads), Matrix(out));
        return out;
      });
    };
    for (const index K : {1, 5}) {
      const Values a = random_grid(s.n, K, 3), theta = random_grid(K, q, 2);
      CHECK(same(s.n, K, [&](auto& cpu, Matrix out) {
        cpu.linear_predictor(rows, theta, out);
      }));
      CHECK(same(K, q, [&](auto& cpu, Matrix out) { cpu.gradient(rows, a, out); }));
    }
    const std::vector<double> penalty = random_penalty(q);
    for (const auto kind : {RandomWeights::separable, RandomWeights::softmax})
      for (const index B : {1, 17, 70}) {
        const index K = 2;
        if (B * K * q > 2000000)
          continue;
        const RandomWeights W(kind, s.n, K);
        const Values V = random_grid(B, K * q, 6);
        CHECK(same(B, K * q, [&](auto& cpu, Matrix out) {
          cpu.hessian_product(rows, W.view(), penalty, {}, V, out);
        }));
        CHECK(same(1, K * q, [&](auto& cpu, Matrix out) {
          cpu.hessian_diagonal(rows, W.view(), penalty, out);
        }));
      }
    const Values a = random_grid(s.n, 1, 3), V = random_grid(33, q, 6);
    CHECK(same_for_any_threads([&](int threads) {
      Grid<T> out(33, s.n);
      words<T>(threads)->score(rows, a, V, out);
      return out;
    }));
    if (s.p < 100) {
      const RandomWeights W(RandomWeights::separable, s.n, 1);
      CHECK(same(q, q, [&](auto& cpu, Matrix out) {
        cpu.gram(rows, W.view(), Coupling::separate, penalty, ConstMatrix(), out,
                 Matrix());
      }));
    }
    const TopK one = words<T>(1)->top_k(rows, a, V, {}, {}, 10);
    for (const int threads : {2, 3, 8}) {
      const TopK top = words<T>(threads)->top_k(rows, a, V, {}, {}, 10);
      CHECK(top.helpful == one.helpful);
      CHECK(top.harmful_scores == one.harmful_scores);
    }
  }
}

TEST_CASE("check_csr names the first row of each fault") {
  using Starts = std::vector<std::int64_t>;
  using Columns = std::vector<std::int32_t>;
  const auto check = [](const Starts& starts, const Columns& columns) {
    return check_csr(starts.data(), static_cast<index>(starts.size()) - 1,
                     columns.data(), static_cast<index>(columns.size()), 5);
  };
  const CsrFaults fine = check({0, 2, 2, 4}, {1, 4, 0, 1});
  CHECK(fine.decreasing == -1);
  CHECK(fine.out_of_range == -1);
  CHECK(fine.unsorted == -1);
  CHECK(check({0, 2, 1, 4}, {1, 4, 0, 1}).decreasing == 1);
  CHECK(check({0, 2, 2, 5}, {1, 4, 0, 1}).decreasing == 2);
  CHECK(check({-1, 2, 2, 4}, {1, 4, 0, 1}).decreasing == 0);
  CHECK(check({0, 2, 2, 4}, {1, 4, 0, 5}).out_of_range == 2);
  CHECK(check({0, 2, 2, 4}, {-1, 4, 0, 1}).out_of_range == 0);
  CHECK(check({0, 2, 2, 4}, {1, 4, 1, 0}).unsorted == 2);
  CHECK(check({0, 2, 2, 4}, {1, 1, 0, 1}).unsorted == 0);  // a duplicate
}

}  // namespace upweight::test
