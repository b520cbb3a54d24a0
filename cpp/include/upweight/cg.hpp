// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <functional>
#include <string>

namespace upweight {

struct CgOptions {
  double rtol = 1e-10;  // a right-hand side is done when |residual| <= rtol |b|
  int max_iter = 0;     // 0: thirty times the number of parameters
  int check_every = 1;  // steps between two looks at the residuals, the only wait
  std::string advice;   // ends the message of what does not converge
};

struct CgResult {
  int iterations = 0;         // steps of the block
  index column_steps = 0;     // the sum over right-hand sides of the steps of each
  double worst_residual = 0;  // max over right-hand sides of |residual| / |b|, as the
                              // recursion has it
};

/// out = A in, rows being vectors; of any number of them.
using RowOperator = std::function<void(ConstMatrix in, Matrix out)>;

/// Solves A x_b = b for all rows b of B at once, A symmetric positive definite, by
/// preconditioned conjugate gradients; the solutions overwrite B. One application of A
/// and of M^-1 a step, to the right-hand sides that are not done yet: the others have
/// been moved out of the block, and are what they were when they met rtol.
///
/// Memory, in doubles, beside B: three blocks of its size, a row, and four numbers a
/// row: m P (3 + 1 / m) + 4 m. Throws NotConvergedError with the residual.
template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const RowOperator& apply,
                             const RowOperator& precondition, Matrix B,
                             const CgOptions& options);

/// Bytes that conjugate_gradients takes for m right-hand sides of P numbers.
[[nodiscard]] constexpr index cg_bytes(index m, index P) {
  return static_cast<index>(sizeof(double)) * ((3 * m + 1) * P + 4 * m);
}

}  // namespace upweight
