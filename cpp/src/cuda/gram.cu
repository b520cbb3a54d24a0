// SPDX-License-Identifier: BSD-3-Clause
// X' diag(w) X for one or many weight vectors. A tile of rows is scaled by its weights
// and multiplied with itself by the library; only strips of columns down to their
// diagonal are computed: about n q^2 flops a block instead of 2 n q^2.
#include "cuda/backend.hpp"
#include "cuda/pack.hpp"
#include "cuda/sparse.hpp"
#include "cuda/split.hpp"
#include "cuda/sums.hpp"

#include <algorithm>
#include <deque>
#include <vector>

namespace upweight::cuda {
namespace {

/// Width of a strip: wide enough for the library, narrow enough that little of what
/// lies under the diagonal is computed.
index strip_width(index order) {
  if (order <= 128)
    return std::max<index>(order, 1);
  return order <= 512 ? 128 : order <= 2048 ? 256 : 512;
}

/// Rows of a tile. The library is at half its speed where the inner dimension of each
/// part of a product is in the hundreds, so that tiles are larger than a cache.
index gram_rows(index columns) {
  constexpr index bytes = index(128) << 20;
  return std::clamp<index>(bytes / (columns * index(sizeof(double))), 1024,
                           index(1) << 20);
}

/// The upper triangle of a matrix of some order as a sum of A'B. With `apart` over 1
/// only the blocks off the diagonal are wanted, each block of that order.
class GramSum {
public:
  GramSum(const Device& device, Matrix H, index rows, index copies, index apart = 1)
      : width_(strip_width(H.cols)), apart_(apart),
        sum_(device, H, H.cols <= width_ ? H.cols : H.cols / 2, width_, rows,
             (index(256) << 20) / copies) {}

