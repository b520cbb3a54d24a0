// SPDX-License-Identifier: BSD-3-Clause
#include "formula.hpp"
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

struct Terms {
  Terms(index n, index K)
      : eta(n, K, 1), residual(n, K, 2), diagonal(n, K, 3), factor(n, K, 1) {}
  Values eta, residual, diagonal, factor;
  GlmSummary summary;
  [[nodiscard]] bool same_bits(const Terms& other) const {
    return eta.same_bits(other.eta) && residual.same_bits(other.residual) &&
           diagonal.same_bits(other.diagonal) && factor.same_bits(other.factor) &&
           summary.loss == other.summary.loss &&
           summary.worst_residual == other.summary.worst_residual;
  }
  [[nodiscard]] bool gaps_untouched() const {
    return eta.gaps_untouched() && residual.gaps_untouched() &&
           diagonal.gaps_untouched() && factor.gaps_untouched();
  }
};

struct Input {
  Input(Family family_, index n, index K)
      : family(family_), y(n, family_ == Family::multinomial ? 1 : K, 1),
        s(random_grid(n, 1, 21, 2)), eta(random_grid(n, K, 22, 1)),
        direction(random_grid(n, K, 23, 2)) {
    Random random(24);
    for (index i = 0; i < n; ++i) {
      s(i, 0) = i % 5 == 3 ? 0.0 : 1.5 + s(i, 0);
      for (index k = 0; k < K; ++k) {
        eta(i, k) *= 4;
        if (k < y.cols())
          y(i, k) = family == Family::gaussian ? random.uniform(-1, 1)
                                               : std::floor(random.uniform(0, label()));
        if (k < y.cols() && family == Family::smooth_hinge)
          y(i, k) = 2 * y(i, k) - 1;
      }
    }
  }
  [[nodiscard]] double label() const {
    return family == Family::binomial || family == Family::smooth_hinge ? 2
           : family == Family::poisson ? 5
                                       : static_cast<double>(eta.cols());
  }
  [[nodiscard]] Terms run(int threads, bool weighted, bool moved) const {
    Terms out(eta.rows(), eta.cols());
    out.summary = words<double>(threads)->glm_terms(
        family, y, weighted ? s.view() : ConstMatrix(), eta,
        moved ? direction.view() : ConstMatrix(), 0.5, out.eta, out.residual,
        out.diagonal, out.factor);
    return out;
  }

  Family family;
  Values y, s, eta, direction;
};

/// Loss, residual and weights of one row by formulas in long double.
struct NaiveRow {
  long double loss = 0;
  std::vector<long double> residual, probability, weight;
};

NaiveRow naive_row(const Input& in, index i, const Values& eta) {
  NaiveRow row;
  long double total = 0;
  for (index k = 0; k < eta.cols(); ++k)
    total += std::exp(static_cast<long double>(eta(i, k)));
  for (index k = 0; k < eta.cols(); ++k) {
    const long double e = eta(i, k), mu = std::exp(e), y = in.y(i, k % in.y.cols());
    const bool own = static_cast<index>(in.y(i, 0)) == k;
    const long double p = in.family == Family::multinomial ? mu / total : mu / (1 + mu);
    row.probability.push_back(p);
    switch (in.family.kind) {
    case Family::gaussian:
      row.loss += (y - e) * (y - e) / 2;
      row.residual.push_back(e - y);
      row.weight.push_back(1);
      break;
    case Family::binomial:
      row.loss += std::log(1 + mu) - y * e;
      row.residual.push_back(p - y);
      row.weight.push_back(p * (1 - p));
      break;
    case Family::poisson:
      row.loss += mu - y * e;
      row.residual.push_back(mu - y);
      row.weight.push_back(mu);
      break;
    case Family::smooth_hinge: {
      const long double t = in.family.temperature, z = (1 - y * e) / t;
      const long double wrong = 1 / (1 + std::exp(-z));
      row.loss += t * std::log1p(std::exp(z));
      row.residual.push_back(-y * wrong);
      row.weight.push_back(wrong / (1 + std::exp(z)) / t);
      break;
    }
    case Family::multinomial:
      row.loss += own ? std::log(total) - e : 0;
      row.residual.push_back(p - (own ? 1 : 0));
      row.weight.push_back(p);
      break;
    }
  }
  return row;
}

