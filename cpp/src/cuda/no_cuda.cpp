// SPDX-License-Identifier: BSD-3-Clause
// What stands for CUDA where it was not built.
#include "upweight/cuda.hpp"
#include "upweight/error.hpp"

namespace upweight {

static constexpr const char* not_built =
    "this build has no CUDA backend (it was made without nvcc, or with "
    "UPWEIGHT_CUDA=OFF)";

template <class T>
std::unique_ptr<Backend<T>> cuda_backend(const CudaOptions&, std::function<bool()>) {
  throw CudaError(not_built);
}

CudaConfig cuda_config() {
  CudaConfig config;
  config.absent = not_built;
  return config;
}

void cuda_library_folders(std::vector<std::string>) {}

std::shared_ptr<void> cuda_upload(const void*, std::size_t, const CudaOptions&) {
  throw CudaError(not_built);
}

void cuda_download(const void*, std::size_t, index, index, index, index, void*) {
  throw CudaError(not_built);
}

std::size_t cuda_free_memory(int) {
  throw CudaError(not_built);
}

bool is_device_memory(const void*) {
  return false;
}

template <class T>
index cuda_first_nonfinite(MatrixView<const T>, const CudaOptions&) {
  throw CudaError(not_built);
}

template index cuda_first_nonfinite(MatrixView<const double>, const CudaOptions&);
template index cuda_first_nonfinite(MatrixView<const float>, const CudaOptions&);
template std::unique_ptr<Backend<double>> cuda_backend(const CudaOptions&,
                                                       std::function<bool()>);
template std::unique_ptr<Backend<float>> cuda_backend(const CudaOptions&,
                                                      std::function<bool()>);

}  // namespace upweight
