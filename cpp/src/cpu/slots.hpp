// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "cpu/pack.hpp"
#include "cpu/threads.hpp"
#include "upweight/backend.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cpu {

/// Runs sum(first, last, mine) over slots of rows, each into a zeroed copy of its own,
/// and adds the copies in order to `out`: the same bits for any number of threads.
/// `most` slots at most, where sums are few beside the size of a copy.
template <class Sum>
void sum_over_slots(const Threads& threads, index n, Matrix out, const Sum& sum,
                    index most = 32) {
  constexpr index max_slots = 32, slot_rows = 1024, slot_bytes = index(64) << 20;
  const index size = out.rows * out.cols;
  const index slots = std::clamp<index>(
      std::min({most, ceil_div(n, slot_rows),
                slot_bytes / std::max<index>(size * index(sizeof(double)), 1)}),
      1, max_slots);
  Scratch<double> sums(slots * size);
  threads.run(slots, [&](index slot) {
    double* mine = sums.get() + slot * size;
    std::fill_n(mine, size, 0.0);
    sum(n * slot / slots, n * (slot + 1) / slots, Matrix(mine, out.rows, out.cols));
  });
  threads.ranges(out.rows, std::max<index>(1, 65536 / std::max<index>(out.cols, 1)),
                 [&](index first, index last) {
                   for (index b = first; b < last; ++b) {
                     std::fill_n(out.row(b), out.cols, 0.0);
                     for (index slot = 0; slot < slots; ++slot) {
                       const double* from = sums.get() + slot * size + b * out.cols;
                       for (index j = 0; j < out.cols; ++j)
                         out(b, j) += from[j];
                     }
                   }
                 });
}

/// U (count x B) of one output becomes W U: separable weights, in place.
inline void weigh(ConstMatrix diagonal, index k, index first, Matrix U) {
  for (index i = 0; i < U.rows; ++i)
    for (index b = 0; b < U.cols; ++b)
      U(i, b) *= diagonal(first + i, k);
}

/// U[k] (count x B each) become W U over all outputs at once.
inline void weigh_coupled(const RowWeights& W, index first, std::vector<Matrix>& U) {
  const index K = static_cast<index>(U.size());
  for (index i = 0; i < U[0].rows; ++i)
    for (index b = 0; b < U[0].cols; ++b) {
      double dot = 0;
      for (index k = 0; k < K; ++k)
        dot += W.factor(first + i, k) * U[static_cast<std::size_t>(k)](i, b);
      for (index k = 0; k < K; ++k) {
        double& u = U[static_cast<std::size_t>(k)](i, b);
        u = W.sign * W.factor(first + i, k) * dot +
            (W.diagonal.empty() ? 0.0 : W.diagonal(first + i, k) * u);
      }
    }
}

}  // namespace upweight::cpu
