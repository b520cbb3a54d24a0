// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <functional>

namespace upweight {

struct CgOptions {
  double rtol = 1e-10;  // stop when every |residual| <= rtol |right-hand side|
  int max_iter = 0;     // 0: ten times the number of parameters
  int check_every = 1;  // steps between two looks at the residual, the only wait
};

struct CgResult {
  int iterations = 0;
  double worst_residual = 0;  // max over right-hand sides of |residual| / |b|
};

/// out = A in, rows being vectors.
using RowOperator = std::function<void(ConstMatrix in, Matrix out)>;

/// Solves A x_b = b for all rows b of B at once, A symmetric positive definite, by
/// preconditioned conjugate gradients; the solutions overwrite B. One application of A
/// and of M^-1 a step. Memory: four blocks of the size of B. Throws NotConvergedError
/// with the residual.
template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const RowOperator& apply,
                             const RowOperator& precondition, Matrix B,
                             const CgOptions& options);

}  // namespace upweight
