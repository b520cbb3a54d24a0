// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/newton.hpp"

#include "formula.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
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
      const double previous = result_.last_move;
      const std::vector<double> step = newton_step();
      result_.last_move = backend_.max_abs(direction_);
      result_.converged = left_over() <= allowed() || only_rounding(previous);
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
    if (!options_.apply_last && moved_since_assembly_ > allowed())
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

  /// What linear predictors are off by when the step just computed is the last, taken
  /// or not.
  [[nodiscard]] double left_over() const {
    const double move = result_.last_move;
    if (!options_.apply_last)
      return move;
    const double rounding = 1e-3 * move;  // gaussian: refine once
    return move * std::max(staleness(move), rounding);
  }

  /// What that may be: in units of the loss's own scale where it is small, though not
  /// under the rounding of the linear predictors.
  [[nodiscard]] double allowed() const {
    const double tolerance = options_.tolerance;
    const double most = options_.apply_last ? tolerance * tolerance : tolerance;
    const double scale = formula::move_scale(problem_.family);
    if (!(scale < 1))
      return most;
    const double rounding = 1e-14 * backend_.max_abs(result_.state.eta);
    return std::max(scale * most, std::min(most, rounding));
  }

  /// Whether a step is no shorter than the one before for rounding alone: it lowers J
  /// by less than its last digit, and no factor that is used is stale enough to halve
  /// an error only. (Where there is no optimum steps do not shrink either, but each is
  /// of the loss's own scale.)
  [[nodiscard]] bool only_rounding(double previous) const {
    const double scale = std::min(1.0, formula::move_scale(problem_.family));
    return result_.iterations > 0 && result_.last_move >= 0.5 * previous &&
           result_.last_move <= 0.1 * scale &&
           decrement_ <= 1e-16 * std::fabs(objective_);
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
    if (problem_.family == Family::smooth_hinge)
      message << ", or a higher temperature where rows overlap but few are near the "
                 "hinge";
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

/// Newton's method for a smooth hinge by way of higher temperatures. At a low one the
/// curvature of all rows but those near the hinge vanishes, and with it what a Newton
/// step far from the optimum knows. At a temperature of 1, the hinge's own unit, every
/// row counts; the optimum of each is a start for the next, half a decade lower.
template <class T>
NewtonResult<T> cool(const Backend<T>& backend, const Problem<T>& problem,
                     std::vector<double> start, const NewtonOptions& options) {
  constexpr double ratio = 0.316227766016837933;
  Problem<T> warmer = problem;
  NewtonOptions rough = options;
  rough.apply_last = true;
  rough.tolerance = 0.1;  // a last step of t / 10
  int iterations = 0;
  double moved = 0;
  for (double t = 1; t > problem.family.temperature * 1.01; t *= ratio) {
    warmer.family.temperature = t;
    NewtonResult<T> found = Newton<T>(backend, warmer, std::move(start), rough).run();
    start = std::move(found.state.theta);
    iterations += found.iterations;
    moved += found.total_move;
  }
  NewtonResult<T> result = Newton<T>(backend, problem, std::move(start), options).run();
  result.iterations += iterations;
  result.total_move += moved;
  return result;
}

/// The result of Newton steps from `start`, unless they lead nowhere.
template <class T>
std::optional<NewtonResult<T>>
directly(const Backend<T>& backend, const Problem<T>& problem,
         const std::vector<double>& start, const NewtonOptions& options) {
  try {
    NewtonResult<T> result = Newton<T>(backend, problem, start, options).run();
    // at the optimum but for rounding, or in its reach, as `Newton::take` has it
    if (result.converged || result.last_move <= 0.5 * problem.family.temperature)
      return result;
  } catch (const SingularError&) {
  } catch (const SeparableError&) {
  }
  return std::nullopt;
}

}  // namespace

template <class T>
NewtonResult<T> newton(const Backend<T>& backend, const Problem<T>& problem,
                       std::vector<double> start, const NewtonOptions& options) {
  if (problem.family == Family::smooth_hinge && options.max_iter > 0) {
    if (!start.empty())
      if (std::optional<NewtonResult<T>> found =
              directly(backend, problem, start, options))
        return std::move(*found);
    return cool(backend, problem, std::move(start), options);
  }
  return Newton<T>(backend, problem, std::move(start), options).run();
}

template NewtonResult<double> newton<double>(const Backend<double>&,
                                             const Problem<double>&,
                                             std::vector<double>, const NewtonOptions&);
template NewtonResult<float> newton<float>(const Backend<float>&, const Problem<float>&,
                                           std::vector<double>, const NewtonOptions&);

}  // namespace upweight
