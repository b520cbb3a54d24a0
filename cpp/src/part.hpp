// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/influence.hpp"

#include <vector>

namespace upweight {

/// One output of a fitted problem, in whitened coordinates z = R^-T x where H = I; or
/// all the outputs of a softmax, in the parameters' own.
template <class T>
struct Part {
  Family family = Family::gaussian;
  index outputs = 1;     // K
  bool whitened = true;  // then K = 1
  RowWeights W;
  ConstMatrix y, r, eta, s, R;
  double M = 0;                // |l'''| <= M l''
  Array C;                     // (e_k (x) x_i)'H^-1(e_l (x) x_i): n x K^2
  std::vector<double> spread;  // n: what of C bounds a row's move; 0 for weight 0
  double largest_spread = 0;
  double mean_spread = 0;    // largest v'(sum_j w_j c_jj x_j x_j') v over v'H v
  double pivot_ratio = 1;    // max (H_jj)^(1/2) / R_jj: how ill conditioned H is
  double gradient_norm = 0;  // |grad J(theta)|_{H^-1}
};

/// Number of parts of a problem: outputs that do not share a row's loss are apart.
template <class T>
[[nodiscard]] index parts_of(const Problem<T>& problem) {
  return coupling_of(problem.family) == Coupling::full ? 1 : problem.outputs;
}

/// What part k is made of, without its leverages: enough to make Newton steps again.
template <class T>
[[nodiscard]] Part<T> bare_part(const Influence<T>& influence, index k);

/// Part k with all that bounds need.          n q^2 flops a block, twice when whitened
template <class T>
[[nodiscard]] Part<T> make_part(const Influence<T>& influence, index k);

/// E (rows e_k (x) x_m of the sets' members) and V = H^-1 E; whitened, both are z_m,
/// and V is left empty.
template <class T>
void member_rows(const Backend<T>& backend, const Design<T>& design,
                 const Part<T>& part, const RowSets& sets, Array& E, Array& V);

/// Rows t K + k: e_k (x) x_t (m K x P), whose product with a change of the parameters
/// is the move of output k of row t.
template <class T>
[[nodiscard]] Array unit_rows(const Backend<T>& backend, const Design<T>& test,
                              index K);

/// Takes the mean over a softmax's outputs off rows of `segment` numbers an output. No
/// change of the optimum has one, and rounding over a small penalty would be large.
void centre(std::vector<double>& rows, index outputs, index segment);

/// H_jj of a factor's blocks, one after another: the squares of R's columns.   P^2
template <class T>
[[nodiscard]] std::vector<double> factored_diagonal(const Backend<T>& backend,
                                                    const Factor& factor);

/// How large |X'W e|_{H^-1} may be for the rounding e of linear predictors of q terms,
/// by H's diagonal (of all outputs, or of one block that they share) and theta.
///
/// A sum of the terms x_ij theta_j is off by their size t_i = |(x_ij theta_j)_j| and
/// not by its own, which may be much smaller; sum_i w_i t_i^2 <= sum_j H_jj theta_j^2.
/// Counted twice: x_j^2 <= H_jj c for any row x, so that c^1/2 times the same covers
/// the rounding of the row's own predictor, too, which its bound is beside.
[[nodiscard]] double predictor_error(const std::vector<double>& diagonal,
                                     const std::vector<double>& theta, index q);

/// How large |X'e|_{A^-1} may be for the rounding e of residuals r (n x K), of which
/// A's leverages C (n x K, or n x K^2) tell. It counts where curvature has all but
/// vanished and residuals have not.
template <class T>
[[nodiscard]] double residual_error(const Backend<T>& backend, ConstMatrix r,
                                    ConstMatrix C);

/// What of the blocks C_i (n x K^2, or n x K for outputs apart) bounds a row's move:
/// the largest c_ik, or of softmax the largest x'H^-1 x of a difference of two outputs.
/// Rows of weight 0 count as 0.
template <class T>
[[nodiscard]] std::vector<double> move_spread(const Backend<T>& backend,
                                              const Problem<T>& problem, ConstMatrix C);

}  // namespace upweight
