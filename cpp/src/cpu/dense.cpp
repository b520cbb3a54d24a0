// SPDX-License-Identifier: BSD-3-Clause
// Cholesky factors and solves of order P, in tiles over our own threads.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index panel = 256;  // a tile of the blocked factorisation

/// Right-looking blocked Cholesky, H = R'R in the upper triangle; the failing row, or
/// -1.
index blocked_potrf(const Threads& threads, Matrix H) {
  const index P = H.rows;
  const auto block = [&](index i, index j) {
    return Matrix(H.row(i) + j, std::min(panel, P - i), std::min(panel, P - j),
                  H.stride);
  };
  for (index d = 0; d < P; d += panel) {
    const Matrix diagonal = block(d, d);
    const index failed = blas::potrf<double>(diagonal);
    if (failed >= 0)
      return d + failed;
    const index rest = ceil_div(P - d - diagonal.rows, panel);
    const index next = d + panel;
    threads.run(rest, [&](index j) {  // R_dj = R_dd^-T H_dj
      blas::solve_panel<double>(diagonal, block(d, next + j * panel));
    });
    threads.run(rest * (rest + 1) / 2, [&](index task) {  // H_ij -= R_di' R_dj
      index i = 0;
      while (task >= rest - i)
        task -= rest - i++;
      const index j = i + task;
      const Matrix out = block(next + i * panel, next + j * panel);
      const ConstMatrix left = block(d, next + i * panel);
      if (i == j)
        blas::syrk_subtract<double>(left, out);
      else
        blas::gemm_at<double>(-1, left, block(d, next + j * panel), 1, out);
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
void CpuBackend<T>::solve(const Factor& factor, Matrix B, bool half) const {
  const index order = factor.order(), segments = B.cols / order;
  // few rows: the factor is read once for all; many: each thread takes its share
  const index grain = std::clamp<index>(ceil_div(B.rows, 16), 8, 256);
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

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
