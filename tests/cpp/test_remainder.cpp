// SPDX-License-Identifier: BSD-3-Clause
#include "formula.hpp"
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

using Wide = long double;

/// Rows as remainders take them, in precision R, with what they were made from.
template <class R>
struct Rows {
  Rows(Family family_, index m, index q, index K)
      : family(family_), Z(random_grid<R>(m, q, 61, 2)), weight(1, m), mean(K, m, 3) {
    Random random(62);
    for (index j = 0; j < m; ++j) {
      weight(0, j) = j % 7 == 3 ? R(0) : static_cast<R>(random.uniform(0.1, 2));
      double total = 0;
      for (index k = 0; k < K; ++k) {
        mean(k, j) = static_cast<R>(random.uniform(0.02, 0.98));
        total += static_cast<double>(mean(k, j));
      }
      for (index k = 0; k < K && family == Family::multinomial; ++k)
        mean(k, j) = static_cast<R>(static_cast<double>(mean(k, j)) / total);
    }
  }
  [[nodiscard]] RemainderRows<R> view() const {
    return {family, mean.rows(), Z, weight, mean};
  }

  Family family;
  Grid<R> Z, weight, mean;
};

/// Sets of 1, 2, .. members out of `rows` places, some of which are not read.
struct Sets {
  Sets(index count, index rows) {
    std::vector<std::int64_t> members;
    for (index b = 0; b < count; ++b) {
      members.clear();
      for (index m = 0; m <= b % 3; ++m) {
        members.push_back((7 * b + 5 * m) % (rows + 3));
        own.push_back((b + m) % 5 == 4 ? -1 : members.back());
      }
      sets.add(members.data(), static_cast<index>(members.size()));
    }
  }
  RowSets sets;
  std::vector<std::int64_t> own;
};

/// rho of one row at the move u, by differences in long double.
std::vector<Wide> naive_rho(Family family, bool third, Wide w,
                            const std::vector<Wide>& p, const std::vector<Wide>& u) {
  const std::size_t K = p.size();
  std::vector<Wide> rho(K);
  if (family == Family::multinomial) {
    Wide total = 0, mean = 0, sum = 0;
    for (std::size_t k = 0; k < K; ++k) {
      total += p[k] * std::exp(u[k]);
      mean += p[k] * u[k];
      sum += p[k];
    }
    for (std::size_t k = 0; k < K; ++k)
      rho[k] = w * p[k] * (std::exp(u[k]) / total - 1 / sum - (u[k] - mean / sum));
    return rho;
  }
  for (std::size_t k = 0; k < K; ++k) {
    const Wide e = std::exp(u[k]);
    switch (family.kind) {
    case Family::smooth_hinge: {  // t times the binomial's at u / t
      const Wide t = family.temperature;
      rho[k] = t * naive_rho(Family::binomial, third, w, {p[k]}, {u[k] / t})[0];
      break;
    }
    case Family::binomial: {  // over l'' = p (1 - p)
      const Wide moved = p[k] * e / (1 - p[k] + p[k] * e);
      rho[k] = w * ((moved - p[k]) / (p[k] * (1 - p[k])) - u[k]);
      rho[k] -= third ? w * (Wide(0.5) - p[k]) * u[k] * u[k] : 0;
      break;
    }
    case Family::poisson:
      rho[k] = w * (e - 1 - u[k] - (third ? u[k] * u[k] / 2 : 0));
      break;
    default:
      rho[k] = 0;
    }
  }
  return rho;
}

constexpr Family families[] = {Family::binomial,
                               Family::poisson,
                               Family::multinomial,
                               {Family::smooth_hinge, 0.25}};

struct Result {
  Result(index batch, index P) : G(batch, P, 1), reach(batch, 1, 2) {}
  [[nodiscard]] bool same_bits(const Result& other) const {
    return G.same_bits(other.G) && reach.same_bits(other.reach);
  }
  Values G, reach;
};

