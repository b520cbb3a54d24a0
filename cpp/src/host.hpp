// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/view.hpp"

#include <cstdint>
#include <type_traits>
#include <vector>

namespace upweight {

/// An index as vectors count.
[[nodiscard]] inline std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// A backend's matrix as numbers that the host can read, row after row.
[[nodiscard]] std::vector<double> on_host(ConstMatrix matrix, const auto& backend) {
  std::vector<double> values(at(matrix.rows * matrix.cols));
  backend.download(matrix, values.data());
  return values;
}

/// A matrix of zeros, of floats or doubles.
template <class R>
[[nodiscard]] BasicArray<R> zeros_of(const auto& backend, index rows, index cols) {
  if constexpr (std::is_same_v<R, float>)
    return backend.zeros_single(rows, cols);
  else
    return backend.zeros(rows, cols);
}

}  // namespace upweight
