// SPDX-License-Identifier: BSD-3-Clause
// Elementwise words on the outputs of rows: the family's terms, targets, removals.
#include "cpu/backend.hpp"
#include "cpu/pack.hpp"
#include "formula.hpp"
#include "removal_row.hpp"
#include "row_targets.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index run_rows = 4096;  // rows of one partial sum, whatever the threads

struct Arguments {
  Family family;
  ConstMatrix y, s, eta, direction;
  double step;
  Matrix eta_out, r, diagonal, factor;
};

/// Largest unit residual of each output, and the loss, over rows [first, last).
struct Partial {
  double loss = 0;
  std::vector<double> worst;
};

/// Whether entry (i, 0) is data[i] for every matrix of a single output.
bool single_columns(const Arguments& v) {
  const auto whole = [](ConstMatrix x) {
    return x.empty() || (x.cols == 1 && x.stride == 1);
  };
  return v.eta.cols == 1 && whole(v.y) && whole(v.s) && whole(v.eta) &&
         whole(v.direction) && whole(v.eta_out) && whole(v.r) && whole(v.diagonal);
}

Partial separable_run(const Arguments& v, index first, index last) {
  const index K = v.eta.cols, count = last - first;
  const Kernels& kernel = kernels();
  Partial sums;
  if (single_columns(v)) {
    const double* s = v.s.empty() ? nullptr : v.s.row(first);
    const GlmSums part =
        kernel.glm_terms(v.family, count, v.y.row(first), s, v.eta.row(first),
                         v.direction.empty() ? nullptr : v.direction.row(first), v.step,
                         v.eta_out.row(first), v.r.row(first), v.diagonal.row(first));
    return {part.loss, {part.worst_residual}};
  }
  // one output at a time through contiguous columns
  Scratch<double> columns(7 * count);
  double *y = columns.get(), *eta = y + count, *direction = eta + count,
         *eta_out = direction + count, *r = eta_out + count, *w = r + count,
         *s = w + count;
  for (index i = 0; i < count; ++i)
    s[i] = v.s.empty() ? 1.0 : v.s(first + i, 0);
  for (index k = 0; k < K; ++k) {
    for (index i = 0; i < count; ++i) {
      y[i] = v.y(first + i, k);
      eta[i] = v.eta(first + i, k);
      if (!v.direction.empty())
        direction[i] = v.direction(first + i, k);
    }
    const GlmSums part = kernel.glm_terms(v.family, count, y, s, eta,
                                          v.direction.empty() ? nullptr : direction,
                                          v.step, eta_out, r, w);
    sums.loss += part.loss;
    sums.worst.push_back(part.worst_residual);
    for (index i = 0; i < count; ++i) {
      v.eta_out(first + i, k) = eta_out[i];
      v.r(first + i, k) = r[i];
      v.diagonal(first + i, k) = w[i];
    }
  }
  return sums;
}

Partial softmax_run(const Arguments& v, index first, index last) {
  const index K = v.eta.cols;
  Partial sums{0, {0}};
  for (index i = first; i < last; ++i) {
    const double s = v.s.empty() ? 1.0 : v.s(i, 0);
    const auto y = static_cast<index>(v.y(i, 0));
    double* eta = v.eta_out.row(i);
    for (index k = 0; k < K; ++k)
      eta[k] = v.eta(i, k) + (v.direction.empty() ? 0.0 : v.step * v.direction(i, k));
    const formula::Multinomial::Weighted row = formula::Multinomial::terms(
        eta, K, y, s, v.r.row(i), v.diagonal.row(i), v.factor.row(i));
    if (s > 0) {
      sums.loss += s * row.loss;
      sums.worst[0] = std::max(sums.worst[0], row.worst);
    }
  }
  return sums;
}

}  // namespace

template <class T>
GlmSummary CpuBackend<T>::glm_terms(Family family, ConstMatrix y, ConstMatrix s,
                                    ConstMatrix eta, ConstMatrix direction, double step,
                                    Matrix eta_out, Matrix r, Matrix diagonal,
                                    Matrix factor) const {
  const Arguments arguments{family, y,       s, eta,      direction,
                            step,   eta_out, r, diagonal, factor};
  std::vector<Partial> parts(static_cast<std::size_t>(ceil_div(eta.rows, run_rows)));
  threads_.ranges(eta.rows, run_rows, [&](index first, index last) {
    parts[static_cast<std::size_t>(first / run_rows)] =
        family == Family::multinomial ? softmax_run(arguments, first, last)
                                      : separable_run(arguments, first, last);
  });
  GlmSummary summary;
  std::vector<double> worst(parts.front().worst.size(), 0.0);
  for (const Partial& part : parts) {
    summary.loss += part.loss;
    for (std::size_t k = 0; k < worst.size(); ++k)
      worst[k] = std::max(worst[k], part.worst[k]);
  }
  summary.worst_residual = *std::min_element(worst.begin(), worst.end());
  return summary;
}

template <class T>
void CpuBackend<T>::target_gradient(Family family, Target target, ConstMatrix y,
                                    ConstMatrix eta, Matrix a) const {
  threads_.ranges(eta.rows, run_rows, [&](index first, index last) {
    for (index i = first; i < last; ++i)
      upweight::target_gradient(family, target, eta.cols, y.row(i), eta.row(i),
                                a.row(i));
  });
}

template <class T>
index CpuBackend<T>::removal_coefficients(const RowWeights& W, ConstMatrix C,
                                          ConstMatrix r, Matrix a) const {
  const index K = r.cols, n = r.rows;
  std::vector<index> singular(static_cast<std::size_t>(ceil_div(n, run_rows)), -1);
  threads_.ranges(n, run_rows, [&](index first, index last) {
    index& bad = singular[static_cast<std::size_t>(first / run_rows)];
    Scratch<double> M(K * K);
    for (index i = first; i < last; ++i) {
      if (C.cols == K) {  // outputs apart: r / (1 - w c)
        for (index k = 0; k < K; ++k) {
          const double left = 1.0 - W.diagonal(i, k) * C(i, k);
          if (!(left > 1e-14) && bad < 0)
            bad = i;
          a(i, k) = r(i, k) / left;
        }
        continue;
      }
      if (!removal_row(W, C, r, i, M.get(), a.row(i)) && bad < 0)
        bad = i;
    }
  });
  for (const index i : singular)
    if (i >= 0)
      return i;
  return -1;
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
