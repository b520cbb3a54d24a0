// SPDX-License-Identifier: BSD-3-Clause
// Gradients of what the losses leave of their quadratic (or cubic) models, for many
// moved parameters at once: margin, remainder and gradient of a tile of rows while it
// is in cache, so that no (removals x rows) matrix is ever held.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "formula.hpp"
#include "simd/kernels.hpp"

#include <algorithm>

namespace upweight::cpu {

namespace {

template <class R>
void fill_terms(const Threads& threads, Family family, const RowWeights& W,
                ConstMatrix y, ConstMatrix s, ConstMatrix eta, const std::int64_t* rows,
                MatrixView<R> weight, MatrixView<R> mean) {
  const index K = mean.rows;
  threads.ranges(weight.cols, 4096, [&](index first, index last) {
    Scratch<double> p(K);
    for (index c = first; c < last; ++c) {
      const auto i = static_cast<index>(rows[c]);
      if (family == Family::multinomial) {
        formula::Multinomial::softmax(eta.row(i), K, p.get());
        weight(0, c) = static_cast<R>(s.empty() ? 1.0 : s(i, 0));
        for (index k = 0; k < K; ++k)
          mean(k, c) = static_cast<R>(p[k]);
        continue;
      }
      weight(0, c) = static_cast<R>(W.diagonal(i, 0));
      mean(0, c) = static_cast<R>(formula::with_separable(
          family, [&](auto f) { return f.mean(y(i, 0), eta(i, 0)); }));
    }
  });
}

/// The remainders of a run of rows in place of their moves u; the largest of these.
float remainders(const RemainderRows<float>& rows, bool third, index first, index count,
                 float* u, index u_stride) {
  const float *w = rows.weight.data + first, *p = rows.mean.data + first;
  return rows.family == Family::multinomial
             ? kernels().softmax_remainder(count, rows.outputs, w, p, rows.mean.stride,
                                           u, u_stride)
             : kernels().remainder(rows.family, third, count, w, p, u);
}
double remainders(const RemainderRows<double>& rows, bool third, index first,
                  index count, double* u, index u_stride) {
  const double *w = rows.weight.data + first, *p = rows.mean.data + first;
  return rows.family == Family::multinomial
             ? kernels().softmax_remainder_double(count, rows.outputs, w, p,
                                                  rows.mean.stride, u, u_stride)
             : kernels().remainder_double(rows.family, third, count, w, p, u);
}

template <class R>
void gradients(const Threads& threads, const RemainderRows<R>& rows, index count,
               bool third, const RowSets& sets, const std::int64_t* own,
               ConstMatrix delta, Matrix G, Matrix reach) {
  constexpr index tile = 512;
  const index q = rows.Z.cols, K = rows.outputs, P = K * q, batch = delta.rows;
  // every task reads all rows: not too few removals each, yet work for eight threads
  const index per_task =
      std::clamp<index>(ceil_div(batch, 8), 8, 256 / std::min<index>(K, 8));
  threads.ranges(batch, per_task, [&](index begin, index end) {
    const index size = end - begin;
    Scratch<R> moved(size * P), u(K * size * tile), sum(size * q);
    for (index b = 0; b < size; ++b) {
      for (index j = 0; j < P; ++j)
        moved[b * P + j] = static_cast<R>(delta(begin + b, j));
      std::fill_n(G.row(begin + b), P, 0.0);
      reach(begin + b, 0) = 0;
    }
    for (index first = 0; first < count; first += tile) {
      Threads::pause_point();
      const index len = std::min(tile, count - first);
      const MatrixView<const R> Z = rows.Z.block(first, len);
      const auto output = [&](index k) {
        return MatrixView<R>(u.get() + k * size * tile, size, len, tile);
      };
      for (index k = 0; k < K; ++k)
        blas::gemm<R>(1, MatrixView<const R>(moved.get() + k * q, size, q, P), Z, true,
                      0, output(k));
      for (index b = 0; b < size; ++b) {
        const auto set = static_cast<std::size_t>(begin + b);
        for (index m = sets.offsets[set]; m < sets.offsets[set + 1]; ++m)
          if (own[m] >= first && own[m] < first + len)
            for (index k = 0; k < K; ++k)
              output(k)(b, static_cast<index>(own[m]) - first) = 0;
        const R farthest =
            remainders(rows, third, first, len, u.get() + b * tile, size * tile);
        reach(begin + b, 0) =
            std::max(reach(begin + b, 0), static_cast<double>(farthest));
      }
      for (index k = 0; k < K; ++k) {
        blas::gemm<R>(1, output(k), Z, false, 0, MatrixView<R>(sum.get(), size, q));
        for (index b = 0; b < size; ++b)
          for (index j = 0; j < q; ++j)
            G(begin + b, k * q + j) += static_cast<double>(sum[b * q + j]);
      }
    }
  });
}

}  // namespace

template <class T>
void CpuBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                    ConstMatrix s, ConstMatrix eta,
                                    const std::int64_t* rows, MatrixView<float> weight,
                                    MatrixView<float> mean) const {
  fill_terms(threads_, family, W, y, s, eta, rows, weight, mean);
}

template <class T>
void CpuBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                    ConstMatrix s, ConstMatrix eta,
                                    const std::int64_t* rows, Matrix weight,
                                    Matrix mean) const {
  fill_terms(threads_, family, W, y, s, eta, rows, weight, mean);
}

template <class T>
void CpuBackend<T>::remainder_gradient(const RemainderRows<float>& rows, index count,
                                       bool third, const RowSets& sets,
                                       const std::int64_t* own, ConstMatrix delta,
                                       Matrix G, Matrix reach) const {
  gradients(threads_, rows, count, third, sets, own, delta, G, reach);
}

template <class T>
void CpuBackend<T>::remainder_gradient(const RemainderRows<double>& rows, index count,
                                       bool third, const RowSets& sets,
                                       const std::int64_t* own, ConstMatrix delta,
                                       Matrix G, Matrix reach) const {
  gradients(threads_, rows, count, third, sets, own, delta, G, reach);
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
