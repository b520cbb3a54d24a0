// SPDX-License-Identifier: BSD-3-Clause
#include "formula.hpp"
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

using namespace formula;

namespace {

using Wide = long double;

/// |actual - expected| in units of the last place of the double nearest to `expected`.
double ulps(double actual, Wide expected) {
  const double nearest = std::fabs(static_cast<double>(expected));
  const double next = std::nextafter(nearest, std::numeric_limits<double>::infinity());
  return static_cast<double>(std::fabs(static_cast<Wide>(actual) - expected) /
                             static_cast<Wide>(next - nearest));
}

/// Relative error; numbers about to underflow are as good as zero.
double relative(double actual, Wide expected) {
  const Wide size = std::fmax(std::fabs(expected), Wide(1e-292));
  return static_cast<double>(std::fabs(static_cast<Wide>(actual) - expected) / size);
}

/// log(1 + e^(eta + u)) - log(1 + e^eta), without cancellation.
Wide softplus_change(Wide eta, Wide u) {
  if (std::fabs(u) < 1)
    return std::log1p(std::expm1(u) / (1 + std::exp(-eta)));
  const Wide a = eta + u;
  return (std::fmax(a, Wide(0)) - std::fmax(eta, Wide(0))) +
         (std::log1p(std::exp(-std::fabs(a))) - std::log1p(std::exp(-std::fabs(eta))));
}

/// Linear predictors and moves of every size and sign.
constexpr double etas[] = {0,  1e-9, 0.3, -0.3, 2,   -2,   7.5, -7.5,
                           36, -36,  40,  -40,  300, -300, 600, -600};
constexpr double moves[] = {0,       1e-300, 1e-17, -1e-12, 1e-8, -1e-8, 9.9e-3,
                            -9.9e-3, 1e-2,   0.1,   -0.1,   0.99, 1,     -1,
                            3,       -3,     30,    -30,    500,  -500};

}  // namespace

TEST_CASE("fast_exp is within 2 ulp of e^x wherever it does not underflow") {
  Random random(1);
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const double scale = i % 4 == 0 ? 708 : i % 4 == 1 ? 40 : i % 4 == 2 ? 1 : 1e-8;
    const double x = random.uniform(-scale, scale);
    worst = std::max(worst, ulps(fast_exp(x), std::exp(static_cast<Wide>(x))));
  }
  CHECK(worst < 2);
  for (const double x : {-708.0, 709.0, 709.43, 709.7, 709.78})
    CHECK(ulps(fast_exp(x), std::exp(static_cast<Wide>(x))) < 2);
}

TEST_CASE("fast_exp is exact at 0, and 0 or infinite at the ends") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(fast_exp(0.0) == 1);
  CHECK(fast_exp(-0.0) == 1);
  for (const double x : {-708.01, -1000.0, -1e308, -infinity})
    CHECK(fast_exp(x) == 0);
  for (const double x : {709.79, 1000.0, 1e308, infinity})
    CHECK(fast_exp(x) == infinity);
  CHECK(std::isnan(fast_exp(std::numeric_limits<double>::quiet_NaN())));
}

TEST_CASE("log1p_unit is within 2 ulp of log(1 + e) on [0, 1]") {
  Random random(2);
  double worst = 0, at = 0;
  for (int i = 0; i < 400000; ++i) {
    const double scale = i % 3 == 0 ? 1 : i % 3 == 1 ? 1e-3 : 1e-12;
    const double e = i % 8 == 7 ? random.uniform(0.41, 0.5) : random.uniform(0, scale);
    const double error = ulps(log1p_unit(e), std::log1p(static_cast<Wide>(e)));
    at = error > worst ? e : at;
    worst = std::max(worst, error);
  }
  CAPTURE(at);
  CHECK(worst < 2);
  CHECK(log1p_unit(0) == 0);
  CHECK(log1p_unit(1) == doctest::Approx(std::log(2.0)).epsilon(1e-16));
}

