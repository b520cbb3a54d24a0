// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/device.hpp"

#include "upweight/error.hpp"

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>

namespace upweight {

namespace cuda {

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess)
    return;
  (void)cudaGetLastError();  // an error that leaves the context usable is forgotten
  throw CudaError(std::string(doing) + ": " + cudaGetErrorString(status));
}

void check_library(int status, const char* doing) {
  if (status != 0)
    throw CudaError(std::string(doing) + ": status " + std::to_string(status));
}

Device::Device(const CudaOptions& options, std::function<bool()> poll)
    : number_(options.device), poll_(std::move(poll)), allocator_(options.allocator),
      libraries_(cuda::libraries()) {
  if (!libraries_.absent.empty())
    throw CudaError(libraries_.absent);
  use();
  if (options.stream != nullptr) {
    stream_ = static_cast<cudaStream_t>(options.stream);
  } else {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking),
          "making a stream");
    owns_stream_ = true;
  }
  for (cudaStream_t* stream : {&copies_, &returns_})
    check(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking), "making a stream");
  if (!allocator_.allocate) {
    // freed memory stays with the pool: otherwise every wait gives it all back
    cudaMemPool_t pool = nullptr;
    check(cudaDeviceGetDefaultMemPool(&pool, number_), "finding the device's pool");
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep),
          "setting up the device's pool");
  }
}

cublasHandle_t Device::blas() const {
  if (blas_ == nullptr) {
    check_library(libraries_.blas_create(&blas_), "starting cuBLAS");
    check_library(libraries_.blas_stream(blas_, stream_), "starting cuBLAS");
  }
  return blas_;
}

cusolverDnHandle_t Device::solver() const {
  if (solver_ == nullptr) {
    check_library(libraries_.solver_create(&solver_), "starting cuSOLVER");
    check_library(libraries_.solver_stream(solver_, stream_), "starting cuSOLVER");
  }
  return solver_;
}

Device::~Device() {
  (void)cudaSetDevice(number_);
  if (solver_ != nullptr)
    (void)libraries_.solver_destroy(solver_);
  if (blas_ != nullptr)
    (void)libraries_.blas_destroy(blas_);
  for (cudaStream_t stream : {copies_, returns_})
    if (stream != nullptr)
      (void)cudaStreamDestroy(stream);
  if (owns_stream_)
    (void)cudaStreamDestroy(stream_);
}

void Device::use() const {
  check(cudaSetDevice(number_), "choosing the device");
}

void* Device::allocate(std::size_t bytes) const {
  use();
  void* data = nullptr;
  if (allocator_.allocate) {
    data = allocator_.allocate(bytes);
  } else {
    const cudaError_t status = cudaMallocAsync(&data, bytes, stream_);
    if (status == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      throw DeviceMemoryError(bytes);
    }
    check(status, "allocating memory");
  }
  if (data == nullptr)
    throw DeviceMemoryError(bytes);
  return data;
}

void Device::free(void* data) const noexcept {
  if (data == nullptr)
    return;
  if (allocator_.free) {
    allocator_.free(data);
    return;
  }
  (void)cudaSetDevice(number_);
  (void)cudaFreeAsync(data, stream_);
}

void Device::synchronize() const {
  use();
  check(cudaStreamSynchronize(stream_), "waiting for the device");
}

void Device::check_launch(const char* kernel) const {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    throw CudaError(std::string("kernel ") + kernel + ": " +
                    cudaGetErrorString(status));
}

void Device::pause_point() const {
  if (poll_ && poll_())
    throw Interrupted();
}

template <class U>
void to_device(const Device& device, const U* from, MatrixView<U> to) {
  if (to.empty())
    return;
  device.use();
  const auto width = static_cast<std::size_t>(to.cols) * sizeof(U);
  check(cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.stride) * sizeof(U),
                          from, width, width, static_cast<std::size_t>(to.rows),
                          cudaMemcpyHostToDevice, device.stream()),
        "copying to the device");
  device.synchronize();  // the caller may change `from` next
}

template <class U>
void to_host(const Device& device, MatrixView<const U> from, U* to) {
  if (from.empty())
    return;
  device.use();
  const auto width = static_cast<std::size_t>(from.cols) * sizeof(U);
  check(cudaMemcpy2DAsync(to, width, from.data,
                          static_cast<std::size_t>(from.stride) * sizeof(U), width,
                          static_cast<std::size_t>(from.rows), cudaMemcpyDeviceToHost,
                          device.stream()),
        "copying from the device");
  device.synchronize();
}

template <class U>
void copy_within(const Device& device, MatrixView<const U> from, MatrixView<U> to) {
  if (from.empty())
    return;
  device.use();
  check(cudaMemcpy2DAsync(to.data, static_cast<std::size_t>(to.stride) * sizeof(U),
                          from.data, static_cast<std::size_t>(from.stride) * sizeof(U),
                          static_cast<std::size_t>(from.cols) * sizeof(U),
                          static_cast<std::size_t>(from.rows), cudaMemcpyDeviceToDevice,
                          device.stream()),
        "copying within the device");
}