constexpr Family families[] = {Family::gaussian,
                               Family::binomial,
                               Family::poisson,
                               Family::multinomial,
                               {Family::smooth_hinge, 0.3}};

void check_against_naive(const Input& in, bool weighted, bool moved) {
  const index n = in.eta.rows(), K = in.eta.cols();
  const Terms out = in.run(2, weighted, moved);
  Values eta(n, K), residual(n, K), diagonal(n, K), factor(n, K);
  long double loss = 0;
  std::vector<double> worst(static_cast<std::size_t>(K), 0.0);
  for (index i = 0; i < n; ++i) {
    for (index k = 0; k < K; ++k)
      eta(i, k) = in.eta(i, k) + (moved ? 0.5 * in.direction(i, k) : 0.0);
    const NaiveRow row = naive_row(in, i, eta);
    const double s = weighted ? in.s(i, 0) : 1.0;
    loss += s * row.loss;
    for (index k = 0; k < K; ++k) {
      const auto at = static_cast<std::size_t>(k);
      residual(i, k) = static_cast<double>(s * row.residual[at]);
      diagonal(i, k) = static_cast<double>(s * row.weight[at]);
      factor(i, k) = static_cast<double>(std::sqrt(s) * row.probability[at]);
      const auto size = static_cast<double>(std::fabs(row.residual[at]));
      const bool own = static_cast<index>(in.y(i, 0)) == k;
      if (s > 0 && (in.family != Family::multinomial || own))
        for (double& each : worst)
          if (&each == &worst[at] || in.family == Family::multinomial)
            each = std::max(each, size);
    }
  }
  CHECK(relative_error(out.eta, eta) < 1e-15);
  CHECK(relative_error(out.residual, residual) < 1e-14);
  CHECK(relative_error(out.diagonal, diagonal) < 1e-14);
  if (in.family == Family::multinomial)
    CHECK(relative_error(out.factor, factor) < 1e-14);
  CHECK(out.summary.loss ==
        doctest::Approx(static_cast<double>(loss)).epsilon(1e-12).scale(0.01));
  CHECK(out.summary.worst_residual ==
        doctest::Approx(*std::min_element(worst.begin(), worst.end())).epsilon(1e-13));
  CHECK(out.gaps_untouched());
}

}  // namespace

TEST_CASE("glm_terms of one row are what one computes by hand") {
  Values eta(1, 1), r(1, 1), w(1, 1);
  const auto cpu = words<double>(1);
  const auto loss = [&](Family family, double y) {
    return cpu
        ->glm_terms(family, Values(1, 1, {y}), {}, Values(1, 1, {0}), {}, 0, eta, r, w,
                    {})
        .loss;
  };
  CHECK(loss(Family::gaussian, 3) == 4.5);
  CHECK(r(0, 0) == -3);
  CHECK(w(0, 0) == 1);
  CHECK(loss(Family::binomial, 1) == doctest::Approx(std::log(2)).epsilon(1e-16));
  CHECK(r(0, 0) == -0.5);
  CHECK(w(0, 0) == 0.25);
  CHECK(loss(Family::poisson, 3) == 1);
  CHECK(r(0, 0) == -2);
  CHECK(w(0, 0) == 1);

  Values eta3(1, 4), r3(1, 4), p(1, 4), f(1, 4);
  const GlmSummary summary =
      cpu->glm_terms(Family::multinomial, Values(1, 1, {2}), Values(1, 1, {4}),
                     Values(1, 4, {0, 0, 0, 0}), {}, 0, eta3, r3, p, f);
  CHECK(summary.loss == doctest::Approx(4 * std::log(4)).epsilon(1e-15));
  CHECK(summary.worst_residual == 0.75);
  CHECK(r3.same_bits(Values(1, 4, {1, 1, -3, 1})));
  CHECK(p.same_bits(Values(1, 4, {1, 1, 1, 1})));
  CHECK(f.same_bits(Values(1, 4, {0.5, 0.5, 0.5, 0.5})));
}