TEST_CASE("binomial terms keep their relative accuracy at both ends") {
  for (const double eta : etas)
    for (const double y : {0.0, 1.0}) {
      const Wide away = y > 0 ? -static_cast<Wide>(eta) : static_cast<Wide>(eta);
      const Wide wrong = 1 / (1 + std::exp(-away));  // probability of the other label
      const Terms t = Binomial::terms(y, eta);
      CAPTURE(eta);
      CAPTURE(y);
      CHECK(relative(t.loss, std::fmax(away, Wide(0)) +
                                 std::log1p(std::exp(-std::fabs(away)))) < 1e-15);
      CHECK(relative(t.residual, y > 0 ? -wrong : wrong) < 1e-15);
      CHECK(relative(t.weight, wrong * (1 / (1 + std::exp(away)))) < 1e-15);
      CHECK(relative(Binomial::sigmoid(eta), 1 / (1 + std::exp(-Wide(eta)))) < 1e-15);
    }
}

TEST_CASE("terms are the derivatives of the loss") {
  const auto check = [](auto f, double y, double eta) {
    const double h = 1e-4;
    const Terms t = f.terms(y, eta), up = f.terms(y, eta + h),
                down = f.terms(y, eta - h);
    CHECK(t.residual == doctest::Approx((up.loss - down.loss) / (2 * h)).epsilon(1e-6));
    CHECK(t.weight ==
          doctest::Approx((up.residual - down.residual) / (2 * h)).epsilon(1e-6));
    CHECK(std::fabs((up.weight - down.weight) / (2 * h)) <=
          f.self_concordance * t.weight * (1 + 1e-6) + 1e-9);
  };
  for (const double eta : {-2.0, -0.5, 0.1, 1.5})
    for (const double y : {0.0, 0.3, 1.0}) {
      check(Gaussian(), y, eta);
      check(Binomial(), y, eta);
      check(Poisson(), y, eta);
      for (const double t : {0.05, 1.0, 3.0})
        check(SmoothHinge(t), y > 0.2 ? 1 : -1, eta);
    }
}

namespace {

/// t log(1 + e^((1 - y eta) / t)) less the same at eta, without cancellation.
Wide hinge_change(double t, double y, double eta, double u) {
  return Wide(t) * softplus_change((1 - y * eta) / t, -y * u / t);
}

}  // namespace

TEST_CASE("a smooth hinge is what its name says, at every temperature") {
  const SmoothHinge one(1);
  // on the hinge t log 2, with half of the slope and a quarter of the curvature
  CHECK(one.terms(1, 1).loss == doctest::Approx(std::log(2)).epsilon(1e-15));
  CHECK(one.terms(-1, -1).residual == 0.5);
  CHECK(SmoothHinge(0.5).terms(1, 1).weight == 0.5);
  // far from it the hinge itself
  CHECK(SmoothHinge(0.001).terms(1, -1).loss == doctest::Approx(2).epsilon(1e-15));
  CHECK(SmoothHinge(0.001).terms(1, -1).residual == -1);
  CHECK(SmoothHinge(0.001).terms(-1, -3).loss == 0);
  for (const double t : {1e-3, 0.125, 1.0, 50.0})
    for (const double y : {-1.0, 1.0})
      for (const double eta : {-30.0, -1.0, -0.96875, 0.0, 0.5, 1.0, 1.03125, 30.0}) {
        const Wide z = (1 - Wide(y) * Wide(eta)) / Wide(t);
        if (std::fabs(z) > 700)
          continue;
        const Wide p = 1 / (1 + std::exp(-z));
        const Terms terms = SmoothHinge(t).terms(y, eta);
        // z is rounded, and its exponential by |z| times that
        const double worst = 4e-16 * (1 + static_cast<double>(std::fabs(z)));
        CAPTURE(t);
        CAPTURE(y);
        CAPTURE(eta);
        CHECK(relative(terms.loss, Wide(t) * (std::fmax(z, Wide(0)) +
                                              std::log1p(std::exp(-std::fabs(z))))) <
              worst);
        CHECK(relative(terms.residual, -Wide(y) * p) < worst);
        CHECK(relative(terms.weight, p / (1 + std::exp(z)) / Wide(t)) < worst);
        CHECK(relative(SmoothHinge(t).mean(y, eta), y > 0 ? 1 / (1 + std::exp(z)) : p) <
              worst);
      }
}

