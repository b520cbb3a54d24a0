// SPDX-License-Identifier: BSD-3-Clause
// Elementwise words on the outputs of rows: the family's terms, targets, removals.
#include "cuda/backend.hpp"
#include "cuda/launch.hpp"
#include "cuda/pack.hpp"
#include "formula.hpp"
#include "removal_row.hpp"
#include "row_targets.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace upweight::cuda {
namespace {

constexpr index run_rows = 2048;  // rows of one partial sum: a team's

struct Arguments {
  Family family;
  ConstMatrix y, s, eta, direction;
  double step;
  Matrix eta_out, r, diagonal, factor;

  [[nodiscard]] __device__ double weight(index i) const {
    return s.empty() ? 1.0 : s(i, 0);
  }
  [[nodiscard]] __device__ double moved(index i, index k) const {
    return direction.empty() ? eta(i, k) : eta(i, k) + step * direction(i, k);
  }
};

/// Row t of parts (runs x (1 + K)) is a run's loss, then the largest unit residual of
/// each output.
void separable_runs(const Device& device, const Arguments& v, Matrix parts) {
  const index rows = v.eta.rows, K = v.eta.cols;
  each_row(device, "glm_terms", parts.rows, run_rows,
           [=] __device__(const Team& team, index run) {
             const index first = run * run_rows;
             const index last = first + run_rows < rows ? first + run_rows : rows;
             double loss = 0;
             for (index k = 0; k < K; ++k) {
               double worst = 0;
               for (index i = first + team.rank(); i < last; i += team.size()) {
                 const double e = v.moved(i, k), scale = v.weight(i), y = v.y(i, k);
                 const formula::Terms t = formula::with_separable(
                     v.family, [&](auto f) { return f.terms(y, e); });
                 v.eta_out(i, k) = e;
                 // a row of weight 0 counts for nothing, even where its loss is
                 // infinite
                 const bool counts = scale > 0;
                 v.r(i, k) = counts ? scale * t.residual : 0.0;
                 v.diagonal(i, k) = counts ? scale * t.weight : 0.0;
                 loss += counts ? scale * t.loss : 0.0;
                 const double size = counts ? std::fabs(t.residual) : 0.0;
                 worst = size > worst ? size : worst;
               }
               parts(run, 1 + k) = team.max(worst);
             }
             parts(run, 0) = team.sum(loss);
           });
}

/// The same, with one residual for all outputs.
void softmax_runs(const Device& device, const Arguments& v, Matrix parts) {
  const index rows = v.eta.rows, K = v.eta.cols;
  each_row(device, "glm_terms", parts.rows, run_rows,
           [=] __device__(const Team& team, index run) {
             const index first = run * run_rows;
             const index last = first + run_rows < rows ? first + run_rows : rows;
             double loss = 0, worst = 0;
             for (index i = first + team.rank(); i < last; i += team.size()) {
               const double s = v.weight(i);
               const auto y = static_cast<index>(v.y(i, 0));
               double* eta = v.eta_out.row(i);
               for (index k = 0; k < K; ++k)
                 eta[k] = v.moved(i, k);
               const formula::Multinomial::Weighted row = formula::Multinomial::terms(
                   eta, K, y, s, v.r.row(i), v.diagonal.row(i), v.factor.row(i));
               if (s > 0) {
                 loss += s * row.loss;
                 worst = row.worst > worst ? row.worst : worst;
               }
             }
             parts(run, 0) = team.sum(loss);
             parts(run, 1) = team.max(worst);
           });
}

}  // namespace

template <class T>
GlmSummary CudaBackend<T>::glm_terms(Family family, ConstMatrix y, ConstMatrix s,
                                     ConstMatrix eta, ConstMatrix direction,
                                     double step, Matrix eta_out, Matrix r,
                                     Matrix diagonal, Matrix factor) const {
  const Arguments arguments{family, y,       s, eta,      direction,
                            step,   eta_out, r, diagonal, factor};
  const bool softmax = family == Family::multinomial;
  const index runs = ceil_div(eta.rows, run_rows), outputs = softmax ? 1 : eta.cols;
  const Scratch<double> memory(device(), runs * (1 + outputs));
  const Matrix parts = memory.view(runs, 1 + outputs);
  if (softmax)
    softmax_runs(device(), arguments, parts);
  else
    separable_runs(device(), arguments, parts);
  const auto width = static_cast<std::size_t>(1 + outputs);
  std::vector<double> found(static_cast<std::size_t>(runs) * width);
  to_host<double>(device(), parts, found.data());
  GlmSummary summary;
  std::vector<double> worst(static_cast<std::size_t>(outputs), 0.0);
  for (std::size_t run = 0; run < found.size(); run += width) {
    summary.loss += found[run];
    for (std::size_t k = 0; k < worst.size(); ++k)
      worst[k] = std::max(worst[k], found[run + 1 + k]);
  }
  summary.worst_residual = *std::min_element(worst.begin(), worst.end());
  return summary;
}

