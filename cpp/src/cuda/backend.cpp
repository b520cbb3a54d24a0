// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"

#include "upweight/cuda.hpp"

namespace upweight {

template <class T>
std::unique_ptr<Backend<T>> cuda_backend(const CudaOptions& options,
                                         std::function<bool()> poll) {
  return std::make_unique<cuda::CudaBackend<T>>(
      std::make_shared<cuda::Device>(options, std::move(poll)));
}

template std::unique_ptr<Backend<double>> cuda_backend(const CudaOptions&,
                                                       std::function<bool()>);
template std::unique_ptr<Backend<float>> cuda_backend(const CudaOptions&,
                                                      std::function<bool()>);

}  // namespace upweight
