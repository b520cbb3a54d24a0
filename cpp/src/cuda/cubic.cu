// SPDX-License-Identifier: BSD-3-Clause
// The symmetric tensor of third derivatives, by matrix products over pairs of columns.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/launch.hpp"
#include "cuda/pack.hpp"
#include "cuda/sets.hpp"
#include "formula.hpp"
#include "pairs.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace upweight::cuda {
namespace {

// Of the products of floats.
constexpr blas::Precision product_precision = blas::Precision::plain;
constexpr index sum_rows = 2048;  // rows of a sum in float32, or sets of a batch

/// Blocks whose panels of `sum_rows` rows stay in a second-level cache.
std::vector<PairBlock> panel_blocks(index q) {
  constexpr index most = (index(32) << 20) / (sum_rows * index(sizeof(float)));
  return pair_blocks(q, most);
}

/// The two columns k1 <= k2 of each pair, in the order of the tensor's rows.
struct Pairs {
  const std::int32_t *k1, *k2;
};
Pairs fill_pairs(const Device& device, index q, const Scratch<std::int32_t>& memory) {
  std::int32_t *const k1s = memory.get(), *const k2s = k1s + pairs_before(q);
  each(device, "pairs", q, q, [=] __device__(index k2, index k1) {
    if (k1 > k2)
      return;
    k1s[pairs_before(k2) + k1] = static_cast<std::int32_t>(k1);
    k2s[pairs_before(k2) + k1] = static_cast<std::int32_t>(k2);
  });
  return {k1s, k2s};
}

/// w_j skew_j of column j of a row.
__device__ double slope(Family family, MatrixView<const float> weight,
                        MatrixView<const float> mean, index j) {
  const auto p = static_cast<double>(mean(0, j));
  const double skew =
      formula::with_separable(family, [&](auto f) -> double { return f.skew(p); });
  return static_cast<double>(weight(0, j)) * skew;
}

}  // namespace

template <class T>
void CudaBackend<T>::cubic_tensor(const RemainderRows<float>& rows,
                                  MatrixView<float> cubic) const {
  const index n = rows.Z.rows, q = rows.Z.cols, most = std::min(n, sum_rows);
  const std::vector<PairBlock> blocks = panel_blocks(q);
  const Scratch<std::int32_t> of_pairs(device(), 2 * pairs_before(q));
  const Pairs pairs = fill_pairs(device(), q, of_pairs);
  const index pair_count = widest(blocks);
  const Scratch<float> slopes(device(), n), panels(device(), most * pair_count),
      parts(device(), pair_count * q);
  const Scratch<double> sums(device(), pair_count * q);
  const Family family = rows.family;
  const MatrixView<const float> weight = rows.weight, mean = rows.mean;
  float* const a = slopes.get();
  each(device(), "cubic_tensor", n, [=] __device__(index j) {
    a[j] = static_cast<float>(slope(family, weight, mean, j));
  });
  // the tensor is symmetric: of block [first, last) only columns from `first` on
  for (const PairBlock block : blocks) {
    const index size = block.size(), cols = q - block.first, from = block.row();
    const MatrixView<float> part = parts.view(size, cols);
    const Matrix sum = sums.view(size, cols);
    const std::int32_t *const k1 = pairs.k1 + from, *const k2 = pairs.k2 + from;
    for (index first = 0; first < n; first += most) {
      device().pause_point();
      const index len = std::min(most, n - first);
      const MatrixView<const float> Z = rows.Z.block(first, len);
      const MatrixView<float> panel = panels.view(len, size);
      each(device(), "cubic_tensor", len, size, [=] __device__(index j, index e) {
        panel(j, e) = a[first + j] * Z(j, k2[e]) * Z(j, k1[e]);
      });
      blas::gemm_at<float>(
          device(), 1, panel,
          MatrixView<const float>(Z.data + block.first, len, cols, Z.stride), 0, part,
          product_precision);
      each(device(), "cubic_tensor", size, cols, [=] __device__(index e, index c) {
        sum(e, c) = (first > 0 ? sum(e, c) : 0.0) + static_cast<double>(part(e, c));
      });
    }
    const MatrixView<float> to(cubic.row(from) + block.first, size, cols, cubic.stride);
    each(device(), "cubic_tensor", size, cols, [=] __device__(index e, index c) {
      to(e, c) = n > 0 ? static_cast<float>(sum(e, c)) : 0.0f;
    });
  }
  each_row(device(), "cubic_tensor", pairs_before(q), q,
           [=] __device__(const Team& team, index e) {
             const index k1 = pairs.k1[e], k2 = pairs.k2[e];
             for (index k = team.rank(); k < k2; k += team.size())
               cubic(e, k) = k <= k1 ? cubic(pairs_before(k1) + k, k2)
                                     : cubic(pairs_before(k) + k1, k2);
           });
}

template <class T>
void CudaBackend<T>::cubic_contract(MatrixView<const float> cubic, const RowSets& sets,
                                    const RemainderRows<float>& own, ConstMatrix Z,
                                    ConstMatrix delta, Matrix G) const {
  const index q = delta.cols, batch = delta.rows, most = std::min(batch, sum_rows);
  const std::vector<PairBlock> blocks = panel_blocks(q);
  const Scratch<std::int32_t> of_pairs(device(), 2 * pairs_before(q));
  const Pairs pairs = fill_pairs(device(), q, of_pairs);
  const Scratch<float> panels(device(), most * widest(blocks)),
      parts(device(), most * q);
  for (index begin = 0; begin < batch; begin += most) {
    const index size = std::min(most, batch - begin);
    const ConstMatrix moved = delta.block(begin, size);
    const Matrix to = G.block(begin, size);
    const MatrixView<float> part = parts.view(size, q);
    for (const PairBlock block : blocks) {
      device().pause_point();
      const MatrixView<float> panel = panels.view(size, block.size());
      const std::int32_t *const k1 = pairs.k1 + block.row(), *const k2 =
                                                                 pairs.k2 + block.row();
      each(device(), "cubic_contract", size, block.size(),
           [=] __device__(index b, index e) {
             const auto x = static_cast<float>(moved(b, k1[e])),
                        y = static_cast<float>(moved(b, k2[e]));
             panel(b, e) = k1[e] == k2[e] ? x * y : 2 * x * y;  // squares count once
           });
      blas::gemm<float>(device(), 1, panel, cubic.block(block.row(), block.size()),
                        false, 0, part, product_precision);
      each(device(), "cubic_contract", size, q, [=] __device__(index b, index j) {
        to(b, j) += static_cast<double>(part(b, j));
      });
    }
  }
  const UploadedSets uploaded(device(), sets, 1, false);
  const SetLists lists = uploaded.lists();
  const Family family = own.family;
  const MatrixView<const float> weight = own.weight, mean = own.mean;
  each_row(device(), "cubic_contract", batch, q,
           [=] __device__(const Team& team, index b) {
             const index first = lists.begin(b), last = first + lists.size(b);
             for (index m = first; m < last; ++m) {
               double u = 0;
               for (index j = team.rank(); j < q; j += team.size())
                 u += Z(m, j) * delta(b, j);
               u = team.sum(u);
               const double scale = slope(family, weight, mean, m) * u * u;
               for (index j = team.rank(); j < q; j += team.size())
                 G(b, j) -= scale * Z(m, j);
             }
           });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