TEST_CASE("a smooth hinge's changes keep their accuracy for every size of move") {
  // temperatures and places that are exact in binary, so that z is
  for (const double t : {0.0009765625, 0.125, 1.0, 4.0})
    for (const double y : {-1.0, 1.0})
      for (const double z : {-8.0, -2.0, -0.25, 0.0, 0.5, 3.0, 12.0})
        for (const double v :
             {1e-12, -1e-6, 1e-3, -0.02, 0.06, -0.4, 0.5, 3.0, -25.0}) {
          const SmoothHinge hinge(t);
          const double eta = y - y * t * z, u = t * v;
          const Wide expected = hinge_change(t, y, eta, u);
          CAPTURE(t);
          CAPTURE(y);
          CAPTURE(z);
          CAPTURE(v);
          CHECK(relative(hinge.change(y, eta, u), expected) < 1e-13);
          if (std::fabs(v) <= 0.5) {  // from the side where nothing cancels
            const double p = hinge.mean(-1, -y * eta);
            CHECK(relative(hinge.change_near(-1, p, -y * u), expected) < 1e-14);
          }
          if (std::fabs(v) > series_reach)
            continue;
          double c[series_terms];
          hinge.change_series(y, eta, c);
          Wide sum = 0;
          for (int n = series_terms - 1; n >= 0; --n)
            sum = sum * Wide(u) + Wide(c[n]);
          CHECK(relative(static_cast<double>(sum * Wide(u)), expected) < 1e-14);
        }
}

TEST_CASE("gaussian change is the loss's difference") {
  CHECK(Gaussian::change(1, 3, 0.5) == 0.5 * 2.5 * 2.5 - 0.5 * 2 * 2);
  CHECK(Gaussian::change(0, 1e8, 1e-8) == doctest::Approx(1.0).epsilon(1e-15));
}

TEST_CASE("binomial change keeps its relative accuracy for every size of move") {
  for (const double eta : etas)
    for (const double u : moves) {
      CAPTURE(eta);
      CAPTURE(u);
      CHECK(relative(Binomial::change(0, eta, u), softplus_change(eta, u)) < 2e-13);
      CHECK(relative(Binomial::change(1, eta, u), softplus_change(-eta, -u)) < 2e-13);
    }
}

TEST_CASE("the change of a probability keeps its relative accuracy") {
  for (const double eta : etas)
    for (const double u : moves) {
      const Wide a = eta, b = u;
      const auto q = [](Wide x) { return 1 / (1 + std::exp(x)); };  // 1 - p
      Wide expected =
          std::expm1(b) * q(a) / (1 + std::exp(-a) * std::exp(-b)) * std::exp(-b);
      if (std::fabs(u) >= 1)
        expected = a + b / 2 > 0 ? q(a) - q(a + b) : q(-a - b) - q(-a);
      CAPTURE(eta);
      CAPTURE(u);
      CHECK(relative(Binomial::mean_change(eta, u), expected) < 2e-13);
    }
}

TEST_CASE("poisson change keeps its relative accuracy for every size of move") {
  for (const double eta : {0.0, 0.3, -0.3, 5.0, -5.0, 100.0, -100.0, -600.0, -800.0})
    for (const double u : moves)
      for (const double y : {0.0, 3.0}) {
        const Wide a = eta, b = u;
        const Wide rise = std::exp(a) * std::expm1(b), expected = rise - y * b;
        if (eta + u > 700)
          continue;
        CAPTURE(eta);
        CAPTURE(u);
        CAPTURE(y);
        // y u is all that may cancel: two numbers of the caller's
        const double error =
            static_cast<double>(std::fabs(Wide(Poisson::change(y, eta, u)) - expected));
        CHECK(error <=
              2e-13 * static_cast<double>(std::fabs(rise) + std::fabs(Wide(y) * b)));
      }
  CHECK(Poisson::change(2, -800, 800) == doctest::Approx(1 - 1600.0));
}

