// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::linear_predictor(const Design<T>& X, ConstMatrix theta,
                                      Matrix eta) const {
  throw CudaError("linear_predictor: not written");
}

template <class T>
void CudaBackend<T>::hessian_product(const Design<T>& X, const RowWeights& W,
                                     const std::vector<double>& penalty,
                                     const std::vector<double>& tie, ConstMatrix V,
                                     Matrix out) const {
  throw CudaError("hessian_product: not written");
}

template <class T>
void CudaBackend<T>::hessian_diagonal(const Design<T>& X, const RowWeights& W,
                                      const std::vector<double>& penalty,
                                      Matrix out) const {
  throw CudaError("hessian_diagonal: not written");
}

template <class T>
void CudaBackend<T>::gradient(const Design<T>& X, ConstMatrix a, Matrix out) const {
  throw CudaError("gradient: not written");
}

template <class T>
void CudaBackend<T>::gradient_rows(const Design<T>& X, ConstMatrix a,
                                   Matrix out) const {
  throw CudaError("gradient_rows: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
