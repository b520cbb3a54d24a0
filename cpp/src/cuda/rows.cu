// SPDX-License-Identifier: BSD-3-Clause
// Words that make one pass over the rows of X: linear predictors, gradients, products
// with the Hessian that never form it.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/few.hpp"
#include "cuda/pack.hpp"
#include "cuda/sparse.hpp"
#include "cuda/split.hpp"
#include "cuda/sums.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cuda {
namespace {

/// Rows of a block when each of them is read once, as it lies.
constexpr index block_rows = index(1) << 20;

/// U (n x B K; column b K + k is output k of vector b) becomes W U.
void weigh(const Device& device, const RowWeights& W, index K, Matrix U) {
  const ConstMatrix diagonal = W.diagonal, factor = W.factor;
  const double sign = W.sign;
  each(device, "weigh", U.rows, U.cols / K, [=] __device__(index i, index b) {
    double dot = 0;
    for (index k = 0; k < (factor.empty() ? 0 : K); ++k)
      dot += factor(i, k) * U(i, b * K + k);
    for (index k = 0; k < K; ++k) {
      double& u = U(i, b * K + k);
      u = (factor.empty() ? 0.0 : sign * factor(i, k) * dot) +
          (diagonal.empty() ? 0.0 : diagonal(i, k) * u);
    }
  });
}

/// sums += X'(W(X v)) for the rows v of V (B K x q) by the entries of X: all of its
/// rows for a few vectors, then the next ones.
template <class T>
void sparse_product(const Device& device, const Design<T>& X, const RowWeights& W,
                    index K, ConstMatrix V, Matrix sums) {
  constexpr index columns = 32;
  const index q = X.columns(), at_once = std::max<index>(columns / K, 1) * K;
  const index most = std::min(at_once, V.rows);
  const Scratch<double> panel(device, q * most), products(device, X.rows() * most);
  for (index first = 0; first < V.rows; first += at_once) {
    device.pause_point();
    const index count = std::min(at_once, V.rows - first);
    const Matrix D = panel.view(q, count), U = products.view(X.rows(), count);
    transpose_into<double>(device, V.block(first, count), D);
    sparse_row_products(device, X, D, U);
    weigh(device, W, K, U);
    sparse_sums<false>(device, X, U, sums.block(first, count));
  }
}

/// out = sums + penalty v + each tied column's share of v's mean, as the word has it;
/// row b K + k of `sums` is segment k of row b.
void finish_product(const Device& device, ConstMatrix sums, ConstMatrix penalty,
                    ConstMatrix tie, ConstMatrix V, Matrix out) {
  const index q = sums.cols, K = V.cols / q;
  each(device, "finish_product", V.rows, q, [=] __device__(index b, index j) {
    double mean = 0;
    for (index k = 0; k < (tie.empty() ? 0 : K); ++k)
      mean += V(b, k * q + j) / static_cast<double>(K);
    const double pull = tie.empty() ? 0.0 : tie(0, j) * mean;
    for (index k = 0; k < K; ++k)
      out(b, k * q + j) = sums(b * K + k, j) + penalty(0, j) * V(b, k * q + j) + pull;
  });
}

/// w (n x K): the weights of the diagonal blocks of the Hessian.
void diagonal_weights(const Device& device, const RowWeights& W, Matrix w) {
  const ConstMatrix diagonal = W.diagonal, factor = W.factor;
  const double sign = W.sign;
  each(device, "diagonal_weights", w.rows, w.cols, [=] __device__(index i, index k) {
    w(i, k) = (diagonal.empty() ? 0.0 : diagonal(i, k)) +
              (factor.empty() ? 0.0 : sign * factor(i, k) * factor(i, k));
  });
}

}  // namespace

template <class T>
void CudaBackend<T>::linear_predictor(const Design<T>& X, ConstMatrix theta,
                                      Matrix eta) const {
  const index q = X.columns(), K = theta.rows;
  if (X.is_sparse()) {
    const Scratch<double> columns(device(), q * K);
    const Matrix D = columns.view(q, K);
    transpose_into<double>(device(), theta, D);
    each_block(device(), X, block_rows, [&](const Design<T>& block, index first) {
      sparse_row_products(device(), block, D, eta.block(first, block.rows()));
    });
    return;
  }
  const index tile = K <= few ? block_rows : tile_rows(q * index(sizeof(double)));
  each_block(device(), X, tile, [&](const Design<T>& block, index first) {
    const Matrix to = eta.block(first, block.rows());
    if (K <= few)
      return few_products(device(), block, theta, to);
    const DenseRows<double, T> rows(device(), block);
    blas::gemm<double>(device(), 1, rows.view(), theta, true, 0, to);
  });
}

