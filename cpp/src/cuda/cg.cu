// SPDX-License-Identifier: BSD-3-Clause
// The fused vector steps of conjugate gradients, one right-hand side a row; scalars
// stay on the device.
#include "cuda/backend.hpp"
#include "cuda/launch.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::divide_rows(ConstMatrix X, ConstMatrix d, Matrix out) const {
  each(device(), "divide_rows", X.rows, X.cols,
       [=] __device__(index b, index j) { out(b, j) = X(b, j) / d(0, j); });
}

template <class T>
void CudaBackend<T>::cg_dots(ConstMatrix R, ConstMatrix Z, Matrix rho,
                             Matrix norm2) const {
  const index P = R.cols;
  each_row(device(), "cg_dots", R.rows, P, [=] __device__(const Team& team, index b) {
    double dot = 0, square = 0;
    for (index j = team.rank(); j < P; j += team.size()) {
      dot += R(b, j) * Z(b, j);
      square += R(b, j) * R(b, j);
    }
    rho(b, 0) = team.sum(dot);
    norm2(b, 0) = team.sum(square);
  });
}

template <class T>
void CudaBackend<T>::cg_direction(ConstMatrix Z, ConstMatrix rho, ConstMatrix rho_old,
                                  Matrix P) const {
  each(device(), "cg_direction", Z.rows, Z.cols, [=] __device__(index b, index j) {
    const double beta = rho_old(b, 0) > 0 ? rho(b, 0) / rho_old(b, 0) : 0.0;
    P(b, j) = Z(b, j) + beta * P(b, j);
  });
}

template <class T>
void CudaBackend<T>::cg_advance(ConstMatrix P, ConstMatrix Q, ConstMatrix rho, Matrix X,
                                Matrix R) const {
  const index cols = P.cols;
  each_row(device(), "cg_advance", P.rows, cols,
           [=] __device__(const Team& team, index b) {
             double pq = 0;
             for (index j = team.rank(); j < cols; j += team.size())
               pq += P(b, j) * Q(b, j);
             pq = team.sum(pq);
             // a finished right-hand side (zero residual) stays where it is
             const double step = pq > 0 ? rho(b, 0) / pq : 0.0;
             for (index j = team.rank(); j < cols; j += team.size()) {
               X(b, j) += step * P(b, j);
               R(b, j) -= step * Q(b, j);
             }
           });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
