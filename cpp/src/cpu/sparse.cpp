// SPDX-License-Identifier: BSD-3-Clause
// Where X is sparse and wide, what costs is not flops but the lines of right-hand sides
// that entries of X touch: 128 bytes an entry and panel. A run of rows therefore goes
// through the columns in blocks whose lines fit a second-level cache.
#include "cpu/sparse.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>

namespace upweight::cpu {

void fill_panel(ConstMatrix V, index first, double* panel) {
  const index count = std::min(sparse_width, V.rows - first);
  constexpr index at_once = 64;  // columns: their lines stay in the first cache
  for (index j0 = 0; j0 < V.cols; j0 += at_once) {
    const index j1 = std::min(j0 + at_once, V.cols);
    for (index b = 0; b < sparse_width; ++b)
      for (index j = j0; j < j1; ++j)
        panel[j * sparse_width + b] = b < count ? V(first + b, j) : 0.0;
  }
}

void add_panel(const double* panel, index first, Matrix V) {
  const index count = std::min(sparse_width, V.rows - first);
  constexpr index at_once = 64;
  for (index j0 = 0; j0 < V.cols; j0 += at_once)
    for (index b = 0; b < count; ++b)
      for (index j = j0; j < std::min(j0 + at_once, V.cols); ++j)
        V(first + b, j) += panel[j * sparse_width + b];
}

template <class T>
index SparseRun<T>::columns_at_once(const Design<T>& X) {
  constexpr index block = 4096, least_entries = 2;
  const index p = X.features.cols;
  const bool dense_enough = X.entries() * block >= least_entries * X.rows() * p;
  return p > 4 * block && dense_enough ? block : std::max<index>(p, 1);
}

template <class T>
template <class Kernel>
void SparseRun<T>::over_blocks(Kernel kernel, const double* from, double* to) {
  const index p = X_.features.cols;
  std::copy_n(X_.sparse.starts + first_, count_, cursor_.get());
  for (index limit = step_; limit < p + step_; limit += step_)
    kernel(count_, X_.sparse.values, X_.sparse.columns, cursor_.get(),
           X_.sparse.starts + first_ + 1, static_cast<std::int32_t>(std::min(limit, p)),
           from, to);
}

template <class T>
void SparseRun<T>::dots(const double* panel, double* U) {
  const index p = X_.features.cols;
  for (index i = 0; i < count_; ++i)
    for (index b = 0; b < sparse_width; ++b)
      U[i * sparse_width + b] = X_.intercept ? panel[p * sparse_width + b] : 0.0;
  if constexpr (std::is_same_v<T, double>)
    over_blocks(kernels().sparse_dots, panel, U);
  else
    over_blocks(kernels().sparse_dots_float, panel, U);
}

template <class T>
void SparseRun<T>::scatter(const double* U, double* panel) {
  const index p = X_.features.cols;
  if constexpr (std::is_same_v<T, double>)
    over_blocks(kernels().sparse_scatter, U, panel);
  else
    over_blocks(kernels().sparse_scatter_float, U, panel);
  for (index i = 0; i < (X_.intercept ? count_ : 0); ++i)
    for (index b = 0; b < sparse_width; ++b)
      panel[p * sparse_width + b] += U[i * sparse_width + b];
}

template <class T>
SparseProducts<T>::SparseProducts(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                                  index t0, index t1)
    : X_(X), a_(a), rows_(t1 - t0), panels_((rows_ + sparse_width - 1) / sparse_width),
      run_(X), panel_(panels_ * V.cols * sparse_width),
      product_(sparse_rows * sparse_width), sum_(sparse_rows * sparse_width) {
  for (index panel = 0; panel < panels_; ++panel)
    fill_panel(V.block(t0, rows_), panel * sparse_width,
               panel_.get() + panel * V.cols * sparse_width);
}

template <class T>
void SparseProducts<T>::sums(index panel, index first, index count) {
  const index q = X_.columns(), K = a_.cols;
  for (index k = 0; k < K; ++k) {
    run_.dots(panel_.get() + (panel * K + k) * q * sparse_width, product_.get());
    for (index c = 0; c < count; ++c) {
      const double a = a_(first + c, k);
      const double* from = product_.get() + c * sparse_width;
      double* to = sum_.get() + c * sparse_width;
      for (index b = 0; b < sparse_width; ++b)
        to[b] = (k > 0 ? to[b] : 0.0) + a * from[b];
    }
  }
}

template class SparseRun<double>;
template class SparseRun<float>;
template class SparseProducts<double>;
template class SparseProducts<float>;

}  // namespace upweight::cpu
