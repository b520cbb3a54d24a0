// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"
#include "upweight/error.hpp"
#include "upweight/newton.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

/// Only an intercept: optima have a closed form.
struct InterceptOnly {
  explicit InterceptOnly(index n) : none(n, 0) {}
  [[nodiscard]] std::vector<double> fit(Family family, index K, const Values& y,
                                        ConstMatrix weights, double l2) const {
    const Problem<double> problem{{none, true}, family, K, y, weights, {l2}};
    const auto result = newton(*words<double>(2), problem, {}, {});
    CHECK(result.converged);
    CHECK(result.gradient_norm < 1e-10);
    return result.state.theta;
  }
  Values none;
};

template <class T>
struct RandomProblem {
  RandomProblem(Family family, index n, index q, index K)
      : X(n, q, true), y(n, family == Family::multinomial ? 1 : K), s(n, 1) {
    Random random(91);
    for (index i = 0; i < n; ++i) {
      s(i, 0) = i % 4 == 2 ? 0.0 : random.uniform(0.5, 2);
      for (index k = 0; k < y.cols(); ++k)
        y(i, k) = family == Family::gaussian ? random.uniform(-1, 1)
                  : family == Family::smooth_hinge
                      ? (random.uniform(-1, 1) < 0 ? -1.0 : 1.0)
                      : std::floor(random.uniform(0, family == Family::binomial ? 2.
                                                     : family == Family::poisson
                                                         ? 4.
                                                         : double(K)));
    }
    problem = {X.view(), family, K, y, s, random_penalty(q)};
  }
  RandomDesign<T> X;
  Values y, s;
  Problem<T> problem;
};

constexpr Family families[] = {Family::gaussian,
                               Family::binomial,
                               Family::poisson,
                               Family::multinomial,
                               {Family::smooth_hinge, 0.01}};

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0;
  for (std::size_t j = 0; j < a.size(); ++j)
    worst = std::max(worst, std::fabs(a[j] - b[j]));
  return a.size() == b.size() ? worst : std::numeric_limits<double>::infinity();
}

}  // namespace

TEST_CASE("newton finds the optima that one computes by hand") {
  const InterceptOnly four(4);
  const Values y(4, 1, {0, 1, 1, 1}), s(4, 1, {1, 1, 0, 0});
  // sum (theta - y) + l2 theta = 0
  CHECK(four.fit(Family::gaussian, 1, y, {}, 2)[0] == doctest::Approx(0.5));
  // p = 3/4; with the weights, 1/2
  CHECK(four.fit(Family::binomial, 1, y, {}, 0)[0] ==
        doctest::Approx(std::log(3)).epsilon(1e-14));
  CHECK(std::fabs(four.fit(Family::binomial, 1, y, s, 0)[0]) < 1e-14);
  CHECK(four.fit(Family::poisson, 1, y, {}, 0)[0] ==
        doctest::Approx(std::log(0.75)).epsilon(1e-12));
  // rows -1, 1, 1, 1: sigma((1 + theta) / t) = 3 sigma((1 - theta) / t), with
  // a = e^(theta / t) and c = e^(1 / t) that is a^2 - 2 c a - 3 = 0
  const double t = 0.5, c = std::exp(1 / t);
  const Values signs(4, 1, {-1, 1, 1, 1});
  CHECK(four.fit({Family::smooth_hinge, t}, 1, signs, {}, 0)[0] ==
        doctest::Approx(t * std::log(c + std::sqrt(c * c + 3))).epsilon(1e-12));
  // classes 0, 1, 1, 2: log-odds of their shares
  const auto theta =
      four.fit(Family::multinomial, 3, Values(4, 1, {0, 1, 1, 2}), {}, 0);
  CHECK(theta[1] - theta[0] == doctest::Approx(std::log(2)).epsilon(1e-14));
  CHECK(std::fabs(theta[2] - theta[0]) < 1e-14);
}

TEST_CASE("newton of least squares takes one step, and the objective is J") {
  // y = 2 x - 1 but for the last row
  const Values x(3, 1, {0, 1, 2}), y(3, 1, {-1, 1, 6});
  const Problem<double> problem{{x, true}, Family::gaussian, 1, y, {}, {0, 0}};
  const auto result = newton(*words<double>(1), problem, {}, {});
  CHECK(result.state.theta[0] == doctest::Approx(3.5).epsilon(1e-14));
  CHECK(result.state.theta[1] == doctest::Approx(-1.5).epsilon(1e-14));
  CHECK(result.objective == doctest::Approx(0.5 * (0.25 + 1 + 0.25)).epsilon(1e-14));
  CHECK(result.state.residual.view()(1, 0) == doctest::Approx(1).epsilon(1e-14));
}

