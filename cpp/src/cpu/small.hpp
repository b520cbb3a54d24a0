// SPDX-License-Identifier: BSD-3-Clause
// Matrices of the size of one row's outputs, or of a few rows', by plain elimination.
#pragma once

#include "upweight/view.hpp"

#include <algorithm>
#include <cmath>

namespace upweight::cpu {

/// Solves M X = B (M is n x n, B n x m) with partial pivoting, in place of both; false
/// when M is singular to working precision.
inline bool solve_small(index n, double* M, index m, double* B) {
  for (index c = 0; c < n; ++c) {
    index pivot = c;
    for (index i = c + 1; i < n; ++i)
      if (std::fabs(M[i * n + c]) > std::fabs(M[pivot * n + c]))
        pivot = i;
    if (!(std::fabs(M[pivot * n + c]) > 1e-14))
      return false;
    if (pivot != c) {
      std::swap_ranges(M + c * n, M + c * n + n, M + pivot * n);
      std::swap_ranges(B + c * m, B + c * m + m, B + pivot * m);
    }
    for (index i = c + 1; i < n; ++i) {
      const double f = M[i * n + c] / M[c * n + c];
      if (f == 0)
        continue;
      for (index j = c; j < n; ++j)
        M[i * n + j] -= f * M[c * n + j];
      for (index j = 0; j < m; ++j)
        B[i * m + j] -= f * B[c * m + j];
    }
  }
  for (index c = n - 1; c >= 0; --c)
    for (index j = 0; j < m; ++j) {
      for (index i = c + 1; i < n; ++i)
        B[c * m + j] -= M[c * n + i] * B[i * m + j];
      B[c * m + j] /= M[c * n + c];
    }
  return true;
}

}  // namespace upweight::cpu
