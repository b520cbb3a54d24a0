// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
GlmSummary CudaBackend<T>::glm_terms(Family family, ConstMatrix y, ConstMatrix s,
                                     ConstMatrix eta, ConstMatrix direction,
                                     double step, Matrix eta_out, Matrix r,
                                     Matrix diagonal, Matrix factor) const {
  throw CudaError("glm_terms: not written");
}

template <class T>
void CudaBackend<T>::target_gradient(Family family, Target target, ConstMatrix y,
                                     ConstMatrix eta, Matrix a) const {
  throw CudaError("target_gradient: not written");
}

template <class T>
index CudaBackend<T>::removal_coefficients(const RowWeights& W, ConstMatrix C,
                                           ConstMatrix r, Matrix a) const {
  throw CudaError("removal_coefficients: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
