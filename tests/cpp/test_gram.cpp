// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

struct Shape {
  RandomWeights::Kind kind;
  Coupling coupling;
  index K;
  [[nodiscard]] index order(index q) const {
    return coupling == Coupling::full ? K * q : q;
  }
  [[nodiscard]] index blocks() const { return coupling == Coupling::separate ? K : 1; }
};

const Shape shapes[] = {{RandomWeights::separable, Coupling::shared, 3},
                        {RandomWeights::separable, Coupling::separate, 1},
                        {RandomWeights::separable, Coupling::separate, 3},
                        {RandomWeights::softmax, Coupling::full, 3},
                        {RandomWeights::outer, Coupling::full, 2},
                        {RandomWeights::outer, Coupling::full, 1}};

struct Sums {
  Values H, g;
  [[nodiscard]] bool same_bits(const Sums& other) const {
    return H.same_bits(other.H) && g.same_bits(other.g);
  }
};

/// H and g by the word, H within a larger matrix whose entries start as rubbish.
template <class T>
Sums gram(const Design<T>& X, const Shape& shape, const std::vector<double>& penalty,
          int threads) {
  const index q = X.columns(), order = shape.order(q);
  const RandomWeights W(shape.kind, X.rows(), shape.K);
  const Values r = random_grid(X.rows(), shape.K, 5);
  Sums sums{random_grid(shape.blocks() * order, order, 3, 2),
            random_grid(shape.K, q, 4)};
  words<T>(threads)->gram(X, W.view(), shape.coupling, penalty, r, sums.H, sums.g);
  CHECK(sums.H.gaps_untouched());
  return sums;
}

/// Adds what ties the outputs of softmax's unpenalised columns.
void tie(Values& H, index q, const std::vector<double>& penalty) {
  const index K = H.rows() / q;
  for (index j = 0; j < q; ++j) {
    if (penalty[static_cast<std::size_t>(j)] != 0)
      continue;
    double tau = 0;
    for (index k = 0; k < K; ++k)
      tau += H(k * q + j, k * q + j) / double(K);
    for (index k = 0; k < K; ++k)
      for (index l = 0; l < K; ++l)
        H(k * q + j, l * q + j) += tau / double(K);
  }
}

/// Largest error of the upper triangles of the blocks and of g, relative.
template <class T>
double error_of(const Sums& sums, const Design<T>& X, const Shape& shape,
                const std::vector<double>& penalty) {
  const index q = X.columns(), order = shape.order(q), K = shape.K;
  const RandomWeights W(shape.kind, X.rows(), K);
  Values all = naive_hessian(X, W.view(), K, penalty);
  if (shape.kind == RandomWeights::softmax)
    tie(all, q, penalty);
  Values actual(sums.H.rows(), order), expected(sums.H.rows(), order);
  for (index k = 0; k < shape.blocks(); ++k)
    for (index a = 0; a < order; ++a)
      for (index b = a; b < order; ++b) {
        actual(k * order + a, b) = sums.H(k * order + a, b);
        expected(k * order + a, b) = all(k * order + a, k * order + b);
      }
  const Values r = random_grid(X.rows(), K, 5);
  Values g(K, q);
  for (index k = 0; k < K; ++k)
    for (index j = 0; j < q; ++j)
      for (index i = 0; i < X.rows(); ++i)
        g(k, j) += r(i, k) * entry(X, i, j);
  return std::max(relative_error(actual, expected), relative_error(sums.g, g));
}

}  // namespace

TEST_CASE_TEMPLATE("gram of two rows is what one computes by hand", T, double, float) {
  const Grid<T> features(2, 2, {1, 2, 3, 4});
  const Values w(2, 1, {1, 2}), r(2, 1, {1, -1});
  Values H(2, 2), g(1, 2);
  words<T>(1)->gram({features, false}, {w, {}}, Coupling::separate, {0, 10}, r, H, g);
  CHECK(H(0, 0) == 1 * 1 + 2 * 9);
  CHECK(H(0, 1) == 1 * 2 + 2 * 12);
  CHECK(H(1, 1) == 1 * 4 + 2 * 16 + 10);
  CHECK(g(0, 0) == -2);
  CHECK(g(0, 1) == -2);
}

