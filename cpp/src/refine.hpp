// SPDX-License-Identifier: BSD-3-Clause
// Work in the remainder: without a set b of rows J_b is stationary where
//   delta = delta_1 - A^-1 X' rho(X delta),
// delta_1 the Newton step and rho what the other rows' gradients leave of their linear
// model. A pass evaluates the right-hand side. Only rows with a large x'H^-1 x can
// contribute much: those under a cut are left out, at a bounded cost; with the cubic
// term taken for all rows at once, by its tensor, far fewer are needed.
#pragma once

#include "downdate.hpp"
#include "part.hpp"
#include "upweight/leave_out.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// What is known of the optimum without one set of rows.
struct SetState {
  double norm = 0;     // |delta|_A, at most
  double kept = 1;     // A >= kept H
  double reach = 0;    // largest (x'A^-1 x)^(1/2) over its rows
  double error = 0;    // |theta_b - (theta + delta)|_A, at most
  double moved = 0;    // |.|_A of the last pass's change of delta
  double stretch = 1;  // e^D: by how much the last pass's bound exceeds its gradient
  std::int32_t passes = 0;
  Route route = Route::one_step;

  [[nodiscard]] bool within(double tol) const { return reach * error <= tol; }
};

/// Takes from `kept` what rounding may have of it, and lets norms in A's inverse rise
/// with that; nothing is kept where rounding may have it all.
template <class T>
void lower_by_rounding(const Part<T>& part, SetState& state);

/// Certificate of the Newton step itself, from leverages alone.
template <class T>
void bound_newton_step(const Part<T>& part, SetState& state);

/// Refines the sets that are not within tol. `place` gets each refined set's row of the
/// deltas returned, which are in the parameters' own coordinates. Sets that were
/// `large` all have one, that of the Newton step where it is within tol.
template <class T>
[[nodiscard]] Array
refine(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
       const RowSets& sets, const LeaveOutOptions& options,
       std::vector<SetState>& states, std::vector<std::int64_t>& place,
       const Downdated* large = nullptr);

}  // namespace upweight
