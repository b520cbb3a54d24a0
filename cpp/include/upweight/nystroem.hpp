// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"
#include "upweight/cg.hpp"

#include <vector>

namespace upweight {

/// How far the sketch of a preconditioner goes, and what it has to reach.
struct NystroemOptions {
  index first_rank = 16;
  index least_rank = 128;    // looked at before a spectrum counts as flat
  double near_penalty = 10;  // enough when the last eigenvalue is at most this times
                             // the penalty, both relative to H's diagonal
  double pays = 4;  // the least ratio of the first to the last eigenvalue: the root of
                    // it is about how many times fewer iterations there will be
  bool always = false;  // keep it even where it does not pay
};

/// The largest rank for `count` Hessians of order `order`: half the order, 512, and
/// what fits in 256 MB; at least 1.
[[nodiscard]] index nystroem_rank_limit(index order, index count);

/// Bytes that making it takes beside what it holds: 64 rows twice, and three matrices
/// of the order of the rank for each of `count` Hessians.
[[nodiscard]] index nystroem_workspace(index order, index count);

/// The randomised Nystroem preconditioner (Frangella, Tropp and Udell 2021), in the
/// coordinates in which H has a unit diagonal, H^ = D^-1/2 H D^-1/2 = G^ + P^ with P^
/// the penalties:
///
///   Y = G^ Omega,  C'C = Omega'Y + shift,  F = Y C^-1:  G^ is about F F', from below
///   M = D^1/2 [F F' + diag(d)] D^1/2,  d_j = P^_jj + max(G^_jj - (F F')_jj, 1e-12)
///
/// The paper's M has (last eigenvalue + penalty) I in place of diag(d). Penalties
/// differ here (the intercept has none) and columns have scales: with d, rank 0 is
/// Jacobi's preconditioner exactly. Iterations to 1e-8, 2000 rows of 400 columns, rank
/// 128:
///
///   condition                      Jacobi   paper   paper, scaled   this
///   1e8 by column scales              25    3480        23            24
///   1e8, geometric spectrum        11712    1284      1393          1390
///   30 factors and noise             139       6        15             7
///   30 factors, columns of scales   8467       9      1281            10
///   rare one-hot columns              35      51        29            28
///   means 50 times the spread         51      39        30            26
///   the same, columns of scales      395      56       176            35
///
/// By Woodbury, with F Q-ed so that nothing is left to solve:
///   M^-1 = e^-1 (I - Q'Q) e^-1,  e = (d D)^1/2,  Q = R^-T F' d^-1/2,
///   R'R = I + F' d^-1 F.                      4 r P flops a right-hand side
/// Outputs whose Hessians are apart have a sketch each, made by the same products.
///
/// Memory: (r + 1) count order doubles.
template <class T>
class Nystroem {
public:
  /// `product` applies H without its penalties to rows of count * order numbers;
  /// `diagonal` (of the same length) is that of H, 0 where H has no curvature;
  /// `penalty` one a column. Doubles the rank until the last eigenvalue is near the
  /// penalty, stops falling, or the limit is reached. Returns whether it pays; without
  /// that (and without `always`) nothing is kept. Fixed seed: the same every time.
  ///                                         r products, 2 r^2 P flops
  bool make(const Backend<T>& backend, const RowOperator& product,
            const std::vector<double>& diagonal, const std::vector<double>& penalty,
            index count, const NystroemOptions& options);

  /// Rows of out are M^-1 b. Rows of several times `order` use the last Hessian for
  /// what is past it, as Factor does.
  void apply(const Backend<T>& backend, ConstMatrix in, Matrix out) const;

  [[nodiscard]] index rank() const { return Q_.rows(); }
  [[nodiscard]] index bytes() const { return Q_.bytes() + root_.bytes(); }

private:
  Array Q_;     // r x (count * order)
  Array root_;  // 1 x P: e
  index count_ = 1;
};

}  // namespace upweight