template <class T>
void CudaBackend<T>::target_gradient(Family family, Target target, ConstMatrix y,
                                     ConstMatrix eta, Matrix a) const {
  const index K = eta.cols;
  each(device(), "target_gradient", eta.rows, [=] __device__(index i) {
    upweight::target_gradient(family, target, K, y.row(i), eta.row(i), a.row(i));
  });
}

namespace {

/// bad(run, 0) becomes 0 when no row of a run is_singular, else how far before the
/// run's end (as if it were whole) the first of them is: the largest distance.
template <class IsSingular>
void first_of_runs(const Device& device, index rows, Matrix bad,
                   const IsSingular& is_singular) {
  each_row(device, "removal_coefficients", bad.rows, run_rows,
           [=] __device__(const Team& team, index run) {
             const index first = run * run_rows;
             const index last = first + run_rows < rows ? first + run_rows : rows;
             index found = 0;
             for (index i = first + team.rank(); i < last; i += team.size())
               if (is_singular(i) && found == 0)
                 found = first + run_rows - i;
             bad(run, 0) = static_cast<double>(team.max(found));
           });
}

/// Outputs apart: r / (1 - w c).
void separate_coefficients(const Device& device, const RowWeights& W, ConstMatrix C,
                           ConstMatrix r, Matrix a, Matrix bad) {
  const index K = r.cols;
  const ConstMatrix w = W.diagonal;
  first_of_runs(device, r.rows, bad, [=] __device__(index i) {
    bool singular = false;
    for (index k = 0; k < K; ++k) {
      const double left = 1.0 - w(i, k) * C(i, k);
      singular |= !(left > 1e-14);
      a(i, k) = r(i, k) / left;
    }
    return singular;
  });
}

/// (I - W C)^-1 r for a batch of rows, a thread a row. The systems of neighbours lie
/// interleaved, so that a warp reads them together.
void coupled_coefficients(const Device& device, const RowWeights& W, ConstMatrix C,
                          ConstMatrix r, Matrix a, double* memory, Matrix bad) {
  const index K = r.cols, rows = r.rows;
  first_of_runs(device, rows, bad, [=] __device__(index i) {
    const Interleaved M{memory + i, rows}, x{memory + K * K * rows + i, rows};
    const bool regular = removal_row(W, C, r, i, M, x);
    for (index k = 0; k < K; ++k)
      a(i, k) = x[k];
    return !regular;
  });
}

}  // namespace

template <class T>
index CudaBackend<T>::removal_coefficients(const RowWeights& W, ConstMatrix C,
                                           ConstMatrix r, Matrix a) const {
  const index n = r.rows, K = r.cols;
  const bool coupled = C.cols != K;
  const index runs = ceil_div(n, run_rows);
  // systems that are worked on at once: what stays in a second-level cache
  const index batch =
      run_rows * ceil_div(tile_rows((K * K + K) * index(sizeof(double))), run_rows);
  const Scratch<double> memory_of_runs(device(), runs);
  const Matrix bad = memory_of_runs.view(runs, 1);
  if (!coupled) {
    separate_coefficients(device(), W, C, r, a, bad);
  } else {
    const Scratch<double> memory(device(), std::min(batch, n) * (K * K + K));
    for (index first = 0; first < n; first += batch) {
      device().pause_point();
      const index count = std::min(batch, n - first);
      const RowWeights some{W.diagonal.block(first, count),
                            W.factor.block(first, count), W.sign, W.rows_sum_to_zero};
      coupled_coefficients(device(), some, C.block(first, count), r.block(first, count),
                           a.block(first, count), memory.get(),
                           bad.block(first / run_rows, ceil_div(count, run_rows)));
    }
  }
  std::vector<double> found(static_cast<std::size_t>(runs));
  to_host<double>(device(), bad, found.data());
  for (index run = 0; run < runs; ++run)
    if (found[static_cast<std::size_t>(run)] > 0)
      return (run + 1) * run_rows -
             static_cast<index>(found[static_cast<std::size_t>(run)]);
  return -1;
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
