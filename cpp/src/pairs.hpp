// SPDX-License-Identifier: BSD-3-Clause
// Pairs of columns (k1 <= k2) in the order of the cubic tensor's rows, whole columns k2
// to a block.
#pragma once

#include "upweight/view.hpp"

#include <algorithm>
#include <vector>

namespace upweight {

/// Number of pairs k1 <= k2 with k2 < k: the row of the pair (0, k).
constexpr index pairs_before(index k) {
  return k * (k + 1) / 2;
}

/// Columns k2 in [first, last), whole, so that their pairs are a block of rows.
struct PairBlock {
  index first, last;
  [[nodiscard]] index row() const { return pairs_before(first); }
  [[nodiscard]] index size() const { return pairs_before(last) - row(); }
};

/// Blocks of at most `most` pairs, or of one column.
[[nodiscard]] inline std::vector<PairBlock> pair_blocks(index q, index most) {
  std::vector<PairBlock> blocks;
  for (index first = 0; first < q;) {
    index last = first + 1;
    while (last < q && pairs_before(last + 1) - pairs_before(first) <= most)
      ++last;
    blocks.push_back({first, last});
    first = last;
  }
  return blocks;
}

/// Pairs of the largest block.
[[nodiscard]] inline index widest(const std::vector<PairBlock>& blocks) {
  index most = 0;
  for (const PairBlock block : blocks)
    most = std::max(most, block.size());
  return most;
}

}  // namespace upweight
