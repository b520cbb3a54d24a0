// SPDX-License-Identifier: BSD-3-Clause
// The model of rounding that bounds are widened by: errors are independent with mean
// zero, so that a sum of m terms is off by 4 m^(1/2) u relative to the sum of their
// sizes, not by m u (Higham and Mary 2019, their constant taken as 4).
#pragma once

#include "upweight/hessian.hpp"

#include <cmath>
#include <vector>

namespace upweight::rounding {

constexpr double single_unit = 0x1p-24, double_unit = 0x1p-53;

/// Of a sum of n terms in arithmetic of that unit, relative to the sum of their sizes.
inline double sum_error(index n, double unit) {
  return 4 * std::sqrt(static_cast<double>(n)) * unit;
}

/// What an upper triangle R (P x P) tells of how it was computed and of solves with it.
struct Triangle {
  std::vector<double> diagonal;  // P: of R'R
  std::vector<double> inverse;   // P: of (R'R)^-1
  double condition = 1;          // max_j of their product
  double solve = 1;              // at least | |R| |R^-1| |_2
};
/// One inverse of a triangle, P^3 flops.
template <class T>
[[nodiscard]] Triangle triangle_of(const Backend<T>& backend, ConstMatrix R);

/// How far a factor is from the Hessian that it stands for.
struct FactorError {
  double defect = 0;  // |R^-T H R^-1 - I|_2, at most
  double rows = 0;    // |dz| / |z| of a row z = R^-T x as it is computed, at most

  /// By how much z_i . z_j is off, relative to |z_i| |z_j|: also of leverages c_ii.
  [[nodiscard]] double products() const { return defect + 2 * rows; }
};

/// Of a factor whose `measured` defect is known, or (negative) modelled: H is off by
/// rounding of its entries beside its diagonal.
[[nodiscard]] FactorError factor_error(const Triangle& R, double measured);

/// The same model by the largest eigenvalue of D^1/2 H^-1 D^1/2, D = diag H, alone.
[[nodiscard]] double modelled_defect(index order, double condition);

/// grad J at a point by its residuals r (n x K) and parameters theta (K q), with the
/// sums that gradient_error is about (a Gram's own are others).       2 n P flops
template <class T>
[[nodiscard]] std::vector<double>
exact_gradient(const Backend<T>& backend, const Problem<T>& problem, ConstMatrix r,
               const std::vector<double>& theta);

/// What rounding hides of grad J at a point of a problem, in the norm of H^-1.
///
/// Linear predictors: a sum of the terms x_ij theta_j is off by their size t_i =
/// |(x_ij theta_j)_j| and not by its own, which may be much smaller, and
/// |X'W e|_{H^-1}^2 <= sum_i w_i t_i^2 <= sum_j H_jj theta_j^2. Counted twice: x_j^2 <=
/// H_jj c for any row x, so that c^1/2 times the same covers the rounding of the row's
/// own predictor, too, which its bound is beside.
///
/// Residuals: each is off relative to the terms of which it is the difference (mu and y
/// of a Poisson row), whose part in the norm is c_ii.
///
/// Sums over the rows, X'r: of column j by its terms |x_ij r_i|, tile by tile
/// (Backend::gradient_tile), and (H^-1)_jj in the norm.
///
/// Rows that were computed (Problem::row_error, product_error) are a problem next to
/// the one that was meant. In its own coordinates theta = -sum_j r_j x_j / l2, so that
/// inner products that are off move predictor i by |x_i| (sum_j |x_j|^2 r_j^2)^1/2 / l2
/// times the relative error; rows that are off themselves move it by |x_i| |theta|
/// times theirs, and the gradient by (sum_j |x_j|^2 r_j^2)^1/2, over l2^1/2 in the
/// norm. With sum_i w_i |x_i|^2 <= tr H both enter as predictors' rounding does.
///
/// `r`, `eta` (n x K) are of the outputs that R couples, as `y` and `s` are; `theta`
/// are their parameters; C their leverages (n x K, or n x K^2).          2 n P flops
template <class T>
[[nodiscard]] double
gradient_error(const Backend<T>& backend, const Problem<T>& problem, ConstMatrix y,
               ConstMatrix eta, ConstMatrix r, ConstMatrix C,
               const std::vector<double>& theta, const Triangle& R);

}  // namespace upweight::rounding