template <class T>
void CudaBackend<T>::gradient(const Design<T>& X, ConstMatrix a, Matrix out) const {
  clear(device(), out);
  if (has_columns(X))
    return sparse_sums<false>(device(), X, a, out);
  const bool in_place = !X.is_sparse() && a.cols <= few;
  const index tile =
      in_place ? block_rows : tile_rows(X.columns() * index(sizeof(double)));
  WeightedSums<T> sums(device(), out, tile);
  each_block(device(), X, tile, [&](const Design<T>& block, index first) {
    sums.add(block, a.block(first, block.rows()));
  });
  sums.finish();
}

template <class T>
void CudaBackend<T>::gradient_rows(const Design<T>& X, ConstMatrix a,
                                   Matrix out) const {
  each_block(device(), X, block_rows, [&](const Design<T>& block, index first) {
    pack(device(), block, 0, nullptr, a.block(first, block.rows()),
         out.block(first, block.rows()));
  });
}

template <class T>
void CudaBackend<T>::hessian_product(const Design<T>& X, const RowWeights& W,
                                     const std::vector<double>& penalty,
                                     const std::vector<double>& tie, ConstMatrix V,
                                     Matrix out) const {
  const index q = X.columns(), K = V.cols / q, vectors = V.rows * K;
  const Uploaded<double> penalties(device(), penalty.data(), q);
  const Uploaded<double> ties(device(), tie.data(), static_cast<index>(tie.size()));
  const Scratch<double> copy(device(), V.stride == V.cols ? 0 : V.rows * V.cols);
  ConstMatrix by_output(V.data, vectors, q);  // row b K + k: segment k of row b
  if (V.stride != V.cols) {
    copy_within<double>(device(), V, copy.view(V.rows, V.cols));
    by_output = copy.view(vectors, q);
  }
  const Scratch<double> memory(device(), vectors * q);
  const Matrix sums = memory.view(vectors, q);
  clear(device(), sums);
  if (has_columns(X)) {
    sparse_product(device(), X, W, K, by_output, sums);
  } else {
    // a tile of X is still in cache when it is read for the second time
    const bool in_place = !X.is_sparse() && vectors <= few;
    const index tile = tile_rows(in_place ? (X.features.cols * index(sizeof(T)) +
                                             vectors * index(sizeof(double)))
                                          : (q + vectors) * index(sizeof(double)));
    WeightedSums<T> total(device(), sums, tile);
    each_block(device(), X, tile, [&](const Design<T>& block, index first) {
      const index n = block.rows();
      const Scratch<double> products(device(), n * vectors);
      const Matrix U = products.view(n, vectors);
      if (in_place) {
        few_products(device(), block, by_output, U);
        weigh(device(), rows_of(W, first, n), K, U);
        total.add(block, U);
        return;
      }
      const DenseRows<double, T> rows(device(), block);
      blas::gemm<double>(device(), 1, rows.view(), by_output, true, 0, U);
      weigh(device(), rows_of(W, first, n), K, U);
      total.add_rows(rows.view(), U);
    });
    total.finish();
  }
  finish_product(device(), sums, ConstMatrix(penalties.get(), 1, q),
                 tie.empty() ? ConstMatrix() : ConstMatrix(ties.get(), 1, q), V, out);
}

template <class T>
void CudaBackend<T>::hessian_diagonal(const Design<T>& X, const RowWeights& W,
                                      const std::vector<double>& penalty,
                                      Matrix out) const {
  const index q = X.columns(), K = out.cols / q;
  const Matrix by_output(out.data, K, q);
  const Uploaded<double> penalties(device(), penalty.data(), q);
  const ConstMatrix pull(penalties.get(), 1, q);
  each(device(), "penalties", K, q,
       [=] __device__(index k, index j) { by_output(k, j) = pull(0, j); });
  const auto weights = [&](index first, Matrix w) {
    diagonal_weights(device(), rows_of(W, first, w.rows), w);
  };
  if (has_columns(X)) {
    const Scratch<double> memory(device(), X.rows() * K);
    weights(0, memory.view(X.rows(), K));
    return sparse_sums<true>(device(), X, memory.view(X.rows(), K), by_output);
  }
  const index tile = tile_rows(q * index(sizeof(double)));
  each_block(device(), X, tile, [&](const Design<T>& block, index first) {
    const Scratch<double> memory(device(), block.rows() * K);
    const Matrix w = memory.view(block.rows(), K);
    weights(first, w);
    if (!block.is_sparse())
      return few_sums<true>(device(), block, w, by_output);
    const DenseRows<double, T> rows(device(), block);
    few_sums<true>(device(), Design<double>{rows.view(), false}, w, by_output);
  });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
