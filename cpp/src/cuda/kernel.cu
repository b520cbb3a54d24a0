// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::kernel(const Kernel& kernel, const Design<T>& Y,
                            const Design<T>& X, bool same, Matrix out) const {
  throw CudaError("kernel: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
