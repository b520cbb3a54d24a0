// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::dual_gram(ConstMatrix K, const std::int64_t* rows, ConstMatrix s,
                               double l2, Matrix out) const {
  throw CudaError("dual_gram: not written");
}

template <class T>
void CudaBackend<T>::dual_update(ConstMatrix C, ConstMatrix pull, double l2,
                                 double curvature, bool intercept, Matrix V) const {
  throw CudaError("dual_update: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
