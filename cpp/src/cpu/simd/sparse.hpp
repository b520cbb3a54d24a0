// SPDX-License-Identifier: BSD-3-Clause
// Inner loops over the entries of sparse rows, included by kernels.cpp in the namespace
// of its instruction set. A panel holds `sparse_width` right-hand sides side by side,
// so that an entry of X meets whole cache lines of it.
#pragma once

/// Vectors of a panel's line, or of a row's sums.
constexpr int sparse_vectors = sparse_width / lanes;

/// The entries of each row from its cursor on whose columns are under `limit`. Dots:
/// a row's sums gather lines of the panel, times entries. Scatter: lines gather the
/// row's sums.
template <bool dots, class T, class Sums, class Panel>
inline void walk_entries(index rows, const T* values, const std::int32_t* columns,
                         std::int64_t* cursor, const std::int64_t* ends,
                         std::int32_t limit, Panel* panel, Sums* U) {
  for (index i = 0; i < rows; ++i) {
    std::int64_t e = cursor[i];
    const std::int64_t end = ends[i];
    if (e >= end || columns[e] >= limit)
      continue;
    Lane u[sparse_vectors];
    for (int l = 0; l < sparse_vectors; ++l)
      u[l] = load(U + i * sparse_width + l * lanes);
    do {
      const double x = static_cast<double>(values[e]);
      Panel* v = panel + index(columns[e]) * sparse_width;
      for (int l = 0; l < sparse_vectors; ++l)
        if constexpr (dots)
          u[l] += x * load(v + l * lanes);
        else
          *reinterpret_cast<Lane*>(v + l * lanes) += x * u[l];
      ++e;
    } while (e < end && columns[e] < limit);
    if constexpr (dots)
      for (int l = 0; l < sparse_vectors; ++l)
        *reinterpret_cast<Lane*>(U + i * sparse_width + l * lanes) = u[l];
    cursor[i] = e;
  }
}

template <class T>
void sparse_dots(index rows, const T* values, const std::int32_t* columns,
                 std::int64_t* cursor, const std::int64_t* ends, std::int32_t limit,
                 const double* panel, double* U) {
  walk_entries<true>(rows, values, columns, cursor, ends, limit, panel, U);
}

template <class T>
void sparse_scatter(index rows, const T* values, const std::int32_t* columns,
                    std::int64_t* cursor, const std::int64_t* ends, std::int32_t limit,
                    const double* U, double* panel) {
  walk_entries<false>(rows, values, columns, cursor, ends, limit, panel, U);
}
