// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/newton.hpp"

#include "formula.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>

namespace upweight {

namespace {

/// Staleness up to which a factor is used again.
constexpr double reuse_limit = 1e-2;

template <class T>
class Newton {
public:
  Newton(const Backend<T>& backend, const Problem<T>& problem,
         std::vector<double> start, const NewtonOptions& options)
      : backend_(backend), problem_(problem), options_(options),
        P_(problem.parameters()), q_(problem.design.columns()) {
    const index n = problem.design.rows(), K = problem.outputs;
    GlmState<T>& state = result_.state;
    state.theta = std::move(start);
    state.theta.resize(static_cast<std::size_t>(P_), 0.0);
    if (problem.family == Family::multinomial && options.max_iter > 0)
      centre(state.theta, true);
    state.eta = backend.zeros(n, K);
    state.residual = backend.zeros(n, K);
    state.diagonal = backend.zeros(n, K);
    if (problem.family == Family::multinomial)
      state.factor = backend.zeros(n, K);
    trial_eta_ = backend.zeros(n, K);
    direction_ = backend.zeros(n, K);
    state.hessian = Hessian<T>(options.solver, options.cg, options.preconditioner);
    unpenalised_ = std::all_of(problem.penalty.begin(), problem.penalty.end(),
                               [](double penalty) { return penalty == 0; });
  }

  NewtonResult<T> run() {
    GlmState<T>& state = result_.state;
    const Array theta = uploaded(state.theta);
    backend_.linear_predictor(problem_.design, theta, state.eta);
    objective_ = evaluate({}, 0.0, state.eta) + penalty_of(state.theta);
    for (;;) {
      check_separable();
      const std::vector<double> step = newton_step();
      result_.last_move = backend_.max_abs(direction_);
      result_.converged = result_.last_move * error_factor() <= options_.tolerance;
      const bool last = result_.converged || result_.iterations >= options_.max_iter;
      if (last && !(result_.converged && options_.apply_last))
        break;
      take(step);
      ++result_.iterations;
      result_.total_move += result_.last_move;
      moved_since_assembly_ += result_.last_move;
      if (last) {
        result_.state.gradient = gradient();
        result_.gradient_norm = largest(result_.state.gradient);
        break;
      }
    }
    if (!options_.apply_last && moved_since_assembly_ > options_.tolerance)
      assemble();
    result_.objective = objective_;
    return std::move(result_);
  }

private:
  [[nodiscard]] Array uploaded(const std::vector<double>& values) const {
    Array array = backend_.zeros(problem_.outputs, q_);
    backend_.upload(values.data(), array);
    return array;
  }

  /// Terms at eta + step * direction, written over the state's; returns the loss.
  double evaluate(ConstMatrix direction, double step, Matrix eta_out) {
    GlmState<T>& state = result_.state;
    const GlmSummary summary = backend_.glm_terms(
        problem_.family, problem_.y, problem_.weights, state.eta, direction, step,
        eta_out, state.residual, state.diagonal, state.factor);
    worst_residual_ = summary.worst_residual;
    return summary.loss;
  }

  [[nodiscard]] double penalty_of(const std::vector<double>& theta) const {
    double sum = 0;
    for (std::size_t j = 0; j < theta.size(); ++j)
      sum += 0.5 * pull(j) * theta[j] * theta[j];
    return sum;
  }

  [[nodiscard]] double pull(std::size_t parameter) const {
    return problem_.penalty[parameter % static_cast<std::size_t>(q_)];
  }

  /// Takes the mean over a softmax's outputs off each column of a step, which must not
  /// change it; of a start off the penalised ones, where the optimum has none. A start
  /// that has but rounding stays as it is.
  void centre(std::vector<double>& theta, bool is_start) const {
    const auto q = static_cast<std::size_t>(q_);
    for (std::size_t j = 0; j < q; ++j) {
      double sum = 0, size = 0;
      for (std::size_t k = j; k < theta.size(); k += q) {
        sum += theta[k];
        size += std::fabs(theta[k]);
      }
      if (is_start && (!(pull(j) > 0) || std::fabs(sum) <= 1e-15 * size))
        continue;
      for (std::size_t k = j; k < theta.size(); k += q)
        theta[k] -= sum / static_cast<double>(problem_.outputs);
    }
  }

  static double largest(const std::vector<double>& x) {
    double worst = 0;
    for (const double value : x)
      worst = std::max(worst, std::fabs(value));
    return worst;
  }

  void add_penalty(std::vector<double>& g) const {
    for (std::size_t j = 0; j < g.size(); ++j)
      g[j] += pull(j) * result_.state.theta[j];
  }

  /// grad J at theta.
  [[nodiscard]] std::vector<double> gradient() const {
    const Array g = backend_.zeros(problem_.outputs, q_);
    backend_.gradient(problem_.design, result_.state.residual, g);
    std::vector<double> host(static_cast<std::size_t>(P_));
    backend_.download(g, host.data());
    add_penalty(host);
    return host;
  }

