// SPDX-License-Identifier: BSD-3-Clause
// What leaving sets of rows out does to the Hessian and its solutions (Woodbury).
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/whitener.hpp"
#include "removed_set.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index sets_per_task = 64;

/// Where the blocks of each set start in a flat row of (g K)^2 numbers a set.
std::vector<index> block_starts(const RowSets& sets, index K) {
  std::vector<index> starts(static_cast<std::size_t>(sets.count()) + 1, 0);
  for (index b = 0; b < sets.count(); ++b) {
    const index order = sets.size(b) * K;
    starts[static_cast<std::size_t>(b) + 1] =
        starts[static_cast<std::size_t>(b)] + order * order;
  }
  return starts;
}

/// in(b) for the sets in order, 64 a task.
template <class Work>
void each_set(const Threads& threads, const RowSets& sets, const Work& work) {
  threads.ranges(sets.count(), sets_per_task, [&](index first, index last) {
    for (index b = first; b < last; ++b)
      work(b, sets.offsets[static_cast<std::size_t>(b)]);
  });
}

template <class T, class U>
void gather_rows(const Threads& threads, const Design<T>& X, const std::int64_t* rows,
                 MatrixView<U> out) {
  threads.ranges(out.rows, 256, [&](index first, index last) {
    for (index c = first; c < last; ++c)
      pack_row(X, static_cast<index>(rows[c]), 1.0, out.row(c));
  });
}

template <class T, class U>
void whiten_rows(const Threads& threads, const Design<T>& X, ConstMatrix R,
                 const std::int64_t* rows, MatrixView<U> out) {
  const index q = X.columns(), tile = tile_rows(q * index(sizeof(double)));
  const Whitener whiten(R, out.rows);
  threads.ranges(out.rows, tile, [&](index first, index last) {
    Scratch<double> packed((last - first) * q);
    const Matrix block(packed.get(), last - first, q);
    for (index c = first; c < last; ++c)
      pack_row(X, static_cast<index>(rows[c]), 1.0, block.row(c - first));
    whiten(block);
    for (index c = first; c < last; ++c)
      for (index j = 0; j < q; ++j)
        out(c, j) = static_cast<U>(block(c - first, j));
  });
}

}  // namespace

template <class T>
void CpuBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                           Matrix out) const {
  whiten_rows(threads_, X, R, rows, out);
}

template <class T>
void CpuBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                           MatrixView<float> out) const {
  whiten_rows(threads_, X, R, rows, out);
}

template <class T>
void CpuBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                  Matrix out) const {
  gather_rows(threads_, X, rows, out);
}

template <class T>
void CpuBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                  MatrixView<float> out) const {
  gather_rows(threads_, X, rows, out);
}

template <class T>
void CpuBackend<T>::unwhiten(ConstMatrix R, Matrix B) const {
  threads_.ranges(B.rows, 256, [&](index first, index last) {
    blas::solve_rows<double>(R, false, B.block(first, last - first));
  });
}

template <class T>
void CpuBackend<T>::copy_rows(ConstMatrix from, const std::int64_t* from_rows,
                              Matrix to, const std::int64_t* to_rows,
                              index count) const {
  const auto row = [](const std::int64_t* rows, index b) {
    return rows ? static_cast<index>(rows[b]) : b;
  };
  threads_.ranges(count, std::max<index>(64, 65536 / std::max<index>(from.cols, 1)),
                  [&](index first, index last) {
                    for (index b = first; b < last; ++b)
                      std::copy_n(from.row(row(from_rows, b)), from.cols,
                                  to.row(row(to_rows, b)));
                  });
}

template <class T>
void CpuBackend<T>::inner_blocks(const RowSets& sets, index outputs, ConstMatrix E,
                                 ConstMatrix V, Matrix C) const {
  const std::vector<index> starts = block_starts(sets, outputs);
  each_set(threads_, sets, [&](index b, index first) {
    const index order = sets.size(b) * outputs;
    blas::gemm<double>(
        1, E.block(first * outputs, order), V.block(first * outputs, order), true, 0,
        Matrix(C.data + starts[static_cast<std::size_t>(b)], order, order));
  });
}

