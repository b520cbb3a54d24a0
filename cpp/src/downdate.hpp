// SPDX-License-Identifier: BSD-3-Clause
// Leaving out a set of about as many rows as parameters, or more: Woodbury's form is as
// large as the set, the Hessian less the set's own is not.
#pragma once

#include "part.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// Newton steps without sets of rows, in a part's whitened coordinates, where H = I.
template <class T>
class Downdates {
public:
  Downdates(const Backend<T>& backend, const Design<T>& design, const Part<T>& part);

  /// A = I - sum_m w_m z_m z_m', and delta = A^-1 sum_m r_m z_m.
  struct Step {
    Array R;  // A = R'R; empty when A is singular
    std::vector<double> delta;
    double norm = 0;   // |delta|_A
    double kept = 0;   // smallest eigenvalue of A, less its rounding
    double reach = 0;  // largest (z_m'A^-1 z_m)^(1/2)
  };
  /// Without the g numbered rows. With `bounds` all of it, else R and delta.
  ///                       3 g q^2 + q^3 / 3 flops, with bounds 2 g q^2 + 4 q^3 / 3
  ///                       more
  [[nodiscard]] Step step(const std::int64_t* rows, index g, bool bounds) const;

private:
  /// in(Z, first) for blocks of the rows' z_m, the first of them number `first`.
  template <class Work>
  void each_block(const std::int64_t* rows, index g, const Work& in) const;
  [[nodiscard]] double reach(const Factor& A, const std::int64_t* rows, index g) const;

  const Backend<T>& backend_;
  const Design<T>& design_;
  const Part<T>& part_;
  std::vector<double> w_, r_;  // n
};

}  // namespace upweight