TEST_CASE_TEMPLATE("newton ends where the gradient of J is zero, with any solver", T,
                   double, float) {
  for (const Family family : families)
    for (const index K : {1, 3}) {
      if (family == Family::multinomial && K == 1)
        continue;
      const index n = 257, q = 9;
      const RandomProblem<T> given(family, n, q, K);
      const auto cpu = words<T>(2);
      const auto best = newton(*cpu, given.problem, {}, {});
      CAPTURE(static_cast<int>(family));
      CAPTURE(K);
      CHECK(best.converged);
      // the gradient by the definition, from the state's residuals
      double worst = 0;
      for (index k = 0; k < K; ++k)
        for (index j = 0; j < q; ++j) {
          const auto at = static_cast<std::size_t>(k * q + j);
          double g =
              given.problem.penalty[static_cast<std::size_t>(j)] * best.state.theta[at];
          for (index i = 0; i < n; ++i)
            g += best.state.residual.view()(i, k) * entry(given.problem.design, i, j);
          worst = std::max(worst, std::fabs(g));
        }
      CHECK(worst < 1e-10);
      for (const Solver solver : {Solver::mixed, Solver::cg}) {
        NewtonOptions options;
        options.solver = solver;
        const auto other = newton(*cpu, given.problem, {}, options);
        CHECK(other.converged);
        CHECK(distance(other.state.theta, best.state.theta) < 1e-8);
        CHECK(other.objective == doctest::Approx(best.objective).epsilon(1e-12));
      }
    }
}

TEST_CASE("rows of weight zero might as well be absent") {
  for (const Family family : families) {
    const index K = family == Family::multinomial ? 3 : 1, n = 200;
    RandomProblem<double> given(family, n, 5, K);
    const auto with = newton(*words<double>(1), given.problem, {}, {});
    for (index i = 2; i < n; i += 4)  // what such a row holds does not matter
      for (index j = 0; j < 4; ++j)
        given.X.features(i, j) = 100;
    const auto changed = newton(*words<double>(1), given.problem, {}, {});
    CHECK(distance(with.state.theta, changed.state.theta) < 1e-9);
  }
}

TEST_CASE("newton from the optimum stays there, its state fit for influence") {
  for (const Family family : families) {
    const index K = family == Family::multinomial ? 3 : 1;
    const RandomProblem<double> given(family, 257, 9, K);
    const auto cpu = words<double>(2);
    const auto best = newton(*cpu, given.problem, {}, {});
    NewtonOptions options;
    options.apply_last = false;
    const auto again = newton(*cpu, given.problem, best.state.theta, options);
    CHECK(again.converged);
    CHECK(again.iterations == 0);
    CHECK(again.total_move == 0);
    CHECK(distance(again.state.theta, best.state.theta) == 0);
  }
}

TEST_CASE("newton climbs back from a start far away") {
  const RandomProblem<double> given(Family::binomial, 257, 5, 1);
  const auto cpu = words<double>(2);
  const auto best = newton(*cpu, given.problem, {}, {});
  const auto far = newton(*cpu, given.problem, {30, -30, 20, 30, -20}, {});
  CHECK(far.converged);
  CHECK(distance(far.state.theta, best.state.theta) < 1e-9);
}

TEST_CASE("newton that may take too few steps says that it has not converged") {
  const RandomProblem<double> given(Family::poisson, 257, 5, 1);
  NewtonOptions options;
  options.max_iter = 1;
  const auto result = newton(*words<double>(1), given.problem, {}, options);
  CHECK_FALSE(result.converged);
  CHECK(result.iterations == 1);
}

TEST_CASE("newton gives the same bits for any number of threads") {
  const RandomProblem<double> given(Family::multinomial, 9001, 7, 3);
  CHECK(same_for_any_threads([&](int threads) {
    const auto result = newton(*words<double>(threads), given.problem, {}, {});
    Values theta(1, 21);
    for (index j = 0; j < 21; ++j)
      theta(0, j) = result.state.theta[static_cast<std::size_t>(j)];
    return theta;
  }));
}

TEST_CASE("separated classes without a penalty have no optimum, and newton says so") {
  const Values x(4, 1, {-2, -1, 1, 2}), y(4, 1, {0, 0, 1, 1});
  Problem<double> problem{{x, true}, Family::binomial, 1, y, {}, {0, 0}};
  NewtonOptions options;
  options.hard_labels = true;
  const auto cpu = words<double>(1);
  CHECK_THROWS_AS(newton(*cpu, problem, {}, options), SeparableError);
  problem.penalty = {1, 0};
  CHECK(newton(*cpu, problem, {}, options).converged);
}

TEST_CASE("a design that repeats a column is singular without a penalty") {
  Values x = random_grid(50, 3, 1);
  for (index i = 0; i < 50; ++i)
    x(i, 2) = x(i, 0);
  const Values y = random_grid(50, 1, 2);
  const Problem<double> problem{{x, true}, Family::gaussian, 1, y, {}, {0, 0, 0, 0}};
  try {
    static_cast<void>(newton(*words<double>(1), problem, {}, {}));
    FAIL("no error");
  } catch (const SingularError& error) {
    CHECK(error.parameter() == 2);
  }
}

TEST_CASE("newton ends with Interrupted once poll says so") {
  const RandomProblem<double> given(Family::binomial, 257, 9, 1);
  int left = 20;
  const auto cpu = words<double>(2, [&] { return left-- <= 0; });
  CHECK_THROWS_AS(newton(*cpu, given.problem, {}, {}), Interrupted);
}

}  // namespace upweight::test
