// SPDX-License-Identifier: BSD-3-Clause
// Inner products of rows, block by block: products by the library (or by the entries of
// sparse rows), then the kernel's function of what they left.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/pack.hpp"
#include "cuda/patches.hpp"
#include "cuda/sparse.hpp"
#include "formula.hpp"

#include <algorithm>
#include <cmath>

namespace upweight::cuda {
namespace {

template <class T>
Design<T> without_intercept(const Design<T>& X) {
  return {X.features, false, X.sparse, {}};
}

/// |x_i|^2 of every row (n x 1) of a design on the device, from what is stored of it.
template <class T>
void square_norms(const Device& device, const Design<T>& X, Matrix norms) {
  const bool sparse = X.is_sparse();
  const index p = X.features.cols;
  const MatrixView<const T> features = X.features;
  const SparseView<T> S = X.sparse;
  each_row(device, "square_norms", X.rows(), sparse ? 32 : p,
           [=] __device__(const Team& team, index i) {
             const index first = sparse ? S.begin(i) : 0, last = sparse ? S.end(i) : p;
             double sum = 0;
             for (index e = first + team.rank(); e < last; e += team.size()) {
               const auto x =
                   static_cast<double>(sparse ? S.values[e] : features(i, e));
               sum += x * x;
             }
             norms(i, 0) = team.sum(sum);
           });
}

__device__ double power(double base, int degree) {
  double result = 1;
  for (; degree > 0; degree /= 2, base *= base)
    if (degree % 2 == 1)
      result *= base;
  return result;
}

/// Inner products become the kernel's values; y2 (rows) and x2 (columns) are the
/// squares of the rows' norms, where it needs them.
void apply_kernel(const Device& device, const Kernel& kernel, ConstMatrix y2,
                  ConstMatrix x2, Matrix out) {
  if (kernel.kind == Kernel::Kind::linear)
    return;
  const double gamma = kernel.gamma, coef0 = kernel.coef0;
  const int degree = kernel.degree;
  if (kernel.kind == Kernel::Kind::rbf)
    each(device, "rbf", out.rows, out.cols, [=] __device__(index t, index i) {
      const double square = y2(t, 0) + x2(i, 0) - 2 * out(t, i);
      out(t, i) = formula::fast_exp(-gamma * (square > 0 ? square : 0.0));
    });
  else
    each(device, "poly", out.rows, out.cols, [=] __device__(index t, index i) {
      out(t, i) = power(gamma * out(t, i) + coef0, degree);
    });
}

/// out(t, i) = y_t . x_i for the rows of Y and of a block of X on the device.
template <class T>
void inner_products(const Device& device, ConstMatrix Y, const Design<T>& X,
                    Matrix out) {
  if (!X.is_sparse()) {
    const DenseRows<double, T> rows(device, X);
    blas::gemm<double>(device, 1, Y, rows.view(), true, 0, out);
    return;
  }
  constexpr index columns = 32;  // of Y', for all rows of X at once
  const index most = std::min(columns, Y.rows), p = Y.cols, n = X.rows();
  const Scratch<double> panel(device, p * most), products(device, n * most);
  for (index t0 = 0; t0 < Y.rows; t0 += columns) {
    device.pause_point();
    const index count = std::min(columns, Y.rows - t0);
    const Matrix D = panel.view(p, count), U = products.view(n, count);
    transpose_into<double>(device, Y.block(t0, count), D);
    sparse_products<false>(device, X.sparse, n, 0, D, U);
    transpose_into<double>(device, U, out.block(t0, count));
  }
}

/// What lies under the diagonal becomes the mirror image of what lies above it.
void mirror(const Device& device, bool rbf, Matrix out) {
  each_by_patches(device, "mirror", out.rows, out.cols,
                  [=] __device__(index t, index i) {
                    if (i < t)
                      out(t, i) = out(i, t);
                    else if (rbf && i == t)
                      out(t, i) = 1.0;
                  });
}

/// Rows of Y that stay on the device, dense, while X goes by.
template <class T>
index resident_rows(const Design<T>& Y) {
  constexpr index most_bytes = index(1) << 30;
  const index row_bytes = std::max<index>(Y.features.cols, 1) * index(sizeof(double));
  return std::clamp<index>(most_bytes / row_bytes, 32, Y.rows() > 32 ? Y.rows() : 32);
}

/// Rows of X in a block: its products are wide enough for the device, and, where half
/// of them are enough, blocks are many enough to leave out most of the other half.
template <class T>
index block_rows(const Design<T>& X, bool half) {
  constexpr index block_bytes = index(256) << 20;
  const index row_bytes = std::max<index>(X.features.cols, 1) * index(sizeof(double));
  const index most = half ? std::max<index>(1024, X.rows() / 8)
                          : index(1) << (X.is_sparse() ? 18 : 20);
  return std::clamp<index>(X.is_sparse() ? most : block_bytes / row_bytes, 64, most);
}

}  // namespace

template <class T>
void CudaBackend<T>::kernel(const Kernel& kernel, const Design<T>& Y0,
                            const Design<T>& X0, bool same, Matrix out) const {
  const Design<T> X = without_intercept(X0), Y = without_intercept(Y0);
  const index p = X.columns();
  const bool rbf = kernel.kind == Kernel::Kind::rbf;
  const index at_once = resident_rows(Y);
  for (index t0 = 0; t0 < Y.rows(); t0 += at_once) {
    const index count = std::min(at_once, Y.rows() - t0);
    const Scratch<double> memory(device(), count * p), norms(device(), count);
    const Matrix left = memory.view(count, p), y2 = norms.view(count, 1);
    each_block(device(), Y.block(t0, count), index(1) << 20,
               [&](const Design<T>& block, index first) {
                 pack(device(), block, 0, nullptr, {}, left.block(first, block.rows()));
               });
    if (rbf)
      square_norms(device(), Design<double>{left, false}, y2);
    each_block(device(), X, block_rows(X, same), [&](const Design<T>& block, index i0) {
      const index n = block.rows(), reach = same ? i0 + n - t0 : count;
      if (reach <= 0)
        return;  // all of it lies under the diagonal
      const ConstMatrix rows = left.block(0, std::min(reach, count));
      const Matrix to(out.row(t0) + i0, rows.rows, n, out.stride);
      inner_products(device(), rows, block, to);
      const Scratch<double> own(device(), n);
      if (rbf)
        square_norms(device(), block, own.view(n, 1));
      apply_kernel(device(), kernel, y2, own.view(n, 1), to);
    });
  }
  if (same)
    mirror(device(), rbf, out);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
