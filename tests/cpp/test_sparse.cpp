// SPDX-License-Identifier: BSD-3-Clause
// Every word on a sparse design against the same word on its dense copy.
#include "naive.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <numeric>

namespace upweight::test {

namespace {

/// The same numbers in both forms. Every fifth row and every seventh column are empty,
/// some entries are stored zeros, and the arrays go on before and after with NaN.
template <class T>
struct SparseDesign {
  SparseDesign(index n, index p, double density, bool with_intercept,
               unsigned seed = 71)
      : grid(n, p), intercept(with_intercept) {
    Random random(seed);
    stray();
    starts.push_back(entries());
    for (index i = 0; i < n; ++i) {
      for (index j = 0; j < p; ++j) {
        if (i % 5 == 1 || j % 7 == 3 || random.uniform(0, 1) >= density)
          continue;
        grid(i, j) = entries() % 9 == 0 ? T(0) : static_cast<T>(random.uniform(-1, 1));
        values.push_back(grid(i, j));
        columns.push_back(static_cast<std::int32_t>(j));
      }
      starts.push_back(entries());
    }
    stray();
  }

  [[nodiscard]] Design<T> sparse() const {
    return sparse_design(SparseView<T>{values.data(), columns.data(), starts.data()},
                         grid.rows(), grid.cols(), intercept);
  }
  [[nodiscard]] Design<T> dense() const { return {grid, intercept}; }