template <class R>
Result run(int threads, const Rows<R>& rows, index count, bool third, const Sets& sets,
           const Values& delta) {
  Result out(delta.rows(), delta.cols());
  words<double>(threads)->remainder_gradient(rows.view(), count, third, sets.sets,
                                             sets.own.data(), delta, out.G, out.reach);
  return out;
}

template <class R>
Result naive(const Rows<R>& rows, index count, bool third, const Sets& sets,
             const Values& delta) {
  const index q = rows.Z.cols(), K = rows.mean.rows();
  Result out(delta.rows(), delta.cols());
  for (index b = 0; b < delta.rows(); ++b) {
    std::vector<Wide> G(static_cast<std::size_t>(K * q), 0);
    for (index j = 0; j < count; ++j) {
      bool mine = false;
      for (index m = sets.sets.offsets[static_cast<std::size_t>(b)];
           m < sets.sets.offsets[static_cast<std::size_t>(b) + 1]; ++m)
        mine |= sets.own[static_cast<std::size_t>(m)] == j;
      if (mine)
        continue;
      std::vector<Wide> p, u;
      for (index k = 0; k < K; ++k) {
        Wide sum = 0;
        for (index a = 0; a < q; ++a)
          sum += Wide(rows.Z(j, a)) * Wide(delta(b, k * q + a));
        u.push_back(sum);
        p.push_back(Wide(rows.mean(k, j)));
      }
      Wide low = u[0], high = u[0];
      for (const Wide each : u) {
        low = std::min(low, each);
        high = std::max(high, each);
      }
      const Wide size = rows.family == Family::multinomial
                            ? high - low
                            : std::max(std::fabs(low), std::fabs(high));
      out.reach(b, 0) = std::max(out.reach(b, 0), static_cast<double>(size));
      const std::vector<Wide> rho =
          naive_rho(rows.family, third, Wide(rows.weight(0, j)), p, u);
      for (index k = 0; k < K; ++k)
        for (index a = 0; a < q; ++a)
          G[static_cast<std::size_t>(k * q + a)] +=
              rho[static_cast<std::size_t>(k)] * Wide(rows.Z(j, a));
    }
    for (index a = 0; a < K * q; ++a)
      out.G(b, a) = static_cast<double>(G[static_cast<std::size_t>(a)]);
  }
  return out;
}

Values moves(index batch, index P, double size) {
  Values delta = random_grid(batch, P, 63, 1);
  for (index b = 0; b < batch; ++b)
    for (index j = 0; j < P; ++j)
      delta(b, j) *= size / std::sqrt(static_cast<double>(P));
  return delta;
}

}  // namespace

TEST_CASE_TEMPLATE("the remainder's gradient sums what the other rows' losses leave", R,
                   double, float) {
  // a move is rounded beside |z| |delta|, which a single row's may be well under
  const double tolerance = sizeof(R) == sizeof(double) ? 1e-12 : 5e-5;
  for (const Family family : families)
    for (const index m : {1, 7, 511, 513, 1030})
      for (const index q : {1, 9, 33})
        for (const double size : {0.05, 0.5, 5.0})
          for (const bool third : {false, true}) {
            const index K = family == Family::multinomial ? 3 : 1;
            if (third && (K > 1 || size < 0.1))  // what is left is far under rounding
              continue;
            const Rows<R> rows(family, m, q, K);
            const Sets sets(19, m);
            const Values delta = moves(19, K * q, size);
            const index count = m - m / 4;  // rows after the prefix are not read
            const Result out = run(2, rows, count, third, sets, delta),
                         expected = naive(rows, count, third, sets, delta);
            CAPTURE(static_cast<int>(family));
            CAPTURE(m);
            CAPTURE(q);
            CAPTURE(size);
            CAPTURE(third);
            CHECK(relative_error(out.G, expected.G) < tolerance);
            CHECK(relative_error(out.reach, expected.reach) < tolerance);
            CHECK(out.G.gaps_untouched());
            CHECK(out.reach.gaps_untouched());
          }
}

