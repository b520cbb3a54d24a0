// SPDX-License-Identifier: BSD-3-Clause
// The symmetric tensor of third derivatives, by matrix products over pairs of columns.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "formula.hpp"
#include "pairs.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cpu {
namespace {

double skew(Family family, double p) {
  return formula::with_separable(family, [&](auto f) { return f.skew(p); });
}

}  // namespace

template <class T>
void CpuBackend<T>::cubic_tensor(const RemainderRows<float>& rows,
                                 MatrixView<float> cubic) const {
  constexpr index tile = 256;
  const index n = rows.Z.rows, q = rows.Z.cols;
  Scratch<float> slope(n);
  for (index j = 0; j < n; ++j)
    slope[j] =
        static_cast<float>(static_cast<double>(rows.weight(0, j)) *
                           skew(rows.family, static_cast<double>(rows.mean(0, j))));
  // the tensor is symmetric: of block [first, last) only columns from `first` on
  const std::vector<PairBlock> blocks =
      pair_blocks(q, std::clamp<index>(pairs_before(q) / 16, 32, 256));
  threads_.run(static_cast<index>(blocks.size()), [&](index task) {
    const PairBlock block = blocks[static_cast<std::size_t>(task)];
    const index size = block.size(), cols = q - block.first;
    Scratch<float> panel(tile * size), part(size * cols);
    Scratch<double> sum(size * cols);
    std::fill_n(sum.get(), size * cols, 0.0);
    for (index first = 0; first < n; first += tile) {
      Threads::pause_point();
      const index len = std::min(tile, n - first);
      const MatrixView<const float> Z = rows.Z.block(first, len);
      kernels().pair_panel(len, Z.data, Z.stride, slope.get() + first, block.first,
                           block.last, panel.get(), size);
      blas::gemm_at<float>(
          1, MatrixView<const float>(panel.get(), len, size),
          MatrixView<const float>(Z.data + block.first, len, cols, Z.stride), 0,
          MatrixView<float>(part.get(), size, cols));
      for (index e = 0; e < size * cols; ++e)
        sum[e] += static_cast<double>(part[e]);
    }
    for (index row = 0; row < size; ++row)
      for (index c = 0; c < cols; ++c)
        cubic(block.row() + row, block.first + c) =
            static_cast<float>(sum[row * cols + c]);
  });
  threads_.ranges(q, 8, [&](index begin, index end) {
    for (index k2 = begin; k2 < end; ++k2)
      for (index k1 = 0; k1 <= k2; ++k1)
        for (index k = 0; k < k2; ++k)
          cubic(pairs_before(k2) + k1, k) = k <= k1 ? cubic(pairs_before(k1) + k, k2)
                                                    : cubic(pairs_before(k) + k1, k2);
  });
}

template <class T>
void CpuBackend<T>::cubic_contract(MatrixView<const float> cubic, const RowSets& sets,
                                   const RemainderRows<float>& own, ConstMatrix Z,
                                   ConstMatrix delta, Matrix G) const {
  const index q = delta.cols, batch = delta.rows;
  const std::vector<PairBlock> blocks = pair_blocks(q, 1024);
  const index most = widest(blocks);
  const index per_task = std::clamp<index>(ceil_div(batch, 8), 8, 128);
  threads_.ranges(batch, per_task, [&](index begin, index end) {
    const index size = end - begin;
    Scratch<float> moved(size * q), two(size), panel(size * most), part(size * q);
    std::fill_n(two.get(), size, 2.0f);
    for (index b = 0; b < size; ++b)
      for (index j = 0; j < q; ++j)
        moved[b * q + j] = static_cast<float>(delta(begin + b, j));
    for (const PairBlock block : blocks) {
      Threads::pause_point();
      kernels().pair_panel(size, moved.get(), q, two.get(), block.first, block.last,
                           panel.get(), block.size());
      for (index k = block.first; k < block.last; ++k)  // squares count once
        for (index b = 0; b < size; ++b)
          panel[b * block.size() + pairs_before(k) + k - block.row()] *= 0.5f;
      blas::gemm<float>(1, MatrixView<const float>(panel.get(), size, block.size()),
                        cubic.block(block.row(), block.size()), false, 0,
                        MatrixView<float>(part.get(), size, q));
      for (index b = 0; b < size; ++b)
        for (index j = 0; j < q; ++j)
          G(begin + b, j) += static_cast<double>(part[b * q + j]);
    }
    for (index b = begin; b < end; ++b) {
      const auto set = static_cast<std::size_t>(b);
      for (index m = sets.offsets[set]; m < sets.offsets[set + 1]; ++m) {
        double u = 0;
        for (index j = 0; j < q; ++j)
          u += Z(m, j) * delta(b, j);
        const double slope = static_cast<double>(own.weight(0, m)) *
                             skew(own.family, static_cast<double>(own.mean(0, m)));
        for (index j = 0; j < q; ++j)
          G(b, j) -= slope * u * u * Z(m, j);
      }
    }
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
