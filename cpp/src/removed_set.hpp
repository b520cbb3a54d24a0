// SPDX-License-Identifier: BSD-3-Clause
// What leaving one set of rows out does to the Hessian (Woodbury), once, for host and
// device: by a team of threads, or by one alone.
#pragma once

#include "elementary.hpp"
#include "small.hpp"
#include "upweight/backend.hpp"

#include <cmath>
#include <cstdint>
#include <limits>

namespace upweight {

/// A set of g rows with K outputs each, n = g K in all, of which C holds the products
/// (e_k (x) x_i)'H^-1(e_l (x) x_j).
struct RemovedSet {
  RowWeights W;
  ConstMatrix r;
  const std::int64_t* rows;
  index g, K;
  const double* C;  // n x n
  double* memory;   // memory_of(n) numbers

  /// How much of the Hessian is left, and the norms of RemovalTerms.
  struct Norms {
    double norm, kept, reach;
  };

  [[nodiscard]] UPW_HD index memory_of(index n) { return 3 * n * n + 4 * n; }
  [[nodiscard]] UPW_HD_MEMBER index order() const { return g * K; }
  /// 1 - the largest eigenvalue of F'CF, less its rounding.
  [[nodiscard]] UPW_HD double kept_of(double largest, index n) {
    return 1.0 - (1.0 + 1e-14 * static_cast<double>(n)) * largest;
  }
  [[nodiscard]] UPW_HD bool regular(double kept) { return kept > 1e-14; }

  /// Which of the rows has output i of the set; 32 bits divide much faster.
  [[nodiscard]] UPW_HD_MEMBER index row_of(index i) const {
    return static_cast<std::int32_t>(i) / static_cast<std::int32_t>(K);
  }
  [[nodiscard]] UPW_HD_MEMBER double residual(index i) const {
    const index m = row_of(i);
    return r(static_cast<index>(rows[m]), i - m * K);
  }
  /// W_i[k, l] of row m.
  [[nodiscard]] UPW_HD_MEMBER double weight(index m, index k, index l) const {
    const auto i = static_cast<index>(rows[m]);
    const double own = k == l && !W.diagonal.empty() ? W.diagonal(i, k) : 0.0;
    return W.factor.empty() ? own : own + W.sign * W.factor(i, k) * W.factor(i, l);
  }

  // --- F with F F' = W, block by block (n x K), and the symmetric F'CF --------------
  /// Row i of F: roots of the weights, or for softmax (rows that sum to zero)
  /// diag(f) (I - f f' / f'f), f the roots of s p.
  UPW_HD_MEMBER void root_row(index i, double* to) const {
    const index m = row_of(i), k = i - m * K;
    const auto row = static_cast<index>(rows[m]);
    double f2 = 0;
    if (!W.factor.empty())
      for (index l = 0; l < K; ++l)
        f2 += W.diagonal(row, l);
    const double w = W.diagonal(row, k), root = std::sqrt(w > 0 ? w : 0.0);
    for (index l = 0; l < K; ++l) {
      to[l] = k == l ? root : 0.0;
      if (f2 > 0)
        to[l] -= root * root * std::sqrt(W.diagonal(row, l)) / f2;
    }
  }
  /// (C F)(i, c)
  [[nodiscard]] UPW_HD_MEMBER double c_root(const double* F, index i, index c) const {
    const index m = row_of(c), l = c - m * K;
    double sum = 0;
    for (index k = 0; k < K; ++k)
      sum += C[i * order() + m * K + k] * F[(m * K + k) * K + l];
    return sum;
  }
  /// Row i of F'CF from CF: entries first, first + step, ..
  UPW_HD_MEMBER void root_c_root_row(const double* F, const double* CF, index i,
                                     index first, index step, double* to) const {
    const index m = row_of(i), l = i - m * K, n = order();
    for (index j = first; j < n; j += step)
      to[j] = 0;
    for (index k = 0; k < K; ++k) {
      const double f = F[(m * K + k) * K + l];
      const double* from = CF + (m * K + k) * n;
      for (index j = first; j < n; j += step)
        to[j] += f * from[j];
    }
  }

