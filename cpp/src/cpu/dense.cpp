// SPDX-License-Identifier: BSD-3-Clause
// Cholesky factors and solves of order P, in tiles over our own threads.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index panel = 256;  // a tile of the blocked factorisation

/// Right-hand sides of one task: each task reads the whole factor, so not too few.
index rows_per_task(index rows) {
  return std::clamp<index>(ceil_div(rows, 8), 16, 256);
}

/// Right-looking blocked Cholesky, H = R'R in the upper triangle; the failing row, or
/// -1.
template <class U>
index blocked_potrf(const Threads& threads, MatrixView<U> H) {
  if (H.rows <= 2 * panel)
    return blas::potrf<U>(H);
  const index P = H.rows;
  const auto block = [&](index i, index j) {
    return MatrixView<U>(H.row(i) + j, std::min(panel, P - i), std::min(panel, P - j),
                         H.stride);
  };
  for (index d = 0; d < P; d += panel) {
    const MatrixView<U> diagonal = block(d, d);
    const index failed = blas::potrf<U>(diagonal);
    if (failed >= 0)
      return d + failed;
    const index rest = ceil_div(P - d - diagonal.rows, panel);
    const index next = d + panel;
    threads.run(rest, [&](index j) {  // R_dj = R_dd^-T H_dj
      blas::solve_panel<U>(diagonal, block(d, next + j * panel));
    });
    threads.run(rest * (rest + 1) / 2, [&](index task) {  // H_ij -= R_di' R_dj
      index i = 0;
      while (task >= rest - i)
        task -= rest - i++;
      const index j = i + task;
      const MatrixView<U> out = block(next + i * panel, next + j * panel);
      const MatrixView<const U> left = block(d, next + i * panel);
      if (i == j)
        blas::syrk_subtract<U>(left, out);
      else
        blas::gemm_at<U>(-1, left, block(d, next + j * panel), 1, out);
    });
  }
  return -1;
}

}  // namespace

template <class T>
index CpuBackend<T>::potrf(Matrix H, index count, double tolerance) const {
  const index P = H.cols;
  for (index k = 0; k < count; ++k) {
    const Matrix block = H.block(k * P, P);
    std::vector<double> diagonal(static_cast<std::size_t>(P));
    for (index j = 0; j < P; ++j)
      diagonal[static_cast<std::size_t>(j)] = block(j, j);
    const index failed =
        P <= 2 * panel ? blas::potrf<double>(block) : blocked_potrf(threads_, block);
    const index reached = failed < 0 ? P : failed;
    for (index j = 0; j < reached; ++j) {
      const double pivot = block(j, j) * block(j, j);
      if (!(pivot > tolerance * diagonal[static_cast<std::size_t>(j)]))
        return k * P + j;
    }
    if (failed >= 0)
      return k * P + failed;
    threads_.ranges(P, 256, [&](index first, index last) {
      for (index i = first; i < last; ++i)
        std::fill_n(block.row(i), i, 0.0);
    });
  }
  return -1;
}

template <class T>
index CpuBackend<T>::potrf_pivoted(Matrix K, double tolerance,
                                   std::vector<std::int64_t>& order) const {
  return blas::potrf_pivoted(K, tolerance, order);
}

template <class T>
void CpuBackend<T>::solve(const Factor& factor, Matrix B, bool half) const {
  const index order = factor.order(), segments = B.cols / order;
  const index grain = rows_per_task(B.rows);
  const index tiles = ceil_div(B.rows, grain);
  threads_.run(segments * tiles, [&](index task) {
    const index k = task / tiles, first = (task % tiles) * grain;
    const Matrix rows(B.row(first) + k * order, std::min(grain, B.rows - first), order,
                      B.stride);
    blas::solve_rows<double>(factor.block(k), true, rows);
    if (!half)
      blas::solve_rows<double>(factor.block(k), false, rows);
  });
}

template <class T>
std::vector<double> CpuBackend<T>::eigenvalues(Matrix S) const {
  return blas::eigenvalues(S);
}

