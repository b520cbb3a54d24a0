// SPDX-License-Identifier: BSD-3-Clause
// X' diag(w) X of a sparse X, pair of entries by pair. Each task owns some rows of the
// result and goes through all of X for them, so that nothing is summed twice.
#include "cpu/sparse.hpp"

#include <algorithm>

namespace upweight::cpu {

template <class T>
bool sparse_gram_pays(const Design<T>& X) {
  // a scattered product costs about as much as so many of a dense tile's
  constexpr double scattered = 32;
  const auto q = static_cast<double>(X.columns());
  double pairs = 0;
  for (index i = 0; i < X.rows(); ++i) {
    const auto entries =
        static_cast<double>(X.sparse.end(i) - X.sparse.begin(i) + X.intercept);
    pairs += entries * entries;
  }
  return scattered * pairs < static_cast<double>(X.rows()) * q * q;
}

template <class T>
void sparse_gram(const Threads& threads, const Design<T>& X, const double* w,
                 Matrix out) {
  constexpr index tasks = 16;
  const index p = X.features.cols, q = X.columns();
  const SparseView<T>& S = X.sparse;
  threads.run(tasks, [&](index task) {
    const auto j0 = static_cast<std::int32_t>(q * task / tasks);
    const auto j1 = static_cast<std::int32_t>(q * (task + 1) / tasks);
    for (index i = 0; i < X.rows(); ++i) {
      if (i % 4096 == 0)
        Threads::pause_point();
      if (w[i] == 0)
        continue;
      const index end = S.end(i);
      index e = static_cast<index>(
          std::lower_bound(S.columns + S.begin(i), S.columns + end, j0) - S.columns);
      for (; e < end && S.columns[e] < j1; ++e) {
        const double scaled = w[i] * static_cast<double>(S.values[e]);
        double* row = out.row(S.columns[e]);
        for (index f = e; f < end; ++f)
          row[S.columns[f]] += scaled * static_cast<double>(S.values[f]);
        if (X.intercept)
          row[p] += scaled;
      }
      if (X.intercept && j1 == q)
        out(p, p) += w[i];
    }
  });
}

template <class T>
void pack_sparse_chunk(const Design<T>& X, index first, index count, index wide,
                       double* out, index panel_stride) {
  const index p = X.features.cols;
  for (index j = 0; j < X.columns(); j += wide)
    std::fill_n(out + j / wide * panel_stride, count * wide, 0.0);
  const auto at = [&](index i, index j) -> double& {
    return out[j / wide * panel_stride + i * wide + j % wide];
  };
  for (index i = 0; i < count; ++i) {
    for (index e = X.sparse.begin(first + i); e < X.sparse.end(first + i); ++e)
      at(i, X.sparse.columns[e]) = static_cast<double>(X.sparse.values[e]);
    if (X.intercept)
      at(i, p) = 1.0;
  }
}

template bool sparse_gram_pays(const Design<double>&);
template bool sparse_gram_pays(const Design<float>&);
template void sparse_gram(const Threads&, const Design<double>&, const double*, Matrix);
template void sparse_gram(const Threads&, const Design<float>&, const double*, Matrix);
template void pack_sparse_chunk(const Design<double>&, index, index, index, double*,
                                index);
template void pack_sparse_chunk(const Design<float>&, index, index, index, double*,
                                index);

}  // namespace upweight::cpu