  /// F'CF (n x n), which stays until `terms`; the numbers behind it are free until
  /// then.
  template <class Team>
  UPW_HD_MEMBER double* symmetric(const Team& team) const {
    const index n = order();
    const Spread at(team);
    double *CF = memory, *S = CF + n * n, *F = S + n * n;
    for (index i = team.rank(); i < n; i += team.size())
      root_row(i, F + i * K);
    team.sync();
    for (index i = at.row; i < n; i += at.rows)
      for (index c = at.col; c < n; c += at.cols)
        CF[i * n + c] = c_root(F, i, c);
    team.sync();
    for (index i = at.row; i < n; i += at.rows)
      root_c_root_row(F, CF, i, at.col, at.cols, S + i * n);
    team.sync();
    return S;
  }

  /// a = (I - W C)^-1 r and move = C a (n), N = (I - W C)^-1 W (n x n), the last two
  /// where they are not null; and the norms.
  template <class Team>
  UPW_HD_MEMBER Norms terms(const Team& team, double kept, double* a, double* move,
                            double* N) const {
    const index n = order(), width = n + 1;
    const Spread at(team);
    double *M = memory, *B = M + 2 * n * n;  // B becomes [a N]
    if (!regular(kept) || !solve(team, M, B)) {
      for (index i = team.rank(); i < n; i += team.size()) {
        a[i] = 0;
        if (move)
          move[i] = 0;
      }
      return {0, 0, std::numeric_limits<double>::infinity()};
    }
    double* NC = M;
    for (index i = at.row; N && i < n; i += at.rows)
      for (index j = at.col; j < n; j += at.cols)
        N[i * n + j] = B[i * width + 1 + j];
    for (index i = at.row; i < n; i += at.rows)
      for (index j = at.col; j < n; j += strip * at.cols)
        row_times_c(B + i * width + 1, j, at.cols, NC + i * n);
    team.sync();
    double norm2 = 0, farthest2 = 0;
    for (index i = team.rank(); i < n; i += team.size()) {
      double ca = 0, cnc = 0;  // of C a, and the diagonal of C N C
      for (index j = 0; j < n; ++j) {
        ca += C[i * n + j] * B[j * width];
        cnc += C[i * n + j] * NC[j * n + i];
      }
      a[i] = B[i * width];
      if (move)
        move[i] = ca;
      norm2 += residual(i) * ca;
      const double far2 = C[i * n + i] + cnc;
      farthest2 = far2 > farthest2 ? far2 : farthest2;
    }
    return norms(team.sum(norm2), kept, team.max(farthest2));
  }
  UPW_HD Norms norms(double norm2, double kept, double farthest2) {
    return {std::sqrt(norm2 < 0 ? 0.0 : norm2), kept, std::sqrt(farthest2)};
  }

private:
  /// Entries j, j + step, .. of a row (n) times C, `strip` of them in registers.
  static constexpr index strip = 8;
  UPW_HD_MEMBER void row_times_c(const double* row, index j, index step,
                                 double* to) const {
    const index n = order(), left = (n - j + step - 1) / step;
    const index count = left < strip ? left : strip;
    double sums[strip] = {};
    for (index l = 0; l < n; ++l) {
      const double f = row[l];
      const double* c = C + l * n + j;
      if (count == strip)
        for (index e = 0; e < strip; ++e)
          sums[e] += f * c[e * step];
      else
        for (index e = 0; e < strip; ++e)  // its length known: registers on a GPU too
          sums[e] += e < count ? f * c[e * step] : 0.0;
    }
    for (index e = 0; e < count; ++e)
      to[j + e * step] = sums[e];
  }

  /// B = (I - W C)^-1 [r W], using up M.
  template <class Team>
  UPW_HD_MEMBER bool solve(const Team& team, double* M, double* B) const {
    const index n = order(), width = n + 1;
    const Spread at(team);
    for (index i = at.row; i < n; i += at.rows) {
      const index m = row_of(i), k = i - m * K;
      if (at.col == 0)
        B[i * width] = residual(i);
      for (index j = at.col; j < n; j += at.cols) {
        const index l = j - m * K;
        M[i * n + j] = i == j ? 1.0 : 0.0;
        B[i * width + 1 + j] = l >= 0 && l < K ? weight(m, k, l) : 0.0;
      }
      for (index l = 0; l < K; ++l) {
        const double w = weight(m, k, l);
        for (index j = at.col; j < n; j += at.cols)
          M[i * n + j] -= w * C[(m * K + l) * n + j];
      }
    }
    team.sync();
    return solve_small(team, n, M, width, B);
  }
};

}  // namespace upweight
