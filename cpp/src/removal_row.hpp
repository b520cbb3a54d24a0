// SPDX-License-Identifier: BSD-3-Clause
// Leaving one row of coupled outputs out, once, for host and device.
#pragma once

#include "elementary.hpp"
#include "small.hpp"
#include "upweight/backend.hpp"

namespace upweight {

/// x = (I - W C)^-1 r for row i with its K outputs, C (K x K) holding x_i'H^-1 x_i of
/// each two of them; false when it has no solution. M (K x K) is used up; Numbers is
/// double* or Interleaved.
///
/// Softmax's W maps constants to zero, and r sums to zero, so that x does. What C has
/// along constants is the tie's, arbitrary and large: W C is therefore taken from
/// differences, f_k sum_j f_j (C_kl - C_jl) with f = s^1/2 p, and x loses its mean,
/// which is rounding. Without either, margins lose 2 to 3 digits.
template <class Numbers>
[[nodiscard]] UPW_HD bool removal_row(const RowWeights& W, ConstMatrix C, ConstMatrix r,
                                      index i, Numbers M, Numbers x) {
  const index K = r.cols;
  for (index k = 0; k < K; ++k)
    for (index l = 0; l < K; ++l) {
      const double own = C(i, k * K + l);
      double wc = 0;
      for (index j = 0; j < K; ++j)
        wc += W.factor(i, j) *
              (W.rows_sum_to_zero ? own - C(i, j * K + l) : W.sign * C(i, j * K + l));
      wc *= W.factor(i, k);
      if (!W.rows_sum_to_zero)
        wc += W.diagonal(i, k) * own;
      M[k * K + l] = (k == l ? 1.0 : 0.0) - wc;
    }
  for (index k = 0; k < K; ++k)
    x[k] = r(i, k);
  const bool regular = solve_small(Alone(), K, M, 1, x);
  if (W.rows_sum_to_zero) {
    double mean = 0;
    for (index k = 0; k < K; ++k)
      mean += x[k] / static_cast<double>(K);
    for (index k = 0; k < K; ++k)
      x[k] -= mean;
  }
  return regular;
}

}  // namespace upweight