TEST_CASE("at a perfect fit the poisson change is of second order") {
  // eta = log y: the first-order term vanishes, and what is left must not cancel
  for (const double u : {1e-8, -1e-5, 5e-3, -9.99e-3, 1.01e-2, 0.5}) {
    const Wide b = u;
    const Wide tail =
        std::fabs(u) < 1e-4 ? b * b * (0.5L + b / 6 + b * b / 24) : std::expm1(b) - b;
    CHECK(relative(Poisson::change(1, 0, u), tail) < 1e-13);
  }
}

TEST_CASE("softmax change keeps its relative accuracy for every size of move") {
  constexpr index K = 3;
  for (const double size : {1e-14, 1e-6, 1e-2, 1.0, 20.0, 400.0})
    for (const double spread : {0.1, 3.0, 30.0, 300.0})
      for (index y = 0; y < K; ++y) {
        const double eta[K] = {spread, -0.5 * spread, 0.2 * spread};
        const double u[K] = {0.7 * size, -size, 0.4 * size};
        Wide before = 0, after = 0, away = 0;
        for (index k = 0; k < K; ++k) {
          before += std::exp(Wide(eta[k]) - Wide(eta[y]));
          away += std::exp(Wide(eta[k]) - Wide(eta[y])) *
                  std::expm1(Wide(u[k]) - Wide(u[y]));
        }
        after = before + away;
        const bool near = std::fabs(away) < before / 2;
        const Wide expected =
            near ? std::log1p(away / before) : std::log(after) - std::log(before);
        CAPTURE(size);
        CAPTURE(spread);
        CAPTURE(y);
        CHECK(relative(Multinomial::change(eta, K, y, u), expected) < 2e-13);
        const Wide p = 1 / before;
        CHECK(relative(Multinomial::probability_change(eta, K, y, u),
                       std::fabs(expected) < 1 ? p * std::expm1(-expected)
                                               : 1 / after - p) < 5e-13);
      }
}

TEST_CASE("softmax of two outputs is the binomial family") {
  for (const double eta : {-3.0, 0.0, 0.5, 40.0})
    for (const double u : {1e-10, 0.3, -5.0}) {
      const double two[2] = {0, eta}, move[2] = {0, u};
      double p[2];
      CHECK(Multinomial::softmax(two, 2, p) ==
            doctest::Approx(Binomial::softplus(eta)).epsilon(1e-15));
      CHECK(p[1] == doctest::Approx(Binomial::sigmoid(eta)).epsilon(1e-15));
      CHECK(Multinomial::change(two, 2, 1, move) ==
            doctest::Approx(Binomial::change(1, eta, u)).epsilon(1e-13));
    }
}

TEST_CASE("fast_exp of floats is within 3 ulp of e^x for |x| <= 80") {
  Random random(3);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double scale = i % 3 == 0 ? 80 : i % 3 == 1 ? 4 : 1e-4;
    const auto x = static_cast<float>(random.uniform(-scale, scale));
    const Wide expected = std::exp(Wide(x));
    const float near = static_cast<float>(expected);
    const Wide ulp = std::nextafter(near, 1e38f) - near;
    worst = std::max(
        worst, static_cast<double>(std::fabs(Wide(fast_exp(x)) - expected) / ulp));
  }
  CHECK(worst < 3);
  CHECK(fast_exp(0.0f) == 1.0f);
}

TEST_CASE("log1p_small is within 2 ulp of log(1 + a)") {
  Random random(4);
  double worst = 0;
  for (int i = 0; i < 200000; ++i) {
    const double a = i % 3 == 0   ? random.uniform(-0.4, 0.66)
                     : i % 3 == 1 ? random.uniform(-1e-3, 1e-3)
                                  : random.uniform(-1e-12, 1e-12);
    worst = std::max(worst, ulps(log1p_small(a), std::log1p(Wide(a))));
  }
  CHECK(worst < 2);
  CHECK(log1p_small(0) == 0);
}

