// SPDX-License-Identifier: BSD-3-Clause
#include "refit.hpp"

#include "certificate.hpp"
#include "formula.hpp"
#include "host.hpp"
#include "part.hpp"
#include "rounding.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace upweight {

namespace {

/// What |R^-T A R^-1 - I| may be of a refit's factor, which makes its bound but not its
/// point.
constexpr double rough_defect = 1e-6;

/// |delta|_H at the fit, from its factor.
template <class T>
double fit_distance(const Influence<T>& influence, const std::vector<double>& delta) {
  const Factor factor = influence.factor();
  const index order = factor.order();
  const std::vector<double> r = on_host(factor.blocks, influence.backend());
  double sum = 0;
  for (index first = 0; first < static_cast<index>(delta.size()); first += order) {
    const index k = std::min(first / order, factor.count - 1);
    for (index i = 0; i < order; ++i) {
      double row = 0;
      for (index j = i; j < order; ++j)
        row += r[at((k * order + i) * order + j)] * delta[at(first + j)];
      sum += row * row;
    }
  }
  return std::sqrt(sum);
}

/// max |v|_H / |v|_A, at most: the norm of Q = R R_A^-1, by |Q|_1 |Q|_inf.
template <class T>
double norm_ratio(const Influence<T>& influence, const Factor& A) {
  const Backend<T>& backend = influence.backend();
  const Factor H = influence.factor();
  const index order = H.order();
  double worst = 0;
  for (index k = 0; k < H.count; ++k) {
    const Array Q = backend.zeros(order, order);
    backend.copy(H.block(k), Q);
    backend.solve(Factor{A.block(k), 1}, Q, true);
    const std::vector<double> q = on_host(Q, backend);
    std::vector<double> rows(at(order), 0.0), cols(at(order), 0.0);
    for (index i = 0; i < order; ++i)
      for (index j = 0; j < order; ++j) {
        rows[at(i)] += std::fabs(q[at(i * order + j)]);
        cols[at(j)] += std::fabs(q[at(i * order + j)]);
      }
    worst = std::max(worst, *std::max_element(rows.begin(), rows.end()) *
                                *std::max_element(cols.begin(), cols.end()));
  }
  return std::sqrt(worst);
}

/// Fills in the bounds of a point `norm` away, in A's norm, from where A is the
/// Hessian. There the gradient's quadratic model was zero; `gradient` is what of it was
/// computed as left, in the norm of A^-1. Rounding is added.
template <class T>
void certify(const Influence<T>& influence, const Problem<T>& without,
             const Hessian<T>& hessian, const std::vector<double>& theta,
             ConstMatrix eta, ConstMatrix residual, const std::int64_t* rows,
             index count, double norm, double gradient, Refit& result) {
  const Backend<T>& backend = influence.backend();
  const Factor A = hessian.factor();
  const index n = without.design.rows(), K = without.outputs, P = A.order();
  const bool coupled = coupling_of(without.family) == Coupling::full;
  const index blocks = coupled ? K * K : K, parts = coupled ? 1 : K;
  const Array C = backend.zeros(n, blocks);
  backend.leverage_blocks(without.design, A, K, C);
  double products = 0, noise2 = 0;
  rounding::Triangle R;
  for (index k = 0; k < parts; ++k) {
    if (k < A.count)  // targets share one
      R = rounding::triangle_of(backend, A.block(k));
    const rounding::FactorError error =
        rounding::factor_error(R, hessian.measured_defect(k));
    products = std::max(products, error.products());
    const auto of = [&](ConstMatrix m) { return coupled ? m : m.columns(k, 1); };
    const std::vector<double> own(theta.begin() + k * P, theta.begin() + (k + 1) * P);
    const double noise =
        rounding::gradient_error(backend, without, of(without.y), of(eta), of(residual),
                                 coupled ? ConstMatrix(C) : of(C), own, R);
    noise2 += noise * noise;
  }
  const std::vector<double> spread = move_spread(backend, without, C);
  const double wider = 1 + products;
  const double farthest = formula::move_concordance(without.family) *
                          std::sqrt(*std::max_element(spread.begin(), spread.end())) *
                          wider;
  const double D = farthest * norm;
  const double rounding = products * norm + std::sqrt(noise2);
  const double distance =
      products < 0.5
          ? certificate::distance(certificate::phi(D) * norm + gradient + rounding, D,
                                  farthest)
          : std::numeric_limits<double>::infinity();
  double reach2 = 0;
  const std::vector<double> c = on_host(C, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      reach2 =
          std::max(reach2, c[at(rows[m] * blocks + (blocks == K ? k : k * K + k))]);
  result.bound = std::sqrt(reach2) * wider * distance;
  result.error = distance * norm_ratio(influence, A) * wider;
  result.distance = fit_distance(influence, result.delta);
}

/// What a problem in which no optimum was found has. Losses are bounded below, so that
/// a penalty on every parameter makes one. Where only an intercept has none, it is the
/// labels that may drive it away: all on one side, or a class of none.
template <class T>
Refit::Outcome outcome_without(const Backend<T>& backend, const Problem<T>& problem) {
  using enum Refit::Outcome;
  const std::vector<double>& penalty = problem.penalty;
  const auto penalised = [](double p) { return p > 0; };
  const auto end = penalty.end() - (problem.design.intercept ? 1 : 0);
  if (!std::all_of(penalty.begin(), end, penalised))
    return none;
  if (std::all_of(end, penalty.end(), penalised))
    return untold;
  const index n = problem.design.rows(), K = problem.outputs, columns = problem.y.cols;
  const std::vector<double> y = on_host(problem.y, backend);
  const std::vector<double> s = on_host(problem.weights, backend);
  // of each output, or class, the least and most of its target
  std::vector<double> low(at(K), std::numeric_limits<double>::infinity()), high(at(K));
  for (double& value : high)
    value = -std::numeric_limits<double>::infinity();
  for (index i = 0; i < n; ++i)
    for (index k = 0; s[at(i)] > 0 && k < K; ++k) {
      const double target = problem.family == Family::multinomial
                                ? (y[at(i)] == static_cast<double>(k) ? 1.0 : 0.0)
                                : y[at(i * columns + k)];
      low[at(k)] = std::min(low[at(k)], target);
      high[at(k)] = std::max(high[at(k)], target);
    }
  for (index k = 0; k < K; ++k) {
    const double least = low[at(k)], most = high[at(k)];
    const bool held = problem.family == Family::gaussian       ? most >= least
                      : problem.family == Family::poisson      ? most > 0
                      : problem.family == Family::smooth_hinge ? most > 0 && least < 0
                                                               : most > 0 && least < 1;
    if (!held)
      return none;
  }
  return untold;
}

/// The problem without some rows: their weights are 0 in `weights`, which must outlive
/// it.
template <class T>
Problem<T> without_rows(const Influence<T>& influence, const std::int64_t* rows,
                        index count, const Array& weights) {
  Problem<T> problem = influence.problem();
  std::vector<double> left(at(problem.design.rows()), 1.0);
  if (!problem.weights.empty())
    left = on_host(problem.weights, influence.backend());
  for (index m = 0; m < count; ++m)
    left[at(rows[m])] = 0;
  influence.backend().upload(left.data(), weights);
  problem.weights = weights;
  return problem;
}

/// |g|_{A^-1}^2, and A^-1 g in place of g.
template <class T>
double solve_gradient(const Backend<T>& backend, const Factor& A,
                      std::vector<double>& g) {
  const Array solved = backend.zeros(1, static_cast<index>(g.size()));
  backend.upload(g.data(), solved);
  backend.solve(A, solved, false);
  const std::vector<double> h = on_host(solved, backend);
  const double square = std::inner_product(g.begin(), g.end(), h.begin(), 0.0);
  g = h;
  return std::max(square, 0.0);
}

}  // namespace

template <class T>
Refit refit(const Influence<T>& influence, const std::int64_t* rows, index count) {
  const Backend<T>& backend = influence.backend();
  const index n = influence.problem().design.rows(), K = influence.problem().outputs;
  const Array weights = backend.zeros(n, 1);
  const Problem<T> problem = without_rows(influence, rows, count, weights);
  NewtonOptions options;
  if (!problem.row_gram.empty())
    options.solver = Solver::dual;
  options.tolerance = 1e-10;
  options.apply_last = false;
  options.hard_labels = influence.hard_labels();
  Refit result;
  NewtonResult<T> fit;
  try {
    fit = newton(backend, problem, influence.theta(), options);
  } catch (const SingularError&) {
    result.outcome = outcome_without(backend, problem);
    return result;
  } catch (const SeparableError&) {
    result.outcome = Refit::Outcome::none;
    return result;
  }
  const double scale = std::min(1.0, formula::move_scale(problem.family));
  if (!fit.converged && !(fit.last_move < 1e-6 * scale) &&
      problem.family != Family::gaussian) {
    result.outcome = outcome_without(backend, problem);
    return result;
  }

  GlmState<T>& state = fit.state;
  for (std::size_t j = 0; j < state.theta.size(); ++j)
    result.delta.push_back(state.theta[j] - influence.theta()[j]);
  const std::vector<double> before = on_host(influence.linear_predictor(), backend);
  const std::vector<double> after = on_host(state.eta, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      result.move.push_back(after[at(rows[m] * K + k)] - before[at(rows[m] * K + k)]);

  std::vector<double> gradient =
      rounding::exact_gradient(backend, problem, state.residual, state.theta);
  const RowWeights W = state.weights(problem.family);
  Hessian<T> factored(Solver::cholesky, {});
  if (options.solver == Solver::dual)
    (void)factored.assemble(backend, problem, W, state.residual);
  Hessian<T>& A = options.solver == Solver::dual ? factored : state.hessian;
  A.sharpen(backend, problem, W, rough_defect);
  const double nu = std::sqrt(solve_gradient(backend, A.factor(), gradient));
  certify(influence, problem, A, state.theta, state.eta, state.residual, rows, count, 0,
          nu, result);
  // where rounding keeps steps over the tolerance, a finite bound still proves an
  // optimum
  if (fit.converged || std::isfinite(result.bound))
    result.outcome = Refit::Outcome::found;
  return result;
}

template <class T>
Refit large_step(const Influence<T>& influence, const std::int64_t* rows, index count) {
  const Backend<T>& backend = influence.backend();
  const GlmState<T>& state = influence.state();
  const index n = influence.problem().design.rows(), K = influence.problem().outputs;
  const Array weights = backend.zeros(n, 1);
  const Problem<T> problem = without_rows(influence, rows, count, weights);
  const auto masked = [&](const Array& values) {
    Array out = backend.zeros(values.rows(), values.cols());
    std::vector<double> kept = on_host(values, backend);
    for (index m = 0; m < (values.empty() ? 0 : count); ++m)
      std::fill_n(kept.begin() + rows[m] * values.cols(), values.cols(), 0.0);
    backend.upload(kept.data(), out);
    return out;
  };
  const Array diagonal = masked(state.diagonal), factor = masked(state.factor);
  const Array residual = masked(state.residual);
  RowWeights W = influence.row_weights();
  W.diagonal = diagonal;
  if (!W.factor.empty())
    W.factor = factor;
  Refit result;
  Hessian<T> hessian(Solver::cholesky, {});
  try {
    result.delta = hessian.assemble(backend, problem, W, residual);
    hessian.sharpen(backend, problem, W, rough_defect);
  } catch (const SingularError&) {
    result.outcome = outcome_without(backend, problem);
    return result;
  }
  result.outcome = Refit::Outcome::found;
  for (std::size_t j = 0; j < result.delta.size(); ++j)
    result.delta[j] += problem.penalty[j % problem.penalty.size()] * state.theta[j];
  const double norm =
      std::sqrt(solve_gradient(backend, hessian.factor(), result.delta));
  for (double& change : result.delta)
    change = -change;
  const Array delta = backend.zeros(1, problem.parameters());
  backend.upload(result.delta.data(), delta);
  RowSets set;
  set.add(rows, count);
  const Array move = backend.zeros(count, K);
  backend.own_moves(problem.design, set, delta, move);
  result.move = on_host(move, backend);
  certify(influence, problem, hessian, state.theta, state.eta, residual, rows, count,
          norm, 0, result);
  return result;
}

template Refit refit(const Influence<double>&, const std::int64_t*, index);
template Refit refit(const Influence<float>&, const std::int64_t*, index);
template Refit large_step(const Influence<double>&, const std::int64_t*, index);
template Refit large_step(const Influence<float>&, const std::int64_t*, index);

}  // namespace upweight
