// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

namespace upweight {

struct CgOptions {
  double rtol = 1e-10;  // stop when every |residual| <= rtol |right-hand side|
  int max_iter = 0;     // 0: ten times the number of parameters
  int check_every = 4;  // steps between two looks at the residual, the only wait
};

struct CgResult {
  int iterations = 0;
  double worst_residual = 0;  // max over right-hand sides of |residual| / |b|
};

/// Solves H x_b = b for all rows b of B at once by conjugate gradients with a Jacobi
/// preconditioner; the solutions overwrite B. X is read once a step.
/// Memory: four blocks of the size of B. Throws NotConvergedError with the residual.
template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const Design<T>& X,
                             const RowWeights& W, const std::vector<double>& penalty,
                             Matrix B, const CgOptions& options);

}  // namespace upweight
