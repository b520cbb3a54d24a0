// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// Coordinates for rows of which only inner products matter: more features than rows,
/// or features of a kernel that nobody could write down. From K = (k(x_i, x_j)) it
/// makes rows z_i of length `rank` with z_i . z_j = k(x_i, x_j). A model that penalises
/// its coefficients' norm is the same model in them, with `rank` features, and so are
/// its influences: what a test row has outside the training rows' span moves nothing.
/// K is met within rounding of its rows' own sizes, `error` where pivots were needed.
///
/// Memory: 8 n^2 bytes for the factor, besides the coordinates.
class RowSpace {
public:
  /// K (n x n) symmetric, whole; it is overwritten. n^3 / 3 flops; where K is singular
  /// to working precision, again with pivots, which BLAS does on one thread. Throws
  /// IndefiniteError when K has an eigenvalue that rounding cannot make negative.
  RowSpace(const Backend<double>& backend, Array K);

  [[nodiscard]] index rows() const { return factor_.cols(); }
  [[nodiscard]] index rank() const { return rank_; }
  /// Largest |z_i . z_j - K_ij| over (K_ii K_jj)^1/2 of rows that pivots left out: what
  /// they have outside the span of the others.
  [[nodiscard]] double error() const { return error_; }
  /// Z (n x rank).
  void coordinates(Matrix Z) const;
  /// Coordinates z (m x rank) of rows by their kernel with the training rows, `cross`
  /// (m x n): of their parts within the span.                          m n^2
  void project(ConstMatrix cross, Matrix z) const;
  /// Coefficients a (m x n) with sum_i a_i x_i = sum_j b_j e_j for the rows b of `beta`
  /// (m x rank), e_j being the coordinates' axes.                      m n^2
  void lift(ConstMatrix beta, Matrix a) const;

private:
  [[nodiscard]] Factor triangle() const {
    return {ConstMatrix(factor_.view().data, rank_, rank_, factor_.cols()), 1};
  }
  void pivoted();

  const Backend<double>& backend_;
  Array factor_;  // first `rank` rows: R, (D^-1 K D^-1)[order][:, order] = R'R
  std::vector<std::int64_t> order_;  // empty: as they come, and D = I
  std::vector<double> size_;         // D: about K_ii^1/2, powers of 2; empty for ones
  double error_ = 0;
  index rank_ = 0;
};

}  // namespace upweight
