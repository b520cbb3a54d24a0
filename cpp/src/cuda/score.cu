// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::score(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                           MatrixView<T> out) const {
  throw CudaError("score: not written");
}

template <class T>
void CudaBackend<T>::change(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                            Family family, Target target, ConstMatrix y,
                            ConstMatrix eta, MatrixView<T> out) const {
  throw CudaError("change: not written");
}

template <class T>
void CudaBackend<T>::change_by(ConstMatrix deltas, ConstMatrix V, Family family,
                               Target target, ConstMatrix y, ConstMatrix eta,
                               MatrixView<T> out) const {
  throw CudaError("change_by: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
