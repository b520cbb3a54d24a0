// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"
#include "upweight/cg.hpp"
#include "upweight/dual.hpp"
#include "upweight/nystroem.hpp"

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace upweight {

enum class Solver {
  cholesky,  // factor H in float64
  mixed,     // factor H in float32, refine in float64 by conjugate gradients on H
  cg,        // never form H: conjugate gradients through X
  dual,      // factor l2 I + W^1/2 X X' W^1/2 instead; outputs not coupled, float64
};

/// What conjugate gradients through X are preconditioned by.
enum class Preconditioner {
  automatic,  // Nystroem where its sketch promises half the iterations, else Jacobi
  nystroem,
  jacobi,  // the diagonal of H
};

/// Sums over all runs of conjugate gradients with one Hessian, from any thread.
struct SolveTotals {
  index runs = 0;  // blocks of right-hand sides
  index right_hand_sides = 0;
  index iterations = 0;       // sum over runs of the steps of the block
  index column_steps = 0;     // sum over right-hand sides of the steps of each
  index most_iterations = 0;  // of a run
  double worst_residual = 0;  // largest |residual| / |b|
  index block_bytes = 0;      // most that a run held beside its right-hand sides
};

/// Told how many more right-hand sides have been solved; may throw, to stop.
using Progress = std::function<void(index solved)>;

/// H at one point, in the form that its solver needs.
///
/// Memory, in bytes: cholesky 8 a P^2, mixed 12 a P^2, with a = 1 (coupled outputs),
/// 1/K (outputs apart) or 1/K^2 (one Hessian for all); cg 8 P, and 8 (r + 1) P with a
/// Nystroem preconditioner of rank r (of outputs that share a Hessian 8 (r + 1) P / K).
template <class T>
class Hessian {
public:
  Hessian() = default;
  Hessian(Solver solver, const CgOptions& cg,
          Preconditioner preconditioner = Preconditioner::automatic)
      : solver_(solver), cg_(cg), preconditioner_(preconditioner) {}

  /// Forms H = X'WX + penalty of `problem` at weights W, and its factor. Returns
  /// sum_i r_i (x) x_i (P), which comes with the same pass over X. Throws SingularError
  /// where columns depend on each other to working precision: of X itself at about
  /// 1e13, of those with vanishing curvature at about 1e7.
  std::vector<double> assemble(const Backend<T>& backend, const Problem<T>& problem,
                               const RowWeights& W, ConstMatrix r);

  /// Makes a Cholesky factor whose |R^-T H R^-1 - I| may be over `wanted` a better one
  /// (whitened_gram.hpp); W as given to `assemble`.  three Grams a block where it is
  void sharpen(const Backend<T>& backend, const Problem<T>& problem,
               const RowWeights& W, double wanted);
  /// That distance as measured for block k, or -1 where it was never in doubt.
  [[nodiscard]] double measured_defect(index k) const {
    const auto block = static_cast<std::size_t>(k < blocks_ ? k : blocks_ - 1);
    return block < defects_.size() ? defects_[block] : -1;
  }

  /// Rows b of B (m x P) become H^-1 b. W as given to `assemble`. Where outputs share a
  /// Hessian, rows may be of one output (m x q).
  void solve(const Backend<T>& backend, const Problem<T>& problem, const RowWeights& W,
             Matrix B, const Progress& progress = {}) const;

  /// Right-hand sides of P numbers that one run of conjugate gradients takes: 64, or
  /// fewer when a block of them would be over 128 MB.
  [[nodiscard]] static index block_rows(index P);
  [[nodiscard]] SolveTotals totals() const;
  /// Of the Nystroem preconditioner; 0 for Jacobi's.
  [[nodiscard]] index rank() const { return nystroem_.rank(); }

  /// Whether `factor` holds: triangular solves give leverages.
  [[nodiscard]] bool direct() const { return solver_ == Solver::cholesky; }
  [[nodiscard]] Factor factor() const { return {matrix_, blocks_}; }
  [[nodiscard]] index bytes() const {
    return dual_.bytes() + matrix_.bytes() + single_.bytes() + diagonal_.bytes() +
           nystroem_.bytes();
  }

private:
  struct Ledger {
    std::mutex mutex;
    SolveTotals totals;
  };

  void precondition(const Backend<T>& backend, const Problem<T>& problem,
                    const RowWeights& W);
  void factor_shifted(const Backend<T>& backend, const Problem<T>& problem,
                      const RowWeights& W, index failed);
  void renew(const Backend<T>& backend, const Array& G, index block, index columns);
  void sharpen_block(const Backend<T>& backend, const Problem<T>& problem,
                     const RowWeights& W, const std::vector<double>& tie, index block,
                     double wanted);
  void solve_by_cg(const Backend<T>& backend, const RowOperator& apply,
                   const RowOperator& precondition, Matrix B,
                   const Progress& progress) const;

  Solver solver_ = Solver::cholesky;
  CgOptions cg_;
  Preconditioner preconditioner_ = Preconditioner::automatic;
  Array matrix_;        // cholesky: the factor; mixed: H, upper triangles
  SingleArray single_;  // mixed: the factor of D^-1 H D^-1
  Array diagonal_;  // mixed: D (blocks x order); cg: the diagonal of the tied H (1 x P)
  std::vector<double> tie_;
  Nystroem<T> nystroem_;  // cg: of rank 0 where Jacobi's is taken
  std::unique_ptr<Ledger> ledger_ = std::make_unique<Ledger>();
  index blocks_ = 1;
  std::vector<double> defects_;  // of the blocks; negative where not measured
  DualHessian dual_;
};

/// Smallest admissible pivot of a Hessian of order P, relative to its diagonal.
[[nodiscard]] double pivot_tolerance(index parameters);

}  // namespace upweight
