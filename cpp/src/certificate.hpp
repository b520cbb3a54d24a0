// SPDX-License-Identifier: BSD-3-Clause
// Bounds on the distance to an optimum from the size of a gradient, for losses with
// |l'''| <= M l'' (the self-concordance of Bach 2010).
//
// Let J have Hessian A at theta, and let |.|_A be its norm. Between theta and theta + v
// no Hessian differs from A by more than a factor e^d, where d = M max_j |x_j'v| is at
// most R |v|_A, R = M max_j (x_j'A^-1 x_j)^(1/2).
#pragma once

#include <cmath>
#include <limits>

namespace upweight::certificate {

/// (e^d - 1) / d - 1: of a gradient's change, how much the quadratic model at one end
/// may be off by, relative to it, over a segment of length d.
inline double phi(double d) {
  if (d < 1e-2)
    return d * (1.0 / 2 + d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d / 720))));
  return std::expm1(d) / d - 1.0;
}

/// phi(d) - d / 2: the same of the cubic model, for losses with |l''''| <= M^2 l''.
inline double psi(double d) {
  if (d < 1e-2)
    return d * d * (1.0 / 6 + d * (1.0 / 24 + d * (1.0 / 120 + d / 720)));
  return phi(d) - d / 2;
}

/// A d with f(d) <= y, within a tenth of the largest; f is convex and at least its
/// leading term, which reaches y at `guess`.
template <class F>
double inverse(const F& f, double guess, double y) {
  double d = guess;
  for (int step = 0; step < 200 && !(f(d) <= y); ++step)
    d *= 0.9;
  return d;
}
inline double inverse_phi(double y) {
  return inverse(phi, 2 * y < 600 ? 2 * y : 600, y);
}
inline double inverse_psi(double y) {
  const double guess = std::sqrt(6 * y);
  return inverse(psi, guess < 600 ? guess : 600, y);
}

/// |theta* - z|_A for the optimum theta* of J and a point z at which |grad J|_{A^-1} <=
/// nu, when Hessians at z are at least e^-D A and R is that of A. Along any direction
/// the gradient's part in it has risen past nu at this distance; infinite when no such
/// distance can be told (and there may be no optimum).
inline double distance(double nu, double D, double R) {
  const double stretched = nu * std::exp(D), x = R * stretched;
  if (!(x < 1))
    return std::numeric_limits<double>::infinity();
  return x < 1e-8 ? stretched * (1 + x) : -std::log1p(-x) / R;
}

}  // namespace upweight::certificate
