// SPDX-License-Identifier: BSD-3-Clause
// Words that make one pass over the rows of X: linear predictors, gradients, products
// with the Hessian that never form it.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/slots.hpp"
#include "cpu/sparse.hpp"
#include "simd/kernels.hpp"
#include "wide_product.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace upweight::cpu {
template <class T>
void CpuBackend<T>::linear_predictor(const Design<T>& X, ConstMatrix theta,
                                     Matrix eta) const {
  if (X.is_sparse())
    return sparse_linear_predictor(threads_, X, theta, eta);
  const index q = X.columns(), K = theta.rows;
  const index tile = tile_rows(q * index(sizeof(double)));
  threads_.ranges(X.rows(), 4 * tile, [&](index begin, index end) {
    if (K <= 4) {  // memory-bound: read X as it is
      const auto dots = [] {
        if constexpr (std::is_same_v<T, double>)
          return kernels().row_dots;
        else
          return kernels().row_dots_float;
      }();
      dots(end - begin, X.features.cols, X.intercept, X.features.row(begin),
           X.features.stride, theta.data, K, theta.stride, eta.row(begin), eta.stride);
      return;
    }
    Scratch<double> packed(tile * q);
    for (index first = begin; first < end; first += tile) {
      const index count = std::min(tile, end - first);
      const ConstMatrix rows = pack_rows(X, first, count, packed.get());
      blas::gemm<double>(1, rows, theta, true, 0, eta.block(first, count));
    }
  });
}

/// Rows whose products are added up as they come; such sums are added with what
/// rounding took from each addition kept apart.
static constexpr index gradient_rows_at_once = 32;

/// sum += x, and what that rounds off to `lost` (two-sum, Knuth).
static void add_exactly(const double* x, index count, double* sum, double* lost) {
  for (index j = 0; j < count; ++j) {
    const double total = sum[j] + x[j], added = total - sum[j];
    lost[j] += (sum[j] - (total - added)) + (x[j] - added);
    sum[j] = total;
  }
}

template <class T>
index CpuBackend<T>::gradient_tile(const Design<T>& X) const {
  return X.is_sparse() ? X.rows() : gradient_rows_at_once;
}

template <class T>
void CpuBackend<T>::gradient(const Design<T>& X, ConstMatrix a, Matrix out) const {
  if (X.is_sparse())
    return sparse_gradient(threads_, X, a, out);
  const index n = X.rows(), q = X.columns(), K = a.cols, size = K * q;
  const auto weighted_sum = [] {
    if constexpr (std::is_same_v<T, double>)
      return kernels().weighted_sum;
    else
      return kernels().weighted_sum_float;
  }();
  const bool in_place = K <= 4 && a.stride == K;  // memory-bound: read X as it is
  constexpr index slot_rows = 1024, most_slots = 32;
  const index slots = std::clamp<index>(ceil_div(n, slot_rows), 1, most_slots);
  Scratch<double> sums(slots * 2 * size);  // and what they lost
  threads_.run(slots, [&](index slot) {
    double *sum = sums.get() + 2 * slot * size, *lost = sum + size;
    std::fill_n(sum, 2 * size, 0.0);
    Scratch<double> part(size), packed(in_place ? 0 : gradient_rows_at_once * q);
    const index end = n * (slot + 1) / slots;
    for (index first = n * slot / slots; first < end; first += gradient_rows_at_once) {
      const index count = std::min(gradient_rows_at_once, end - first);
      if (in_place) {
        std::fill_n(part.get(), size, 0.0);
        weighted_sum(count, X.features.cols, X.intercept, X.features.row(first),
                     X.features.stride, a.row(first), K, part.get());
      } else {
        const ConstMatrix rows = pack_rows(X, first, count, packed.get());
        blas::gemm_at<double>(1, a.block(first, count), rows, 0,
                              Matrix(part.get(), K, q));
      }
      add_exactly(part.get(), size, sum, lost);
    }
  });
  for (index slot = 1; slot < slots; ++slot) {
    const double* from = sums.get() + 2 * slot * size;
    add_exactly(from, size, sums.get(), sums.get() + size);
    for (index j = 0; j < size; ++j)
      sums[size + j] += from[size + j];
  }
  for (index k = 0; k < K; ++k)
    for (index j = 0; j < q; ++j)
      out(k, j) = sums[k * q + j] + sums[size + k * q + j];
}

