// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
index CudaBackend<T>::potrf(Matrix H, index count, double tolerance) const {
  throw CudaError("potrf: not written");
}

template <class T>
index CudaBackend<T>::potrf_pivoted(Matrix K, double tolerance,
                                    std::vector<std::int64_t>& order) const {
  throw CudaError("potrf_pivoted: not written");
}

template <class T>
void CudaBackend<T>::solve(const Factor& factor, Matrix B, bool half) const {
  throw CudaError("solve: not written");
}

template <class T>
std::vector<double> CudaBackend<T>::eigenvalues(Matrix S) const {
  throw CudaError("eigenvalues: not written");
}

template <class T>
void CudaBackend<T>::multiply(double alpha, ConstMatrix A, ConstMatrix B,
                              bool transposed, double beta, Matrix C) const {
  throw CudaError("multiply: not written");
}

template <class T>
void CudaBackend<T>::transpose(ConstMatrix A, Matrix out) const {
  throw CudaError("transpose: not written");
}

template <class T>
void CudaBackend<T>::forward_rows(ConstMatrix R, Matrix B) const {
  throw CudaError("forward_rows: not written");
}

template <class T>
index CudaBackend<T>::potrf_single(ConstMatrix H, double shift, MatrixView<float> R,
                                   Matrix D) const {
  throw CudaError("potrf_single: not written");
}

template <class T>
void CudaBackend<T>::solve_single(MatrixView<const float> R, ConstMatrix D,
                                  ConstMatrix B, Matrix out) const {
  throw CudaError("solve_single: not written");
}

template <class T>
void CudaBackend<T>::symmetric_product(ConstMatrix H, ConstMatrix V, Matrix out) const {
  throw CudaError("symmetric_product: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
