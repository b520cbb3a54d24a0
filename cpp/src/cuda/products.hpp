// SPDX-License-Identifier: BSD-3-Clause
// Products v . (a_i (x) x_i) of rows of a matrix V with rows of a design, a block of
// the design's rows at a time.
#pragma once

#include "cuda/blas.hpp"
#include "cuda/pack.hpp"

#include <algorithm>
#include <type_traits>

namespace upweight::cuda {

/// to = numbers of V in another precision.
template <class U>
void convert(const Device& device, ConstMatrix V, MatrixView<U> to) {
  each(device, "convert", V.rows, V.cols,
       [=] __device__(index t, index j) { to(t, j) = static_cast<U>(V(t, j)); });
}

/// Numbers of one precision as another, in memory of its own when they differ.
template <class U>
class Converted {
public:
  Converted(const Device& device, ConstMatrix V)
      : memory_(device, std::is_same_v<U, double> ? 0 : V.rows * V.cols) {
    if constexpr (std::is_same_v<U, double>) {
      view_ = V;
    } else {
      const MatrixView<U> to = memory_.view(V.rows, V.cols);
      convert(device, V, to);
      view_ = to;
    }
  }
  [[nodiscard]] MatrixView<const U> view() const { return view_; }

private:
  Scratch<U> memory_;
  MatrixView<const U> view_;
};

/// Of a dense design, in the type of its rows. The rows a_i (x) x_i of a block are
/// packed first, so that one product of depth P writes each entry of the result once:
/// 2 P numbers a row through the second-level cache. Scaling the products of the rows
/// as they lie instead would move 2 m, as m test rows read and write the result again,
/// and would need a pass for each output.
template <class T>
class DenseProducts {
public:
  /// For blocks of at most `most` rows; without `a` (empty) it is ones.
  DenseProducts(const Device& device, const Design<T>& X, ConstMatrix a, ConstMatrix V,
                index most)
      : device_(device), a_(a), V_(device, V),
        packed_(device, as_it_lies(X) ? 0 : most * V.cols) {}

  /// Takes rows [first, first + block.rows()) of the design.
  void load(const Design<T>& block, index first) {
    if (as_it_lies(block)) {
      rows_ = block.features;
      return;
    }
    const MatrixView<T> to = packed_.view(block.rows(), V_.view().cols);
    pack(device_, block, 0, nullptr, a_.empty() ? a_ : a_.block(first, block.rows()),
         to);
    rows_ = to;
  }
  /// out = products of the rows of V from `first` on with the rows taken.
  void write(index first, MatrixView<T> out) const {
    blas::gemm<T>(device_, 1, V_.view().block(first, out.rows), rows_, true, 0, out);
  }

private:
  [[nodiscard]] bool as_it_lies(const Design<T>& X) const {
    return a_.empty() && !X.intercept;
  }

  const Device& device_;
  ConstMatrix a_;
  Converted<T> V_;
  Scratch<T> packed_;
  MatrixView<const T> rows_;
};

/// to = V'.
inline void turn(const Device& device, ConstMatrix V, Matrix to) {
  // a thread reads four neighbours: whole sectors, though threads are rows apart
  constexpr index at_once = 4;
  const index P = V.cols;
  each(device, "turn", ceil_div(P, at_once), V.rows,
       [=] __device__(index group, index t) {
         for (index j = group * at_once; j < P && j < (group + 1) * at_once; ++j)
           to(j, t) = V(t, j);
       });
}

/// out = products of rows of V from `first` on with all rows of a sparse X; `turned`
/// is V'.                                              2 m entries K flops
template <class T, class U>
void sparse_products(const Device& device, const Design<T>& X, ConstMatrix a,
                     ConstMatrix turned, index first, MatrixView<U> out) {
  const SparseView<T> S = X.sparse;
  const index p = X.features.cols, q = X.columns(), K = a.cols;
  const bool intercept = X.intercept;
  each(device, "sparse_products", X.rows(), out.rows, [=] __device__(index i, index c) {
    const index t = first + c;
    double sum = 0;
    for (index k = 0; k < K; ++k) {
      double dot = intercept ? turned(k * q + p, t) : 0.0;
      for (index e = S.starts[i]; e < S.starts[i + 1]; ++e)
        dot += static_cast<double>(S.values[e]) * turned(k * q + S.columns[e], t);
      sum += a(i, k) * dot;
    }
    out(c, i) = static_cast<U>(sum);
  });
}

/// Of a sparse design, in float64, from its entries: V is turned over, so that
/// neighbouring threads read neighbouring test rows' numbers of an entry's column, and
/// is met in panels of test rows that stay in the second-level cache.
template <class T>
class SparseProducts {
public:
  SparseProducts(const Device& device, const Design<T>& X, ConstMatrix a, ConstMatrix V)
      : device_(device), a_(a), turned_(device, V.rows * V.cols), tests_(V.rows),
        parameters_(V.cols),
        panel_(std::max<index>(tile_rows(V.cols * index(sizeof(double))) / 32, 1) * 32),
        X_(X) {
    turn(device, V, turned_.view(V.cols, V.rows));
  }

  void load(const Design<T>& block, index first) {
    X_ = block;
    first_ = first;
  }
  template <class U>
  void write(index first, MatrixView<U> out) const {
    const ConstMatrix turned = turned_.view(parameters_, tests_);
    for (index t0 = 0; t0 < out.rows; t0 += panel_)
      sparse_products(device_, X_, a_.block(first_, X_.rows()), turned, first + t0,
                      out.block(t0, std::min(panel_, out.rows - t0)));
  }

private:
  const Device& device_;
  ConstMatrix a_;
  Scratch<double> turned_;
  index tests_, parameters_, panel_, first_ = 0;
  Design<T> X_;
};

}  // namespace upweight::cuda
