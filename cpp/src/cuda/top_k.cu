// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
TopK CudaBackend<T>::top_k(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                           const ScanBounds& rows, const TestBounds& tests,
                           index k) const {
  throw CudaError("top_k: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