template <class T>
void CpuBackend<T>::gradient_rows(const Design<T>& X, ConstMatrix a, Matrix out) const {
  const index q = X.columns();
  threads_.ranges(X.rows(), tile_rows(out.cols * index(sizeof(double))),
                  [&](index begin, index end) {
                    for (index i = begin; i < end; ++i)
                      for (index k = 0; k < a.cols; ++k)
                        pack_row(X, i, a(i, k), out.row(i) + k * q);
                  });
}

template <class T>
void CpuBackend<T>::hessian_product(const Design<T>& X, const RowWeights& W,
                                    const std::vector<double>& penalty,
                                    const std::vector<double>& tie, ConstMatrix V,
                                    Matrix out) const {
  const index q = X.columns(), K = V.cols / q, B = V.rows;
  const index tile = tile_rows((q + K * B) * index(sizeof(double)));
  const auto by_slots = [&](index begin, index end, Matrix mine) {
    Scratch<double> packed(tile * q), products(K * tile * B);
    std::vector<Matrix> U(static_cast<std::size_t>(K));
    for (index first = begin; first < end; first += tile) {
      const index count = std::min(tile, end - first);
      const ConstMatrix rows = pack_rows(X, first, count, packed.get());
      for (index k = 0; k < K; ++k) {
        Matrix& u = U[static_cast<std::size_t>(k)];
        u = Matrix(products.get() + k * tile * B, count, B);
        blas::gemm<double>(1, rows, V.columns(k * q, q), true, 0, u);
        if (W.factor.empty())
          weigh(W.diagonal, k, first, u);
      }
      if (!W.factor.empty())
        weigh_coupled(W, first, U);
      for (index k = 0; k < K; ++k)
        blas::gemm_at<double>(1, U[static_cast<std::size_t>(k)], rows, 1,
                              mine.columns(k * q, q));
    }
  };
  if (X.is_sparse())
    sparse_hessian_product(threads_, X, W, V, out);
  else if (B * V.cols * index(sizeof(double)) < wide_bytes)
    sum_over_slots(threads_, X.rows(), out, by_slots);
  else
    wide_product(threads_, X, V, out, [&](index first, std::vector<Matrix>& U) {
      if (!W.factor.empty())
        return weigh_coupled(W, first, U);
      for (index k = 0; k < K; ++k)
        weigh(W.diagonal, k, first, U[static_cast<std::size_t>(k)]);
    });
  for (index b = 0; b < B; ++b)
    for (index j = 0; j < V.cols; ++j)
      out(b, j) += penalty[static_cast<std::size_t>(j % q)] * V(b, j);
  for (index j = 0; j < (tie.empty() ? 0 : q); ++j)
    for (index b = 0; b < B; ++b) {
      double mean = 0;
      for (index k = 0; k < K; ++k)
        mean += V(b, k * q + j) / static_cast<double>(K);
      const double pull = tie[static_cast<std::size_t>(j)] * mean;
      for (index k = 0; k < K; ++k)
        out(b, k * q + j) += pull;
    }
}

template <class T>
void CpuBackend<T>::hessian_diagonal(const Design<T>& X, const RowWeights& W,
                                     const std::vector<double>& penalty,
                                     Matrix out) const {
  const index q = X.columns(), K = out.cols / q;
  Matrix by_output(out.data, K, q);
  sum_over_slots(
      threads_, X.rows(), by_output,
      [&](index begin, index end, Matrix mine) {
        Scratch<double> row(q);
        const auto add_squares = [&](index i, double w, double* to) {
          if (X.is_sparse())
            return sparse_add_squares(X, i, w, to);
          for (index j = 0; j < q; ++j)
            to[j] += w * row[j] * row[j];
        };
        for (index i = begin; i < end; ++i) {
          if (!X.is_sparse())
            pack_row(X, i, 1.0, row.get());
          for (index k = 0; k < K; ++k) {
            double w = W.diagonal.empty() ? 0.0 : W.diagonal(i, k);
            if (!W.factor.empty())
              w += W.sign * W.factor(i, k) * W.factor(i, k);
            add_squares(i, w, mine.row(k));
          }
        }
      },
      most_slots(X));
  for (index k = 0; k < K; ++k)
    for (index j = 0; j < q; ++j)
      by_output(k, j) += penalty[static_cast<std::size_t>(j)];
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
