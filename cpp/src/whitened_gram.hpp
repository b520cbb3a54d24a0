// SPDX-License-Identifier: BSD-3-Clause
// The Hessian in the coordinates of a factor of it: how good the factor is, measured.
//
// H = X'WX + P holds the square of its columns' condition, so that rounding of its
// entries alone makes a factor R off by E, H = R'(I + E)R, up to u max_j H_jj
// (H^-1)_jj. The rows z = R^-T x have a Gram near I whatever X is, and sums near I lose
// nothing: G = sum_i W_i (x) z_i z_i' + R^-T P R^-1 = I + E tells E, and chol(G) R is a
// factor whose own E is of the size u | |R| |R^-1| | alone (CholeskyQR2: Yamamoto,
// Nakatsukasa, Yanagisawa and Fukaya 2015).
#pragma once

#include "upweight/backend.hpp"

namespace upweight {

/// G = R^-T H R^-1 (order of R, mirrored) for one factor R: of output `output` of the
/// problem, or of all of them where R couples them. `tie` as Hessian's; may be empty.
/// 3 n q^2 flops; coupled 3 n K P^2
template <class T>
[[nodiscard]] Array whitened_gram(const Backend<T>& backend, const Problem<T>& problem,
                                  const RowWeights& W, index output,
                                  const std::vector<double>& tie, ConstMatrix R);

/// |G - I|_2 of a symmetric G on the host, at most: by its largest row sum, or by its
/// entries' squares.
[[nodiscard]] double distance_to_identity(const std::vector<double>& G, index order);

}  // namespace upweight
