// SPDX-License-Identifier: BSD-3-Clause
#include "formula.hpp"
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

template <class T>
constexpr double tolerance = sizeof(T) == 8 ? 1e-13 : 1e-5;

/// v_t . (a_i (x) x_i) for all rows of V and X.
template <class T>
Values naive_scores(const Design<T>& X, const Values& a, const Values& V) {
  const index q = X.columns();
  Values out(V.rows(), X.rows());
  for (index t = 0; t < V.rows(); ++t)
    for (index i = 0; i < X.rows(); ++i)
      for (index k = 0; k < a.cols(); ++k)
        for (index j = 0; j < q; ++j)
          out(t, i) += V(t, k * q + j) * a(i, k) * entry(X, i, j);
  return out;
}

/// f(y, eta) of a target, by its definition, in long double.
long double target_value(Family family, Target target, const Values& y,
                         const std::vector<long double>& eta, index t) {
  const index K = static_cast<index>(eta.size());
  if (family == Family::multinomial) {
    long double total = 0;
    for (const long double e : eta)
      total += std::exp(e);
    const long double own = eta[static_cast<std::size_t>(y(t, 0))];
    return target == Target::margin ? own
           : target == Target::loss ? std::log(total) - own
                                    : std::exp(own) / total;
  }
  if (target == Target::probability)
    return 1 / (1 + std::exp(-eta[0]));
  long double sum = 0;
  for (index k = 0; k < K; ++k) {
    const long double e = eta[static_cast<std::size_t>(k)], own = y(t, k);
    sum += target == Target::margin     ? (K == 1 || own > 0 ? e : 0)
           : family == Family::gaussian ? (own - e) * (own - e) / 2
           : family == Family::binomial ? std::log(1 + std::exp(e)) - own * e
           : family == Family::poisson
               ? std::exp(e) - own * e
               : family.temperature *
                     std::log1p(std::exp((1 - own * e) / family.temperature));
  }
  return sum;
}

struct Case {
  Family family;
  Target target;
  index K;
};

const Case cases[] = {{Family::gaussian, Target::loss, 1},
                      {Family::gaussian, Target::loss, 3},
                      {Family::gaussian, Target::margin, 1},
                      {Family::gaussian, Target::margin, 3},
                      {Family::binomial, Target::loss, 1},
                      {Family::binomial, Target::loss, 3},
                      {Family::binomial, Target::margin, 3},
                      {Family::binomial, Target::probability, 1},
                      {Family::poisson, Target::loss, 1},
                      {Family::poisson, Target::loss, 3},
                      {{Family::smooth_hinge, 0.05}, Target::loss, 1},
                      {{Family::smooth_hinge, 8}, Target::loss, 1},
                      {{Family::smooth_hinge, 0.3}, Target::loss, 3},
                      {{Family::smooth_hinge, 0.3}, Target::margin, 3},
                      {Family::multinomial, Target::loss, 3},
                      {Family::multinomial, Target::margin, 3},
                      {Family::multinomial, Target::probability, 3}};

struct TestRows {
  TestRows(const Case& c, index m)
      : y(m, c.family == Family::multinomial ? 1 : c.K, 1),
        eta(random_grid(m, c.K, 52, 1)) {
    for (index t = 0; t < m; ++t)
      for (index k = 0; k < y.cols(); ++k)
        y(t, k) = double((t + k) % (c.family == Family::multinomial ? c.K : 2));
    for (index t = 0; t < m && c.family == Family::smooth_hinge; ++t)
      for (index k = 0; k < y.cols(); ++k)
        y(t, k) = 2 * y(t, k) - 1;
  }
  Values y, eta;
};

}  // namespace

TEST_CASE_TEMPLATE("a score is a test direction times a scaled row", T, double, float) {
  const Grid<T> features(2, 2, {1, 2, 3, 4});
  Grid<T> out(1, 2);
  words<T>(1)->score({features, true}, Values(2, 1, {2, -1}), Values(1, 3, {1, 1, 10}),
                     out);
  CHECK(out.same_bits(Grid<T>(1, 2, {26, -17})));
}

TEST_CASE_TEMPLATE("scores are V (a (x) X)' for all odd sizes", T, double, float) {
  for (const index n : row_counts)
    for (const index m : {1, 7, 513})
      for (const index K : {1, 3})
        for (const index q : {1, 9, 17}) {
          if (n * m > 100000 && q > 9)
            continue;
          const RandomDesign<T> X(n, q, q > 1);
          const Values a = random_grid(n, K, 50, 1), V = random_grid(m, K * q, 51, 2);
          Grid<T> out(m, n, 3);
          words<T>(2)->score(X.view(), a, V, out);
          CAPTURE(n);
          CAPTURE(m);
          CAPTURE(K);
          CAPTURE(q);
          CHECK(relative_error(out, naive_scores(X.view(), a, V)) < tolerance<T>);
          CHECK(out.gaps_untouched());
        }
}

TEST_CASE_TEMPLATE("a change is what the target gains by the moved margins", T, double,
                   float) {
  for (const Case& c : cases)
    for (const auto& [n, m] :
         {std::pair(1, 1), std::pair(7, 513), std::pair(1025, 3)}) {
      const index q = 4, K = c.K;
      const RandomDesign<T> X(n, q, true);
      const Values a = random_grid(n, K, 50), V = random_grid(m * K, K * q, 51, 1);
      const TestRows test(c, m);
      const Values u = naive_scores(X.view(), a, V);  // rows t K + k
      Grid<T> out(m, n, 2);
      words<T>(2)->change(X.view(), a, V, c.family, c.target, test.y, test.eta, out);
      Values expected(m, n);
      for (index t = 0; t < m; ++t)
        for (index i = 0; i < n; ++i) {
          std::vector<long double> before, after;
          for (index k = 0; k < K; ++k) {
            before.push_back(test.eta(t, k));
            after.push_back(before.back() + static_cast<long double>(u(t * K + k, i)));
          }
          expected(t, i) =
              static_cast<double>(target_value(c.family, c.target, test.y, after, t) -
                                  target_value(c.family, c.target, test.y, before, t));
        }
      CAPTURE(static_cast<int>(c.family));
      CAPTURE(static_cast<int>(c.target));
      CAPTURE(K);
      CHECK(relative_error(out, expected) < 5 * tolerance<T>);
      CHECK(out.gaps_untouched());
    }
}

TEST_CASE_TEMPLATE("scores and changes give the same bits for any number of threads", T,
                   double, float) {
  const index n = 2050, m = 600, q = 9, K = 3;
  const RandomDesign<T> X(n, q, true);
  const Values a = random_grid(n, K, 50);
  CHECK(same_for_any_threads([&](int threads) {
    Grid<T> out(m, n);
    words<T>(threads)->score(X.view(), a, random_grid(m, K * q, 51), out);
    return out;
  }));
  const TestRows test({Family::multinomial, Target::loss, K}, 20);
  CHECK(same_for_any_threads([&](int threads) {
    Grid<T> out(20, n);
    words<T>(threads)->change(X.view(), a, random_grid(20 * K, K * q, 51),
                              Family::multinomial, Target::loss, test.y, test.eta, out);
    return out;
  }));
}

TEST_CASE("scores of rows without a residual are exact zeros") {
  const RandomDesign<double> X(300, 5, true);
  Values out = random_grid(7, 300, 1);
  words<double>(2)->score(X.view(), Values(300, 1), random_grid(7, 5, 51), out);
  CHECK(words<double>(1)->max_abs(out) == 0);
}

}  // namespace upweight::test