  Grid<T> grid;
  bool intercept;
  std::vector<T> values;
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> starts;

private:
  [[nodiscard]] std::int64_t entries() const {
    return static_cast<std::int64_t>(values.size());
  }
  void stray() {
    for (int k = 0; k < 3; ++k) {
      values.push_back(std::numeric_limits<T>::quiet_NaN());
      columns.push_back(0);
    }
  }
};

struct Shape {
  index n, p;
  double density;
};

/// About the rows of a run and the widths of panels; dense enough or not for columns
/// to be taken in blocks, from 16,384 on; one row, one column, nothing at all.
const Shape shapes[] = {{1, 1, 1},       {7, 3, 0.7},        {1025, 40, 0.1},
                        {300, 130, 0.5}, {60, 20000, 0.002}, {60, 20000, 2e-4},
                        {9, 5, 0}};
// few shapes for words with a factor of order q
const Shape small_shapes[] = {{1, 1, 1}, {57, 9, 0.4}, {300, 40, 0.1}, {9, 5, 0}};

/// Runs `check` over shapes, with and without an intercept.
template <class T>
void each(const auto& some_shapes, const auto& check) {
  for (const Shape& s : some_shapes)
    for (const bool intercept : {false, true}) {
      CAPTURE(s.n);
      CAPTURE(s.p);
      CAPTURE(s.density);
      CAPTURE(intercept);
      check(SparseDesign<T>(s.n, s.p, s.density, intercept));
    }
}

/// Whether word(backend, design, out) leaves the same in a sparse and a dense case.
template <class T>
void check_word(const SparseDesign<T>& X, index rows, index cols, double tolerance,
                const auto& word) {
  Values sparse = random_grid(rows, cols, 90, 2), dense(rows, cols);
  word(*cpu_backend<T>(2), X.sparse(), Matrix(sparse));
  word(*cpu_backend<T>(2), X.dense(), Matrix(dense));
  CHECK(relative_error(sparse, dense) < tolerance);
  CHECK(sparse.gaps_untouched());
}

/// An upper triangle of order q, well conditioned.
Values random_factor(index order, index blocks) {
  Values R = random_grid(order * blocks, order, 41);
  for (index i = 0; i < R.rows(); ++i)
    for (index j = 0; j < order; ++j)
      R(i, j) = j < i % order    ? 0.0
                : j == i % order ? 1.5 + 0.4 * R(i, j)
                                 : R(i, j) / std::sqrt(double(order));
  return R;
}

}  // namespace

TEST_CASE_TEMPLATE("words on sparse rows give what one computes by hand", T, double,
                   float) {
  // [0 2 0; 0 0 0; 1 0 3] and an intercept
  const T values[] = {2, 1, 3};
  const std::int32_t columns[] = {1, 0, 2};
  const std::int64_t starts[] = {0, 1, 1, 3};
  const Design<T> X = sparse_design(SparseView<T>{values, columns, starts}, 3, 3, true);
  CHECK(X.entries() == 3);
  const auto cpu = cpu_backend<T>(1);
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
          const bool sparse_first = true;
          bool first = sparse_first;
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

TEST_CASE_TEMPLATE("scores and changes of sparse rows", T, double, float) {
  const double tolerance = sizeof(T) == 8 ? 1e-13 : 2e-5;
  each<T>(shapes, [&](const SparseDesign<T>& X) {
    const index n = X.dense().rows(), q = X.dense().columns();
    for (const index K : {1, 3, 17})
      for (const index m : {1, 5, 16, 33}) {
        if (K * m * q > 700000)
          continue;
        const Values a = random_grid(n, K, 50, 1), V = random_grid(m * K, K * q, 51, 2);
        CAPTURE(K);
        CAPTURE(m);
        Grid<T> sparse(m * K, n, 3), dense(m * K, n);
        cpu_backend<T>(2)->score(X.sparse(), a, V, sparse);
        cpu_backend<T>(2)->score(X.dense(), a, V, dense);
        Values expected(m * K, n);
        for (index t = 0; t < m * K; ++t)
          for (index i = 0; i < n; ++i)
            expected(t, i) = static_cast<double>(dense(t, i));
        CHECK(relative_error(sparse, expected) < tolerance);
        CHECK(sparse.gaps_untouched());

        Values y(m, 1), eta = random_grid(m, K, 52);
        for (index t = 0; t < m; ++t)
          y(t, 0) = double(t % std::max<index>(K, 2));
        const Family family = K == 1 ? Family::binomial : Family::multinomial;
        Grid<T> changed(m, n, 1), whole(m, n);
        for (const Target target :
             {Target::loss, Target::margin, Target::probability}) {
          cpu_backend<T>(2)->change(X.sparse(), a, V, family, target, y, eta, changed);
          cpu_backend<T>(2)->change(X.dense(), a, V, family, target, y, eta, whole);
          for (index t = 0; t < m; ++t)
            for (index i = 0; i < n; ++i)
              expected(t, i) = static_cast<double>(whole(t, i));
          Values some(m, n);
          for (index t = 0; t < m; ++t)
            std::copy_n(expected.view().row(t), n, &some(t, 0));
          CHECK(relative_error(changed, some) < 20 * tolerance);
          CHECK(changed.gaps_untouched());
        }
      }
  });
}

TEST_CASE_TEMPLATE("top_k of sparse rows is the ends of the sorted scores", T, double,
                   float) {
  for (const Shape& s :
       {Shape{1, 3, 1}, Shape{1100, 30, 0.2}, Shape{50, 20000, 0.002}, Shape{30, 5, 0}})
    for (const index K : {1, 3}) {
      const SparseDesign<T> X(s.n, s.p, s.density, true);
      const index q = s.p + 1, m = s.n > 1000 ? 17 : 3;
      Values a = random_grid(s.n, K, 50);
      for (index i = 0; i < s.n; i += 2)  // zeros tie
        for (index k = 0; k < K; ++k)
          a(i, k) = 0;
      const Values V = random_grid(m, K * q, 51);
      for (const index k : {index(1), std::min<index>(10, s.n), s.n}) {
        const TopK top = cpu_backend<T>(2)->top_k(X.sparse(), a, V, {}, {}, k);
        CHECK(top.pairs_scanned == m * s.n);
        REQUIRE(top.helpful.size() == static_cast<std::size_t>(m * k));
        for (index t = 0; t < m; ++t) {
          std::vector<double> scores(static_cast<std::size_t>(s.n), 0.0);
          for (index i = 0; i < s.n; ++i)
            for (index o = 0; o < K; ++o)
              for (index j = 0; j < q; ++j)
                scores[static_cast<std::size_t>(i)] +=
                    V(t, o * q + j) * a(i, o) * entry(X.dense(), i, j);
          for (const double sign : {1.0, -1.0}) {
            std::vector<std::int64_t> order(scores.size());
            std::iota(order.begin(), order.end(), std::int64_t(0));
            std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) {
              return sign * scores[std::size_t(i)] > sign * scores[std::size_t(j)];
            });
            const auto& rows = sign > 0 ? top.helpful : top.harmful;
            const auto& found = sign > 0 ? top.helpful_scores : top.harmful_scores;
            bool agree = true;
            double worst = 0;
            for (index j = 0; j < k; ++j) {
              const auto at = static_cast<std::size_t>(t * k + j);
              const std::int64_t expected = order[static_cast<std::size_t>(j)];
              agree = agree && rows[at] == expected;
              worst =
                  std::max(worst, std::fabs(found[at] - scores[std::size_t(expected)]));
            }
            CHECK(agree);
            CHECK(worst < 1e-12);
          }
        }
      }
    }
}

