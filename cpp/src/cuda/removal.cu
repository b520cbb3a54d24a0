// SPDX-License-Identifier: BSD-3-Clause
// Rows on their way in and out of the coordinates in which sets leave, and the steps
// that sets take (removal_terms.cu has their coefficients).
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/launch.hpp"
#include "cuda/pack.hpp"
#include "cuda/sets.hpp"

#include <algorithm>

namespace upweight::cuda {
namespace {

/// A team's x . y.
__device__ double dot(const Team& team, index count, const double* x, const double* y) {
  double sum = 0;
  for (index j = team.rank(); j < count; j += team.size())
    sum += x[j] * y[j];
  return team.sum(sum);
}

/// own_moves for members first .. first + count - 1, which are rows rows[c] of X (the
/// device's numbers), or the rows in order when that is null.
template <class T>
void moves_of(const Device& device, const Design<T>& X, const std::int64_t* rows,
              const SetLists& sets, index first, index count, ConstMatrix delta,
              Matrix out) {
  const index q = X.columns(), p = X.features.cols, K = out.cols;
  const bool sparse = X.is_sparse(), intercept = X.intercept;
  const MatrixView<const T> features = X.features;
  const SparseView<T> S = X.sparse;
  each_row(device, "own_moves", count, p, [=] __device__(const Team& team, index c) {
    const index i = rows ? static_cast<index>(rows[c]) : c;
    const index m = first + c, b = sets.set_of(m);
    for (index k = 0; k < K; ++k) {
      const double* d = delta.row(b) + k * q;
      double sum = intercept && team.rank() == 0 ? d[p] : 0.0;
      if (sparse)
        for (index e = S.starts[i] + team.rank(); e < S.starts[i + 1]; e += team.size())
          sum += static_cast<double>(S.values[e]) * d[S.columns[e]];
      else
        for (index j = team.rank(); j < p; j += team.size())
          sum += static_cast<double>(features(i, j)) * d[j];
      out(m, k) = team.sum(sum);
    }
  });
}

}  // namespace

template <class T>
void CudaBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                            Matrix out) const {
  gather(device(), X, rows, out);
  blas::solve_rows<double>(device(), R, true, out);
}

template <class T>
void CudaBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                            MatrixView<float> out) const {
  const index q = X.columns();
  const index most = std::min(out.rows, tile_rows(q * index(sizeof(double))));
  const Scratch<double> memory(device(), most * q);
  for (index first = 0; first < out.rows; first += most) {
    const index count = std::min(most, out.rows - first);
    const Matrix tile = memory.view(count, q);
    const MatrixView<float> to = out.block(first, count);
    gather(device(), X, rows + first, tile);
    blas::solve_rows<double>(device(), R, true, tile);
    each(device(), "whiten", count, q, [=] __device__(index c, index j) {
      to(c, j) = static_cast<float>(tile(c, j));
    });
  }
}

template <class T>
void CudaBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                   Matrix out) const {
  gather(device(), X, rows, out);
}

template <class T>
void CudaBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                   MatrixView<float> out) const {
  gather(device(), X, rows, out);
}

template <class T>
void CudaBackend<T>::unwhiten(ConstMatrix R, Matrix B) const {
  blas::solve_rows<double>(device(), R, false, B);
}

template <class T>
void CudaBackend<T>::copy_rows(ConstMatrix from, const std::int64_t* from_rows,
                               Matrix to, const std::int64_t* to_rows,
                               index count) const {
  const Uploaded<std::int64_t> from_list(device(), from_rows, from_rows ? count : 0);
  const Uploaded<std::int64_t> to_list(device(), to_rows, to_rows ? count : 0);
  const std::int64_t* const froms = from_rows ? from_list.get() : nullptr;
  const std::int64_t* const tos = to_rows ? to_list.get() : nullptr;
  each(device(), "copy_rows", count, from.cols, [=] __device__(index b, index j) {
    to(tos ? static_cast<index>(tos[b]) : b, j) =
        from(froms ? static_cast<index>(froms[b]) : b, j);
  });
}

