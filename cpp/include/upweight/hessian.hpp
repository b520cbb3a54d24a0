// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"
#include "upweight/cg.hpp"
#include "upweight/dual.hpp"

#include <vector>

namespace upweight {

enum class Solver {
  cholesky,  // factor H in float64
  mixed,     // factor H in float32, refine in float64 by conjugate gradients on H
  cg,        // never form H: conjugate gradients through X
  dual,      // factor l2 I + W^1/2 X X' W^1/2 instead; outputs not coupled, float64
};

/// H at one point, in the form that its solver needs.
///
/// Memory, in bytes: cholesky 8 a P^2, mixed 12 a P^2, with a = 1 (coupled outputs),
/// 1/K (outputs apart) or 1/K^2 (one Hessian for all); cg 8 P.
template <class T>
class Hessian {
public:
  Hessian() = default;
  Hessian(Solver solver, const CgOptions& cg) : solver_(solver), cg_(cg) {}

  /// Forms H = X'WX + penalty of `problem` at weights W, and its factor. Returns
  /// sum_i r_i (x) x_i (P), which comes with the same pass over X. Throws
  /// SingularError.
  std::vector<double> assemble(const Backend<T>& backend, const Problem<T>& problem,
                               const RowWeights& W, ConstMatrix r);

  /// Rows b of B (m x P) become H^-1 b. W as given to `assemble`.
  void solve(const Backend<T>& backend, const Problem<T>& problem, const RowWeights& W,
             Matrix B) const;

  /// Whether `factor` holds: triangular solves give leverages.
  [[nodiscard]] bool direct() const { return solver_ == Solver::cholesky; }
  [[nodiscard]] Factor factor() const { return {matrix_, blocks_}; }
  [[nodiscard]] index bytes() const {
    return dual_.bytes() + matrix_.bytes() + single_.bytes() + diagonal_.bytes();
  }

private:
  void solve_by_cg(const Backend<T>& backend, const RowOperator& apply,
                   const RowOperator& precondition, Matrix B) const;

  Solver solver_ = Solver::cholesky;
  CgOptions cg_;
  Array matrix_;        // cholesky: the factor; mixed: H, upper triangles
  SingleArray single_;  // mixed: the factor of D^-1 H D^-1
  Array diagonal_;  // mixed: D (blocks x order); cg: the diagonal of the tied H (1 x P)
  std::vector<double> tie_;
  index blocks_ = 1;
  DualHessian dual_;
};

/// Smallest admissible pivot of a Hessian of order P, relative to its diagonal.
[[nodiscard]] double pivot_tolerance(index parameters);

}  // namespace upweight
