// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "cpu/blas.hpp"
#include "cpu/pack.hpp"

#include <algorithm>

namespace upweight::cpu {

/// z = R^-T x for many rows x. Substitution is what BLAS does slowest (its diagonal
/// blocks are scalar code): with many rows and a small R, multiplying by its inverse
/// is 2.5 times as fast here, and as accurate as far as |R^-1| |R| allows.
class Whitener {
public:
  Whitener(ConstMatrix R, index rows)
      : R_(R), invert_(R.cols <= 1024 && rows >= 2 * R.cols),
        inverse_(invert_ ? R.cols * R.cols : 0) {
    if (!invert_)
      return;
    const index q = R.cols;
    const Matrix to = inverse();
    std::fill_n(to.data, q * q, 0.0);
    for (index j = 0; j < q; ++j)
      to(j, j) = 1.0;
    blas::solve_rows<double>(R, true, to);  // row i: R^-T e_i, the row i of R^-1
  }
  void operator()(Matrix rows) const {
    if (invert_)
      blas::multiply_rows<double>(inverse(), rows);
    else
      blas::solve_rows<double>(R_, true, rows);
  }

private:
  [[nodiscard]] Matrix inverse() const { return {inverse_.get(), R_.cols, R_.cols}; }

  ConstMatrix R_;
  bool invert_;
  Scratch<double> inverse_;
};

}  // namespace upweight::cpu
