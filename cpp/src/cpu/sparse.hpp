// SPDX-License-Identifier: BSD-3-Clause
// Products with a sparse design, a panel of right-hand sides at a time. Words whose
// rows meet a dense factor pack them dense instead (pack.hpp): there q is small.
#pragma once

#include "cpu/pack.hpp"
#include "cpu/threads.hpp"
#include "simd/kernels.hpp"
#include "upweight/backend.hpp"

#include <vector>

namespace upweight::cpu {

/// Rows of X in one product of a panel: their sums stay in cache.
constexpr index sparse_rows = 1024;

/// panel (q x sparse_width) = rows [first, first + sparse_width) of V (m x q),
/// transposed; zero past the last row.
void fill_panel(ConstMatrix V, index first, double* panel);

/// Adds a panel to the same rows of V.
void add_panel(const double* panel, index first, Matrix V);

/// Slots of sums over rows: one that adds less than it has columns does not pay.
template <class T>
[[nodiscard]] index most_slots(const Design<T>& X) {
  return X.is_sparse() ? X.entries() / X.columns() : X.rows();
}

/// A run of at most sparse_rows rows of X, as the panels' loops read it.
template <class T>
class SparseRun {
public:
  explicit SparseRun(const Design<T>& X)
      : X_(X), cursor_(sparse_rows), step_(columns_at_once(X)) {}

  void take(index first, index count) {
    first_ = first;
    count_ = count;
  }
  /// U (count x sparse_width) = X panel, the intercept's row of it included.
  void dots(const double* panel, double* U);
  /// panel += X' U.
  void scatter(const double* U, double* panel);

private:
  static index columns_at_once(const Design<T>& X);
  /// The kernel over the run's rows, a block of columns at a time.
  template <class Kernel>
  void over_blocks(Kernel kernel, const double* from, double* to);

  const Design<T>& X_;
  Scratch<std::int64_t> cursor_;
  index step_, first_ = 0, count_ = 0;
};

/// x_i . v, for so few vectors v that no panel is worth it.
template <class T>
[[nodiscard]] double sparse_dot(const Design<T>& X, index i, const double* v) {
  double sums[2] = {X.intercept ? v[X.features.cols] : 0.0, 0.0};
  index e = X.sparse.begin(i);
  const index end = X.sparse.end(i);
  for (; e + 2 <= end; e += 2) {
    sums[0] += static_cast<double>(X.sparse.values[e]) * v[X.sparse.columns[e]];
    sums[1] += static_cast<double>(X.sparse.values[e + 1]) * v[X.sparse.columns[e + 1]];
  }
  if (e < end)
    sums[0] += static_cast<double>(X.sparse.values[e]) * v[X.sparse.columns[e]];
  return sums[0] + sums[1];
}

/// v_j += a x_ij^2.
template <class T>
void sparse_add_squares(const Design<T>& X, index i, double a, double* v) {
  for (index e = X.sparse.begin(i); e < X.sparse.end(i); ++e) {
    const double x = static_cast<double>(X.sparse.values[e]);
    v[X.sparse.columns[e]] += a * x * x;
  }
  if (X.intercept)
    v[X.features.cols] += a;
}

/// sum_j (x_ij v_j)^2.
template <class T>
[[nodiscard]] double sparse_scaled_sqnorm(const Design<T>& X, index i,
                                          const double* v) {
  double sum = X.intercept ? v[X.features.cols] * v[X.features.cols] : 0.0;
  for (index e = X.sparse.begin(i); e < X.sparse.end(i); ++e) {
    const double x = static_cast<double>(X.sparse.values[e]) * v[X.sparse.columns[e]];
    sum += x * x;
  }
  return sum;
}

/// v += a x_i.
template <class T>
void sparse_add(const Design<T>& X, index i, double a, double* v) {
  for (index e = X.sparse.begin(i); e < X.sparse.end(i); ++e)
    v[X.sparse.columns[e]] += a * static_cast<double>(X.sparse.values[e]);
  if (X.intercept)
    v[X.features.cols] += a;
}

/// Products of sparse rows with a few rows of V (m x P), in panels that are packed once
/// for all rows of X.
template <class T>
class SparseProducts {
public:
  /// Rows [t0, t1) of V.
  SparseProducts(const Design<T>& X, ConstMatrix a, ConstMatrix V, index t0, index t1);

