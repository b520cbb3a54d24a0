// SPDX-License-Identifier: BSD-3-Clause
// Products whose result is small and whose inner dimension is long. A library cuts the
// result into tiles for the device's processors, of which such a product has few; so
// the inner dimension is cut too, into parts whose sums are added in a fixed order.
#pragma once

#include "cuda/blas.hpp"
#include "cuda/device.hpp"
#include "cuda/launch.hpp"

#include <algorithm>

namespace upweight::cuda {

/// How many parts the inner dimension k of an m x n product is cut into: enough for
/// `processors` tiles in all, of `least` each. A function of the shape alone.
[[nodiscard]] inline index split_parts(index m, index n, index k) {
  constexpr index side = 128, processors = 128, least = 256;
  const index tiles = std::max<index>(ceil_div(m, side) * ceil_div(n, side), 1);
  return std::max<index>(std::min(processors / tiles, k / least), 1);
}

inline void clear(const Device& device, Matrix to) {
  each(device, "clear", to.rows, to.cols,
       [=] __device__(index i, index j) { to(i, j) = 0.0; });
}

/// What lies under the diagonal of a square becomes zero.
inline void clear_lower(const Device& device, Matrix H) {
  each(device, "clear_lower", H.rows, H.cols, [=] __device__(index i, index j) {
    if (j < i)
      H(i, j) = 0.0;
  });
}

/// C (rows x cols) = alpha times the sum of `parts` (parts * rows x cols) + beta C.
inline void add_parts(const Device& device, double alpha, ConstMatrix parts,
                      double beta, Matrix C) {
  const index rows = C.rows, count = rows > 0 ? parts.rows / rows : 0;
  each(device, "add_parts", rows, C.cols, [=] __device__(index i, index j) {
    double sum = 0;
    for (index s = 0; s < count; ++s)
      sum += parts(s * rows + i, j);
    C(i, j) = alpha * sum + (beta == 0 ? 0.0 : beta * C(i, j));
  });
}

/// C += the sum of A'B over blocks of rows that come one after another. Nothing but the
/// sum may touch C until finish().
class SplitSum {
public:
  /// For products of m x n at a time over blocks of at most k rows, of which the parts'
  /// sums may take `bytes`.
  SplitSum(const Device& device, Matrix C, index m, index n, index k,
           index bytes = index(256) << 20)
      : device_(device), C_(C),
        count_(std::clamp<index>(bytes / (8 * std::max<index>(C.rows * C.cols, 1)), 1,
                                 split_parts(m, n, k))),
        memory_(device, count_ > 1 ? count_ * C.rows * C.cols : 0) {
    if (count_ > 1)
      clear(device, parts());
  }

  /// Columns from `column` on of C's first rows += alpha A'B.
  void add(double alpha, ConstMatrix A, ConstMatrix B, index column = 0) {
    const index rows = A.cols, cols = B.cols;
    if (count_ == 1) {
      blas::gemm_at<double>(device_, alpha, A, B, 1,
                            Matrix(C_.data + column, rows, cols, C_.stride));
      return;
    }
    const index each_rows = A.rows / count_, taken = each_rows * count_;
    const Matrix first(memory_.get() + column, rows, cols, C_.cols);
    if (each_rows > 0)
      blas::gemm_stack<double>(device_, count_, alpha,
                               {A.block(0, each_rows), each_rows * A.stride}, true,
                               {B.block(0, each_rows), each_rows * B.stride}, false, 1,
                               {first, C_.rows * C_.cols});
    if (taken < A.rows)
      blas::gemm_at<double>(device_, alpha, A.block(taken, A.rows - taken),
                            B.block(taken, A.rows - taken), 1, first);
  }

  void finish() {
    if (count_ > 1)
      add_parts(device_, 1, parts(), 1, C_);
  }

private:
  [[nodiscard]] Matrix parts() const { return memory_.view(count_ * C_.rows, C_.cols); }

  const Device& device_;
  Matrix C_;
  index count_;
  Scratch<double> memory_;
};

}  // namespace upweight::cuda
