// SPDX-License-Identifier: BSD-3-Clause
// Products of a dense design with few vectors, which memory bounds: X is read as it
// lies, in its own precision, and sums are float64.
#pragma once

#include "cuda/device.hpp"
#include "cuda/launch.hpp"
#include "upweight/problem.hpp"

#include <algorithm>
#include <type_traits>

namespace upweight::cuda {

/// Vectors that one pass over X serves: more of them are the libraries' work.
constexpr index few = 8;

/// call(group, k, count) for runs of at most `few` of the outputs, `group` being a
/// constant of at least `count`.
template <class Call>
void in_groups(index outputs, const Call& call) {
  for (index k = 0; k < outputs; k += few) {
    const index count = std::min(few, outputs - k);
    if (count == 1)
      call(std::integral_constant<int, 1>{}, k, count);
    else if (count == 2)
      call(std::integral_constant<int, 2>{}, k, count);
    else if (count <= 4)
      call(std::integral_constant<int, 4>{}, k, count);
    else
      call(std::integral_constant<int, few>{}, k, count);
  }
}

/// eta_ik = x_i . theta_k for outputs k0 .. k0 + count - 1 of X (dense, on the device).
template <int Group, class T>
void group_products(const Device& device, const Design<T>& X, ConstMatrix theta,
                    index k0, index count, Matrix eta) {
  const index p = X.features.cols;
  const MatrixView<const T> features = X.features;
  const bool intercept = X.intercept;
  each_row(device, "products_of_rows", X.rows(), p,
           [=] __device__(const Team& team, index i) {
             double sums[Group] = {};
             for (index j = team.rank(); j < p; j += team.size()) {
               const auto x = static_cast<double>(features(i, j));
               for (int g = 0; g < Group; ++g)  // past the last output: it again
                 sums[g] += x * theta(k0 + (g < count ? g : count - 1), j);
             }
             for (int g = 0; g < Group; ++g)
               sums[g] = team.sum(sums[g]);
             for (int g = 0; g < Group; ++g)
               if (team.rank() == 0 && g < count)
                 eta(i, k0 + g) = sums[g] + (intercept ? theta(k0 + g, p) : 0.0);
           });
}

/// eta = X theta' for few outputs.                                 2 n q K
template <class T>
void few_products(const Device& device, const Design<T>& X, ConstMatrix theta,
                  Matrix eta) {
  in_groups(theta.rows, [&](auto group, index k, index count) {
    group_products<decltype(group)::value>(device, X, theta, k, count, eta);
  });
}

/// Rows of X that one sum of a column runs over: enough sums for the device, and few
/// enough that adding them is nothing beside reading X. A function of the shape alone.
[[nodiscard]] inline index rows_per_sum(index rows, index columns) {
  constexpr index threads = index(1) << 18;
  return std::clamp<index>(rows * columns / threads, 32, 1024);
}

/// sums(g q + j, run) = sum of a_i,k0+g x_ij (x_ij^2 when Squared) over a run's rows.
template <int Group, bool Squared, class T>
void group_sums(const Device& device, const Design<T>& X, ConstMatrix a, index k0,
                index count, index step, Matrix sums) {
  const index n = X.rows(), p = X.features.cols, q = X.columns();
  const MatrixView<const T> features = X.features;
  each(device, "sums_of_rows", sums.cols, q, [=] __device__(index run, index j) {
    double own[Group] = {};
    const index last = (run + 1) * step < n ? (run + 1) * step : n;
    for (index i = run * step; i < last; ++i) {
      const double x = j < p ? static_cast<double>(features(i, j)) : 1.0;
      const double v = Squared ? x * x : x;
      for (int g = 0; g < Group; ++g)
        own[g] += a(i, k0 + (g < count ? g : count - 1)) * v;
    }
    for (int g = 0; g < Group; ++g)
      if (g < count)
        sums(g * q + j, run) = own[g];
  });
}

/// out(k, j) += the sum of row k q + j of `sums`.
inline void add_rows(const Device& device, ConstMatrix sums, index q, Matrix out) {
  each_row(device, "add_rows", sums.rows, sums.cols,
           [=] __device__(const Team& team, index r) {
             double sum = 0;
             for (index run = team.rank(); run < sums.cols; run += team.size())
               sum += sums(r, run);
             sum = team.sum(sum);
             if (team.rank() == 0)
               out(r / q, r % q) += sum;
           });
}

/// out_k += sum_i a_ik x_i (of the squares x_ij^2 when Squared) for X (dense, on the
/// device); any number of outputs, `few` at a time.                2 n q K
template <bool Squared, class T>
void few_sums(const Device& device, const Design<T>& X, ConstMatrix a, Matrix out) {
  const index q = X.columns(), step = rows_per_sum(X.rows(), q);
  const index runs = ceil_div(X.rows(), step);
  const Scratch<double> memory(device, std::min(few, a.cols) * q * runs);
  in_groups(a.cols, [&](auto group, index k, index count) {
    const Matrix sums = memory.view(count * q, runs);
    group_sums<decltype(group)::value, Squared>(device, X, a, k, count, step, sums);
    add_rows(device, sums, q, out.block(k, count));
  });
}

}  // namespace upweight::cuda