  /// By how much, about, the Hessian at theta differs from the one last factored,
  /// relative to it, once eta has moved by `move` more.
  [[nodiscard]] double staleness(double move) const {
    return formula::self_concordance(problem_.family) * (moved_since_assembly_ + move);
  }

  /// What the step just computed leaves of an error its size, over the tolerance when
  /// it is taken; 1 when it is not.
  [[nodiscard]] double error_factor() const {
    if (!options_.apply_last)
      return 1;
    const double rounding = 1e-3 * result_.last_move;  // gaussian: refine once
    return std::max(staleness(result_.last_move), rounding) / options_.tolerance;
  }

  /// Factors the Hessian at theta; returns grad J.
  std::vector<double> assemble() {
    GlmState<T>& state = result_.state;
    try {
      std::vector<double> g = state.hessian.assemble(
          backend_, problem_, state.weights(problem_.family), state.residual);
      moved_since_assembly_ = 0;
      assembled_ = true;
      add_penalty(g);
      return g;
    } catch (const SingularError&) {
      explain_singular();
      throw;
    }
  }

  /// -H^-1 grad J, and its linear predictors in direction_.
  std::vector<double> newton_step() {
    GlmState<T>& state = result_.state;
    const RowWeights W = state.weights(problem_.family);
    // a factor that is stale by d contracts an error to d of it: while that is little,
    // the gradient alone, at a fraction of a Gram's cost
    std::vector<double> g =
        assembled_ && staleness(0.0) <= reuse_limit ? gradient() : assemble();
    const Array rhs = backend_.zeros(1, P_);
    backend_.upload(g.data(), rhs);
    state.hessian.solve(backend_, problem_, W, rhs);
    result_.gradient_norm = largest(g);
    state.gradient = g;
    std::vector<double> step(g.size());
    backend_.download(rhs, step.data());
    decrement_ = 0;
    for (std::size_t j = 0; j < g.size(); ++j) {
      decrement_ += g[j] * step[j];
      step[j] = -step[j];
    }
    if (problem_.family == Family::multinomial)
      centre(step, false);  // what is left there is rounding, over a small penalty
    backend_.linear_predictor(problem_.design, uploaded(step), direction_);
    return step;
  }

  /// Moves theta along the step, by as much as the line search allows.
  void take(const std::vector<double>& step) {
    GlmState<T>& state = result_.state;
    // within this reach Hessians differ by at most e^(1/2), so that the full step
    // contracts
    const bool contracts =
        formula::self_concordance(problem_.family) * result_.last_move <= 0.5;
    double length = 1;
    for (int halvings = 0;; ++halvings) {
      std::vector<double> theta = state.theta;
      for (std::size_t j = 0; j < theta.size(); ++j)
        theta[j] += length * step[j];
      const double objective =
          evaluate(direction_, length, trial_eta_) + penalty_of(theta);
      // a decrease below rounding counts as none asked for
      const double noise = 1e-13 * std::fabs(objective_);
      if (contracts || objective <= objective_ - 1e-4 * length * decrement_ + noise ||
          halvings == 60) {
        state.theta = std::move(theta);
        std::swap(state.eta, trial_eta_);
        objective_ = objective;
        return;
      }
      length *= 0.5;
    }
  }

  void check_separable() const {
    if (!options_.hard_labels || !unpenalised_ || !(worst_residual_ < 0.5))
      return;
    throw SeparableError("y: the classes are perfectly separated by X, so that with "
                         "l2=0 the loss has no "
                         "finite optimum; use l2 > 0");
  }

  /// Weights that vanish on the way make H singular where X is not.
  void explain_singular() const {
    if (!unpenalised_ || result_.iterations == 0 || problem_.family == Family::gaussian)
      return;
    std::ostringstream message;
    message << "y: the loss seems to have no finite optimum with l2=0 (some direction "
               "of X separates rows, after "
            << result_.iterations << " Newton steps); use l2 > 0";
    throw SeparableError(message.str());
  }

  const Backend<T>& backend_;
  const Problem<T>& problem_;
  NewtonOptions options_;
  index P_, q_;
  NewtonResult<T> result_;
  Array trial_eta_, direction_;  // n x K
  bool unpenalised_ = false, assembled_ = false;
  double moved_since_assembly_ = 0;  // of eta, at most
  double objective_ = 0, decrement_ = 0, worst_residual_ = 0;
};

}  // namespace

template <class T>
NewtonResult<T> newton(const Backend<T>& backend, const Problem<T>& problem,
                       std::vector<double> start, const NewtonOptions& options) {
  return Newton<T>(backend, problem, std::move(start), options).run();
}

template NewtonResult<double> newton<double>(const Backend<double>&,
                                             const Problem<double>&,
                                             std::vector<double>, const NewtonOptions&);
template NewtonResult<float> newton<float>(const Backend<float>&, const Problem<float>&,
                                           std::vector<double>, const NewtonOptions&);

}  // namespace upweight
