// SPDX-License-Identifier: BSD-3-Clause
// How words see the design: blocks of its rows in the device's memory, dense, in the
// type they compute in, with the intercept's 1 in place.
#pragma once

#include "cuda/device.hpp"
#include "cuda/launch.hpp"
#include "cuda/stream.hpp"
#include "upweight/problem.hpp"

#include <algorithm>
#include <cstdint>
#include <type_traits>

namespace upweight::cuda {

/// Rows of a word's tile, so that `bytes_per_row` of them stay in a second-level cache.
/// A function of the shape alone: it fixes the order of sums, and so the bits.
[[nodiscard]] inline index tile_rows(index bytes_per_row) {
  constexpr index tile_bytes = index(32) << 20;
  return std::clamp<index>(tile_bytes / std::max<index>(bytes_per_row, 1), 64,
                           index(1) << 20);
}

/// out row c = [a_i0 x_i, a_i1 x_i, ...] for the rows i of X, which lies on the device:
/// numbered rows[c] (the device's) or, when that is null, first + c. Without `a`
/// (empty) x_i itself. count P
template <class T, class U>
void pack(const Device& device, const Design<T>& X, index first,
          const std::int64_t* rows, ConstMatrix a, MatrixView<U> out) {
  const index p = X.features.cols, q = X.columns(), copies = a.empty() ? 1 : a.cols;
  const auto scale = [=] __device__(index i, index k) {
    return a.empty() ? 1.0 : a(i, k);
  };
  const auto row_of = [=] __device__(index c) {
    return rows ? static_cast<index>(rows[c]) : first + c;
  };
  if (!X.is_sparse()) {
    const MatrixView<const T> features = X.features;
    each(device, "pack", out.rows, q, [=] __device__(index c, index j) {
      const index i = row_of(c);
      const double x = j < p ? static_cast<double>(features(i, j)) : 1.0;
      for (index k = 0; k < copies; ++k)
        out(c, k * q + j) = static_cast<U>(scale(i, k) * x);
    });
    return;
  }
  each(device, "pack_zeros", out.rows, q, [=] __device__(index c, index j) {
    for (index k = 0; k < copies; ++k)  // j is p where there is an intercept
      out(c, k * q + j) = j == p ? static_cast<U>(scale(row_of(c), k)) : U(0);
  });
  const SparseView<T> S = X.sparse;
  each_row(
      device, "pack_sparse", out.rows, 256, [=] __device__(const Team& team, index c) {
        const index i = row_of(c);
        for (index e = S.starts[i] + team.rank(); e < S.starts[i + 1]; e += team.size())
          for (index k = 0; k < copies; ++k)
            out(c, k * q + S.columns[e]) =
                static_cast<U>(scale(i, k) * static_cast<double>(S.values[e]));
      });
}

/// Rows of a design on the device as a dense (count x q) matrix: as they lie there when
/// they have that form, else packed into memory of its own.
template <class U, class T>
class DenseRows {
public:
  DenseRows(const Device& device, const Design<T>& X)
      : packed_(device, as_it_lies(X) ? 0 : X.rows() * X.columns()) {
    if constexpr (std::is_same_v<T, U>)
      if (as_it_lies(X)) {
        rows_ = X.features;
        return;
      }
    const MatrixView<U> to = packed_.view(X.rows(), X.columns());
    pack(device, X, 0, nullptr, {}, to);
    rows_ = to;
  }
  [[nodiscard]] MatrixView<const U> view() const { return rows_; }

private:
  static bool as_it_lies(const Design<T>& X) {
    return std::is_same_v<T, U> && !X.is_sparse() && !X.intercept;
  }
  Scratch<U> packed_;
  MatrixView<const U> rows_;
};

/// out = rows of a design that may lie on the host, in a given order (the host's
/// numbers): U of any precision. count q
template <class T, class U>
void gather(const Device& device, const Design<T>& X, const std::int64_t* rows,
            MatrixView<U> out) {
  if (on_device(X)) {
    const Uploaded<std::int64_t> numbers(device, rows, out.rows);
    pack(device, X, 0, numbers.get(), {}, out);
    return;
  }
  each_gathered_block(
      device, X, rows, out.rows, [&](const Design<T>& block, index first) {
        pack(device, block, 0, nullptr, {}, out.block(first, block.rows()));
      });
}

}  // namespace upweight::cuda
