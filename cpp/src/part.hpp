// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "rounding.hpp"
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
  double mean_spread = 0;  // largest v'(sum_j w_j c_jj x_j x_j') v over v'H v
  rounding::FactorError factor_error;  // of R
  double condition = 1;                // max_j H_jj (H^-1)_jj
  double gradient_norm = 0;            // |grad J(theta)|_{H^-1}, at most
  double gradient_error = 0;           // of that, what rounding hides
  /// W, r, s and the penalty are the problem's over unit^2 (a power of 4), so that
  /// weights keep clear of the ends of float32; norms in H are over unit, those in H^-1
  /// too, and C is times unit^2. Changes of parameters and bounds are the same.
  double unit = 1;
  std::vector<Array> scaled;  // what then stands in the place of the problem's own
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

/// What of the blocks C_i (n x K^2, or n x K for outputs apart) bounds a row's move:
/// the largest c_ik, or of softmax the largest x'H^-1 x of a difference of two outputs.
/// Rows of weight 0 count as 0.
template <class T>
[[nodiscard]] std::vector<double> move_spread(const Backend<T>& backend,
                                              const Problem<T>& problem, ConstMatrix C);

}  // namespace upweight
