// SPDX-License-Identifier: BSD-3-Clause
// What a target gains when the linear predictors of its row move, for host and device.
#pragma once

#include "formula.hpp"
#include "upweight/problem.hpp"

namespace upweight {

/// f(y, eta + u) - f(y, eta) of one row with K outputs; u[k] is the move of output k.
template <class Moves>
UPW_HD double target_change(Family family, Target target, index K, const double* y,
                            const double* eta, const Moves& u) {
  if (family == Family::multinomial) {
    const auto cls = static_cast<index>(y[0]);
    if (target == Target::margin)
      return u[cls];
    return target == Target::loss
               ? formula::Multinomial::change(eta, K, cls, u)
               : formula::Multinomial::probability_change(eta, K, cls, u);
  }
  if (target == Target::margin) {
    if (K == 1)
      return u[0];
    double own = 0;  // y is 1 at the row's class, else 0, or -1
    for (index k = 0; k < K; ++k)
      own += y[k] > 0 ? u[k] : 0.0;
    return own;
  }
  if (target == Target::probability)
    return formula::Binomial::mean_change(eta[0], u[0]);
  return formula::with_separable(family, [&](auto f) {
    double sum = 0;
    for (index k = 0; k < K; ++k)
      sum += f.change(y[k], eta[k], u[k]);
    return sum;
  });
}

}  // namespace upweight