  void add(double alpha, ConstMatrix A, ConstMatrix B) {
    for (index first = 0; first < B.cols; first += width_) {
      const index count = std::min(width_, B.cols - first), last = first + count;
      const index down = apart_ > 1 ? (last - 1) / apart_ * apart_ : last;
      if (down > 0)
        sum_.add(alpha, A.columns(0, down), B.columns(first, count), first);
    }
  }
  void finish() { sum_.finish(); }

private:
  index width_, apart_;
  SplitSum sum_;
};

/// out row i = w_i x_i for the weights of output k.
void scale_rows(const Device& device, const RowWeights& W, bool with_factor, index k,
                ConstMatrix rows, Matrix out) {
  const ConstMatrix diagonal = W.diagonal;
  const ConstMatrix factor = with_factor ? W.factor : ConstMatrix();
  const double sign = W.sign;
  each(device, "scale_rows", rows.rows, rows.cols, [=] __device__(index i, index j) {
    const double w = (diagonal.empty() ? 0.0 : diagonal(i, k)) +
                     (factor.empty() ? 0.0 : sign * factor(i, k) * factor(i, k));
    out(i, j) = w * rows(i, j);
  });
}

/// The part of a block of outputs k < l that lies under the block's own diagonal
/// becomes the mirror image of what lies above it.
void mirror(const Device& device, Matrix H, index q) {
  const index K = H.rows / q;
  each(device, "mirror", H.rows, q, [=] __device__(index r, index j) {
    const index k = r / q, i = r - k * q;
    if (j < i)
      for (index l = k + 1; l < K; ++l)
        H(r, l * q + j) = H(k * q + j, l * q + i);
  });
}

/// sum_l w_kl = 0: a block on the diagonal is minus the sum of the others.
void diagonal_blocks(const Device& device, Matrix H, index q) {
  const index K = H.rows / q;
  each(device, "diagonal_blocks", H.rows, q, [=] __device__(index r, index j) {
    const index k = r / q, i = r - k * q;
    if (j < i)
      return;
    double sum = 0;
    for (index l = 0; l < K; ++l)
      if (l != k)
        sum -= l < k ? H(l * q + i, k * q + j) : H(k * q + i, l * q + j);
    H(r, k * q + j) = sum;
  });
}

/// Adds the penalties, and tau vv' to the columns that have none when `tie`. H's blocks
/// are one under the other or, when it is square, on its diagonal.
void add_penalties(const Device& device, ConstMatrix penalty, bool tie, Matrix H) {
  const index q = penalty.cols, K = H.rows / q;
  const bool square = H.cols > q;
  each(device, "add_penalties", q, [=] __device__(index j) {
    const double pull = penalty(0, j);
    double tau = 0;
    for (index k = 0; k < K; ++k) {
      double& entry = H(k * q + j, (square ? k * q : 0) + j);
      tau += entry / static_cast<double>(K);
      entry += pull;
    }
    if (tie && pull == 0)  // + tau v v', v = 1/sqrt(K)
      for (index k = 0; k < K; ++k)
        for (index l = k; l < K; ++l)
          H(k * q + j, l * q + j) += tau / static_cast<double>(K);
  });
}

/// The rows of a block (dense, on the device), weighed for each output, add to its sum,
/// and to the gradient, which may be empty.
template <class T>
void add_weighted(const Device& device, ConstMatrix rows, const RowWeights& W,
                  bool with_factor, ConstMatrix r, std::deque<GramSum>& sums,
                  WeightedSums<T>& gradient) {
  const Scratch<double> memory(device, rows.rows * rows.cols);
  const Matrix scaled = memory.view(rows.rows, rows.cols);
  for (index k = 0; k < static_cast<index>(sums.size()); ++k) {
    device.pause_point();
    scale_rows(device, W, with_factor, k, rows, scaled);
    sums[static_cast<std::size_t>(k)].add(1, scaled, rows);
  }
  if (!r.empty())
    gradient.add_rows(rows, r);
}

/// Blocks of q columns, one for each output or one for all.
template <class T>
void separate_gram(const Device& device, const Design<T>& X, const RowWeights& W,
                   ConstMatrix r, Matrix H, Matrix g) {
  const index q = H.cols, K = H.rows / q;
  const index tile = std::min(gram_rows(q), X.rows());
  std::deque<GramSum> sums;
  for (index k = 0; k < K; ++k)
    sums.emplace_back(device, H.block(k * q, q), tile, K);
  WeightedSums<T> gradient(device, g, tile);
  each_block(device, X, tile, [&](const Design<T>& block, index first) {
    const index n = block.rows();
    const DenseRows<double, T> rows(device, block);
    add_weighted(device, rows.view(), rows_of(W, first, n), true,
                 g.empty() ? r : r.block(first, n), sums, gradient);
  });
  gradient.finish();
  for (index k = 0; k < K; ++k) {
    sums[static_cast<std::size_t>(k)].finish();
    clear_lower(device, H.block(k * q, q));
  }
}

/// One matrix for all outputs: sign F'F, F = [f_i1 x_i, f_i2 x_i, ...], and the
/// diagonal weights' blocks, or, of softmax, what the others leave to them.
template <class T>
void coupled_gram(const Device& device, const Design<T>& X, const RowWeights& W,
                  ConstMatrix r, Matrix H, Matrix g) {
  const index q = X.columns(), P = H.cols, K = P / q;
  const bool zero_sum = W.rows_sum_to_zero && K > 1;
  const bool diagonals = !zero_sum && !W.diagonal.empty();
  const index tile = std::min(gram_rows(P), X.rows());
  GramSum products(device, H, tile, 1, zero_sum ? q : 1);
  std::deque<GramSum> sums;
  for (index k = 0; k < (diagonals ? K : 0); ++k)
    sums.emplace_back(device, H.block(k * q, q).columns(k * q, q), tile, K);
  WeightedSums<T> gradient(device, g, tile);
  each_block(device, X, tile, [&](const Design<T>& block, index first) {
    const index n = block.rows();
    if (!W.factor.empty()) {
      const Scratch<double> memory(device, n * P);
      const Matrix F = memory.view(n, P);
      pack(device, block, 0, nullptr, W.factor.block(first, n), F);
      products.add(W.sign, F, F);
    }
    if (!diagonals) {
      if (!g.empty())
        gradient.add(block, r.block(first, n));
      return;
    }
    const DenseRows<double, T> rows(device, block);
    add_weighted(device, rows.view(), rows_of(W, first, n), false,
                 g.empty() ? r : r.block(first, n), sums, gradient);
  });
  gradient.finish();
  products.finish();
  for (GramSum& sum : sums)
    sum.finish();
  mirror(device, H, q);
  if (zero_sum)
    diagonal_blocks(device, H, q);
  clear_lower(device, H);
}

}  // namespace

template <class T>
void CudaBackend<T>::gram(const Design<T>& X, const RowWeights& W, Coupling coupling,
                          const std::vector<double>& penalty, ConstMatrix r, Matrix H,
                          Matrix g) const {
  const index q = X.columns();
  const Uploaded<double> penalties(device(), penalty.data(), q);
  clear(device(), H);
  clear(device(), g);
  const bool full = coupling == Coupling::full;
  if (full)
    coupled_gram(device(), X, W, r, H, g);
  else
    separate_gram(device(), X, W, r, H, g);
  add_penalties(device(), ConstMatrix(penalties.get(), 1, q),
                full && H.rows > q && W.rows_sum_to_zero, H);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
