// SPDX-License-Identifier: BSD-3-Clause
#include "refit.hpp"

#include "certificate.hpp"
#include "formula.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace upweight {

namespace {

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

std::vector<double> on_host(ConstMatrix matrix, const auto& backend) {
  std::vector<double> values(at(matrix.rows * matrix.cols));
  backend.download(matrix, values.data());
  return values;
}

/// The farthest that any row left in the problem moved: of one output, or of a
/// softmax's difference of two.
double farthest(Family family, index K, const std::vector<double>& weights,
                const std::vector<double>& before, const std::vector<double>& after) {
  double worst = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] > 0))
      continue;
    double low = 0, high = 0;
    for (index k = 0; k < K; ++k) {
      const std::size_t ik = i * at(K) + at(k);
      const double u = after[ik] - before[ik];
      low = k == 0 ? u : std::min(low, u);
      high = k == 0 ? u : std::max(high, u);
    }
    const double size = family == Family::multinomial
                            ? high - low
                            : std::max(std::fabs(low), std::fabs(high));
    worst = std::max(worst, size);
  }
  return worst;
}

/// |delta|_H at the fit, from its factor: the length of H delta in the inverse's norm.
template <class T>
double fit_distance(const Influence<T>& influence, const std::vector<double>& delta) {
  const Backend<T>& backend = influence.backend();
  const Factor factor = influence.state().hessian.factor();
  const index order = factor.order();
  const std::vector<double> r = on_host(factor.blocks, backend);
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

}  // namespace

template <class T>
std::vector<double> move_spread(const Backend<T>& backend, const Problem<T>& problem,
                                ConstMatrix C) {
  const index n = problem.design.rows(), K = problem.outputs;
  const std::vector<double> c = on_host(C, backend);
  std::vector<double> weights, spread(at(n), 0.0);
  if (!problem.weights.empty())
    weights = on_host(problem.weights, backend);
  for (index i = 0; i < n; ++i) {
    if (!weights.empty() && !(weights[at(i)] > 0))
      continue;
    const double* block = c.data() + i * C.cols;
    double& most = spread[at(i)];
    if (C.cols == K && problem.family != Family::multinomial) {
      most = *std::max_element(block, block + K);
      continue;
    }
    for (index k = 0; k < K; ++k)
      for (index l = 0; l < k; ++l)
        most =
            std::max(most, block[k * K + k] + block[l * K + l] - 2 * block[k * K + l]);
  }
  return spread;
}

template <class T>
Refit refit(const Influence<T>& influence, const std::int64_t* rows, index count,
            double spread, double kept) {
  const Backend<T>& backend = influence.backend();
  Problem<T> problem = influence.problem();
  const index n = problem.design.rows(), K = problem.outputs;
  const index P = problem.parameters();
  std::vector<double> weights(at(n), 1.0);
  if (!problem.weights.empty())
    weights = on_host(problem.weights, backend);
  for (index m = 0; m < count; ++m)
    weights[at(rows[m])] = 0;
  const Array left = backend.zeros(n, 1);
  backend.upload(weights.data(), left);
  problem.weights = left;

  NewtonOptions options;
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
  if (!fit.converged)
    return result;
  result.found = true;

  const GlmState<T>& state = fit.state;
  result.delta.resize(at(P));
  for (std::size_t j = 0; j < result.delta.size(); ++j)
    result.delta[j] = state.theta[j] - influence.theta()[j];
  const std::vector<double> before = on_host(influence.linear_predictor(), backend);
  const std::vector<double> after = on_host(state.eta, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      result.move.push_back(after[at(rows[m] * K + k)] - before[at(rows[m] * K + k)]);

  // |grad J_b| in the norm of the inverse Hessian at the new point
  const Array g = backend.zeros(K, problem.design.columns());
  backend.gradient(problem.design, state.residual, g);
  std::vector<double> gradient = on_host(g, backend);
  for (std::size_t j = 0; j < gradient.size(); ++j)
    gradient[j] += problem.penalty[j % problem.penalty.size()] * state.theta[j];
  const RowWeights W = state.weights(problem.family);
  const Array solved = backend.zeros(1, P);
  backend.upload(gradient.data(), solved);
  state.hessian.solve(backend, problem, W, solved);
  const std::vector<double> h = on_host(solved, backend);
  const double nu2 =
      std::inner_product(gradient.begin(), gradient.end(), h.begin(), 0.0);
  const double nu = std::sqrt(std::max(nu2, 0.0));

  const double M = formula::move_concordance(problem.family);
  const double D = M * farthest(problem.family, K, weights, before, after);
  double distance = certificate::distance(
      nu, 0, M * std::sqrt(spread / std::max(kept, 1e-300)) * std::exp(D / 2));
  const index blocks = coupling_of(problem.family) == Coupling::full ? K * K : K;
  const Array C = backend.zeros(n, blocks);
  backend.leverage_blocks(problem.design, state.hessian.factor(), K, C);
  if (!std::isfinite(distance)) {  // the new point's own leverages say more
    const std::vector<double> own = move_spread(backend, problem, C);
    const double most = own.empty() ? 0.0 : *std::max_element(own.begin(), own.end());
    distance = certificate::distance(nu, 0, M * std::sqrt(most));
  }
  double reach2 = 0;
  const std::vector<double> c = on_host(C, backend);
  for (index m = 0; m < count; ++m)
    for (index k = 0; k < K; ++k)
      reach2 =
          std::max(reach2, c[at(rows[m] * blocks + (blocks == K ? k : k * K + k))]);
  result.bound = std::sqrt(reach2) * distance;
  result.error = distance * std::exp(D / 2) / std::sqrt(std::max(kept, 1e-300));
  result.distance = fit_distance(influence, result.delta);
  return result;
}

template Refit refit(const Influence<double>&, const std::int64_t*, index, double,
                     double);
template Refit refit(const Influence<float>&, const std::int64_t*, index, double,
                     double);
template std::vector<double> move_spread(const Backend<double>&, const Problem<double>&,
                                         ConstMatrix);
template std::vector<double> move_spread(const Backend<float>&, const Problem<float>&,
                                         ConstMatrix);

}  // namespace upweight
