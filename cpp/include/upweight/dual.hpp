// SPDX-License-Identifier: BSD-3-Clause
// A Hessian through the inner products of rows, for more parameters than rows or where
// most rows have no weight. With S = W^1/2 and K = Z Z',
//   (l2 I + Z'WZ)^-1 v = (v - Z'S B^-1 S Z v) / l2,      B = l2 I + S K S,
// and rows of weight 0 drop out of B. Nothing is divided by a weight. An intercept is
// bordered: its curvature, less what the coefficients take over, is l2 s'B^-1 s.
#pragma once

#include "upweight/backend.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// H of outputs that are not coupled. Memory, for a rows of weight: 8 (a^2 + a r) bytes
/// an output.
class DualHessian {
public:
  /// Forms and factors B.                                  a^3 / 3 flops an output
  void assemble(const Backend<double>& backend, const Problem<double>& problem,
                const RowWeights& W);
  /// Rows b of B (m x P) become H^-1 b.                    m (4 a r + 2 a^2) flops
  void solve(const Backend<double>& backend, const Problem<double>& problem,
             Matrix B) const;
  [[nodiscard]] index bytes() const;

private:
  struct Block {
    std::vector<std::int64_t> rows;  // those of weight
    Array Z;                         // a x r; empty when that is the whole design
    Array root, unroot;              // 1 x a: s and 1 / s
    Array factor;                    // a x a: R with R'R = B
    Array pull;                      // 1 x r: Z'S B^-1 s
    double curvature = 0;            // of the intercept
    [[nodiscard]] ConstMatrix active(const Problem<double>& problem) const {
      return Z.empty() ? problem.design.features : Z.view();
    }
  };
  Block assemble_output(const Backend<double>& backend, const Problem<double>& problem,
                        const std::vector<double>& w) const;

  std::vector<Block> blocks_;  // one that all outputs share, or one for each
};

}  // namespace upweight
