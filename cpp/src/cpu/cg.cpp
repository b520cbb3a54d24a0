// SPDX-License-Identifier: BSD-3-Clause
// The fused vector steps of conjugate gradients, one right-hand side a row.
#include "cpu/backend.hpp"

#include <cmath>

namespace upweight::cpu {

constexpr index rows_per_task = 4;

template <class T>
void CpuBackend<T>::divide_rows(ConstMatrix X, ConstMatrix d, Matrix out) const {
  threads_.ranges(X.rows, rows_per_task, [&](index first, index last) {
    for (index b = first; b < last; ++b)
      for (index j = 0; j < X.cols; ++j)
        out(b, j) = X(b, j) / d(0, j);
  });
}

template <class T>
void CpuBackend<T>::cg_dots(ConstMatrix R, ConstMatrix Z, Matrix rho,
                            Matrix norm2) const {
  threads_.ranges(R.rows, rows_per_task, [&](index first, index last) {
    for (index b = first; b < last; ++b) {
      double dot = 0, square = 0;
      for (index j = 0; j < R.cols; ++j) {
        dot += R(b, j) * Z(b, j);
        square += R(b, j) * R(b, j);
      }
      rho(b, 0) = dot;
      norm2(b, 0) = square;
    }
  });
}

template <class T>
void CpuBackend<T>::cg_direction(ConstMatrix Z, ConstMatrix rho, ConstMatrix rho_old,
                                 Matrix P) const {
  threads_.ranges(Z.rows, rows_per_task, [&](index first, index last) {
    for (index b = first; b < last; ++b) {
      const double beta = rho_old(b, 0) > 0 ? rho(b, 0) / rho_old(b, 0) : 0.0;
      for (index j = 0; j < Z.cols; ++j)
        P(b, j) = Z(b, j) + beta * P(b, j);
    }
  });
}

template <class T>
void CpuBackend<T>::cg_advance(ConstMatrix P, ConstMatrix Q, ConstMatrix rho, Matrix X,
                               Matrix R) const {
  threads_.ranges(P.rows, rows_per_task, [&](index first, index last) {
    for (index b = first; b < last; ++b) {
      double pq = 0;
      for (index j = 0; j < P.cols; ++j)
        pq += P(b, j) * Q(b, j);
      // a finished right-hand side (zero residual) stays where it is
      const double step = pq > 0 ? rho(b, 0) / pq : 0.0;
      for (index j = 0; j < P.cols; ++j) {
        X(b, j) += step * P(b, j);
        R(b, j) -= step * Q(b, j);
      }
    }
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
