// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/hessian.hpp"

#include "host.hpp"
#include "rounding.hpp"
#include "upweight/error.hpp"
#include "whitened_gram.hpp"

#include <algorithm>
#include <cmath>
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

/// What |R^-T H R^-1 - I| may be in a Newton step, which errs by so much.
constexpr double newton_defect = 1e-3;
/// Order up to which Newton's steps look at their factors.
constexpr index most_watched = 1024;

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

/// The tie's strength in a factored Hessian; empty when there is none.
template <class T>
std::vector<double> tie_of(const Backend<T>& backend, const Problem<T>& problem,
                           const RowWeights& W) {
  if (!W.rows_sum_to_zero)
    return {};
  const Array diagonal = backend.zeros(1, problem.parameters());
  backend.hessian_diagonal(problem.design, W, problem.penalty, diagonal);
  std::vector<double> host = on_host(diagonal, backend);
  return tie_outputs(W, problem.penalty, host);
}

/// About the largest eigenvalue of D^1/2 H^-1 D^1/2, H = R'R, D = diag H, by a few
/// steps of the power method: at least max_j H_jj (H^-1)_jj but for what the start
/// lacks.                                                            8 P^2
double scaled_condition(const std::vector<double>& R, index P) {
  std::vector<double> root(at(P), 0.0), x(at(P));
  for (index i = 0; i < P; ++i)
    for (index j = i; j < P; ++j)
      root[at(j)] += R[at(i * P + j)] * R[at(i * P + j)];
  for (index j = 0; j < P; ++j) {
    root[at(j)] = std::sqrt(root[at(j)]);
    x[at(j)] = 1 + 0.5 * std::cos(1.7 * static_cast<double>(j));
  }
  double size = 0;
  for (int step = 0; step < 4; ++step) {
    double norm2 = 0;
    for (const double value : x)
      norm2 += value * value;
    for (index j = 0; j < P; ++j)
      x[at(j)] *= root[at(j)] / std::sqrt(norm2);
    for (index i = 0; i < P; ++i) {
      x[at(i)] /= R[at(i * P + i)];
      for (index j = i + 1; j < P; ++j)
        x[at(j)] -= R[at(i * P + j)] * x[at(i)];
    }
    for (index i = P; i-- > 0;) {
      for (index j = i + 1; j < P; ++j)
        x[at(i)] -= R[at(i * P + j)] * x[at(j)];
      x[at(i)] /= R[at(i * P + i)];
    }
    size = 0;
    for (index j = 0; j < P; ++j) {
      x[at(j)] *= root[at(j)];
      size += x[at(j)] * x[at(j)];
    }
  }
  return std::sqrt(size);
}

/// Whether X's own columns, and not curvature that has vanished on the way, depend on
/// each other so nearly that H has no factor.
template <class T>
bool columns_depend(const Backend<T>& backend, const Problem<T>& problem) {
  if (problem.family == Family::gaussian)
    return true;
  const index n = problem.design.rows(), q = problem.design.columns();
  const Array ones = backend.zeros(n, 1), H = backend.zeros(q, q);
  if (problem.weights.empty())
    backend.fill(ones, 1);
  else
    backend.copy(problem.weights, ones);
  backend.gram(problem.design, {ones, {}, 1.0, false}, Coupling::shared,
               problem.penalty, {}, H, {});
  return backend.potrf(H, 1, pivot_tolerance(q)) >= 0;
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
    defects_.clear();
    const index bad = backend.potrf(matrix_, blocks_, pivot_tolerance(order));
    if (bad >= 0)
      factor_shifted(backend, problem, W, bad);
    if (order <= most_watched)
      sharpen(backend, problem, W, newton_defect);
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

/// Factors H + shift diag H, which has a factor where H's rounding is under the shift,
/// and puts what of H is left in its coordinates on top (shifted CholeskyQR3: Fukaya,
/// Kannan, Nakatsukasa, Yamamoto and Yanagisawa 2020).
template <class T>
void Hessian<T>::factor_shifted(const Backend<T>& backend, const Problem<T>& problem,
                                const RowWeights& W, index failed) {
  const index q = problem.design.columns(), order = matrix_.cols();
  if (!columns_depend(backend, problem))
    throw_singular(failed, q);
  backend.gram(problem.design, W, coupling_of(problem.family), problem.penalty, {},
               matrix_, {});
  std::vector<double> H = on_host(matrix_, backend);
  for (index row = 0; row < blocks_ * order; ++row) {
    double& entry = H[at(row * order + row % order)];
    if (!(entry > 0))
      throw_singular(row, q);
    entry *= 1 + pivot_tolerance(order);
  }
  backend.upload(H.data(), matrix_);
  const index bad = backend.potrf(matrix_, blocks_, 0);
  if (bad >= 0)
    throw_singular(bad, q);
  const std::vector<double> tie = tie_of(backend, problem, W);
  for (index k = 0; k < blocks_; ++k)
    renew(backend, whitened_gram(backend, problem, W, k, tie, factor().block(k)), k, q);
}

/// R := chol(G) R. Throws SingularError where a direction has no more in G than
/// rounding.
template <class T>
void Hessian<T>::renew(const Backend<T>& backend, const Array& G, index block,
                       index columns) {
  const index order = matrix_.cols();
  const double least = pivot_tolerance(order);
  const index bad = backend.potrf(G, 1, 0);
  if (bad >= 0)
    throw_singular(bad, columns);
  const std::vector<double> U = on_host(G, backend);
  for (index j = 0; j < order; ++j)
    if (!(U[at(j * order + j)] * U[at(j * order + j)] > least))
      throw_singular(j, columns);
  const Matrix R = matrix_.view().block(block * order, order);
  const Array renewed = backend.zeros(order, order);
  backend.multiply(1, G, R, false, 0, renewed);
  backend.copy(renewed, R);
}

template <class T>
void Hessian<T>::sharpen_block(const Backend<T>& backend, const Problem<T>& problem,
                               const RowWeights& W, const std::vector<double>& tie,
                               index block, double wanted) {
  constexpr int most_rounds = 4;
  double& defect = defects_[at(block)];
  double before = std::numeric_limits<double>::infinity();
  for (int round = 0;; ++round) {
    const Array G =
        whitened_gram(backend, problem, W, block, tie, factor().block(block));
    defect = distance_to_identity(on_host(G, backend), matrix_.cols());
    if (defect <= wanted || defect > 0.25 * before || round == most_rounds)
      return;
    before = defect;
    renew(backend, G, block, problem.design.columns());
  }
}

template <class T>
void Hessian<T>::sharpen(const Backend<T>& backend, const Problem<T>& problem,
                         const RowWeights& W, double wanted) {
  if (solver_ != Solver::cholesky)
    return;
  const index order = matrix_.cols();
  defects_.resize(at(blocks_), -1.0);
  std::vector<double> tie;
  for (index k = 0; k < blocks_; ++k) {
    const double known = defects_[at(k)];
    const double doubtful =
        known >= 0
            ? known
            : rounding::modelled_defect(
                  order, scaled_condition(on_host(factor().block(k), backend), order));
    if (doubtful <= wanted)
      continue;
    if (tie.empty())
      tie = tie_of(backend, problem, W);
    sharpen_block(backend, problem, W, tie, k, wanted);
  }
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