namespace {

/// sum_{n >= from} u^(n - from) / n!, or by subtraction where nothing cancels.
Wide exp_tail(Wide u, int from) {
  if (std::fabs(u) > 30) {
    Wide left = std::exp(u), term = 1;
    for (int n = 0; n < from; ++n) {
      left -= term;
      term *= u / (n + 1);
    }
    return left / std::pow(u, from);
  }
  Wide scale = 1, sum = 0, power = 1;
  for (int n = 1; n <= from; ++n)
    scale /= n;
  for (int n = from; n < 300; ++n) {
    sum += power * scale;
    power *= u;
    scale /= n + 1;
  }
  return sum;
}

/// Moves on both sides of where the series ends, and the ends themselves.
constexpr double tail_moves[] = {0,     1e-12, -1e-6, 1e-3,  -0.03, 0.4,  -0.7,
                                 0.999, -1.0,  1.0,   1.001, -1.01, 2.5,  -4,
                                 17,    -17,   39.5,  -39.5, 79.5,  -79.5};

}  // namespace

TEST_CASE_TEMPLATE("exp_tails keep their accuracy near and far", R, double, float) {
  constexpr double unit = std::numeric_limits<R>::epsilon();
  for (const double each : tail_moves) {
    const R u = static_cast<R>(each);
    const ExpTails<R> t = exp_tails(u);
    CAPTURE(each);
    // far: the differences lose a digit just outside of the series
    const double worst = std::fabs(u) > 1 ? 40 * unit : 4 * unit;
    CHECK(relative(static_cast<double>(t.e1), std::expm1(Wide(u))) < worst);
    CHECK(relative(static_cast<double>(t.g), exp_tail(Wide(u), 2)) < worst);
    CHECK(relative(static_cast<double>(t.k), exp_tail(Wide(u), 3)) < worst);
    if (std::fabs(u) <= 1) {
      const ExpTails<R> near = exp_tails_near(u);
      CHECK(near.e1 == t.e1);
      CHECK(near.g == t.g);
      CHECK(near.k == t.k);
    }
  }
}

namespace {

/// A move's remainders over l'', by e1 and the exponential's tails in long double.
struct Remainders {
  Wide second, third;
};
Remainders binomial_remainders(Wide p, Wide u) {
  const Wide e1 = std::expm1(u), g = exp_tail(u, 2), k = exp_tail(u, 3);
  const Wide under = 1 + p * e1;
  // p(eta + u) - p = p (1 - p) e1 / under
  const Wide second = u * u * (g * (1 - p * u) - p) / under;
  const Wide third =
      u * u * u * (k - g * p - (Wide(0.5) - p) * p * (1 + u * g)) / under;
  return {second, third};
}

}  // namespace

TEST_CASE("the long double remainders are what is left of the Taylor polynomials") {
  for (const Wide p : {0.01L, 0.3L, 0.5L, 0.98L})
    for (const Wide u : {-3.0L, -0.4L, 0.2L, 2.0L}) {
      const Wide moved = p * std::exp(u) / (1 + p * std::expm1(u)), w = p * (1 - p);
      const Remainders left = binomial_remainders(p, u);
      CHECK(static_cast<double>(left.second - ((moved - p) / w - u)) ==
            doctest::Approx(0).epsilon(1e-15));
      CHECK(static_cast<double>(left.third -
                                ((moved - p) / w - u - (Wide(0.5) - p) * u * u)) ==
            doctest::Approx(0).epsilon(1e-15));
    }
}

