// SPDX-License-Identifier: BSD-3-Clause
// Leaving out a set of about as many rows as parameters, or more: Woodbury's form is as
// large as the set, the Hessian less the set's own is not.
#pragma once

#include "part.hpp"

#include <vector>

namespace upweight {

/// Newton steps without sets of rows, in a part's whitened coordinates, where H = I:
/// A_b = I - sum_m w_m z_m z_m' over the rows of set b, delta_b = A_b^-1 sum_m r_m z_m.
struct Downdated {
  std::vector<Array> factors;  // R, A_b = R'R; empty when A_b is singular
  Array steps;                 // delta_b (sets x q)
  RemovalTerms terms;          // `kept` is A_b's smallest eigenvalue, less its rounding
};

/// 5 g q^2 + 2 q^3 flops a set of g rows, whose factor of q^2 numbers stays.
template <class T>
[[nodiscard]] Downdated downdate(const Backend<T>& backend, const Design<T>& design,
                                 const Part<T>& part, const RowSets& sets);

}  // namespace upweight
