// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

constexpr index widths[] = {1, 2, 7, 8, 9, 16, 17, 33, 65};

/// sum_i a_i (x) x_i by the definition.
template <class T>
Values naive_gradient(const Design<T>& X, const Values& a) {
  Values g(a.cols(), X.columns());
  for (index i = 0; i < X.rows(); ++i)
    for (index k = 0; k < a.cols(); ++k)
      for (index j = 0; j < X.columns(); ++j)
        g(k, j) += a(i, k) * entry(X, i, j);
  return g;
}

/// V H for a full H, plus each tied column's share.
Values naive_product(const Values& H, const Values& V, const std::vector<double>& tie) {
  const index P = V.cols(), q = tie.empty() ? P : static_cast<index>(tie.size());
  const index K = P / q;
  Values out(V.rows(), P);
  for (index b = 0; b < V.rows(); ++b)
    for (index j = 0; j < P; ++j) {
      for (index i = 0; i < P; ++i)
        out(b, j) += V(b, i) * H(i, j);
      if (!tie.empty())
        for (index k = 0; k < K; ++k)
          out(b, j) +=
              tie[static_cast<std::size_t>(j % q)] * V(b, k * q + j % q) / double(K);
    }
  return out;
}

}  // namespace

TEST_CASE_TEMPLATE("words on rows give what one computes by hand", T, double, float) {
  const Grid<T> features(2, 2, {1, 2, 3, 4});
  const Design<T> X{features, true};
  const auto cpu = words<T>(1);
  Values eta(2, 2);
  cpu->linear_predictor(X, Values(2, 3, {1, 10, 100, 0, 0, -1}), eta);
  CHECK(eta.same_bits(Values(2, 2, {121, -1, 143, -1})));

  const Values a(2, 1, {2, -1});
  Values g(1, 3), rows(2, 3);
  cpu->gradient(X, a, g);
  CHECK(g.same_bits(Values(1, 3, {-1, 0, 1})));
  cpu->gradient_rows(X, a, rows);
  CHECK(rows.same_bits(Values(2, 3, {2, 4, 2, -3, -4, -1})));

  const Values w(2, 1, {1, 2});
  Values diagonal(1, 3), product(1, 3);
  cpu->hessian_diagonal(X, {w, {}}, {0, 0, 5}, diagonal);
  CHECK(diagonal.same_bits(Values(1, 3, {19, 36, 8})));
  cpu->hessian_product(X, {w, {}}, {0, 0, 5}, {}, Values(1, 3, {1, 0, 1}), product);
  CHECK(product.same_bits(Values(1, 3, {2 + 24, 4 + 32, 2 + 8 + 5})));
}

TEST_CASE_TEMPLATE("linear_predictor is X theta' for few and many outputs", T, double,
                   float) {
  for (const index n : row_counts)
    for (const index q : widths)
      for (const index K : {1, 3, 4, 5})
        for (const bool intercept : {false, true}) {
          const RandomDesign<T> X(n, q, intercept);
          // gaps: neither theta nor eta need be without
          const Values theta = random_grid(K, q, 2, 1);
          Values eta(n, K, 2), expected(n, K);
          words<T>(2)->linear_predictor(X.view(), theta, eta);
          for (index i = 0; i < n; ++i)
            for (index k = 0; k < K; ++k)
              for (index j = 0; j < q; ++j)
                expected(i, k) += entry(X.view(), i, j) * theta(k, j);
          CAPTURE(n);
          CAPTURE(q);
          CAPTURE(K);
          CHECK(relative_error(eta, expected) < 1e-14);
          CHECK(eta.gaps_untouched());
        }
}

TEST_CASE_TEMPLATE("gradient and gradient_rows are a_i (x) x_i, summed and apart", T,
                   double, float) {
  for (const index n : row_counts)
    for (const index q : widths)
      for (const index K : {1, 3}) {
        const RandomDesign<T> X(n, q, q % 2 == 1);
        const Values a = random_grid(n, K, 3, 1);
        Values sum = random_grid(K, q, 4, 2), rows(n, K * q, 2), expected(n, K * q);
        const auto cpu = words<T>(2);
        cpu->gradient(X.view(), a, sum);
        cpu->gradient_rows(X.view(), a, rows);
        for (index i = 0; i < n; ++i)
          for (index k = 0; k < K; ++k)
            for (index j = 0; j < q; ++j)
              expected(i, k * q + j) = a(i, k) * entry(X.view(), i, j);
        CAPTURE(n);
        CAPTURE(q);
        CHECK(relative_error(sum, naive_gradient(X.view(), a)) < 1e-13);
        CHECK(relative_error(rows, expected) == 0);
        CHECK(sum.gaps_untouched());
        CHECK(rows.gaps_untouched());
      }
}