template <class T>
RemovalTerms CpuBackend<T>::removal_terms(const RowWeights& W, ConstMatrix r,
                                          const RowSets& sets, ConstMatrix C, Matrix a,
                                          Matrix move, Matrix N) const {
  const index K = r.cols;
  const auto count = static_cast<std::size_t>(sets.count());
  RemovalTerms terms{std::vector<double>(count), std::vector<double>(count),
                     std::vector<double>(count)};
  const std::vector<index> starts = block_starts(sets, K);
  each_set(threads_, sets, [&](index set, index first) {
    const auto b = static_cast<std::size_t>(set);
    const std::int64_t* rows = sets.members.data() + first;
    const double* c = C.data + starts[b];
    double* n = N.empty() ? nullptr : N.data + starts[b];
    if (sets.size(set) == 1 && K == 1) {
      const double w = W.diagonal(rows[0], 0), residual = r(rows[0], 0);
      const double left = 1.0 - w * c[0];
      const bool regular = left > 1e-14;
      terms.kept[b] = regular ? left : 0.0;
      terms.norm[b] = regular ? std::fabs(residual) * std::sqrt(c[0] / left) : 0.0;
      terms.reach[b] =
          regular ? std::sqrt(c[0] / left) : std::numeric_limits<double>::infinity();
      a(first, 0) = regular ? residual / left : 0.0;
      if (!move.empty())
        move(first, 0) = c[0] * a(first, 0);
      if (n)
        *n = regular ? w / left : 0.0;
      return;
    }
    const index order = sets.size(set) * K;
    Scratch<double> memory(RemovedSet::memory_of(order));
    const RemovedSet removed{W, r, rows, sets.size(set), K, c, memory.get()};
    const Matrix S(removed.symmetric(Alone()), order, order);
    const double kept = RemovedSet::kept_of(blas::eigenvalues(S).back(), order);
    const RemovedSet::Norms found = removed.terms(
        Alone(), kept, a.row(first), move.empty() ? nullptr : move.row(first), n);
    terms.norm[b] = found.norm;
    terms.kept[b] = found.kept;
    terms.reach[b] = found.reach;
  });
  return terms;
}

template <class T>
void CpuBackend<T>::newton_deltas(const RowSets& sets, index outputs, ConstMatrix HX,
                                  ConstMatrix a, Matrix delta) const {
  each_set(threads_, sets, [&](index b, index first) {
    const index order = sets.size(b) * outputs, at = first * outputs;
    blas::gemm<double>(1, ConstMatrix(a.row(first), 1, order), HX.block(at, order),
                       false, 0, delta.block(b, 1));
  });
}

template <class T>
void CpuBackend<T>::chord_step(const RowSets& sets, index outputs, ConstMatrix HX,
                               ConstMatrix a, ConstMatrix N, ConstMatrix G,
                               ConstMatrix V, Matrix delta, Matrix previous,
                               Matrix moved2) const {
  const std::vector<index> starts = block_starts(sets, outputs);
  each_set(threads_, sets, [&](index b, index first) {
    const index order = sets.size(b) * outputs, P = delta.cols;
    const ConstMatrix hx = HX.block(first * outputs, order);
    const ConstMatrix n(N.data + starts[static_cast<std::size_t>(b)], order, order);
    Scratch<double> along(order), pull(order), next(P);
    for (index m = 0; m < order; ++m)
      along[m] = std::inner_product(hx.row(m), hx.row(m) + P, G.row(b), 0.0);
    for (index m = 0; m < order; ++m)
      pull[m] = a.row(first)[m] -
                std::inner_product(n.row(m), n.row(m) + order, along.get(), 0.0);
    for (index j = 0; j < P; ++j)
      next[j] = -V(b, j);
    for (index m = 0; m < order; ++m)
      for (index j = 0; j < P; ++j)
        next[j] += pull[m] * hx(m, j);
    double sum = 0;
    for (index j = 0; j < P; ++j) {
      sum += (delta(b, j) - next[j]) * (G(b, j) - previous(b, j));
      delta(b, j) = next[j];
      previous(b, j) = G(b, j);
    }
    moved2(b, 0) = sum;
  });
}

template <class T>
void CpuBackend<T>::own_moves(const Design<T>& X, const RowSets& sets,
                              ConstMatrix delta, Matrix out) const {
  const index q = X.columns(), K = out.cols;
  each_set(threads_, sets, [&](index b, index first) {
    Scratch<double> x(q);
    for (index m = first; m < first + sets.size(b); ++m) {
      pack_row(X, static_cast<index>(sets.members[static_cast<std::size_t>(m)]), 1.0,
               x.get());
      for (index k = 0; k < K; ++k)
        out(m, k) = std::inner_product(x.get(), x.get() + q, delta.row(b) + k * q, 0.0);
    }
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