template void to_device(const Device&, const std::byte*, MatrixView<std::byte>);
template void to_device(const Device&, const double*, MatrixView<double>);
template void to_device(const Device&, const float*, MatrixView<float>);
template void to_device(const Device&, const std::int64_t*, MatrixView<std::int64_t>);
template void to_device(const Device&, const std::int32_t*, MatrixView<std::int32_t>);
template void to_host(const Device&, MatrixView<const double>, double*);
template void to_host(const Device&, MatrixView<const float>, float*);
template void to_host(const Device&, MatrixView<const std::int64_t>, std::int64_t*);
template void to_host(const Device&, MatrixView<const std::int32_t>, std::int32_t*);
template void copy_within(const Device&, MatrixView<const double>, MatrixView<double>);
template void copy_within(const Device&, MatrixView<const float>, MatrixView<float>);

}  // namespace cuda

CudaConfig cuda_config() {
  CudaConfig config;
  int count = 0, driver = 0, runtime = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  (void)cudaGetLastError();
  (void)cudaRuntimeGetVersion(&runtime);
  (void)cudaDriverGetVersion(&driver);
  const auto version = [](int number) {
    return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
  };
  if (driver == 0) {
    config.absent = "no NVIDIA driver was found";
    return config;
  }
  if (status == cudaErrorInsufficientDriver) {
    config.absent = "the NVIDIA driver is for CUDA " + version(driver) +
                    ", and this build needs " + version(runtime);
    return config;
  }
  if (status != cudaSuccess || count == 0) {
    config.absent =
        status == cudaSuccess
            ? "no CUDA device was found"
            : std::string("no CUDA device can be used: ") + cudaGetErrorString(status);
    return config;
  }
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, 0) == cudaSuccess) {
    config.device = properties.name;
    config.capability = 10 * properties.major + properties.minor;
  }
  config.versions = "driver " + version(driver) + ", runtime " + version(runtime);
  if (config.capability < 75) {
    config.absent = "the device " + config.device + " has compute capability " +
                    std::to_string(config.capability / 10) + "." +
                    std::to_string(config.capability % 10) + ", under 7.5";
    return config;
  }
  const cuda::Libraries& libraries = cuda::libraries();
  config.absent = libraries.absent;
  if (!libraries.versions.empty())
    config.versions += ", " + libraries.versions;
  return config;
}

void cuda_library_folders(std::vector<std::string> folders) {
  cuda::library_folders(std::move(folders));
}

std::shared_ptr<void> cuda_upload(const void* from, std::size_t bytes,
                                  const CudaOptions& options) {
  auto device = std::make_shared<cuda::Device>(options, std::function<bool()>());
  std::shared_ptr<void> memory(device->allocate(bytes > 0 ? bytes : 1),
                               [device](void* data) { device->free(data); });
  if (from == nullptr && options.stream == nullptr)
    device->synchronize();  // other streams may use it now: it must be there
  if (from != nullptr)
    cuda::to_device(*device, static_cast<const std::byte*>(from),
                    MatrixView<std::byte>(static_cast<std::byte*>(memory.get()), 1,
                                          static_cast<index>(bytes)));
  return memory;
}

void cuda_download(const void* from, std::size_t item, index rows, index cols,
                   index down, index across, void* to) {
  const auto* data = static_cast<const std::byte*>(from);
  auto* out = static_cast<std::byte*>(to);
  const auto columns = static_cast<std::size_t>(cols);
  const std::size_t pitch = static_cast<std::size_t>(down) * item;
  const auto copy = [&](std::size_t first, std::size_t count) {
    const std::size_t place = first * static_cast<std::size_t>(across) * item;
    // a single row has no pitch, and the runtime wants one at least as wide as the row
    cuda::check(cudaMemcpy2D(out + first * item, columns * item, data + place,
                             std::max(pitch, count * item), count * item,
                             static_cast<std::size_t>(rows), cudaMemcpyDeviceToHost),
                "copying from the device");
  };
  if (rows == 0 || cols == 0)
    return;
  if (across == 1 || cols == 1)
    return copy(0, columns);
  for (std::size_t j = 0; j < columns; ++j)
    copy(j, 1);
}

std::size_t cuda_free_memory(int device) {
  cuda::check(cudaSetDevice(device), "choosing the device");
  std::size_t free = 0, total = 0;
  cuda::check(cudaMemGetInfo(&free, &total), "asking for free memory");
  return free;
}

bool is_device_memory(const void* data) {
  cudaPointerAttributes attributes{};
  if (data == nullptr || cudaPointerGetAttributes(&attributes, data) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeDevice ||
         attributes.type == cudaMemoryTypeManaged;
}

}  // namespace upweight
