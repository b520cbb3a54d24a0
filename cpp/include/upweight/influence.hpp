// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"
#include "upweight/newton.hpp"

#include <mutex>
#include <optional>
#include <vector>

namespace upweight {

enum class Method {
  influence,  // S[t, i] = g_t' H^-1 g_i
  one_step,   // f at the linear predictor moved by one Newton step without row i
};

struct InfluenceOptions {
  Solver solver = Solver::cholesky;
  bool polish = true;
  bool hard_labels = false;
  CgOptions cg;
  Preconditioner preconditioner = Preconditioner::automatic;
};

/// What polishing did to the parameters it was given.
struct Polish {
  int steps = 0;
  double move = 0;           // largest change of a training row's linear predictor
  double left = 0;           // what one more step would change
  double gradient_norm = 0;  // largest entry of grad J where it ended
};

/// Influence of the training rows of one fitted problem. Immutable after construction,
/// so one object serves many threads. Holds views of the problem's arrays: they must
/// outlive it.
///
/// Memory, in doubles: n K (3, softmax 4) + the blocks of H + n (norms, on first use).
template <class T>
class Influence {
public:
  Influence(const Backend<T>& backend, Problem<T> problem, std::vector<double> theta,
            const InfluenceOptions& options);

  /// scores (m x n) of a target of the rows of `test`, by either method.
  void scores(const Design<T>& test, ConstMatrix y, Target target, Method method,
              MatrixView<T> out, const Progress& progress = {}) const;
  /// Influence on the mean of the target over the rows of `test`: out (1 x n), O(n P).
  void mean_scores(const Design<T>& test, ConstMatrix y, Target target,
                   MatrixView<T> out) const;
  /// scores (m x n) of any targets, by their gradients (m x P).
  void gradient_scores(ConstMatrix gradients, MatrixView<T> out,
                       const Progress& progress = {}) const;
  /// out[t, i] = v_t . (a_i (x) x_i) for the rows of V (m x P) and a (n x K): scores
  /// without the solve where a is the residual.
  void products(ConstMatrix V, ConstMatrix a, MatrixView<T> out) const {
    backend_.score(problem_.design, a, V, out);
  }
  /// The gradients of a target of the rows of `test`: out (m x P).
  void target_gradients(const Design<T>& test, ConstMatrix y, Target target,
                        Matrix out) const;
  /// The k best of both ends of each row of `scores`, without forming it.
  [[nodiscard]] TopK top(const Design<T>& test, ConstMatrix y, Target target,
                         index k) const;
  [[nodiscard]] TopK gradient_top(ConstMatrix gradients, index k) const;
  /// S[i, i] (n x 1).
  void self_influence(Matrix out, const Progress& progress = {}) const;
  /// Leverages: tr(W_i C_i) of each row (n x 1) when outputs share a Hessian or are
  /// coupled, else w_ik c_ik of each output (n x K). Their sum is the effective number
  /// of parameters (times K when shared).
  void leverage(Matrix out, const Progress& progress = {}) const;
  /// sum_i g_i g_i' (P x P), upper triangle.
  void gradient_outer_product(Matrix out) const;
  /// H^-1 (P x P); the pseudo-inverse where softmax leaves H singular.
  void inverse_hessian(Matrix out) const;
  /// [H_1^-1 ... H_K^-1] (q x P) of outputs that are not coupled.
  void inverse_blocks(Matrix out) const;
  /// Row i (of n x P): H^-1 (a_i (x) x_i), the one-step change of theta without row i.
  void one_step_coefficients(Matrix out) const;
  /// delta_i' H delta_i of those changes: a_i' C_ii a_i (n x 1) of coupled outputs,
  /// else a_ik^2 c_ik of each (n x K). O(n q^2), as leverages are: no change is formed.
  void one_step_sqnorm(Matrix out) const;
  /// Rows b of B (m x P) become H^-1 b.
  void solve(Matrix B, const Progress& progress = {}) const;
  /// Rows of v are estimates of H^-1 b of the rows of B (both m x P) by `steps` steps
  ///   v <- b + v - H_s v / scale,  then v / scale,
  /// where H_s is n / batch times the sum over `batch` sampled rows (numbered in
  /// `sample`, steps x batch) + the penalty (Koh and Liang 2017, section 3; Agarwal,
  /// Bullins and Hazan 2017). Returns the largest |v|; infinite when it diverged.
  ///                                                  4 batch P m flops a step
  double sampled_solve(ConstMatrix B, const std::int64_t* sample, index steps,
                       index batch, double scale, Matrix v) const;

  [[nodiscard]] const std::vector<double>& theta() const { return state_.theta; }
  [[nodiscard]] const Polish& polish() const { return polish_; }
  [[nodiscard]] const Problem<T>& problem() const { return problem_; }
  [[nodiscard]] ConstMatrix residual() const { return state_.residual; }
  [[nodiscard]] ConstMatrix linear_predictor() const { return state_.eta; }
  [[nodiscard]] index bytes() const;
  [[nodiscard]] bool hard_labels() const { return options_.hard_labels; }
  [[nodiscard]] const Backend<T>& backend() const { return backend_; }
  [[nodiscard]] const GlmState<T>& state() const { return state_; }
  /// Whether H has a Cholesky factor: one that there is, or the dual's.
  [[nodiscard]] bool has_factor() const {
    return options_.solver == Solver::cholesky || options_.solver == Solver::dual;
  }
  /// That factor. The dual solves without it: it is made where it is first asked for,
  /// q^3 / 3 + n q^2 flops.
  [[nodiscard]] Factor factor() const;
  /// Its Hessian::measured_defect.
  [[nodiscard]] double measured_defect(index k) const;
  [[nodiscard]] RowWeights row_weights() const {
    return state_.weights(problem_.family);
  }
  /// c_ik = x_i' H_k^-1 x_i (n x K), or the blocks C_i (n x K^2) of coupled outputs.
  /// Without a float64 factor by solves for all rows, O(n) right-hand sides.
  [[nodiscard]] Array leverage_blocks(const Progress& progress = {}) const;

private:
  void test_gradients(const Design<T>& test, ConstMatrix y, Target target, Matrix eta,
                      Matrix a) const;
  void first_order(const Design<T>& test, ConstMatrix y, Target target,
                   MatrixView<T> out, const Progress& progress) const;
  void one_step(const Design<T>& test, ConstMatrix y, Target target,
                ConstMatrix removal, MatrixView<T> out, const Progress& progress) const;
  [[nodiscard]] TopK top_of_batch(ConstMatrix gradients, index k) const;
  [[nodiscard]] Array removal_coefficients() const {
    return removal_coefficients(leverage_blocks());
  }
  [[nodiscard]] Array removal_coefficients(ConstMatrix blocks) const;
  void solve_leverages(bool coupled, const Progress& progress, Matrix C) const;
  [[nodiscard]] std::vector<double> scale() const;
  [[nodiscard]] const ScanBounds& training_bounds() const;

  const Backend<T>& backend_;
  Problem<T> problem_;
  InfluenceOptions options_;
  Polish polish_;
  GlmState<T> state_;
  mutable std::once_flag factor_once_;
  mutable Hessian<T> factored_;  // of a dual
  mutable std::once_flag bounds_once_;
  mutable ScanBounds bounds_;  // of the training rows, made by the first `top`
};

}  // namespace upweight
