// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/influence.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// How the optimum without a set of rows was reached.
enum class Route : std::uint8_t {
  one_step,          // a Newton step from the fit: exact for gaussian
  cubic,             // corrected by the third derivative
  passes,            // by passes over the rows that matter
  refit,             // Newton's method from the fit
  beyond_precision,  // what is left is too near singular to be told from rounding; the
                     // bound is infinite
  no_optimum,        // without these rows the loss has no (unique) finite minimum
};

struct LeaveOutOptions {
  double tol = 1e-6;   // largest error of a left-out row's linear predictor
  bool refine = true;  // false: the Newton step and its certificate only
  int max_passes = 40;
};

/// Optima theta_b without each set b of rows, up to a bound.
struct LeaveOut {
  RowSets sets;
  std::vector<double> move;   // M x K: change of the members' linear predictors
  std::vector<double> bound;  // a set: error of an entry of `move`, at most
  std::vector<double> error;  // a set: (x'H^-1 x)^(1/2) error bounds that at any x
  std::vector<std::int32_t> passes;  // a set
  std::vector<Route> route;          // a set
  double gradient_norm = 0;          // |grad J(theta)|_{H^-1} of the fitted point
  double fit_error = 0;  // its distance from the optimum in the norm of H, at most
  double farthest = 0;   // largest |theta_b - theta|_H of a certified set

  /// Changes of the parameters of outputs that are refined together.
  struct Part {
    std::vector<std::int64_t> place;  // a set's row of `deltas`; -1: its Newton step
    Array deltas;
  };
  std::vector<Part> parts;
};

/// Leaves each set of rows out of the fitted problem. Every set gets a bound; those
/// over `tol` are refined by what counted flops say is cheapest: the cubic step (p^3 a
/// set), passes over the rows of large leverage (4 n p a pass), refits. Newton steps
/// without g rows are by Woodbury's form ((g K)^3), or by H less their own, g p^2 + p^3
/// a pass, or for softmax refits. Memory: 16 P bytes for each refined set, and 4 n p.
/// The bounds (certificate.hpp) stand on the Hessian at the fit; rounding enters them
/// by a term in the model of Higham and Mary (2019), which is not a worst case.
template <class T>
[[nodiscard]] LeaveOut leave_out(const Influence<T>& influence, RowSets sets,
                                 const LeaveOutOptions& options);

/// The changes theta_b - theta of the sets numbered from `first`: out (count x P).
template <class T>
void leave_out_deltas(const Influence<T>& influence, const LeaveOut& left, index first,
                      Matrix out);

/// out[t, b] = the change of the target of test row t without set b (m x sets), within
/// test_bound[t] error[b] of the truth: test_bound (m) is the largest slope of the
/// target over what the sets can reach, times (x_t'H^-1 x_t)^(1/2). 2 m K P a set
template <class T>
void leave_out_scores(const Influence<T>& influence, const LeaveOut& left,
                      const Design<T>& test, ConstMatrix y, Target target,
                      MatrixView<T> out, std::vector<double>& test_bound);

}  // namespace upweight