template <class T>
void CpuBackend<T>::multiply(double alpha, ConstMatrix A, ConstMatrix B,
                             bool transposed, double beta, Matrix C) const {
  // tiles of the result, as large as BLAS likes them where there are enough; else long
  // rows in strips, short ones in squares
  constexpr index enough = 16;
  const bool large = ceil_div(C.rows, panel) * ceil_div(C.cols, panel) >= enough;
  const bool strips = C.cols > 1024;
  const index height = large ? panel : strips ? 64 : 32;
  const index width = large || strips ? panel : 32;
  const index across = ceil_div(C.cols, width);
  threads_.run(ceil_div(C.rows, height) * across, [&](index task) {
    const index i = task / across * height, j = task % across * width;
    const index rows = std::min(height, C.rows - i);
    const index cols = std::min(width, C.cols - j);
    const ConstMatrix right =
        transposed ? B.block(j, cols) : ConstMatrix(B.data + j, B.rows, cols, B.stride);
    blas::gemm<double>(alpha, A.block(i, rows), right, transposed, beta,
                       Matrix(C.row(i) + j, rows, cols, C.stride));
  });
}

template <class T>
void CpuBackend<T>::transpose(ConstMatrix A, Matrix out) const {
  constexpr index side = 64;
  threads_.ranges(out.rows, side, [&](index first, index last) {
    for (index j0 = 0; j0 < out.cols; j0 += side)
      for (index i = first; i < last; ++i)
        for (index j = j0; j < std::min(j0 + side, out.cols); ++j)
          out(i, j) = A(j, i);
  });
}

template <class T>
void CpuBackend<T>::forward_rows(ConstMatrix R, Matrix B) const {
  threads_.ranges(B.cols, panel, [&](index first, index last) {
    blas::solve_panel<double>(R, B.columns(first, last - first));
  });
}

template <class T>
index CpuBackend<T>::potrf_single(ConstMatrix H, double shift, MatrixView<float> R,
                                  Matrix D) const {
  const index P = H.cols;
  for (index j = 0; j < P; ++j)
    D(0, j) = H(j, j) > 0 ? std::sqrt(H(j, j)) : 1.0;
  threads_.ranges(P, 64, [&](index first, index last) {
    for (index i = first; i < last; ++i) {
      const double d = 1.0 / D(0, i);
      for (index j = 0; j < i; ++j)
        R(i, j) = 0;
      for (index j = i; j < P; ++j)
        R(i, j) = static_cast<float>(H(i, j) * d / D(0, j));
      R(i, i) = static_cast<float>(1.0 + shift);
    }
  });
  return blocked_potrf(threads_, R);
}

template <class T>
void CpuBackend<T>::solve_single(MatrixView<const float> R, ConstMatrix D,
                                 ConstMatrix B, Matrix out) const {
  const index P = R.cols, grain = rows_per_task(B.rows);
  threads_.ranges(B.rows, grain, [&](index first, index last) {
    Scratch<float> scratch((last - first) * P);
    const MatrixView<float> rows(scratch.get(), last - first, P);
    for (index i = first; i < last; ++i)
      for (index j = 0; j < P; ++j)
        rows(i - first, j) = static_cast<float>(B(i, j) / D(0, j));
    blas::solve_rows<float>(R, true, rows);
    blas::solve_rows<float>(R, false, rows);
    for (index i = first; i < last; ++i)
      for (index j = 0; j < P; ++j)
        out(i, j) = static_cast<double>(rows(i - first, j)) / D(0, j);
  });
}

template <class T>
void CpuBackend<T>::symmetric_product(ConstMatrix H, ConstMatrix V, Matrix out) const {
  const index P = H.cols;
  threads_.ranges(P, panel, [&](index first, index last) {
    const index count = last - first, after = P - last;
    const ConstMatrix strip = H.block(first, count);
    const Matrix to = out.columns(first, count);
    blas::symm<double>(strip.columns(first, count), V.columns(first, count), to);
    if (first > 0)
      blas::gemm<double>(1, V.columns(0, first),
                         H.block(0, first).columns(first, count), false, 1, to);
    if (after > 0)
      blas::gemm<double>(1, V.columns(last, after), strip.columns(last, after), true, 1,
                         to);
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
