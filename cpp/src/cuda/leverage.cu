// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::quadratic_form(const Design<T>& X, const Factor& factor,
                                    ConstMatrix a, Matrix out) const {
  throw CudaError("quadratic_form: not written");
}

template <class T>
void CudaBackend<T>::leverage_blocks(const Design<T>& X, const Factor& factor,
                                     index outputs, Matrix out) const {
  throw CudaError("leverage_blocks: not written");
}

template <class T>
void CudaBackend<T>::scaled_norm(const Design<T>& X, ConstMatrix a, ConstMatrix scale,
                                 Matrix out) const {
  throw CudaError("scaled_norm: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
