// SPDX-License-Identifier: BSD-3-Clause
// The k best scores of each test row where X is sparse: a panel of test rows meets all
// of X at once, and their scores, exact already, stay for the selection.
#include "cpu/candidates.hpp"
#include "cpu/sparse.hpp"

#include <algorithm>

namespace upweight::cpu {

template <class T>
TopK sparse_top_k(const Threads& threads, const Design<T>& X, ConstMatrix a,
                  ConstMatrix V, index k) {
  const index n = X.rows(), m = V.rows;
  TopK top;
  const auto size = static_cast<std::size_t>(m * k);
  top.helpful.resize(size);
  top.harmful.resize(size);
  top.helpful_scores.resize(size);
  top.harmful_scores.resize(size);
  top.pairs_scanned = m * n;
  const auto keep = [&](const double* scores, double sign, index t,
                        std::vector<std::int64_t>& rows, std::vector<double>& best) {
    std::vector<Entry> all(static_cast<std::size_t>(n));
    for (index i = 0; i < n; ++i)
      all[static_cast<std::size_t>(i)] = {sign * scores[i], 0.0, i};
    std::partial_sort(all.begin(), all.begin() + k, all.end(), better);
    for (index j = 0; j < k; ++j) {
      const Entry& entry = all[static_cast<std::size_t>(j)];
      rows[static_cast<std::size_t>(t * k + j)] = entry.row;
      best[static_cast<std::size_t>(t * k + j)] = sign * entry.score;
    }
  };
  threads.ranges(m, sparse_width, [&](index t0, index t1) {
    SparseProducts<T> products(X, a, V, t0, t1);
    Scratch<double> scores((t1 - t0) * n);
    for (index first = 0; first < n; first += sparse_rows) {
      Threads::pause_point();
      products.compute(first, std::min(sparse_rows, n - first), scores.get() + first,
                       n);
    }
    for (index t = t0; t < t1; ++t) {
      const double* own = scores.get() + (t - t0) * n;
      keep(own, 1.0, t, top.helpful, top.helpful_scores);
      keep(own, -1.0, t, top.harmful, top.harmful_scores);
    }
  });
  return top;
}

template TopK sparse_top_k(const Threads&, const Design<double>&, ConstMatrix,
                           ConstMatrix, index);
template TopK sparse_top_k(const Threads&, const Design<float>&, ConstMatrix,
                           ConstMatrix, index);

}  // namespace upweight::cpu
