// SPDX-License-Identifier: BSD-3-Clause
// Inner loops over the entries of sparse rows, included by kernels.cpp in the namespace
// of its instruction set. A panel holds `sparse_width` right-hand sides side by side,
// so that an entry of X meets whole cache lines of it.
#pragma once

/// Rows whose sums wait in U while a block of the panel's rows is in cache.
constexpr int sparse_vectors = sparse_width / lanes;

template <class T>
void sparse_dots(index rows, const T* values, const std::int32_t* columns,
                 std::int64_t* cursor, const std::int64_t* ends, std::int32_t limit,
                 const double* panel, double* U) {
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
      const double* v = panel + index(columns[e]) * sparse_width;
      for (int l = 0; l < sparse_vectors; ++l)
        u[l] += x * load(v + l * lanes);
      ++e;
    } while (e < end && columns[e] < limit);
    for (int l = 0; l < sparse_vectors; ++l)
      *reinterpret_cast<Lane*>(U + i * sparse_width + l * lanes) = u[l];
    cursor[i] = e;
  }
}

template <class T>
void sparse_scatter(index rows, const T* values, const std::int32_t* columns,
                    std::int64_t* cursor, const std::int64_t* ends, std::int32_t limit,
                    const double* U, double* panel) {
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
      double* v = panel + index(columns[e]) * sparse_width;
      for (int l = 0; l < sparse_vectors; ++l)
        *reinterpret_cast<Lane*>(v + l * lanes) += x * u[l];
      ++e;
    } while (e < end && columns[e] < limit);
    cursor[i] = e;
  }
}
