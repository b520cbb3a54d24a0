// SPDX-License-Identifier: BSD-3-Clause
// Inner products of rows, a tile at a time: products by BLAS (or sparse panels), then
// the kernel's function while the tile is in cache.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/sparse.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index tile = 256;

template <class T>
Design<T> without_intercept(const Design<T>& X) {
  return {X.features, false, X.sparse};
}

/// |x_i|^2 of every row, from what is stored of it.
template <class T>
std::vector<double> square_norms(const Threads& threads, const Design<T>& X) {
  std::vector<double> norms(static_cast<std::size_t>(X.rows()));
  threads.ranges(X.rows(), 1024, [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      const T* x =
          X.is_sparse() ? X.sparse.values + X.sparse.begin(i) : X.features.row(i);
      const index stored =
          X.is_sparse() ? X.sparse.end(i) - X.sparse.begin(i) : X.features.cols;
      double sum = 0;
      for (index e = 0; e < stored; ++e)
        sum += static_cast<double>(x[e]) * static_cast<double>(x[e]);
      norms[static_cast<std::size_t>(i)] = sum;
    }
  });
  return norms;
}

double power(double base, int degree) {
  double result = 1;
  for (; degree > 0; degree /= 2, base *= base)
    if (degree % 2 == 1)
      result *= base;
  return result;
}

}  // namespace

template <class T>
void CpuBackend<T>::kernel(const Kernel& kernel, const Design<T>& Y0,
                           const Design<T>& X0, bool same, Matrix out) const {
  const Design<T> X = without_intercept(X0), Y = without_intercept(Y0);
  const index n = X.rows(), m = Y.rows(), p = X.columns();
  const bool rbf = kernel.kind == Kernel::Kind::rbf;
  const std::vector<double> x2 =
      rbf ? square_norms(threads_, X) : std::vector<double>();
  const std::vector<double> y2 =
      rbf && !same ? square_norms(threads_, Y) : std::vector<double>();
  const std::vector<double>& own2 = same ? x2 : y2;
  const auto finish = [&](index t, index first, index count) {
    double* k = out.row(t) + first;
    if (rbf)
      kernels().rbf(count, kernel.gamma, own2[static_cast<std::size_t>(t)],
                    x2.data() + first, k);
    else if (kernel.kind == Kernel::Kind::poly)
      for (index i = 0; i < count; ++i)
        k[i] = power(kernel.gamma * k[i] + kernel.coef0, kernel.degree);
  };
  if (X.is_sparse()) {  // panels of rows of Y meet all of X
    const Array ones = zeros(n, 1);
    fill(ones, 1.0);
    threads_.ranges(m, sparse_width, [&](index t0, index t1) {
      Scratch<double> packed((t1 - t0) * p);
      const ConstMatrix rows = pack_rows(Y, t0, t1 - t0, packed.get());
      SparseProducts<T> products(X, ones, rows, 0, t1 - t0);
      for (index first = same ? t0 : 0; first < n; first += sparse_rows) {
        Threads::pause_point();
        const index count = std::min(sparse_rows, n - first);
        products.compute(first, count, out.row(t0) + first, out.stride);
        for (index t = t0; t < t1; ++t)
          finish(t, first, count);
      }
    });
  } else {
    const index across = ceil_div(n, tile), down = ceil_div(m, tile);
    const auto block = [&](const Design<T>& rows, index first, index count,
                           Scratch<double>& packed) -> ConstMatrix {
      if constexpr (std::is_same_v<T, double>)
        if (!rows.is_sparse())
          return rows.features.block(first, count);
      return pack_rows(rows, first, count, packed.get());
    };
    threads_.run(across * down, [&](index task) {
      const index t0 = task / across * tile, i0 = task % across * tile;
      if (same && i0 < t0)
        return;
      const index rows = std::min(tile, m - t0), columns = std::min(tile, n - i0);
      const bool copies = !std::is_same_v<T, double> || Y.is_sparse();
      Scratch<double> left(copies ? tile * p : 0), right(copies ? tile * p : 0);
      blas::gemm<double>(1, block(Y, t0, rows, left), block(X, i0, columns, right),
                         true, 0, Matrix(out.row(t0) + i0, rows, columns, out.stride));
      for (index t = t0; t < t0 + rows; ++t)
        finish(t, i0, columns);
    });
  }
  if (!same)
    return;
  if (rbf)
    for (index i = 0; i < n; ++i)
      out(i, i) = 1.0;
  threads_.ranges(n, 64, [&](index first, index last) {  // the other half, mirrored
    for (index i0 = 0; i0 < last; i0 += 64)
      for (index t = first; t < last; ++t)
        for (index i = i0; i < std::min(i0 + 64, t); ++i)
          out(t, i) = out(i, t);
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
