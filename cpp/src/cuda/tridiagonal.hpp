// SPDX-License-Identifier: BSD-3-Clause
// The largest eigenvalue of a small symmetric matrix, by a team: what is for cuSOLVER
// too small, and comes in too great numbers.
#pragma once

#include "small.hpp"

#include <cmath>

namespace upweight::cuda {

/// S (n x n, used up) becomes tridiagonal by Householder's reflections (Golub & Van
/// Loan, Matrix Computations, 8.3.1): the diagonal in d, what is beside it in e. `p`
/// serves for work; all n numbers.
template <class Team>
UPW_HD void tridiagonal(const Team& team, index n, double* S, double* d, double* e,
                        double* p) {
  // squares under this are none beside the entries of a weighted leverage, of order 1;
  // their quotients would overflow
  constexpr double nothing = 1e-200;
  const Spread at(team);
  for (index c = 0; c < n; ++c) {
    double* v = S + c * n;  // entries c + 1 .. n - 1 become the reflection's
    double tail = 0;
    for (index j = c + 2 + team.rank(); j < n; j += team.size())
      tail += v[j] * v[j];
    tail = team.sum(tail);
    const double head = c + 1 < n ? v[c + 1] : 0.0;
    const bool done = !(tail > nothing);
    const double length = std::sqrt(head * head + tail);
    const double beside = done ? head : head > 0 ? -length : length;
    team.sync();  // all have read v
    if (team.rank() == 0) {
      d[c] = v[c];
      e[c] = beside;
      if (!done)
        v[c + 1] = head - beside;
    }
    if (done)
      continue;
    team.sync();
    const double first = head - beside, beta = 2 / (first * first + tail);
    double vp = 0;
    for (index i = c + 1 + team.rank(); i < n; i += team.size()) {
      double sum = 0;
      for (index j = c + 1; j < n; ++j)
        sum += S[j * n + i] * v[j];
      p[i] = beta * sum;
      vp += v[i] * p[i];
    }
    vp = 0.5 * beta * team.sum(vp);
    for (index i = c + 1 + team.rank(); i < n; i += team.size())
      p[i] -= vp * v[i];
    team.sync();
    for (index i = c + 1 + at.row; i < n; i += at.rows)
      for (index j = c + 1 + at.col; j < n; j += at.cols)
        S[i * n + j] -= v[i] * p[j] + p[i] * v[j];
    team.sync();
  }
  team.sync();
}

/// The largest eigenvalue of a symmetric S (n x n, used up), from above; `work` is of 3
/// n numbers. Reduction to a tridiagonal matrix, then bisection by the signs of its
/// Sturm sequence, at as many places at once as the team has members.
template <class Team>
UPW_HD double largest_eigenvalue(const Team& team, index n, double* S, double* work) {
  double *d = work, *e = d + n;
  tridiagonal(team, n, S, d, e, e + n);
  double low = -1e300, high = -1e300;  // the largest entry, and Gershgorin's bound
  for (index i = team.rank(); i < n; i += team.size()) {
    const double radius =
        (i > 0 ? std::fabs(e[i - 1]) : 0.0) + (i + 1 < n ? std::fabs(e[i]) : 0.0);
    low = d[i] > low ? d[i] : low;
    high = d[i] + radius > high ? d[i] + radius : high;
  }
  low = team.max(low);
  high = team.max(high);
  const auto all_under = [=](double x) {
    double q = d[0] - x;
    for (index i = 1; i < n && q < 0; ++i)
      q = d[i] - x - e[i - 1] * e[i - 1] / q;
    return q < 0;
  };
  constexpr int most_rounds = 64;
  for (int round = 0; round < most_rounds; ++round) {
    if (!(high - low > 2e-16 * (high > 1 ? high : 1.0)))
      break;
    const double part =
        static_cast<double>(team.rank() + 1) / static_cast<double>(team.size() + 1);
    const double x = low + part * (high - low);
    const bool under = all_under(x);
    const double above = team.max(under ? low : x);
    high = -team.max(under ? -x : -high);
    low = above;
  }
  return high > low ? high : low;
}

}  // namespace upweight::cuda
