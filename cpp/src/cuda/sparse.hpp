// SPDX-License-Identifier: BSD-3-Clause
// Products with a sparse matrix on the device, which read only what is stored: with its
// rows, or, to add up over rows, with its columns (Design::by_columns), so that every
// sum is one thread's or one team's, in a fixed order.
#pragma once

#include "cuda/few.hpp"
#include "cuda/launch.hpp"
#include "cuda/patches.hpp"
#include "cuda/stream.hpp"
#include "upweight/problem.hpp"

#include <algorithm>

namespace upweight::cuda {

/// Whether sums over a design's rows can go by its columns.
template <class T>
[[nodiscard]] bool has_columns(const Design<T>& X) {
  return X.is_sparse() && X.by_columns.starts != nullptr && on_device(X);
}

/// out(r, k) = sum_e v_e D(c_e, k0 + k), v_e^2 when Squared, over part r % parts of the
/// entries e of row r / parts of S, parts = 2^cuts; a team a part.
template <int Group, bool Squared, class T>
void group_entries(const Device& device, SparseView<T> S, index rows, int cuts,
                   ConstMatrix D, index k0, index count, Matrix out) {
  each_row(device, "sparse_products", rows << cuts, 32,
           [=] __device__(const Team& team, index r) {
             const index begin = S.begin(r >> cuts);
             const index length = S.end(r >> cuts) - begin;
             const index part = r & ((index(1) << cuts) - 1);
             const index last = begin + ((length * (part + 1)) >> cuts);
             double sums[Group] = {};
             for (index e = begin + ((length * part) >> cuts) + team.rank(); e < last;
                  e += team.size()) {
               const auto x = static_cast<double>(S.values[e]);
               const double v = Squared ? x * x : x;
               const double* d = D.row(S.columns[e]) + k0;
               for (int g = 0; g < Group; ++g)
                 sums[g] += v * d[g < count ? g : count - 1];
             }
             for (int g = 0; g < Group; ++g)
               sums[g] = team.sum(sums[g]);
             for (int g = 0; g < Group; ++g)
               if (team.rank() == 0 && g < count)
                 out(r, k0 + g) = sums[g];
           });
}

/// The same for all columns of D: by teams while they are few, else a thread a sum, so
/// that neighbours read neighbouring numbers of D.
template <bool Squared, class T>
void sparse_products(const Device& device, SparseView<T> S, index rows, int cuts,
                     ConstMatrix D, Matrix out) {
  if (D.cols <= few) {
    in_groups(D.cols, [&](auto group, index k, index count) {
      group_entries<decltype(group)::value, Squared>(device, S, rows, cuts, D, k, count,
                                                     out);
    });
    return;
  }
  each(device, "sparse_products", rows << cuts, D.cols,
       [=] __device__(index r, index k) {
         const index begin = S.begin(r >> cuts), length = S.end(r >> cuts) - begin;
         const index part = r & ((index(1) << cuts) - 1);
         const index last = begin + ((length * (part + 1)) >> cuts);
         double sum = 0;
         for (index e = begin + ((length * part) >> cuts); e < last; ++e) {
           const auto x = static_cast<double>(S.values[e]);
           sum += (Squared ? x * x : x) * D(S.columns[e], k);
         }
         out(r, k) = sum;
       });
}

/// eta = X D, of any number of columns, for X (sparse, on the device) and D (q x m).
template <class T>
void sparse_row_products(const Device& device, const Design<T>& X, ConstMatrix D,
                         Matrix eta) {
  sparse_products<false>(device, X.sparse, X.rows(), 0, D, eta);
  if (!X.intercept)
    return;
  const index p = X.features.cols;
  each(device, "add_intercept", eta.rows, eta.cols,
       [=] __device__(index i, index k) { eta(i, k) += D(p, k); });
}

/// out_k += sum_i a_ik x_i (of the squares when Squared) by the columns of X: a long
/// column is cut into parts, for rows of all lengths to take a like time.  2 entries K
template <bool Squared, class T>
void sparse_sums(const Device& device, const Design<T>& X, ConstMatrix a, Matrix out) {
  constexpr index at_once = 32, entries_per_part = 8192;
  const index p = X.features.cols, K = a.cols;
  int cuts = 0;
  while (cuts < 5 && (X.rows() >> (cuts + 1)) >= entries_per_part)
    ++cuts;
  const Scratch<double> memory(device, (p << cuts) * std::min(at_once, K));
  for (index k = 0; k < K; k += at_once) {
    const index count = std::min(at_once, K - k);
    const Matrix sums = memory.view(p << cuts, count);
    const ConstMatrix own = a.columns(k, count);
    sparse_products<Squared>(device, X.by_columns, p, cuts, own, sums);
    const Matrix to = out.block(k, count);
    each_by_patches(device, "add_parts", count, p, [=] __device__(index c, index j) {
      double sum = 0;
      for (index r = j << cuts; r < (j + 1) << cuts; ++r)
        sum += sums(r, c);
      to(c, j) += sum;
    });
  }
  if (X.intercept) {  // a dense column of ones
    const Design<T> ones{MatrixView<const T>(nullptr, X.rows(), 0, 0), true, {}, {}};
    few_sums<false>(device, ones, a, Matrix(out.data + p, K, 1, out.stride));
  }
}

}  // namespace upweight::cuda