TEST_CASE("gram of softmax adds up to zero over outputs until its columns are tied") {
  // one row x = (2, 1), p = (1/2, 1/4, 1/4); the second column is not penalised
  const Values features(1, 1, {2}), p(1, 3, {0.5, 0.25, 0.25});
  const Values r(1, 3, {0, 0, 0});
  Values H(6, 6), g(3, 2);
  words<double>(1)->gram({features, true}, {p, p, -1, true}, Coupling::full, {1, 0}, r,
                         H, g);
  CHECK(H(0, 0) == 4 * 0.25 + 1);
  CHECK(H(0, 2) == 4 * -0.125);
  CHECK(H(2, 4) == 4 * -0.0625);
  const double tau = (0.25 + 0.1875 + 0.1875) / 3;
  CHECK(H(1, 1) == doctest::Approx(0.25 + tau / 3).epsilon(1e-15));
  CHECK(H(1, 3) == doctest::Approx(-0.125 + tau / 3).epsilon(1e-15));
}

TEST_CASE_TEMPLATE("gram is the sum over rows for every coupling and odd size", T,
                   double, float) {
  for (const Shape& shape : shapes)
    for (const index n : row_counts)
      for (const index q : {1, 2, 4, 7, 8, 9, 15, 16, 17, 33})
        for (const bool intercept : {false, true}) {
          if (n > 257 && q > 17 && intercept)
            continue;
          const RandomDesign<T> X(n, q, intercept);
          const std::vector<double> penalty = random_penalty(q);
          CAPTURE(shape.K);
          CAPTURE(n);
          CAPTURE(q);
          CAPTURE(intercept);
          CHECK(error_of(gram(X.view(), shape, penalty, 2), X.view(), shape, penalty) <
                1e-13);
        }
}

TEST_CASE_TEMPLATE("gram is the sum over rows where blocks are swept by tiles", T,
                   double, float) {
  // a block of over 1 MiB: all threads share a chunk of rows
  for (const auto& [shape, n, q] :
       {std::tuple(Shape{RandomWeights::separable, Coupling::separate, 1}, 257, 371),
        std::tuple(Shape{RandomWeights::separable, Coupling::separate, 3}, 7, 363),
        std::tuple(Shape{RandomWeights::softmax, Coupling::full, 5}, 65, 121)}) {
    const RandomDesign<T> X(n, q, true);
    const std::vector<double> penalty = random_penalty(q);
    const Sums sums = gram(X.view(), shape, penalty, 2);
    CAPTURE(q);
    CHECK(error_of(sums, X.view(), shape, penalty) < 1e-13);
    CHECK(same_for_any_threads(
        [&](int threads) { return gram(X.view(), shape, penalty, threads); }));
  }
}

TEST_CASE_TEMPLATE("gram is the same to the last bit for any number of threads", T,
                   double, float) {
  for (const Shape& shape : shapes)
    for (const index n : {1, 1025, 9001, 40001}) {
      const RandomDesign<T> X(n, 9, true);
      CAPTURE(n);
      CHECK(same_for_any_threads([&](int threads) {
        return gram(X.view(), shape, random_penalty(9), threads);
      }));
    }
}

TEST_CASE_TEMPLATE("gram of many rows is the sum over all of them", T, double, float) {
  const Shape shape{RandomWeights::softmax, Coupling::full, 3};
  for (const index n : {4096, 4097, 33001}) {  // slots of 1024 rows, at most 32
    const RandomDesign<T> X(n, 5, true);
    CAPTURE(n);
    CHECK(error_of(gram(X.view(), shape, random_penalty(5), 2), X.view(), shape,
                   random_penalty(5)) < 1e-12);
  }
}

TEST_CASE("gram leaves exact zeros where a column is zero") {
  const RandomDesign<double> X(300, 9, true);
  const Shape shape{RandomWeights::separable, Coupling::separate, 1};
  const Sums sums = gram(X.view(), shape, std::vector<double>(9, 0.0), 2);
  const index zero = X.zero_column();
  for (index j = 0; j < 9; ++j)
    CHECK(sums.H(std::min(j, zero), std::max(j, zero)) == 0);
  CHECK(sums.g(0, zero) == 0);
}

TEST_CASE("gram gives no gradient when it is given no residuals") {
  const RandomDesign<double> X(300, 5, true);
  const RandomWeights W(RandomWeights::separable, 300, 1);
  const std::vector<double> penalty = random_penalty(5);
  Values H(5, 5);
  words<double>(2)->gram(X.view(), W.view(), Coupling::separate, penalty, {}, H, {});
  const Sums with =
      gram(X.view(), {RandomWeights::separable, Coupling::separate, 1}, penalty, 2);
  for (index a = 0; a < 5; ++a)
    for (index b = a; b < 5; ++b)
      CHECK(H(a, b) == with.H(a, b));
}

}  // namespace upweight::test