  /// out[t][c] = v_t . (a_i (x) x_i) for i = first + c: (t1 - t0) rows of `count`, out
  /// being stride apart; count is at most sparse_rows.
  template <class U>
  void compute(index first, index count, U* out, index stride) {
    run_.take(first, count);
    for (index panel = 0; panel < panels_; ++panel) {
      sums(panel, first, count);
      const index t0 = panel * sparse_width;
      for (index t = t0; t < std::min(t0 + sparse_width, rows_); ++t)
        for (index c = 0; c < count; ++c)
          out[t * stride + c] = static_cast<U>(sum_[c * sparse_width + t - t0]);
    }
  }

private:
  void sums(index panel, index first, index count);

  const Design<T>& X_;
  ConstMatrix a_;
  index rows_, panels_;
  SparseRun<T> run_;
  Scratch<double> panel_, product_, sum_;
};

/// Runs each(t0, t1, first, count, products) over blocks of rows of V, `step` or a
/// few more of them, and runs of rows of a sparse X.
template <class T>
void sparse_blocks(const Threads& threads, const Design<T>& X, ConstMatrix a,
                   ConstMatrix V, index step, const auto& each) {
  constexpr index least_tasks = 16;
  const index blocks = ceil_div(V.rows, step), runs = ceil_div(X.rows(), sparse_rows);
  const index splits = std::clamp<index>(least_tasks / blocks, 1, runs);
  threads.run(blocks * splits, [&](index task) {
    const index t0 = task / splits * step, t1 = std::min(t0 + step, V.rows);
    const index begin = task % splits * runs / splits;
    const index end = (task % splits + 1) * runs / splits;
    SparseProducts<T> products(X, a, V, t0, t1);
    for (index run = begin; run < end; ++run) {
      Threads::pause_point();
      const index first = run * sparse_rows;
      each(t0, t1, first, std::min(sparse_rows, X.rows() - first), products);
    }
  });
}

/// Of the words of the same names, what is not the same for a dense design.
template <class T>
void sparse_linear_predictor(const Threads& threads, const Design<T>& X,
                             ConstMatrix theta, Matrix eta);
template <class T>
void sparse_gradient(const Threads& threads, const Design<T>& X, ConstMatrix a,
                     Matrix out);
/// Without penalty and tie. Memory: 2 q K sparse_width doubles a thread, K = 1 for
/// separable weights; up to 48 right-hand sides take a sum for each slot of rows
/// besides, and up to 4 just that.
template <class T>
void sparse_hessian_product(const Threads& threads, const Design<T>& X,
                            const RowWeights& W, ConstMatrix V, Matrix out);
/// Whether X'WX costs less pair of entries by pair than by dense tiles.
template <class T>
[[nodiscard]] bool sparse_gram_pays(const Design<T>& X);
/// out += X' diag(w) X, upper triangle.              sum_i entries_i^2 flops
template <class T>
void sparse_gram(const Threads& threads, const Design<T>& X, const double* w,
                 Matrix out);
/// Rows [first, first + count) as the Gram's wide panels.
template <class T>
void pack_sparse_chunk(const Design<T>& X, index first, index count, index wide,
                       double* out, index panel_stride);
/// Memory: 2 sparse_width (n + q) doubles a thread.
template <class T>
[[nodiscard]] TopK sparse_top_k(const Threads& threads, const Design<T>& X,
                                ConstMatrix a, ConstMatrix V, index k);

}  // namespace upweight::cpu
