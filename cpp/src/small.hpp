// SPDX-License-Identifier: BSD-3-Clause
// Matrices of the size of one row's outputs, or of a few rows', by plain elimination,
// once, for host and device: by a team of threads that share memory, or by one alone.
#pragma once

#include "elementary.hpp"
#include "upweight/view.hpp"

#include <cmath>

namespace upweight {

/// A team of one, with what those of a GPU can do (cuda/launch.hpp).
struct Alone {
  [[nodiscard]] UPW_HD_MEMBER index rank() const { return 0; }
  [[nodiscard]] UPW_HD_MEMBER index size() const { return 1; }
  UPW_HD_MEMBER void sync() const {}
  template <class U>
  [[nodiscard]] UPW_HD_MEMBER U sum(U x) const {
    return x;
  }
  template <class U>
  [[nodiscard]] UPW_HD_MEMBER U max(U x) const {
    return x;
  }
};

/// A team spread over the entries of a matrix: up to 32 members along a row. Member
/// (row, col) has the entries (row + i rows, col + j cols).
template <class Team>
struct Spread {
  index row, col, rows, cols;
  UPW_HD_MEMBER explicit Spread(const Team& team) {
    cols = team.size() < 32 ? team.size() : 32;
    rows = team.size() / cols;
    col = team.rank() % cols;
    row = team.rank() / cols;
  }
};

/// Numbers of one matrix among `step` that lie side by side.
struct Interleaved {
  double* data;
  index step;
  [[nodiscard]] UPW_HD_MEMBER double& operator[](index e) const {
    return data[e * step];
  }
};

/// Solves M X = B (M is n x n, B n x m, by rows) with partial pivoting; false when M is
/// singular to working precision. B becomes X, and M is used up. Numbers is double* or
/// Interleaved; what the team wrote there before must be seen by all of it.
template <class Team, class Numbers>
UPW_HD bool solve_small(const Team& team, index n, Numbers M, index m, Numbers B) {
  const auto swap = [](double& a, double& b) {
    const double kept = a;
    a = b;
    b = kept;
  };
  const Spread at(team);
  for (index c = 0; c < n; ++c) {
    index pivot = c;
    for (index i = c + 1; i < n; ++i)
      if (std::fabs(M[i * n + c]) > std::fabs(M[pivot * n + c]))
        pivot = i;
    if (!(std::fabs(M[pivot * n + c]) > 1e-14))
      return false;
    if (pivot != c) {
      team.sync();  // all have read the column
      for (index j = c + team.rank(); j < n; j += team.size())
        swap(M[c * n + j], M[pivot * n + j]);
      for (index j = team.rank(); j < m; j += team.size())
        swap(B[c * m + j], B[pivot * m + j]);
      team.sync();
    }
    for (index i = c + 1 + at.row; i < n; i += at.rows) {
      const double f = M[i * n + c] / M[c * n + c];
      if (f == 0)
        continue;
      for (index j = c + 1 + at.col; j < n; j += at.cols)
        M[i * n + j] -= f * M[c * n + j];
      for (index j = at.col; j < m; j += at.cols)
        B[i * m + j] -= f * B[c * m + j];
    }
    team.sync();
  }
  for (index c = n - 1; c >= 0; --c) {
    for (index i = c + 1; i < n; ++i) {  // a row after the other: they lie together
      const double f = M[c * n + i];
      for (index j = team.rank(); j < m; j += team.size())
        B[c * m + j] -= f * B[i * m + j];
    }
    for (index j = team.rank(); j < m; j += team.size())
      B[c * m + j] /= M[c * n + c];
  }
  team.sync();
  return true;
}

}  // namespace upweight
