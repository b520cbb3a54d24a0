// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/influence.hpp"
#include "upweight/leave_out.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// The optimum without a set of rows, or a point near it.
struct Refit {
  enum class Outcome : std::uint8_t {
    found,
    none,    // J_b has no (unique) minimum
    untold,  // it has one, or may have, that precision does not reach
  };
  Outcome outcome = Outcome::untold;
  std::vector<double> delta;  // P: theta_b - theta
  std::vector<double> move;   // g K: of the set's linear predictors
  double bound = 0;           // error of an entry of `move`, at most
  double error = 0;           // as in LeaveOut
  double distance = 0;        // |delta|_H, at most
};

/// Refits without `rows`. The certificate stands on the Hessian at the new point: there
/// |grad J_b| is at the level of rounding. A Newton step of n q^2 flops a block, some 5
/// to 10 times.
template <class T>
[[nodiscard]] Refit refit(const Influence<T>& influence, const std::int64_t* rows,
                          index count);

/// The first of those steps alone, with the certificate of A's own leverages: what a
/// Newton step without the set is when the set is too large for Woodbury's form.
template <class T>
[[nodiscard]] Refit large_step(const Influence<T>& influence, const std::int64_t* rows,
                               index count);

}  // namespace upweight
