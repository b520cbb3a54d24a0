// SPDX-License-Identifier: BSD-3-Clause
// What leaving sets of rows out does to the Hessian and its solutions (Woodbury).
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/whitener.hpp"
#include "small.hpp"

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

/// W_i (K x K).
void row_weight(const RowWeights& W, index i, index K, double* w) {
  for (index k = 0; k < K; ++k)
    for (index l = 0; l < K; ++l) {
      w[k * K + l] = k == l && !W.diagonal.empty() ? W.diagonal(i, k) : 0.0;
      if (!W.factor.empty())
        w[k * K + l] += W.sign * W.factor(i, k) * W.factor(i, l);
    }
}

/// F with F F' = W_i: roots of the weights, or for softmax (rows that sum to zero)
/// diag(f) (I - f f' / f'f), f the roots of s p.
void row_weight_root(const RowWeights& W, index i, index K, double* F) {
  double f2 = 0;
  if (!W.factor.empty())
    for (index k = 0; k < K; ++k)
      f2 += W.diagonal(i, k);
  for (index k = 0; k < K; ++k)
    for (index l = 0; l < K; ++l) {
      const double root = std::sqrt(std::max(W.diagonal(i, k), 0.0));
      F[k * K + l] = k == l ? root : 0.0;
      if (f2 > 0)
        F[k * K + l] -= root * root * std::sqrt(W.diagonal(i, l)) / f2;
    }
}

/// The terms of one set of more than one row or output.
class SetTerms {
public:
  SetTerms(const RowWeights& W, ConstMatrix r, const std::int64_t* rows, index g,
           index K)
      : W_(W), r_(r), rows_(rows), g_(g), K_(K), n_(g * K) {}

  /// a and move (n), N (n x n), norm, kept, reach, as the word says.
  void operator()(const double* C, double* a, double* move, double* N, double& norm,
                  double& kept, double& reach) {
    // M = I - W C, right-hand sides [r W]
    std::vector<double> M(size(n_ * n_)), B(size(n_ * (n_ + 1))), w(size(K_ * K_));
    for (index m = 0; m < g_; ++m) {
      row_weight(W_, rows_[m], K_, w.data());
      for (index k = 0; k < K_; ++k) {
        const index row = m * K_ + k;
        for (index j = 0; j < n_; ++j) {
          double wc = 0;
          for (index l = 0; l < K_; ++l)
            wc += w[size(k * K_ + l)] * C[(m * K_ + l) * n_ + j];
          M[size(row * n_ + j)] = (row == j ? 1.0 : 0.0) - wc;
        }
        B[size(row * (n_ + 1))] = r_(rows_[m], k);
        for (index l = 0; l < K_; ++l)
          B[size(row * (n_ + 1) + 1 + m * K_ + l)] = w[size(k * K_ + l)];
      }
    }
    kept = kept_of(C);
    if (!(kept > 1e-14) || !solve_small(Alone(), n_, M.data(), n_ + 1, B.data())) {
      kept = norm = 0;
      reach = std::numeric_limits<double>::infinity();
      std::fill_n(a, n_, 0.0);
      if (move)
        std::fill_n(move, n_, 0.0);
      return;
    }
    double norm2 = 0, farthest2 = 0;
    for (index i = 0; i < n_; ++i) {
      a[i] = B[size(i * (n_ + 1))];
      if (N)
        for (index j = 0; j < n_; ++j)
          N[i * n_ + j] = B[size(i * (n_ + 1) + 1 + j)];
    }
    for (index i = 0; i < n_; ++i) {
      double ca = 0, cnc = 0;  // of C a, and the diagonal of C N C
      for (index j = 0; j < n_; ++j) {
        ca += C[i * n_ + j] * a[j];
        double nc = 0;
        for (index l = 0; l < n_; ++l)
          nc += B[size(j * (n_ + 1) + 1 + l)] * C[l * n_ + i];
        cnc += C[i * n_ + j] * nc;
      }
      if (move)
        move[i] = ca;
      norm2 += r_(rows_[i / K_], i % K_) * ca;
      farthest2 = std::max(farthest2, C[i * n_ + i] + cnc);
    }
    norm = std::sqrt(std::max(norm2, 0.0));
    reach = std::sqrt(farthest2);
  }

private:
  static std::size_t size(index i) { return static_cast<std::size_t>(i); }

  /// 1 - the largest eigenvalue of W^1/2 C W^1/2, less its rounding.
  [[nodiscard]] double kept_of(const double* C) const {
    std::vector<double> F(size(g_ * K_ * K_)), CF(size(n_ * n_)), S(size(n_ * n_));
    for (index m = 0; m < g_; ++m)
      row_weight_root(W_, rows_[m], K_, F.data() + m * K_ * K_);
    const auto root = [&](index m, index k, index l) {
      return F[size((m * K_ + k) * K_ + l)];
    };
    for (index i = 0; i < n_; ++i)
      for (index m = 0; m < g_; ++m)
        for (index l = 0; l < K_; ++l)
          for (index k = 0; k < K_; ++k)
            CF[size(i * n_ + m * K_ + l)] += C[i * n_ + m * K_ + k] * root(m, k, l);
    for (index m = 0; m < g_; ++m)
      for (index l = 0; l < K_; ++l)
        for (index k = 0; k < K_; ++k)
          for (index j = 0; j < n_; ++j)
            S[size((m * K_ + l) * n_ + j)] +=
                root(m, k, l) * CF[size((m * K_ + k) * n_ + j)];
    return 1.0 - (1.0 + 1e-14 * static_cast<double>(n_)) *
                     blas::eigenvalues(Matrix(S.data(), n_, n_)).back();
  }

  const RowWeights& W_;
  ConstMatrix r_;
  const std::int64_t* rows_;
  index g_, K_, n_;
};

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
    SetTerms(W, r, rows, sets.size(set),
             K)(c, a.row(first), move.empty() ? nullptr : move.row(first), n,
                terms.norm[b], terms.kept[b], terms.reach[b]);
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