TEST_CASE_TEMPLATE("ties of sparse rows that are not zero go to the lower number", T,
                   double, float) {
  SparseDesign<T> X(2000, 4, 1, false);
  std::fill(X.values.begin(), X.values.end(), T(2));
  Values a(2000, 1);
  for (index i = 0; i < 2000; ++i)
    a(i, 0) = i % 5 == 1 ? 0 : i % 2 == 0 ? 1 : -1;
  const TopK top =
      cpu_backend<T>(2)->top_k(X.sparse(), a, Values(1, 4, {1, 1, 1, 1}), {}, {}, 4);
  CHECK(top.helpful == std::vector<std::int64_t>{0, 2, 4, 8});
  CHECK(top.harmful == std::vector<std::int64_t>{3, 5, 7, 9});
  CHECK(top.harmful_scores == std::vector<double>{-6, -6, -6, -6});
}

TEST_CASE_TEMPLATE("sparse rows against a factor: leverages, norms, whitened rows", T,
                   double, float) {
  each<T>(small_shapes, [](const SparseDesign<T>& X) {
    const index n = X.dense().rows(), q = X.dense().columns();
    for (const auto& [K, blocks] : {std::pair(1, 1), std::pair(3, 1), std::pair(3, 3),
                                    std::pair(3, 0)}) {  // 0: outputs coupled
      const index order = blocks == 0 ? K * q : q;
      const Values R = random_factor(order, std::max(blocks, 1));
      const Factor factor{R, std::max(blocks, 1)};
      const Values a = random_grid(n, K, 42);
      check_word(X, n, blocks == 0 ? K * K : K, 1e-13,
                 [&, outputs = K](auto& cpu, auto rows, Matrix out) {
                   cpu.leverage_blocks(rows, factor, outputs, out);
                 });
      check_word(X, n, 1, 1e-13, [&](auto& cpu, auto rows, Matrix out) {
        cpu.quadratic_form(rows, factor, a, out);
      });
    }
    const Values R = random_factor(q, 1);
    const std::vector<std::int64_t> some = {n - 1, 0, n / 2, n / 2};
    check_word(X, 4, q, 1e-14, [&](auto& cpu, auto rows, Matrix out) {
      cpu.whiten(rows, R, some.data(), out);
    });
    check_word(X, 4, q, 1e-15, [&](auto& cpu, auto rows, Matrix out) {
      cpu.gather_design(rows, some.data(), out);
    });
    RowSets sets;
    sets.add(some.data(), 1);
    sets.add(some.data() + 1, 3);
    const Values delta = random_grid(2, 3 * q, 9);
    check_word(X, 4, 3, 1e-14, [&](auto& cpu, auto rows, Matrix out) {
      cpu.own_moves(rows, sets, delta, out);
    });
  });
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
    const auto cpu = cpu_backend<T>(2);
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
        word(*cpu_backend<T>(threads), Matrix(out));
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
      cpu_backend<T>(threads)->score(rows, a, V, out);
      return out;
    }));
    if (s.p < 100) {
      const RandomWeights W(RandomWeights::separable, s.n, 1);
      CHECK(same(q, q, [&](auto& cpu, Matrix out) {
        cpu.gram(rows, W.view(), Coupling::separate, penalty, ConstMatrix(), out,
                 Matrix());
      }));
    }
    const TopK one = cpu_backend<T>(1)->top_k(rows, a, V, {}, {}, 10);
    for (const int threads : {2, 3, 8}) {
      const TopK top = cpu_backend<T>(threads)->top_k(rows, a, V, {}, {}, 10);
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
