// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/hessian.hpp"

#include "upweight/error.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <type_traits>

namespace upweight {

double pivot_tolerance(index parameters) {
  return 16.0 * static_cast<double>(parameters) *
         std::numeric_limits<double>::epsilon();
}

namespace {

/// Added to the unit diagonal of a matrix that float32 factors: above its rounding,
/// below what would slow the refinement.
constexpr double single_shift = 1e-5;

[[noreturn]] void throw_singular(index row, index columns) {
  std::ostringstream message;
  message << "X: the Hessian is singular to working precision at column "
          << row % columns;
  throw SingularError(message.str(), row % columns);
}

/// Strength of the tie between the outputs of each column that softmax leaves without a
/// curvature of its own: the mean of H's diagonal there, added to it as tau vv'. Empty
/// when there is none. `diagonal` (P) becomes that of the tied H.
std::vector<double> tie_outputs(const RowWeights& W, const std::vector<double>& penalty,
                                std::vector<double>& diagonal) {
  if (!W.rows_sum_to_zero)
    return {};
  const std::size_t q = penalty.size(), K = diagonal.size() / q;
  std::vector<double> tie(q, 0.0);
  for (std::size_t j = 0; j < q; ++j) {
    if (penalty[j] != 0)
      continue;
    for (std::size_t k = 0; k < K; ++k)
      tie[j] += diagonal[k * q + j] / static_cast<double>(K);
    for (std::size_t k = 0; k < K; ++k)
      diagonal[k * q + j] += tie[j] / static_cast<double>(K);
  }
  return tie;
}

}  // namespace

template <class T>
std::vector<double> Hessian<T>::assemble(const Backend<T>& backend,
                                         const Problem<T>& problem, const RowWeights& W,
                                         ConstMatrix r) {
  const index P = problem.parameters(), q = problem.design.columns();
  std::vector<double> g(static_cast<std::size_t>(P));
  const Array sums = backend.zeros(problem.outputs, q);
  if (solver_ == Solver::cg || solver_ == Solver::dual) {
    backend.gradient(problem.design, r, sums);
    backend.download(sums, g.data());
    if (solver_ == Solver::cg)
      precondition(backend, problem, W);
    else if constexpr (std::is_same_v<T, double>)
      dual_.assemble(backend, problem, W);
    return g;
  }
  const Coupling coupling = coupling_of(problem.family);
  const index order = coupling == Coupling::full ? P : q;
  blocks_ = coupling == Coupling::separate ? problem.outputs : 1;
  if (matrix_.empty())
    matrix_ = backend.zeros(blocks_ * order, order);
  backend.gram(problem.design, W, coupling, problem.penalty, r, matrix_, sums);
  backend.download(sums, g.data());
  if (solver_ == Solver::cholesky) {
    const index bad = backend.potrf(matrix_, blocks_, pivot_tolerance(order));
    if (bad >= 0)
      throw_singular(bad, q);
    return g;
  }
  if (single_.empty()) {
    single_ = backend.zeros_single(blocks_ * order, order);
    diagonal_ = backend.zeros(blocks_, order);
  }
  for (index k = 0; k < blocks_; ++k) {
    const index bad = backend.potrf_single(
        matrix_.view().block(k * order, order), single_shift,
        single_.view().block(k * order, order), diagonal_.view().block(k, 1));
    if (bad >= 0)
      throw_singular(bad, q);
  }
  return g;
}

/// Jacobi's preconditioner for H = X'WX + penalty + tie, and Nystroem's unless it is
/// not wanted or does not pay.
template <class T>
void Hessian<T>::precondition(const Backend<T>& backend, const Problem<T>& problem,
                              const RowWeights& W) {
  const index P = problem.parameters();
  std::vector<double> diagonal(static_cast<std::size_t>(P));
  if (diagonal_.empty())
    diagonal_ = backend.zeros(1, P);
  backend.hessian_diagonal(problem.design, W, problem.penalty, diagonal_);
  backend.download(diagonal_, diagonal.data());
  tie_ = tie_outputs(W, problem.penalty, diagonal);
  // a column of zeros without a penalty has no curvature, and no gradient either
  std::vector<double> positive = diagonal;
  for (double& d : positive)
    d = d > 0 ? d : 1.0;
  backend.upload(positive.data(), diagonal_);
  if (preconditioner_ == Preconditioner::jacobi)
    return;
  const Coupling coupling = coupling_of(problem.family);
  if (coupling == Coupling::shared)  // one Hessian for all outputs
    diagonal.resize(problem.penalty.size());
  NystroemOptions options;
  options.always = preconditioner_ == Preconditioner::nystroem;
  const std::vector<double> none(problem.penalty.size(), 0.0);
  nystroem_.make(
      backend,
      [&](ConstMatrix in, Matrix out) {
        backend.hessian_product(problem.design, W, none, tie_, in, out);
      },
      diagonal, problem.penalty, coupling == Coupling::separate ? problem.outputs : 1,
      options);
}

template <class T>
index Hessian<T>::block_rows(index P) {
  constexpr index block_bytes = index(128) << 20, least = 4, most = 64;
  return std::clamp(block_bytes / (P * static_cast<index>(sizeof(double))), least,
                    most);
}

template <class T>
SolveTotals Hessian<T>::totals() const {
  const std::lock_guard lock(ledger_->mutex);
  return ledger_->totals;
}

template <class T>
void Hessian<T>::solve_by_cg(const Backend<T>& backend, const RowOperator& apply,
                             const RowOperator& precondition, Matrix B,
                             const Progress& progress) const {
  const index at_once = block_rows(B.cols);
  CgOptions options = cg_;
  options.advice = solver_ == Solver::cg && rank() == 0
                       ? ", take preconditioner='nystroem', or solver='cholesky'"
                       : ", or take solver='cholesky'";
  for (index first = 0; first < B.rows; first += at_once) {
    const index rows = std::min(at_once, B.rows - first);
    const CgResult result = conjugate_gradients(backend, apply, precondition,
                                                B.block(first, rows), options);
    {
      const std::lock_guard lock(ledger_->mutex);
      SolveTotals& totals = ledger_->totals;
      totals.runs += 1;
      totals.right_hand_sides += rows;
      totals.iterations += result.iterations;
      totals.column_steps += result.column_steps;
      totals.most_iterations =
          std::max<index>(totals.most_iterations, result.iterations);
      totals.worst_residual = std::max(totals.worst_residual, result.worst_residual);
      totals.block_bytes = std::max(totals.block_bytes, cg_bytes(rows, B.cols));
    }
    if (progress)
      progress(rows);
  }
}

template <class T>
void Hessian<T>::solve(const Backend<T>& backend, const Problem<T>& problem,
                       const RowWeights& W, Matrix B, const Progress& progress) const {
  switch (solver_) {
  case Solver::cholesky:
    backend.solve(factor(), B, false);
    return;
  case Solver::dual:
    if constexpr (std::is_same_v<T, double>)
      dual_.solve(backend, problem, B);
    return;
  case Solver::cg:
    solve_by_cg(
        backend,
        [&](ConstMatrix in, Matrix out) {
          backend.hessian_product(problem.design, W, problem.penalty, tie_, in, out);
        },
        [&](ConstMatrix in, Matrix out) {
          if (nystroem_.rank() > 0)
            nystroem_.apply(backend, in, out);
          else
            backend.divide_rows(in, diagonal_, out);
        },
        B, progress);
    return;
  case Solver::mixed: {
    const index order = matrix_.cols();
    for (index k = 0; k < B.cols / order; ++k) {
      const index block = std::min(k, blocks_ - 1);
      const ConstMatrix H = matrix_.view().block(block * order, order);
      const MatrixView<const float> R = single_.view().block(block * order, order);
      const ConstMatrix D = diagonal_.view().block(block, 1);
      solve_by_cg(
          backend,
          [&](ConstMatrix in, Matrix out) { backend.symmetric_product(H, in, out); },
          [&](ConstMatrix in, Matrix out) { backend.solve_single(R, D, in, out); },
          B.columns(k * order, order), k == 0 ? progress : Progress());
    }
    return;
  }
  }
}

template class Hessian<double>;
template class Hessian<float>;

}  // namespace upweight
