// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                     ConstMatrix s, ConstMatrix eta,
                                     const std::int64_t* rows, MatrixView<float> weight,
                                     MatrixView<float> mean) const {
  throw CudaError("remainder_terms: not written");
}

template <class T>
void CudaBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                     ConstMatrix s, ConstMatrix eta,
                                     const std::int64_t* rows, Matrix weight,
                                     Matrix mean) const {
  throw CudaError("remainder_terms: not written");
}

template <class T>
void CudaBackend<T>::remainder_gradient(const RemainderRows<float>& rows, index count,
                                        bool third, const RowSets& sets,
                                        const std::int64_t* own, ConstMatrix delta,
                                        Matrix G, Matrix reach) const {
  throw CudaError("remainder_gradient: not written");
}

template <class T>
void CudaBackend<T>::remainder_gradient(const RemainderRows<double>& rows, index count,
                                        bool third, const RowSets& sets,
                                        const std::int64_t* own, ConstMatrix delta,
                                        Matrix G, Matrix reach) const {
  throw CudaError("remainder_gradient: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