TEST_CASE_TEMPLATE("hessian_product is V times the whole Hessian, ties included", T,
                   double, float) {
  using Kind = RandomWeights::Kind;
  for (const Kind kind : {Kind::separable, Kind::softmax, Kind::outer})
    for (const index n : row_counts)
      for (const index q : {1, 8, 17})
        for (const index K : {1, 3})
          for (const index B : {1, 5}) {
            const RandomDesign<T> X(n, q, true);
            const RandomWeights W(kind, n, K);
            const std::vector<double> penalty = random_penalty(q);
            std::vector<double> tie;
            if (kind == Kind::softmax) {
              tie.resize(static_cast<std::size_t>(q), 0.0);
              tie.back() = 0.75;
            }
            const Values V = random_grid(B, K * q, 6, 1);
            Values out = random_grid(B, K * q, 7, 2);
            words<T>(2)->hessian_product(X.view(), W.view(), penalty, tie, V, out);
            const Values H = naive_hessian(X.view(), W.view(), K, penalty);
            CAPTURE(n);
            CAPTURE(q);
            CAPTURE(K);
            CHECK(relative_error(out, naive_product(H, V, tie)) < 1e-13);
            CHECK(out.gaps_untouched());
          }
}

TEST_CASE_TEMPLATE("hessian_product of a block too large for copies is the same", T,
                   double, float) {
  using Kind = RandomWeights::Kind;
  const index q = 1100, n = 150;
  for (const Kind kind : {Kind::separable, Kind::softmax})
    for (const bool intercept : {true, false}) {
      const index K = kind == Kind::softmax ? 3 : 2, B = 600;  // over 8 MB
      const RandomDesign<T> X(n, q, intercept);
      const RandomWeights W(kind, n, K);
      const std::vector<double> penalty = random_penalty(q);
      const Values V = random_grid(B, K * q, 6, 1);
      Values out = random_grid(B, K * q, 7, 2), some(5, K * q), first(5, K * q);
      const auto cpu = words<T>(2);
      cpu->hessian_product(X.view(), W.view(), penalty, {}, V, out);
      cpu->hessian_product(X.view(), W.view(), penalty, {}, V.view().block(0, 5), some);
      cpu->copy(Matrix(out).block(0, 5), first);
      CHECK(relative_error(first, some) < 1e-13);
      CHECK(out.gaps_untouched());
      CHECK(same_for_any_threads([&](int threads) {
        words<T>(threads)->hessian_product(X.view(), W.view(), penalty, {}, V, out);
        return out;
      }));
    }
}

TEST_CASE_TEMPLATE("hessian_diagonal is the diagonal of the whole Hessian", T, double,
                   float) {
  using Kind = RandomWeights::Kind;
  for (const Kind kind : {Kind::separable, Kind::softmax, Kind::outer})
    for (const index n : row_counts)
      for (const index K : {1, 3}) {
        constexpr index q = 9;
        const RandomDesign<T> X(n, q, true);
        const RandomWeights W(kind, n, K);
        const std::vector<double> penalty = random_penalty(q);
        Values out = random_grid(1, K * q, 7), expected(1, K * q);
        words<T>(2)->hessian_diagonal(X.view(), W.view(), penalty, out);
        const Values H = naive_hessian(X.view(), W.view(), K, penalty);
        for (index j = 0; j < K * q; ++j)
          expected(0, j) = H(j, j);
        CHECK(relative_error(out, expected) < 1e-13);
      }
}

TEST_CASE_TEMPLATE("words on rows give the same bits for any number of threads", T,
                   double, float) {
  constexpr index q = 17, K = 3;
  for (const index n : {7, 5000}) {
    const RandomDesign<T> X(n, q, true);
    const RandomWeights W(RandomWeights::softmax, n, K);
    const Values a = random_grid(n, K, 3), V = random_grid(5, K * q, 6);
    const std::vector<double> penalty = random_penalty(q);
    CHECK(same_for_any_threads([&](int threads) {
      Values eta(n, K);
      words<T>(threads)->linear_predictor(X.view(), random_grid(K, q, 2), eta);
      return eta;
    }));
    CHECK(same_for_any_threads([&](int threads) {
      Values g(K, q);
      words<T>(threads)->gradient(X.view(), a, g);
      return g;
    }));
    CHECK(same_for_any_threads([&](int threads) {
      Values out(5, K * q);
      words<T>(threads)->hessian_product(X.view(), W.view(), penalty, {}, V, out);
      return out;
    }));
    CHECK(same_for_any_threads([&](int threads) {
      Values out(1, K * q);
      words<T>(threads)->hessian_diagonal(X.view(), W.view(), penalty, out);
      return out;
    }));
  }
}

}  // namespace upweight::test
