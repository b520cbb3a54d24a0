// SPDX-License-Identifier: BSD-3-Clause
// Words that make one pass over the rows of a sparse X.
#include "cpu/slots.hpp"
#include "cpu/sparse.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index few = 4;  // vectors: entry by entry, as no panel is worth its width

/// Columns [k q, k q + q) of a matrix of parameters.
template <class M>
M segment(M matrix, index k, index q) {
  return matrix.columns(k * q, q);
}

/// Runs work(first, count) over the rows [begin, end), as many at a time as a run has.
void in_runs(index begin, index end, const auto& work) {
  for (index first = begin; first < end; first += sparse_rows) {
    Threads::pause_point();
    work(first, std::min(sparse_rows, end - first));
  }
}

}  // namespace

template <class T>
void sparse_linear_predictor(const Threads& threads, const Design<T>& X,
                             ConstMatrix theta, Matrix eta) {
  const index q = X.columns(), K = theta.rows;
  if (K <= few) {
    threads.ranges(X.rows(), 4 * sparse_rows, [&](index begin, index end) {
      for (index i = begin; i < end; ++i)
        for (index k = 0; k < K; ++k)
          eta(i, k) = sparse_dot(X, i, theta.row(k));
    });
    return;
  }
  Scratch<double> panel(q * sparse_width);
  for (index k = 0; k < K; k += sparse_width) {
    fill_panel(theta, k, panel.get());
    threads.ranges(X.rows(), 4 * sparse_rows, [&](index begin, index end) {
      SparseRun<T> run(X);
      Scratch<double> U(sparse_rows * sparse_width);
      in_runs(begin, end, [&](index first, index count) {
        run.take(first, count);
        run.dots(panel.get(), U.get());
        for (index c = 0; c < count; ++c)
          std::copy_n(U.get() + c * sparse_width, std::min(sparse_width, K - k),
                      eta.row(first + c) + k);
      });
    });
  }
}

template <class T>
void sparse_gradient(const Threads& threads, const Design<T>& X, ConstMatrix a,
                     Matrix out) {
  const index q = X.columns(), K = a.cols;
  sum_over_slots(
      threads, X.rows(), out,
      [&](index begin, index end, Matrix mine) {
        if (K <= few) {
          for (index i = begin; i < end; ++i)
            for (index k = 0; k < K; ++k)
              if (a(i, k) != 0)
                sparse_add(X, i, a(i, k), mine.row(k));
          return;
        }
        SparseRun<T> run(X);
        Scratch<double> panel(q * sparse_width), U(sparse_rows * sparse_width);
        for (index k = 0; k < K; k += sparse_width) {
          std::fill_n(panel.get(), q * sparse_width, 0.0);
          in_runs(begin, end, [&](index first, index count) {
            run.take(first, count);
            for (index c = 0; c < count; ++c)
              for (index b = 0; b < sparse_width; ++b)
                U[c * sparse_width + b] = k + b < K ? a(first + c, k + b) : 0.0;
            run.scatter(U.get(), panel.get());
          });
          add_panel(panel.get(), k, mine);
        }
      },
      most_slots(X));
}

namespace {

/// X'(W(X v_b)) over the rows [begin, end) for a few v_b, entry by entry.
template <class T>
void add_few_products(const Design<T>& X, const RowWeights& W, ConstMatrix V,
                      index begin, index end, Matrix to) {
  const index q = X.columns(), K = V.cols / q, B = V.rows;
  Scratch<double> products(K * B);
  std::vector<Matrix> U;
  for (index k = 0; k < K; ++k)
    U.emplace_back(products.get() + k * B, 1, B);
  for (index i = begin; i < end; ++i) {
    if ((i - begin) % sparse_rows == 0)
      Threads::pause_point();
    for (index k = 0; k < K; ++k)
      for (index b = 0; b < B; ++b)
        products[k * B + b] = sparse_dot(X, i, V.row(b) + k * q);
    if (W.factor.empty())
      for (index k = 0; k < K; ++k)
        weigh(W.diagonal, k, i, U[static_cast<std::size_t>(k)]);
    else
      weigh_coupled(W, i, U);
    for (index k = 0; k < K; ++k)
      for (index b = 0; b < B; ++b)
        if (products[k * B + b] != 0)
          sparse_add(X, i, products[k * B + b], to.row(b) + k * q);
  }
}

}  // namespace

template <class T>
void sparse_hessian_product(const Threads& threads, const Design<T>& X,
                            const RowWeights& W, ConstMatrix V, Matrix out) {
  const index q = X.columns(), n = X.rows(), K = V.cols / q, B = V.rows;
  if (B <= few) {
    sum_over_slots(
        threads, n, out,
        [&](index begin, index end, Matrix mine) {
          add_few_products(X, W, V, begin, end, mine);
        },
        most_slots(X));
    return;
  }
  // separable weights keep outputs apart: each is a right-hand side of its own
  const index together = W.factor.empty() ? 1 : K, apart = K / together;
  const index panels = ceil_div(B, sparse_width);
  const auto product = [&](index panel, index k0, index begin, index end, Matrix to) {
    const index size = q * sparse_width, b0 = panel * sparse_width;
    Scratch<double> from(together * size), sum(together * size);
    Scratch<double> products(together * sparse_rows * sparse_width);
    for (index k = 0; k < together; ++k)
      fill_panel(segment(V, k0 + k, q), b0, from.get() + k * size);
    std::fill_n(sum.get(), together * size, 0.0);
    SparseRun<T> run(X);
    std::vector<Matrix> U(static_cast<std::size_t>(together));
    in_runs(begin, end, [&](index first, index count) {
      run.take(first, count);
      for (index k = 0; k < together; ++k) {
        Matrix& u = U[static_cast<std::size_t>(k)];
        u = Matrix(products.get() + k * sparse_rows * sparse_width, count,
                   sparse_width);
        run.dots(from.get() + k * size, u.data);
      }
      if (W.factor.empty())
        weigh(W.diagonal, k0, first, U[0]);
      else
        weigh_coupled(W, first, U);
      for (index k = 0; k < together; ++k)
        run.scatter(U[static_cast<std::size_t>(k)].data, sum.get() + k * size);
    });
    for (index k = 0; k < together; ++k)
      add_panel(sum.get() + k * size, b0, segment(to, k0 + k, q));
  };
  constexpr index least_tasks = 4;
  const index tasks = panels * apart;
  if (tasks < least_tasks) {
    sum_over_slots(
        threads, n, out,
        [&](index begin, index end, Matrix mine) {
          for (index task = 0; task < tasks; ++task)
            product(task / apart, task % apart, begin, end, mine);
        },
        most_slots(X));
    return;
  }
  for (index b = 0; b < B; ++b)
    std::fill_n(out.row(b), out.cols, 0.0);
  threads.run(tasks,
              [&](index task) { product(task / apart, task % apart, 0, n, out); });
}

#define UPW_INSTANTIATE(T)                                                             \
  template void sparse_linear_predictor(const Threads&, const Design<T>&, ConstMatrix, \
                                        Matrix);                                       \
  template void sparse_gradient(const Threads&, const Design<T>&, ConstMatrix,         \
                                Matrix);                                               \
  template void sparse_hessian_product(const Threads&, const Design<T>&,               \
                                       const RowWeights&, ConstMatrix, Matrix);
UPW_INSTANTIATE(double)
UPW_INSTANTIATE(float)
#undef UPW_INSTANTIATE

}  // namespace upweight::cpu
