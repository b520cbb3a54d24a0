// SPDX-License-Identifier: BSD-3-Clause
// How words see the design: blocks of its rows, dense, in the type they compute in,
// with the intercept's 1 in place. The copy stays in cache and is what lets scaling,
// gathering and conversion cost nothing beside the products that follow.
#pragma once

#include "simd/kernels.hpp"
#include "upweight/problem.hpp"

#include <algorithm>
#include <cstdint>
#include <new>
#include <type_traits>

namespace upweight::cpu {

/// Scratch memory of a task, aligned for the widest vectors, not initialised.
template <class T>
class Scratch {
public:
  explicit Scratch(index count)
      : data_(static_cast<T*>(::operator new(
            static_cast<std::size_t>(std::max<index>(count, 1)) * sizeof(T),
            std::align_val_t(64)))) {}
  ~Scratch() { ::operator delete(data_, std::align_val_t(64)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] T* get() const { return data_; }
  [[nodiscard]] T& operator[](index i) const { return data_[i]; }

private:
  T* data_;
};

/// out[j] = scale * x_ij for j < q, the intercept included.
template <class T, class U>
inline void pack_row(const Design<T>& X, index i, double scale, U* out) {
  const index p = X.features.cols;
  if (X.is_sparse()) {
    std::fill_n(out, X.columns(), U(0));
    for (index e = X.sparse.begin(i); e < X.sparse.end(i); ++e)
      out[X.sparse.columns[e]] =
          static_cast<U>(scale * static_cast<double>(X.sparse.values[e]));
    if (X.intercept)
      out[p] = static_cast<U>(scale);
    return;
  }
  const T* x = X.features.row(i);
  if constexpr (std::is_same_v<U, float> && std::is_same_v<T, double>)
    kernels().scale_row(p, scale, x, out);
  else if constexpr (std::is_same_v<U, float> && std::is_same_v<T, float>)
    kernels().scale_row_float(p, scale, x, out);
  else
    for (index j = 0; j < p; ++j)
      out[j] = static_cast<U>(scale * static_cast<double>(x[j]));
  if (X.intercept)
    out[p] = static_cast<U>(scale);
}

/// Rows [first, first + count) of the design as a dense (count x q) block.
template <class T, class U>
inline MatrixView<U> pack_rows(const Design<T>& X, index first, index count, U* out) {
  const index q = X.columns();
  for (index i = 0; i < count; ++i) {
    if (X.is_sparse()) {
      pack_row(X, first + i, 1.0, out + i * q);
      continue;
    }
    const T* x = X.features.row(first + i);
    U* to = out + i * q;
    for (index j = 0; j < X.features.cols; ++j)
      to[j] = static_cast<U>(x[j]);
    if (X.intercept)
      to[q - 1] = U(1);
  }
  return {out, count, q};
}

/// Rows a_i (x) x_i (count x P) for i in rows, or in [first, first + count).
template <class T, class U>
inline MatrixView<U> pack_products(const Design<T>& X, ConstMatrix a, index first,
                                   index count, const std::int64_t* rows, U* out) {
  const index q = X.columns(), P = a.cols * q;
  for (index c = 0; c < count; ++c) {
    const index i = rows ? static_cast<index>(rows[c]) : first + c;
    for (index k = 0; k < a.cols; ++k)
      pack_row(X, i, a(i, k), out + c * P + k * q);
  }
  return {out, count, P};
}

/// Rows of the design that one task takes, so that `bytes_per_row` of them stay in half
/// of a core's second-level cache. A function of the shape alone, never of the
/// machine's threads: it fixes the order of sums, and so the bits of the result.
[[nodiscard]] inline index tile_rows(index bytes_per_row) {
  return std::clamp<index>((512 * 1024) / std::max<index>(bytes_per_row, 1), 16, 512);
}

}  // namespace upweight::cpu
