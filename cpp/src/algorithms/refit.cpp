// SPDX-License-Identifier: BSD-3-Clause
#include "refit.hpp"

#include "certificate.hpp"
#include "formula.hpp"
#include "host.hpp"
#include "part.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace upweight {

namespace {

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
/// Hessian. There the gradient's quadratic model was zero; `gradient` is what else of
/// it is left, in the norm of A^-1.
template <class T>
void certify(const Influence<T>& influence, const Problem<T>& without, const Factor& A,
             ConstMatrix residual, const std::int64_t* rows, index count, double norm,
             double gradient, Refit& result) {
  const Backend<T>& backend = influence.backend();
  const index n = without.design.rows(), K = without.outputs;
  const index blocks = coupling_of(without.family) == Coupling::full ? K * K : K;
  const Array C = backend.zeros(n, blocks);
  backend.leverage_blocks(without.design, A, K, C);
  const std::vector<double> spread = move_spread(backend, without, C);
  const double R = formula::move_concordance(without.family) *
                   std::sqrt(*std::max_element(spread.begin(), spread.end()));
  const double D = R * norm;
  const double rounding = 1e-15 * std::sqrt(static_cast<double>(A.order())) * norm +
                          residual_error(backend, residual, C);
  const double distance =
      certificate::distance(certificate::phi(D) * norm + gradient + rounding, D, R);
  double reach2 = 0;
  const std::vector<double> c = on_host(C, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      reach2 =
          std::max(reach2, c[at(rows[m] * blocks + (blocks == K ? k : k * K + k))]);
  result.bound = std::sqrt(reach2) * distance;
  result.error = distance * norm_ratio(influence, A);
  result.distance = fit_distance(influence, result.delta);
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
    return result;
  } catch (const SeparableError&) {
    return result;
  }
  const double scale = std::min(1.0, formula::move_scale(problem.family));
  if (!fit.converged && !(fit.last_move < 1e-6 * scale))
    return result;
  result.found = true;

  const GlmState<T>& state = fit.state;
  for (std::size_t j = 0; j < state.theta.size(); ++j)
    result.delta.push_back(state.theta[j] - influence.theta()[j]);
  const std::vector<double> before = on_host(influence.linear_predictor(), backend);
  const std::vector<double> after = on_host(state.eta, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      result.move.push_back(after[at(rows[m] * K + k)] - before[at(rows[m] * K + k)]);

  std::vector<double> gradient = state.gradient;
  Hessian<T> factored(Solver::cholesky, {});
  if (options.solver == Solver::dual)
    (void)factored.assemble(backend, problem, state.weights(problem.family),
                            state.residual);
  const Factor A =
      options.solver == Solver::dual ? factored.factor() : state.hessian.factor();
  const double nu = std::sqrt(solve_gradient(backend, A, gradient)) +
                    predictor_error(factored_diagonal(backend, A), state.theta,
                                    problem.design.columns());
  certify(influence, problem, A, state.residual, rows, count, 0, nu, result);
  // where rounding keeps steps over the tolerance, a finite bound still proves an
  // optimum
  result.found = fit.converged || std::isfinite(result.bound);
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
  } catch (const SingularError&) {
    return result;
  }
  result.found = true;
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
  const double gradient = predictor_error(factored_diagonal(backend, hessian.factor()),
                                          state.theta, problem.design.columns());
  certify(influence, problem, hessian.factor(), residual, rows, count, norm, gradient,
          result);
  return result;
}

template Refit refit(const Influence<double>&, const std::int64_t*, index);
template Refit refit(const Influence<float>&, const std::int64_t*, index);
template Refit large_step(const Influence<double>&, const std::int64_t*, index);
template Refit large_step(const Influence<float>&, const std::int64_t*, index);

}  // namespace upweight
