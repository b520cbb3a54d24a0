// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

/// Rows of a separable family in float32.
struct Rows {
  Rows(Family family_, index m, index q)
      : family(family_), Z(random_grid<float>(m, q, 71, 3)), weight(1, m), mean(1, m) {
    Random random(72);
    for (index j = 0; j < m; ++j) {
      weight(0, j) = static_cast<float>(j % 5 == 2 ? 0.0 : random.uniform(0.1, 2));
      mean(0, j) = static_cast<float>(random.uniform(0.05, 0.95));
    }
  }
  [[nodiscard]] RemainderRows<float> view() const {
    return {family, 1, Z, weight, mean};
  }
  [[nodiscard]] double slope(index j) const {
    const double p = static_cast<double>(mean(0, j));
    const double skew = family == Family::binomial  ? 0.5 - p
                        : family == Family::poisson ? 0.5
                        : family == Family::smooth_hinge
                            ? (0.5 - p) / family.temperature
                            : 0.0;
    return static_cast<double>(weight(0, j)) * skew;
  }
  [[nodiscard]] double z(index j, index k) const {
    return static_cast<double>(Z(j, k));
  }

  Family family;
  Grid<float> Z, weight, mean;
};

index pair_row(index k1, index k2) {
  return k2 * (k2 + 1) / 2 + k1;
}

Grid<float> tensor(int threads, const Rows& rows) {
  const index q = rows.Z.cols();
  Grid<float> cubic(q * (q + 1) / 2, q, 1);
  words<double>(threads)->cubic_tensor(rows.view(), cubic);
  return cubic;
}

/// sum_j slope_j z_jk1 z_jk2 z_jk, and the same of absolute values.
std::pair<double, double> naive_entry(const Rows& rows, index k1, index k2, index k) {
  double sum = 0, size = 0;
  for (index j = 0; j < rows.Z.rows(); ++j) {
    const double term = rows.slope(j) * rows.z(j, k1) * rows.z(j, k2) * rows.z(j, k);
    sum += term;
    size += std::fabs(term);
  }
  return {sum, size};
}

}  // namespace

TEST_CASE("the tensor is half the third derivative, in every order of its indices") {
  for (const Family family : {Family(Family::binomial), Family(Family::poisson),
                              Family(Family::smooth_hinge, 0.25)})
    for (const index m : {1, 7, 255, 257, 700})
      for (const index q : {1, 2, 9, 26}) {
        const Rows rows(family, m, q);
        const Grid<float> cubic = tensor(2, rows);
        double worst = 0;
        for (index k2 = 0; k2 < q; ++k2)
          for (index k1 = 0; k1 <= k2; ++k1)
            for (index k = 0; k < q; ++k) {
              const auto [sum, size] = naive_entry(rows, k1, k2, k);
              const double off = static_cast<double>(cubic(pair_row(k1, k2), k)) - sum;
              worst = std::max(worst, std::fabs(off) / (size + 1e-30));
            }
        CAPTURE(static_cast<int>(family));
        CAPTURE(m);
        CAPTURE(q);
        CHECK(worst < 2e-6);
        CHECK(cubic.gaps_untouched());
      }
}

TEST_CASE("a gaussian has no third derivative") {
  const Rows rows(Family::gaussian, 30, 4);
  CHECK(tensor(1, rows).same_bits(Grid<float>(10, 4)));
}

TEST_CASE("contracted twice with a move, it is the other rows' sum of slope u^2 z") {
  for (const Family family : {Family(Family::binomial), Family(Family::poisson),
                              Family(Family::smooth_hinge, 0.25)})
    for (const index q : {1, 2, 9, 26, 50}) {
      const index m = 300, batch = 37;
      const Rows rows(family, m, q);
      const Grid<float> cubic = tensor(2, rows);
      RowSets sets;
      for (index b = 0; b < batch; ++b) {
        const std::int64_t members[] = {(3 * b) % m, (3 * b + 1) % m, (3 * b + 2) % m};
        sets.add(members, 1 + b % 3);
      }
      const index M = sets.total();
      Grid<float> weight(1, M), mean(1, M);
      Values Z(M, q, 1);
      for (index c = 0; c < M; ++c) {
        const auto j = static_cast<index>(sets.members[static_cast<std::size_t>(c)]);
        weight(0, c) = rows.weight(0, j);
        mean(0, c) = rows.mean(0, j);
        for (index k = 0; k < q; ++k)
          Z(c, k) = rows.z(j, k);
      }
      const Values delta = random_grid(batch, q, 73, 2);
      const Values before = random_grid(batch, q, 74, 1);  // it adds to what is there
      Values G = before, expected = before, whole(batch, q);
      const RemainderRows<float> own{family, 1, {}, weight, mean};
      words<double>(2)->cubic_contract(cubic, sets, own, Z, delta, G);
      for (index b = 0; b < batch; ++b) {
        const auto at = static_cast<std::size_t>(b);
        for (index j = 0; j < m; ++j) {
          double u = 0;
          for (index k = 0; k < q; ++k)
            u += rows.z(j, k) * delta(b, k);
          bool mine = false;
          for (index c = sets.offsets[at]; c < sets.offsets[at + 1]; ++c)
            mine |= sets.members[static_cast<std::size_t>(c)] == j;
          for (index k = 0; k < q; ++k) {
            const double part = rows.slope(j) * u * u * rows.z(j, k);
            expected(b, k) += mine ? 0.0 : part;
            whole(b, k) += std::fabs(part);
          }
        }
      }
      CAPTURE(static_cast<int>(family));
      CAPTURE(q);
      double worst = 0;
      for (index b = 0; b < batch; ++b)
        for (index k = 0; k < q; ++k)
          worst = std::max(worst, std::fabs(G(b, k) - expected(b, k)) /
                                      (whole(b, k) + std::fabs(before(b, k))));
      CHECK(worst < 2e-5);
      CHECK(G.gaps_untouched());
    }
}

TEST_CASE("the tensor and its contraction have the same bits for any threads") {
  const Rows rows(Family::binomial, 900, 24);
  CHECK(same_for_any_threads([&](int threads) { return tensor(threads, rows); }));
  const Grid<float> cubic = tensor(1, rows);
  RowSets sets;
  for (std::int64_t b = 0; b < 130; ++b)
    sets.add(&b, 1);
  const Values Z = random_grid(130, 24, 75), delta = random_grid(130, 24, 76);
  CHECK(same_for_any_threads([&](int threads) {
    Values G(130, 24);
    words<double>(threads)->cubic_contract(cubic, sets, rows.view(), Z, delta, G);
    return G;
  }));
}

}  // namespace upweight::test