TEST_CASE("glm_terms are loss, residual and weights of every family and size") {
  for (const Family family : families)
    for (const index n : {1, 7, 8, 255, 257, 4095, 4096, 4097, 9001})
      for (const index K : {1, 3}) {
        if (family == Family::multinomial && K == 1)
          continue;
        const Input in(family, n, K);
        CAPTURE(static_cast<int>(family));
        CAPTURE(n);
        CAPTURE(K);
        for (const bool weighted : {false, true})
          for (const bool moved : {false, true})
            check_against_naive(in, weighted, moved);
      }
}

TEST_CASE("glm_terms may write eta over itself") {
  for (const Family family : families) {
    const Input in(family, 301, 3);
    Terms apart = in.run(2, true, true), over(301, 3);
    over.eta = in.eta;
    over.summary = words<double>(2)->glm_terms(
        family, in.y, in.s, over.eta, in.direction, 0.5, over.eta, over.residual,
        over.diagonal, over.factor);
    CHECK(over.same_bits(apart));
  }
}

TEST_CASE("glm_terms give the same bits for any number of threads") {
  for (const Family family : families) {
    const Input in(family, 20001, 3);
    CHECK(
        same_for_any_threads([&](int threads) { return in.run(threads, true, true); }));
  }
}

TEST_CASE("a row of weight zero counts for nothing, wherever its eta is") {
  for (const Family family : families) {
    const index K = 3, far = 3;  // row 3 has weight 0
    Input in(family, 20, K);
    REQUIRE(in.s(far, 0) == 0);
    const GlmSummary before = in.run(1, true, false).summary;
    in.eta(far, 0) = 1e5;
    in.eta(far, 1) = -1e5;
    const Terms out = in.run(1, true, false);
    CAPTURE(static_cast<int>(family));
    CHECK(out.summary.loss == before.loss);
    CHECK(out.summary.worst_residual == before.worst_residual);
    for (index k = 0; k < K; ++k) {
      CHECK(out.residual(far, k) == 0);
      CHECK(out.diagonal(far, k) == 0);
    }
  }
}

TEST_CASE("target_gradient is the derivative of each target") {
  for (const Family family : families) {
    const index K = family == Family::multinomial ? 3 : 1;
    const Input in(family, 4099, K);
    Values loss(4099, K, 1), margin(4099, K, 1), probability(4099, K, 1);
    const auto cpu = words<double>(2);
    cpu->target_gradient(family, Target::loss, in.y, in.eta, loss);
    cpu->target_gradient(family, Target::margin, in.y, in.eta, margin);
    cpu->target_gradient(family, Target::probability, in.y, in.eta, probability);
    Values residual(4099, K), own(4099, K), slope(4099, K);
    for (index i = 0; i < 4099; ++i) {
      const NaiveRow row = naive_row(in, i, in.eta);
      const auto cls = static_cast<index>(in.y(i, 0));
      for (index k = 0; k < K; ++k) {
        const auto at = static_cast<std::size_t>(k);
        residual(i, k) = static_cast<double>(row.residual[at]);
        own(i, k) = K == 1 || k == cls ? 1.0 : 0.0;
        const long double p =
            K > 1 ? row.probability[static_cast<std::size_t>(cls)] : 0.0L;
        slope(i, k) =
            static_cast<double>(K > 1 ? -p * row.residual[at] : row.weight[at]);
      }
    }
    CAPTURE(static_cast<int>(family));
    CHECK(relative_error(loss, residual) < 1e-14);
    CHECK(relative_error(margin, own) == 0);
    if (family != Family::smooth_hinge)  // which has none
      CHECK(relative_error(probability, slope) < 1e-14);
  }
}

}  // namespace upweight::test
