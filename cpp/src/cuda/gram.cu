// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::gram(const Design<T>& X, const RowWeights& W, Coupling coupling,
                          const std::vector<double>& penalty, ConstMatrix r, Matrix H,
                          Matrix g) const {
  throw CudaError("gram: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