TEST_CASE_TEMPLATE("second and third are free of cancellation", R, double, float) {
  constexpr double unit = std::numeric_limits<R>::epsilon();
  for (const double each : tail_moves)
    for (const double chance : {1e-30, 1e-9, 1e-3, 0.2, 0.45, 0.5, 0.55, 0.9, 0.999}) {
      const R u = static_cast<R>(each), p = static_cast<R>(chance);
      const ExpTails<R> t = exp_tails(u);
      const Wide a = u, b = p;
      const Remainders left = binomial_remainders(b, a);
      // to the size of their terms, whose sum may vanish (p = 1/2)
      const Wide under = 1 + b * std::expm1(a);
      const Wide size2 = a * a * (exp_tail(a, 2) * (1 + std::fabs(b * a)) + b) / under;
      const Wide size3 = std::fabs(a * a * a) *
                         (exp_tail(a, 3) + exp_tail(a, 2) * b +
                          b * (1 + std::fabs(a) * exp_tail(a, 2))) /
                         under;
      CAPTURE(each);
      CAPTURE(chance);
      const auto off = [](R actual, Wide expected, Wide size) {
        return static_cast<double>(std::fabs(Wide(actual) - expected) /
                                   (size + 1e-290L));
      };
      const double worst = std::fabs(u) > 1 ? 100 * unit : 10 * unit;
      // e^-u and 1 + p (e^u - 1) nearly cancel for p near 1 and u far below
      const double loss = static_cast<double>(std::fmax(1 / under, Wide(1)));
      CHECK(off(Binomial::second(p, u, t), left.second, size2) < worst * loss);
      CHECK(off(Binomial::third(p, u, t), left.third, size3) < worst * loss);
      CHECK(relative(static_cast<double>(Poisson::second(p, u, t)),
                     a * a * exp_tail(a, 2)) < worst);
      CHECK(relative(static_cast<double>(Poisson::third(p, u, t)),
                     a * a * a * exp_tail(a, 3)) < worst);
      CHECK(Gaussian::second(p, u, t) == 0);
      CHECK(Gaussian::third(p, u, t) == 0);
    }
}

TEST_CASE("skew is the third derivative over twice the second") {
  for (const double p : {0.01, 0.3, 0.5, 0.9}) {
    CHECK(Binomial::skew(p) == doctest::Approx(0.5 - p));  // w' = w (1 - 2 p)
    CHECK(Poisson::skew(p) == 0.5);
    CHECK(Gaussian::skew(p) == 0);
    CHECK(SmoothHinge(0.25).skew(p) == doctest::Approx((0.5 - p) / 0.25));
  }
}

TEST_CASE("change_near is change for moves up to a half") {
  for (const double eta : {0.0, 0.3, -0.3, 2.0, -2.0, 7.5, -7.5, 30.0, -30.0})
    for (const double u : {0.0, 1e-17, -1e-12, 1e-8, 1e-3, -0.02, 0.3, -0.499, 0.5}) {
      CAPTURE(eta);
      CAPTURE(u);
      CHECK(relative(Binomial::change_near(0, Binomial::sigmoid(eta), u),
                     softplus_change(eta, u)) < 1e-14);
      for (const double y : {0.0, 3.0}) {
        const Wide rise = std::exp(Wide(eta)) * std::expm1(Wide(u));
        const Wide expected = rise - Wide(y) * Wide(u);
        const double size = static_cast<double>(std::fabs(rise) + y * std::fabs(u));
        CHECK(std::fabs(Poisson::change_near(y, Poisson::mean(y, eta), u) -
                        static_cast<double>(expected)) <= 1e-14 * size);
        CHECK(Gaussian::change_near(y, eta, u) == Gaussian::change(y, eta, u));
      }
    }
}

TEST_CASE("a loss's series is its change, to the last place within its reach") {
  for (const double eta : {0.0, 0.3, -0.3, 2.0, -2.0, 7.5, -7.5, 30.0, -30.0})
    for (const double u : {1e-12, -1e-6, 1e-3, -0.02, series_reach, -series_reach})
      for (const double y : {0.0, 1.0}) {
        const auto series = [&](auto f) {
          double c[series_terms];
          f.change_series(y, eta, c);
          Wide sum = 0;
          for (int n = series_terms - 1; n >= 0; --n)
            sum = sum * Wide(u) + Wide(c[n]);
          return static_cast<double>(sum * Wide(u));
        };
        CAPTURE(eta);
        CAPTURE(u);
        CAPTURE(y);
        CHECK(relative(series(Binomial()), y > 0 ? softplus_change(-eta, -u)
                                                 : softplus_change(eta, u)) < 1e-14);
        const Wide rise = std::exp(Wide(eta)) * std::expm1(Wide(u));
        const double size = static_cast<double>(std::fabs(rise) + y * std::fabs(u));
        CHECK(std::fabs(series(Poisson()) -
                        static_cast<double>(rise - Wide(y) * Wide(u))) <= 1e-14 * size);
        CHECK(series(Gaussian()) ==
              doctest::Approx(Gaussian::change(y, eta, u)).epsilon(1e-14));
      }
}

}  // namespace upweight::test
