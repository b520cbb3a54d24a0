// SPDX-License-Identifier: BSD-3-Clause
// Quadratic forms of rows of X in H^-1, through whitened tiles z = R^-T x that live in
// cache and are never stored.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/sparse.hpp"
#include "cpu/whitener.hpp"

#include <algorithm>
#include <cmath>

namespace upweight::cpu {

static double sqnorm(const double* z, index count) {
  double lanes[8] = {};  // a fixed order that vectorises
  index j = 0;
  for (; j + 8 <= count; j += 8)
    for (index l = 0; l < 8; ++l)
      lanes[l] += z[j + l] * z[j + l];
  for (; j < count; ++j)
    lanes[0] += z[j] * z[j];
  return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

template <class T>
void CpuBackend<T>::leverage_blocks(const Design<T>& X, const Factor& factor,
                                    index outputs, Matrix out) const {
  const index q = X.columns(), K = outputs;
  if (factor.order() == q) {
    const index tile = tile_rows(q * index(sizeof(double)));
    for (index k = 0; k < factor.count; ++k) {
      const Whitener whiten(factor.block(k), X.rows());
      threads_.ranges(X.rows(), tile, [&](index first, index last) {
        Scratch<double> packed(tile * q);
        const Matrix rows = pack_rows(X, first, last - first, packed.get());
        whiten(rows);
        for (index i = first; i < last; ++i) {
          const double c = sqnorm(rows.row(i - first), q);
          for (index l = k; l < (factor.count == 1 ? K : k + 1); ++l)
            out(i, l) = c;
        }
      });
    }
    return;
  }
  // e_k (x) x_i is zero before segment k, and R^-T keeps those zeros
  const index P = K * q;
  const index tile = std::max<index>(1, tile_rows(P * index(sizeof(double))) / K);
  threads_.ranges(X.rows(), tile, [&](index first, index last) {
    Scratch<double> packed(tile * K * P), row(q);
    const Matrix rows(packed.get(), (last - first) * K, P);
    std::fill_n(packed.get(), rows.rows * P, 0.0);
    for (index i = first; i < last; ++i)
      for (index k = 0; k < K; ++k)
        pack_row(X, i, 1.0, rows.row((i - first) * K + k) + k * q);
    blas::solve_rows<double>(factor.block(0), true, rows);
    for (index i = first; i < last; ++i) {
      const ConstMatrix z = rows.block((i - first) * K, K);
      blas::gemm<double>(1, z, z, true, 0, Matrix(out.row(i), K, K));
    }
  });
}

template <class T>
void CpuBackend<T>::quadratic_form(const Design<T>& X, const Factor& factor,
                                   ConstMatrix a, Matrix out) const {
  const index q = X.columns();
  if (factor.order() == q) {  // sum_k a_ik^2 c_ik
    const Array c = zeros(X.rows(), a.cols);
    leverage_blocks(X, factor, a.cols, c);
    threads_.ranges(X.rows(), 4096, [&](index first, index last) {
      for (index i = first; i < last; ++i) {
        out(i, 0) = 0;
        for (index k = 0; k < a.cols; ++k)
          out(i, 0) += a(i, k) * a(i, k) * c.view()(i, k);
      }
    });
    return;
  }
  const index P = a.cols * q;
  const index tile = std::max<index>(64, tile_rows(P * index(sizeof(double))));
  threads_.ranges(X.rows(), tile, [&](index first, index last) {
    Scratch<double> packed(tile * P);
    const Matrix rows =
        pack_products<T, double>(X, a, first, last - first, nullptr, packed.get());
    blas::solve_rows<double>(factor.block(0), true, rows);
    for (index i = first; i < last; ++i)
      out(i, 0) = sqnorm(rows.row(i - first), P);
  });
}

template <class T>
void CpuBackend<T>::scaled_norm(const Design<T>& X, ConstMatrix a, ConstMatrix scale,
                                Matrix out) const {
  const index q = X.columns();
  threads_.ranges(X.rows(), 1024, [&](index first, index last) {
    Scratch<double> row(q), inverse(q);
    for (index j = 0; j < q; ++j)
      inverse[j] = 1.0 / scale(0, j);
    for (index i = first; i < last; ++i) {
      if (X.is_sparse()) {
        out(i, 0) = std::sqrt(sparse_scaled_sqnorm(X, i, inverse.get()) *
                              sqnorm(a.row(i), a.cols));
        continue;
      }
      pack_row(X, i, 1.0, row.get());
      for (index j = 0; j < q; ++j)
        row[j] *= inverse[j];
      out(i, 0) = std::sqrt(sqnorm(row.get(), q) * sqnorm(a.row(i), a.cols));
    }
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
