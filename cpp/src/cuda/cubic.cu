// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::cubic_tensor(const RemainderRows<float>& rows,
                                  MatrixView<float> cubic) const {
  throw CudaError("cubic_tensor: not written");
}

template <class T>
void CudaBackend<T>::cubic_contract(MatrixView<const float> cubic, const RowSets& sets,
                                    const RemainderRows<float>& own, ConstMatrix Z,
                                    ConstMatrix delta, Matrix G) const {
  throw CudaError("cubic_contract: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