template <class T>
void CudaBackend<T>::own_moves(const Design<T>& X, const RowSets& sets,
                               ConstMatrix delta, Matrix out) const {
  const bool here = on_device(X);
  const UploadedSets uploaded(device(), sets, out.cols, here);
  const SetLists lists = uploaded.lists();
  if (here) {
    moves_of(device(), X, lists.members, lists, 0, sets.total(), delta, out);
    return;
  }
  each_gathered_block(device(), X, sets.members.data(), sets.total(),
                      [&](const Design<T>& block, index first) {
                        moves_of(device(), block, nullptr, lists, first, block.rows(),
                                 delta, out);
                      });
}

template <class T>
void CudaBackend<T>::inner_blocks(const RowSets& sets, index outputs, ConstMatrix E,
                                  ConstMatrix V, Matrix C) const {
  constexpr index gemm_order = 64;  // blocks from this on are products of matrices
  const index P = E.cols;
  const UploadedSets uploaded(device(), sets, outputs, false);
  const SetLists lists = uploaded.lists();
  double* const blocks = C.data;
  each_row(device(), "inner_blocks", sets.total() * outputs, P,
           [=] __device__(const Team& team, index i) {
             const index b = lists.set_of(i / outputs), order = lists.size(b) * outputs;
             if (order >= gemm_order)
               return;
             const index first = lists.begin(b) * outputs;
             double* to = blocks + lists.block(b) + (i - first) * order;
             for (index j = 0; j < order; ++j)
               to[j] = dot(team, P, E.row(i), V.row(first + j));
           });
  index start = 0;
  for (index b = 0; b < sets.count(); ++b) {
    const index order = sets.size(b) * outputs,
                first = sets.offsets[static_cast<std::size_t>(b)] * outputs;
    if (order >= gemm_order)
      blas::gemm<double>(device(), 1, E.block(first, order), V.block(first, order),
                         true, 0, Matrix(blocks + start, order, order));
    start += order * order;
  }
}

template <class T>
void CudaBackend<T>::newton_deltas(const RowSets& sets, index outputs, ConstMatrix HX,
                                   ConstMatrix a, Matrix delta) const {
  const UploadedSets uploaded(device(), sets, outputs, false);
  const SetLists lists = uploaded.lists();
  const double* const coefficients = a.data;  // without gaps: an entry a row of HX
  each(device(), "newton_deltas", delta.rows, delta.cols,
       [=] __device__(index b, index j) {
         const index first = lists.begin(b) * outputs,
                     last = first + lists.size(b) * outputs;
         double sum = 0;
         for (index m = first; m < last; ++m)
           sum += coefficients[m] * HX(m, j);
         delta(b, j) = sum;
       });
}

template <class T>
void CudaBackend<T>::chord_step(const RowSets& sets, index outputs, ConstMatrix HX,
                                ConstMatrix a, ConstMatrix N, ConstMatrix G,
                                ConstMatrix V, Matrix delta, Matrix previous,
                                Matrix moved2) const {
  const index P = delta.cols, rows = sets.total() * outputs;
  const UploadedSets uploaded(device(), sets, outputs, false);
  const SetLists lists = uploaded.lists();
  const Scratch<double> memory(device(), 2 * rows);
  double *const along = memory.get(), *const pull = along + rows;
  const double *const coefficients = a.data, *const blocks = N.data;
  each_row(device(), "chord_step", rows, P, [=] __device__(const Team& team, index m) {
    along[m] = dot(team, P, HX.row(m), G.row(lists.set_of(m / outputs)));
  });
  each(device(), "chord_step", rows, [=] __device__(index m) {
    const index b = lists.set_of(m / outputs), first = lists.begin(b) * outputs;
    const index order = lists.size(b) * outputs;
    const double* n = blocks + lists.block(b) + (m - first) * order;
    double sum = 0;
    for (index l = 0; l < order; ++l)
      sum += n[l] * along[first + l];
    pull[m] = coefficients[m] - sum;
  });
  each_row(device(), "chord_step", delta.rows, P,
           [=] __device__(const Team& team, index b) {
             const index first = lists.begin(b) * outputs,
                         last = first + lists.size(b) * outputs;
             double sum = 0;
             for (index j = team.rank(); j < P; j += team.size()) {
               double next = -V(b, j);
               for (index m = first; m < last; ++m)
                 next += pull[m] * HX(m, j);
               sum += (delta(b, j) - next) * (G(b, j) - previous(b, j));
               delta(b, j) = next;
               previous(b, j) = G(b, j);
             }
             moved2(b, 0) = team.sum(sum);
           });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
