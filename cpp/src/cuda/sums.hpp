// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "cuda/few.hpp"
#include "cuda/pack.hpp"
#include "cuda/split.hpp"
#include "upweight/backend.hpp"

namespace upweight::cuda {

/// Weights of some of the rows.
[[nodiscard]] inline RowWeights rows_of(const RowWeights& W, index first, index count) {
  RowWeights some = W;
  if (!W.diagonal.empty())
    some.diagonal = W.diagonal.block(first, count);
  if (!W.factor.empty())
    some.factor = W.factor.block(first, count);
  return some;
}

/// out_k += sum_i a_ik x_i over blocks of rows that come one after another.
template <class T>
class WeightedSums {
public:
  WeightedSums(const Device& device, Matrix out, index tile)
      : device_(device), out_(out),
        sum_(device, out, out.rows, out.cols, out.rows <= few ? 1 : tile) {}

  /// Rows of a block on the device, dense or sparse.
  void add(const Design<T>& block, ConstMatrix a) {
    if (!block.is_sparse() && out_.rows <= few)
      return few_sums<false>(device_, block, a, out_);
    add_rows(DenseRows<double, T>(device_, block).view(), a);
  }
  /// The same rows where they are dense already, the intercept's 1 among them.
  void add_rows(ConstMatrix rows, ConstMatrix a) {
    if (out_.rows <= few)
      return few_sums<false>(device_, Design<double>{rows, false}, a, out_);
    sum_.add(1, a, rows);
  }
  void finish() { sum_.finish(); }

private:
  const Device& device_;
  Matrix out_;
  SplitSum sum_;
};

}  // namespace upweight::cuda
