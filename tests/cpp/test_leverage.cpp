// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

/// A factor R (upper) of order P per block, well conditioned, and H^-1 from it.
struct RandomFactor {
  RandomFactor(index order, index count) : R(count * order, order), count_(count) {
    Random random(41);
    for (index k = 0; k < count; ++k)
      for (index i = 0; i < order; ++i)
        for (index j = i; j < order; ++j)
          R(k * order + i, j) =
              i == j ? random.uniform(1, 2) : random.uniform(-1, 1) / std::sqrt(order);
  }
  [[nodiscard]] Factor view() const { return {R, count_}; }

  /// R^-T b of block k, by forward substitution.
  [[nodiscard]] std::vector<double> whiten(index k, std::vector<double> b) const {
    const ConstMatrix block = view().block(k);
    for (index i = 0; i < block.rows; ++i) {
      for (index j = 0; j < i; ++j)
        b[static_cast<std::size_t>(i)] -= block(j, i) * b[static_cast<std::size_t>(j)];
      b[static_cast<std::size_t>(i)] /= block(i, i);
    }
    return b;
  }

  Values R;

private:
  index count_;
};

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j)
    sum += a[j] * b[j];
  return sum;
}

/// e_k (x) x_i scaled by `scale`, as the factor's order has it (P, or q).
template <class T>
std::vector<double> segment(const Design<T>& X, index i, index k, double scale,
                            index order) {
  const index q = X.columns();
  std::vector<double> g(static_cast<std::size_t>(order), 0.0);
  for (index j = 0; j < q; ++j)
    g[static_cast<std::size_t>((order > q ? k * q : 0) + j)] = scale * entry(X, i, j);
  return g;
}

struct Shape {
  index n, q, K, count;  // count 0: one block for all outputs together
  [[nodiscard]] index order() const { return count == 0 ? K * q : q; }
  [[nodiscard]] index blocks() const { return std::max<index>(count, 1); }
};

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const index n : {1, 7, 257, 1025})  // both under and over twice the columns
    for (const index q : {1, 9, 33})
      for (const auto& [K, count] :
           {std::pair(1, 1), std::pair(3, 1), std::pair(3, 3), std::pair(3, 0)})
        all.push_back({n, q, K, count});
  return all;
}

}  // namespace

TEST_CASE_TEMPLATE("the leverage of one column is x^2 / H", T, double, float) {
  const Grid<T> features(2, 1, {1, 3});
  const Values R(1, 1, {2});  // H = 4
  Values C(2, 1), S(2, 1);
  const auto cpu = words<T>(1);
  cpu->leverage_blocks({features, false}, {R, 1}, 1, C);
  CHECK(C.same_bits(Values(2, 1, {0.25, 2.25})));
  cpu->quadratic_form({features, false}, {R, 1}, Values(2, 1, {2, -1}), S);
  CHECK(S.same_bits(Values(2, 1, {1, 2.25})));
}

TEST_CASE_TEMPLATE("leverage_blocks are products of whitened rows", T, double, float) {
  for (const Shape& s : shapes()) {
    const RandomDesign<T> X(s.n, s.q, true);
    const RandomFactor factor(s.order(), s.blocks());
    const bool coupled = s.count == 0;
    Values C(s.n, coupled ? s.K * s.K : s.K, 2), expected(s.n, C.cols());
    words<T>(2)->leverage_blocks(X.view(), factor.view(), s.K, C);
    for (index i = 0; i < s.n; ++i) {
      std::vector<std::vector<double>> z;
      for (index k = 0; k < s.K; ++k)
        z.push_back(factor.whiten(k, segment(X.view(), i, k, 1, s.order())));
      for (index k = 0; k < s.K; ++k)
        for (index l = 0; l < (coupled ? s.K : 1); ++l)
          expected(i, coupled ? k * s.K + l : k) =
              dot(z[static_cast<std::size_t>(k)],
                  z[static_cast<std::size_t>(coupled ? l : k)]);
    }
    CAPTURE(s.n);
    CAPTURE(s.q);
    CAPTURE(s.K);
    CAPTURE(s.count);
    CHECK(relative_error(C, expected) < 1e-13);
    CHECK(C.gaps_untouched());
  }
}

TEST_CASE_TEMPLATE("quadratic_form is the squared length of the whitened gradient", T,
                   double, float) {
  for (const Shape& s : shapes()) {
    const RandomDesign<T> X(s.n, s.q, true);
    const RandomFactor factor(s.order(), s.blocks());
    const Values a = random_grid(s.n, s.K, 42, 1);
    Values out(s.n, 1, 1), expected(s.n, 1);
    words<T>(2)->quadratic_form(X.view(), factor.view(), a, out);
    for (index i = 0; i < s.n; ++i) {
      std::vector<double> whole(static_cast<std::size_t>(s.order()), 0.0);
      for (index k = 0; k < s.K; ++k) {
        const std::vector<double> part = segment(X.view(), i, k, a(i, k), s.order());
        if (s.count == 0)
          for (std::size_t j = 0; j < whole.size(); ++j)
            whole[j] += part[j];
        else
          expected(i, 0) += dot(factor.whiten(k, part), factor.whiten(k, part));
      }
      if (s.count == 0)
        expected(i, 0) = dot(factor.whiten(0, whole), factor.whiten(0, whole));
    }
    CAPTURE(s.n);
    CAPTURE(s.q);
    CAPTURE(s.count);
    CHECK(relative_error(out, expected) < 1e-13);
    CHECK(out.gaps_untouched());
  }
}

TEST_CASE_TEMPLATE("scaled_norm is |a| |x / scale|", T, double, float) {
  for (const index n : row_counts)
    for (const index q : {1, 8, 17}) {
      const RandomDesign<T> X(n, q, true);
      const Values a = random_grid(n, 3, 43);
      Values scale(1, q), out(n, 1, 1), expected(n, 1);
      for (index j = 0; j < q; ++j)
        scale(0, j) = 0.5 + double(j);
      words<T>(2)->scaled_norm(X.view(), a, scale, out);
      for (index i = 0; i < n; ++i) {
        double left = 0, right = 0;
        for (index k = 0; k < 3; ++k)
          left += a(i, k) * a(i, k);
        for (index j = 0; j < q; ++j)
          right += std::pow(entry(X.view(), i, j) / scale(0, j), 2);
        expected(i, 0) = std::sqrt(left * right);
      }
      CHECK(relative_error(out, expected) < 1e-14);
      CHECK(out.gaps_untouched());
    }
}

TEST_CASE_TEMPLATE("leverages give the same bits for any number of threads", T, double,
                   float) {
  for (const Shape& s : {Shape{2050, 17, 3, 0}, Shape{2050, 17, 3, 3},
                         Shape{2050, 17, 1, 1}, Shape{30, 17, 1, 1}}) {
    const RandomDesign<T> X(s.n, s.q, true);
    const RandomFactor factor(s.order(), s.blocks());
    const Values a = random_grid(s.n, s.K, 42);
    CHECK(same_for_any_threads([&](int threads) {
      Values C(s.n, s.count == 0 ? s.K * s.K : s.K);
      words<T>(threads)->leverage_blocks(X.view(), factor.view(), s.K, C);
      return C;
    }));
    CHECK(same_for_any_threads([&](int threads) {
      Values out(s.n, 1);
      words<T>(threads)->quadratic_form(X.view(), factor.view(), a, out);
      return out;
    }));
  }
}

}  // namespace upweight::test
