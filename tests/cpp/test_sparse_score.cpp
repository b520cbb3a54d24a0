// SPDX-License-Identifier: BSD-3-Clause
// Scores, ends and quadratic forms of a sparse design against those of its dense copy.
#include "sparse_design.hpp"

#include <algorithm>
#include <numeric>

namespace upweight::test {

namespace {

// few shapes for words with a factor of order q
const Shape small_shapes[] = {{1, 1, 1}, {57, 9, 0.4}, {300, 40, 0.1}, {9, 5, 0}};

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
        words<T>(2)->score(X.sparse(), a, V, sparse);
        words<T>(2)->score(X.dense(), a, V, dense);
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
          words<T>(2)->change(X.sparse(), a, V, family, target, y, eta, changed);
          words<T>(2)->change(X.dense(), a, V, family, target, y, eta, whole);
          Values some(m, n);
          for (index t = 0; t < m; ++t)
            for (index i = 0; i < n; ++i)
              some(t, i) = static_cast<double>(whole(t, i));
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
        const TopK top = words<T>(2)->top_k(X.sparse(), a, V, {}, {}, k);
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
      words<T>(2)->top_k(X.sparse(), a, Values(1, 4, {1, 1, 1, 1}), {}, {}, 4);
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

}  // namespace upweight::test
