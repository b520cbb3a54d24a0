// SPDX-License-Identifier: BSD-3-Clause
// Targets of one row with K outputs, for host and device: their slopes, and what they
// gain when the linear predictors move.
#pragma once

#include "formula.hpp"
#include "upweight/problem.hpp"

namespace upweight {

/// a_k = df/deta_k.
UPW_HD void target_gradient(Family family, Target target, index K, const double* y,
                            const double* eta, double* a) {
  if (family != Family::multinomial) {
    const bool loss = target == Target::loss;
    for (index k = 0; k < K; ++k) {
      if (target == Target::margin) {
        a[k] = K == 1 || y[k] > 0 ? 1.0 : 0.0;
        continue;
      }
      const double own = loss ? y[k] : 0.0, at = eta[k];
      const formula::Terms t =
          formula::with_separable(family, [&](auto f) { return f.terms(own, at); });
      a[k] = loss ? t.residual : t.weight;
    }
    return;
  }
  const auto cls = static_cast<index>(y[0]);
  if (target == Target::margin) {
    for (index k = 0; k < K; ++k)
      a[k] = k == cls ? 1.0 : 0.0;
    return;
  }
  (void)formula::Multinomial::softmax(eta, K, a);
  // dl/deta = p - e_y, and d p_y / deta = -p_y dl/deta
  const double scale = target == Target::loss ? 1.0 : -a[cls];
  a[cls] = -formula::Multinomial::others(a, K, cls);
  for (index k = 0; k < K; ++k)
    a[k] *= scale;
}

/// f(y, eta + u) - f(y, eta); u[k] is the move of output k.
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
