// SPDX-License-Identifier: BSD-3-Clause
// X'(W(X V)) for blocks V too large for each run of rows to have a copy of the result:
// tiles of rows one after the other, each spread over rows, then over columns.
#pragma once

#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/threads.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cpu {

/// From this size on a result has strips of its own instead of copies to add.
constexpr index wide_bytes = index(8) << 20;

/// Columns [from, from + count) of rows [first, first + rows), the intercept's
/// included.
template <class T>
ConstMatrix pack_columns(const Design<T>& X, index first, index rows, index from,
                         index count, double* out) {
  const index given = std::min(count, X.features.cols - from);
  for (index i = 0; i < rows; ++i) {
    const T* x = X.features.row(first + i) + from;
    double* to = out + i * count;
    for (index j = 0; j < given; ++j)
      to[j] = static_cast<double>(x[j]);
    if (given < count)
      to[count - 1] = 1;
  }
  return {out, rows, count};
}

/// out_b = X'(W(X v_b)) (B x K q). weigh(first, U) makes W U of the U[k] (rows x B) of
/// rows from `first` on. Scratch: K tile B doubles, a megabyte a thread.
template <class T, class Weigh>
void wide_product(const Threads& threads, const Design<T>& X, ConstMatrix V, Matrix out,
                  const Weigh& weigh) {
  constexpr index strip = 512, rows_per_task = 64;
  const index n = X.rows(), q = X.columns(), K = V.cols / q, B = V.rows;
  const index strips = ceil_div(q, strip);
  const index tile = std::clamp<index>((index(1) << 22) / q, rows_per_task, 1024);
  Scratch<double> products(K * tile * B);
  for (index first = 0; first < n; first += tile) {
    const index count = std::min(tile, n - first);
    const auto output = [&](index k, index begin, index rows) {
      return Matrix(products.get() + (k * tile + begin) * B, rows, B);
    };
    threads.ranges(count, rows_per_task, [&](index begin, index end) {
      Scratch<double> packed(rows_per_task * strip);
      std::vector<Matrix> U;
      for (index k = 0; k < K; ++k)
        U.push_back(output(k, begin, end - begin));
      for (index s = 0; s < strips; ++s) {
        const index from = s * strip, width = std::min(strip, q - from);
        const ConstMatrix rows =
            pack_columns(X, first + begin, end - begin, from, width, packed.get());
        for (index k = 0; k < K; ++k)
          blas::gemm<double>(1, rows, V.columns(k * q + from, width), true, s > 0,
                             U[static_cast<std::size_t>(k)]);
      }
      weigh(first + begin, U);
    });
    threads.run(strips, [&](index s) {
      const index from = s * strip, width = std::min(strip, q - from);
      Scratch<double> packed(rows_per_task * strip);
      for (index begin = 0; begin < count; begin += rows_per_task) {
        const index rows = std::min(rows_per_task, count - begin);
        const ConstMatrix x =
            pack_columns(X, first + begin, rows, from, width, packed.get());
        for (index k = 0; k < K; ++k)
          blas::gemm_at<double>(1, output(k, begin, rows), x, first + begin > 0,
                                out.columns(k * q + from, width));
      }
    });
  }
}

}  // namespace upweight::cpu
