// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace upweight {

/// Memory of a device for somebody else's pool to give; both are called from any
/// thread, in the order of the stream.
struct DeviceAllocator {
  std::function<void*(std::size_t bytes)> allocate;  // null when there is no more
  std::function<void(void* data)> free;
};

struct CudaOptions {
  int device = 0;
  void* stream = nullptr;     // a cudaStream_t to work on; null: one of our own
  DeviceAllocator allocator;  // empty: the device's own stream-ordered pool
};

/// The backend of an NVIDIA GPU of compute capability 7.5 or more. Matrices that words
/// take and give lie in the device's memory, but for two: rows of a Design, which may
/// lie in the host's, whence they come block by block, pinned and overlapped with the
/// work; and the results of score, change and change_by, which may go there. Lists of
/// row numbers are the host's. All is enqueued on one stream: a word waits for the
/// device only when it returns numbers, or touches the host's memory.
/// Throws CudaError, DeviceMemoryError.
template <class T>
[[nodiscard]] std::unique_ptr<Backend<T>> cuda_backend(const CudaOptions& options,
                                                       std::function<bool()> poll = {});

/// What there is of CUDA. Never throws, and touches no device but to name it.
struct CudaConfig {
  std::string absent;    // why it cannot be used; empty when it can
  std::string device;    // its name
  std::string versions;  // of driver, runtime and the libraries that were found
  int capability = 0;    // 10 major + minor
};
[[nodiscard]] CudaConfig cuda_config();

/// Folders in which cuBLAS and cuSOLVER are looked for, besides where the system looks.
void cuda_library_folders(std::vector<std::string> folders);

/// Row-major number of the first entry that is NaN or infinite, or -1, of a matrix on
/// the device. One read of x.
template <class T>
[[nodiscard]] index cuda_first_nonfinite(MatrixView<const T> x,
                                         const CudaOptions& options);

/// A copy of `bytes` of the host's memory on the device; of nothing (null), memory as
/// it comes.
[[nodiscard]] std::shared_ptr<void> cuda_upload(const void* from, std::size_t bytes,
                                                const CudaOptions& options);

/// Copies a strided matrix of entries of `item` bytes from a device to the host, where
/// it lies without gaps; strides in entries.
void cuda_download(const void* from, std::size_t item, index rows, index cols,
                   index down, index across, void* to);

/// Bytes that are free on a device.
[[nodiscard]] std::size_t cuda_free_memory(int device);

/// Where a pointer points: to a device's memory, or to the host's.
[[nodiscard]] bool is_device_memory(const void* data);

}  // namespace upweight
