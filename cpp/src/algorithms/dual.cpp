// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/dual.hpp"

#include "host.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace upweight {

namespace {

/// Of l2, what the weights of rows that are dropped may add up to in H: under rounding.
constexpr double negligible = 1e-17;

}  // namespace

void DualHessian::assemble(const Backend<double>& backend,
                           const Problem<double>& problem, const RowWeights& W) {
  const index n = problem.design.rows(), K = problem.outputs;
  const index count = coupling_of(problem.family) == Coupling::shared ? 1 : K;
  const std::vector<double> weights = on_host(W.diagonal, backend);
  blocks_.clear();
  for (index k = 0; k < count; ++k) {
    std::vector<double> w(at(n));
    for (index i = 0; i < n; ++i)
      w[at(i)] = weights[at(i * W.diagonal.cols + k)];
    blocks_.push_back(assemble_output(backend, problem, w));
  }
}

DualHessian::Block DualHessian::assemble_output(const Backend<double>& backend,
                                                const Problem<double>& problem,
                                                const std::vector<double>& w) const {
  const Design<double>& design = problem.design;
  const index n = design.rows(), r = design.features.cols;
  const double l2 = problem.penalty.front();
  const ConstMatrix gram = problem.row_gram;
  const std::vector<double> diagonal =
      on_host(ConstMatrix(gram.data, n, 1, gram.stride + 1), backend);
  // a row at the origin still holds the intercept
  const double least =
      design.intercept ? *std::max_element(diagonal.begin(), diagonal.end()) : 0.0;
  Block block;
  std::vector<double> root, unroot;
  for (index i = 0; i < n; ++i) {
    const double size = w[at(i)] * std::max(diagonal[at(i)], least);
    if (!(size > negligible * l2 / static_cast<double>(n)))
      continue;
    block.rows.push_back(i);
    root.push_back(std::sqrt(w[at(i)]));
    unroot.push_back(1 / root.back());
  }
  const auto a = static_cast<index>(block.rows.size());
  block.pull = backend.zeros(1, r);
  double curvature = 0;
  if (a > 0) {
    block.root = backend.zeros(1, a);
    block.unroot = backend.zeros(1, a);
    backend.upload(root.data(), block.root);
    backend.upload(unroot.data(), block.unroot);
    if (a < n) {
      block.Z = backend.zeros(a, r);
      backend.copy_rows(design.features, block.rows.data(), block.Z, nullptr, a);
    }
    block.factor = backend.zeros(a, a);
    backend.dual_gram(gram, block.rows.data(), block.root, l2, block.factor);
    const index bad = backend.potrf(block.factor, 1, 0.0);
    if (bad >= 0)
      throw SingularError(
          "X: the dual Hessian is singular to working precision at row " +
              std::to_string(block.rows[at(bad)]) + "; use a larger l2",
          -1);
    const Array u = backend.zeros(1, a);
    backend.copy(block.root, u);
    backend.solve(Factor{block.factor, 1}, u, false);
    const std::vector<double> solved = on_host(u, backend);
    curvature = l2 * std::inner_product(root.begin(), root.end(), solved.begin(), 0.0);
    backend.divide_rows(u, block.unroot, u);
    backend.multiply(1, u, block.active(problem), false, 0, block.pull);
  }
  block.curvature = curvature + (design.intercept ? problem.penalty.back() : 0.0);
  if (design.intercept && !(block.curvature > 0))
    throw SingularError("y: no row has any weight left to hold the intercept", -1);
  return block;
}

void DualHessian::solve(const Backend<double>& backend, const Problem<double>& problem,
                        Matrix B) const {
  const index q = problem.design.columns(), r = problem.design.features.cols;
  const double l2 = problem.penalty.front();
  for (index k = 0; k < B.cols / q; ++k) {
    const Block& block = blocks_[at(std::min<index>(k, index(blocks_.size()) - 1))];
    const Matrix V = B.columns(k * q, q);
    const ConstMatrix v(V.data, V.rows, r, V.stride);
    const auto a = static_cast<index>(block.rows.size());
    Array C;
    if (a > 0) {
      const ConstMatrix Z = block.active(problem);
      const Array T = backend.zeros(B.rows, a);
      backend.multiply(1, v, Z, true, 0, T);
      backend.divide_rows(T, block.unroot, T);
      backend.solve(Factor{block.factor, 1}, T, false);
      backend.divide_rows(T, block.unroot, T);
      C = backend.zeros(B.rows, r);
      backend.multiply(1, T, Z, false, 0, C);
    }
    backend.dual_update(C, block.pull, l2, block.curvature, problem.design.intercept,
                        V);
  }
}

index DualHessian::bytes() const {
  index sum = 0;
  for (const Block& block : blocks_)
    sum += block.Z.bytes() + block.factor.bytes() + 3 * block.pull.bytes();
  return sum;
}

}  // namespace upweight