TEST_CASE("a gaussian leaves nothing") {
  const Rows<float> rows(Family::gaussian, 40, 5, 1);
  const Sets sets(4, 40);
  CHECK(run(1, rows, 40, false, sets, moves(4, 5, 3.0)).G.same_bits(Values(4, 5)));
}

TEST_CASE("no rows to read leave no gradient and no reach") {
  const Rows<float> rows(Family::poisson, 5, 3, 1);
  const Result out = run(2, rows, 0, false, Sets(6, 5), moves(6, 3, 1.0));
  CHECK(out.G.same_bits(Values(6, 3)));
  CHECK(out.reach.same_bits(Values(6, 1)));
}

TEST_CASE("moves that overflow leave finite gradients, and say how far they reach") {
  for (const Family family : families) {
    const index K = family == Family::multinomial ? 3 : 1;
    const Rows<float> rows(family, 30, 4, K);
    const Result out = run(1, rows, 30, false, Sets(3, 30), moves(3, 4 * K, 1e6));
    CAPTURE(static_cast<int>(family));
    for (index b = 0; b < 3; ++b) {
      CHECK(out.reach(b, 0) > 1e4);
      for (index j = 0; j < 4 * K; ++j)
        CHECK(std::isfinite(out.G(b, j)));
    }
  }
}

TEST_CASE_TEMPLATE("remainders give the same bits for any number of threads", R, double,
                   float) {
  for (const Family family : {Family::binomial, Family::multinomial}) {
    const index K = family == Family::multinomial ? 3 : 1;
    const Rows<R> rows(family, 1100, 17, K);
    const Sets sets(205, 1100);
    const Values delta = moves(205, 17 * K, 0.5);
    CHECK(same_for_any_threads(
        [&](int threads) { return run(threads, rows, 1100, false, sets, delta); }));
  }
}

TEST_CASE_TEMPLATE("remainder_terms are weights and means of the rows asked for", R,
                   double, float) {
  const index n = 4100;
  const std::vector<std::int64_t> chosen = {4099, 0, 17, 17, 4096, 3};
  const auto m = static_cast<index>(chosen.size());
  const double tolerance = sizeof(R) == sizeof(double) ? 1e-15 : 1e-7;
  Values eta = random_grid(n, 3, 64, 1), s(n, 1), w(n, 1, 2), y(n, 1, 1);
  for (index i = 0; i < n; ++i) {
    s(i, 0) = i % 3 == 0 ? 0.0 : 1.5;
    w(i, 0) = 0.25 + 0.1 * eta(i, 0);
    y(i, 0) = i % 2 == 0 ? -1.0 : 1.0;
  }
  for (const Family family : families) {
    const index K = family == Family::multinomial ? 3 : 1;
    Grid<R> weight(1, m), mean(K, m, 1);
    words<double>(2)->remainder_terms(family, {w, {}}, y, s, eta.view().block(0, n),
                                      chosen.data(), MatrixView<R>(weight),
                                      MatrixView<R>(mean));
    for (index c = 0; c < m; ++c) {
      const auto i = static_cast<index>(chosen[static_cast<std::size_t>(c)]);
      const bool softmax = family == Family::multinomial;
      CHECK(static_cast<double>(weight(0, c)) ==
            doctest::Approx(softmax ? s(i, 0) : w(i, 0)).epsilon(tolerance));
      double total = 0;
      for (index k = 0; k < 3; ++k)
        total += std::exp(eta(i, k));
      for (index k = 0; k < K; ++k) {
        const bool hinge = family == Family::smooth_hinge;
        const double z = hinge ? (eta(i, k) - y(i, 0)) / family.temperature : eta(i, k);
        const double e = std::exp(z);
        const double expected = softmax                               ? e / total
                                : family == Family::binomial || hinge ? e / (1 + e)
                                                                      : e;
        CHECK(static_cast<double>(mean(k, c)) ==
              doctest::Approx(expected).epsilon(10 * tolerance));
      }
    }
    CHECK(mean.gaps_untouched());
  }
}

}  // namespace upweight::test
