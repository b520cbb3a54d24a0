// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"
#include "upweight/hessian.hpp"

#include <vector>

namespace upweight {

struct NewtonOptions {
  Solver solver = Solver::cholesky;
  CgOptions cg;
  int max_iter = 100;       // of each temperature on the way, for a smooth hinge
  double tolerance = 1e-6;  // in units of the loss's scale if under 1. A fresh factor's
                            // step that moves no linear predictor further is the last;
                            // a stale one's must be smaller in proportion
  bool apply_last = true;   // take that step: convergence is quadratic, so the optimum
                            // is the tolerance's square away. Else stop before a step
                           // under the tolerance, with terms and factor where theta is.
  bool hard_labels = false;  // every y is a class, so perfect separation can be told
};

/// A problem at one point theta: what Newton's method needs there and influence keeps.
template <class T>
struct GlmState {
  std::vector<double> theta;     // P
  std::vector<double> gradient;  // P: grad J there
  Array eta;                     // n x K
  Array residual;                // n x K, s l'
  Array diagonal, factor;        // n x K each: W in the form of RowWeights
  Hessian<T> hessian;

  [[nodiscard]] RowWeights weights(Family family) const {
    const bool coupled = family == Family::multinomial;
    return {diagonal, coupled ? factor.view() : Matrix(), -1.0, coupled};
  }
};

template <class T>
struct NewtonResult {
  GlmState<T> state;
  int iterations = 0;  // steps taken
  double objective = 0;
  double gradient_norm = 0;  // largest entry of grad J at theta
  double total_move = 0;     // sum over steps of the largest move of a linear predictor
  double last_move = 0;      // of the last step, taken or not
  bool converged = false;
};

/// Minimises J by Newton's method from `start` (P), or from zero when it is empty.
/// A full step is taken as soon as self-concordance promises that it contracts
/// (M max |x'd| <= 1/2); before that, a backtracking line search on J.
/// Each iteration: one Gram with the gradient (n q^2 a block), one factorisation, one
/// product X d; once steps are small, the last factor serves again, and an iteration is
/// two passes over X. A smooth hinge without a start, or with one that leads nowhere,
/// is cooled from a temperature of 1. Throws SingularError, SeparableError; not
/// converging is in the result.
template <class T>
NewtonResult<T> newton(const Backend<T>& backend, const Problem<T>& problem,
                       std::vector<double> start, const NewtonOptions& options);

}  // namespace upweight
