// SPDX-License-Identifier: BSD-3-Clause
#include "formula.hpp"
#include "host.hpp"
#include "part.hpp"
#include "upweight/leave_out.hpp"

#include <algorithm>
#include <cmath>

namespace upweight {

namespace {

constexpr index sets_at_once = 2048;
constexpr index batch_bytes = index(128) << 20;

/// The largest slope of a target over linear predictors within `reach` of eta; for a
/// softmax, per unit of the spread of the move.
double slope(Family family, Target target, double y, double eta, double reach) {
  if (target == Target::margin)
    return 1;
  if (target == Target::probability)
    return 0.25;
  if (family == Family::multinomial)
    return 1;
  return formula::with_separable(family, [&](auto f) {  // slopes rise with eta
    return std::max(std::fabs(f.terms(y, eta - reach).residual),
                    std::fabs(f.terms(y, eta + reach).residual));
  });
}

}  // namespace

template <class T>
void leave_out_deltas(const Influence<T>& influence, const LeaveOut& left, index first,
                      Matrix out) {
  const Backend<T>& backend = influence.backend();
  const Problem<T>& problem = influence.problem();
  const bool coupled = coupling_of(problem.family) == Coupling::full;
  const auto parts = static_cast<index>(left.parts.size());
  const index K = coupled ? problem.outputs : 1, width = out.cols / parts;
  for (index k = 0; k < parts; ++k) {
    const LeaveOut::Part& held = left.parts[at(k)];
    const Matrix to(out.data + k * width, out.rows, width, out.stride);
    const Part<T> part = bare_part(influence, k);
    RowSets steps;
    std::vector<std::int64_t> steps_to, held_from, held_to;
    index block = 0;
    for (index b = 0; b < out.rows; ++b) {
      const std::int64_t place = held.place[at(first + b)];
      if (place >= 0) {
        held_from.push_back(place);
        held_to.push_back(b);
        continue;
      }
      const index size = left.sets.size(first + b);
      steps.add(left.sets.members.data() + left.sets.offsets[at(first + b)], size);
      steps_to.push_back(b);
      block += size * K * size * K;
    }
    backend.copy_rows(held.deltas, held_from.data(), to, held_to.data(),
                      static_cast<index>(held_to.size()));
    if (steps_to.empty())
      continue;
    Array E, V;
    member_rows(backend, problem.design, part, steps, E, V);
    const Array C = backend.zeros(1, block), a = backend.zeros(steps.total(), K);
    const Array some = backend.zeros(steps.count(), width);
    backend.inner_blocks(steps, K, E, part.whitened ? E : V, C);
    (void)backend.removal_terms(part.W, part.r, steps, C, a, {}, {});
    backend.newton_deltas(steps, K, part.whitened ? E : V, a, some);
    if (part.whitened)
      backend.unwhiten(part.R, some);
    else {
      std::vector<double> rows = on_host(some, backend);
      centre(rows, K, problem.design.columns());
      backend.upload(rows.data(), some);
    }
    backend.copy_rows(some, nullptr, to, steps_to.data(), steps.count());
  }
}

template <class T>
void leave_out_scores(const Influence<T>& influence, const LeaveOut& left,
                      const Design<T>& test, ConstMatrix y, Target target,
                      MatrixView<T> out, std::vector<double>& test_bound) {
  const Backend<T>& backend = influence.backend();
  const Problem<T>& problem = influence.problem();
  const index K = problem.outputs, P = problem.parameters();
  const bool softmax = problem.family == Family::multinomial;
  const Array theta = backend.zeros(K, problem.design.columns());
  backend.upload(influence.theta().data(), theta);
  test_bound.assign(at(test.rows()), 0.0);
  const index row_bytes = K * P * index(sizeof(double));
  const index batch = std::clamp<index>(batch_bytes / row_bytes, 64, 8192);
  const Array store = backend.zeros(std::min(sets_at_once, left.sets.count()), P);
  for (index t0 = 0; t0 < test.rows(); t0 += batch) {
    const index m = std::min(batch, test.rows() - t0);
    const Design<T> rows = test.block(t0, m);
    const ConstMatrix labels = y.block(t0, m);
    const Array eta = backend.zeros(m, K), V = unit_rows(backend, rows, K);
    backend.linear_predictor(rows, theta, eta);
    for (index first = 0; first < left.sets.count(); first += sets_at_once) {
      const index count = std::min(sets_at_once, left.sets.count() - first);
      const Matrix deltas = store.view().block(0, count);
      leave_out_deltas(influence, left, first, deltas);
      backend.change_by(deltas, V, problem.family, target, labels, eta,
                        MatrixView<T>(out.row(t0) + first, m, count, out.stride));
    }

    const Array C = backend.zeros(m, softmax ? K * K : K);
    backend.leverage_blocks(rows, influence.factor(), K, C);
    std::vector<double> c(at(m * C.cols())), predictor(at(m * K)),
        label(at(m * y.cols));
    backend.download(C, c.data());
    backend.download(eta, predictor.data());
    backend.download(labels, label.data());
    Problem<T> unweighted = problem;
    unweighted.design = rows;
    unweighted.weights = {};
    const std::vector<double> spread = move_spread(backend, unweighted, C);
    for (index t = 0; t < m; ++t) {
      double& bound = test_bound[at(t0 + t)];
      if (softmax) {
        double own = 0;  // a margin's move has no other output to be told from
        for (index k = 0; k < K; ++k)
          own = std::max(own, c[at(t * K * K + k * K + k)]);
        bound = slope(problem.family, target, 0, 0, 0) *
                std::sqrt(target == Target::margin ? own : spread[at(t)]);
        continue;
      }
      for (index k = 0; k < K; ++k) {
        const double root = std::sqrt(c[at(t * K + k)]);
        bound += root * slope(problem.family, target, label[at(t * y.cols + k)],
                              predictor[at(t * K + k)], root * left.farthest);
      }
    }
  }
}

template void leave_out_deltas(const Influence<double>&, const LeaveOut&, index,
                               Matrix);
template void leave_out_deltas(const Influence<float>&, const LeaveOut&, index, Matrix);
template void leave_out_scores(const Influence<double>&, const LeaveOut&,
                               const Design<double>&, ConstMatrix, Target, Matrix,
                               std::vector<double>&);
template void leave_out_scores(const Influence<float>&, const LeaveOut&,
                               const Design<float>&, ConstMatrix, Target,
                               MatrixView<float>, std::vector<double>&);

}  // namespace upweight
