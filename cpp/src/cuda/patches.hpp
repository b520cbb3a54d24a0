// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "cuda/device.hpp"
#include "cuda/launch.hpp"

#include <cstdint>

namespace upweight::cuda {

/// f(i, j) for every entry of a rows x cols matrix, in patches of 16 x 16 that a block
/// of threads takes together: for functions that read another matrix across its rows.
template <class F>
void each_by_patches(const Device& device, const char* name, index rows, index cols,
                     const F& f) {
  constexpr index side = 16;
  const index across = ceil_div(cols, side);
  const auto wide = static_cast<std::uint32_t>(across);
  each(device, name, ceil_div(rows, side) * across * side, side,
       [=] __device__(index r, index c) {
         // 32 bits: a division of 64 takes longer than all else here
         const auto patch = static_cast<std::uint32_t>(r / side);
         const index i = static_cast<index>(patch / wide) * side + r % side;
         const index j = static_cast<index>(patch % wide) * side + c;
         if (i < rows && j < cols)
           f(i, j);
       });
}

/// out = A'.
template <class U>
void transpose_into(const Device& device, MatrixView<const U> A, MatrixView<U> out) {
  each_by_patches(device, "transpose", out.rows, out.cols,
                  [=] __device__(index i, index j) { out(i, j) = A(j, i); });
}

}  // namespace upweight::cuda
