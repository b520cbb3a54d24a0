// SPDX-License-Identifier: BSD-3-Clause
// A device as words use it: its stream, its memory, its libraries.
#pragma once

#include "cuda/libraries.hpp"
#include "upweight/cuda.hpp"
#include "upweight/view.hpp"

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>
#include <functional>
#include <memory>
#include <mutex>

namespace upweight::cuda {

/// Throws CudaError for what failed `doing` something: of the runtime's, and of the
/// libraries' calls.
void check(cudaError_t status, const char* doing);
void check_library(int status, const char* doing);

/// One device and a stream on it. Memory is given and taken back in the stream's order,
/// so that it may be freed while work that reads it is still to come.
class Device {
public:
  Device(const CudaOptions& options, std::function<bool()> poll);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// Makes it the calling thread's: every call of CUDA comes after one of this.
  void use() const;
  [[nodiscard]] cudaStream_t stream() const { return stream_; }
  /// Of copies from the host, and of copies to it, that overlap with work. Two streams:
  /// in one, rows would wait behind results that are still to be computed.
  [[nodiscard]] cudaStream_t copies() const { return copies_; }
  [[nodiscard]] cudaStream_t returns() const { return returns_; }

  /// Throws DeviceMemoryError.
  [[nodiscard]] void* allocate(std::size_t bytes) const;
  void free(void* data) const noexcept;

  /// Waits for all that was enqueued.
  void synchronize() const;
  /// Throws CudaError naming the kernel when its launch failed.
  void check_launch(const char* kernel) const;
  /// For long words: throws Interrupted when the caller wants to stop.
  void pause_point() const;

  /// The libraries with this device's handles, which are made when they are first asked
  /// for: that takes long, and memory. One thread at a time: hold the lock from then
  /// until calls are enqueued.
  [[nodiscard]] const Libraries& libraries() const { return libraries_; }
  [[nodiscard]] cublasHandle_t blas() const;
  [[nodiscard]] cusolverDnHandle_t solver() const;
  [[nodiscard]] std::unique_lock<std::mutex> lock() const {
    return std::unique_lock(mutex_);
  }

private:
  int number_;
  std::function<bool()> poll_;
  DeviceAllocator allocator_;
  cudaStream_t stream_ = nullptr, copies_ = nullptr, returns_ = nullptr;
  bool owns_stream_ = false;
  const Libraries& libraries_;
  mutable cublasHandle_t blas_ = nullptr;
  mutable cusolverDnHandle_t solver_ = nullptr;
  mutable std::mutex mutex_;
};

/// Memory of a word while it runs; not initialised.
template <class U>
class Scratch {
public:
  Scratch(const Device& device, index count)
      : device_(device),
        data_(static_cast<U*>(device.allocate(
            static_cast<std::size_t>(count > 0 ? count : 1) * sizeof(U)))) {}
  ~Scratch() { device_.free(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  [[nodiscard]] U* get() const { return data_; }
  [[nodiscard]] MatrixView<U> view(index rows, index cols) const {
    return {data_, rows, cols};
  }

private:
  const Device& device_;
  U* data_;
};

/// Copies between host and device, or within the device; the host's part without gaps.
/// Those that touch the host's memory are done when they return.
template <class U>
void to_device(const Device& device, const U* from, MatrixView<U> to);
template <class U>
void to_host(const Device& device, MatrixView<const U> from, U* to);
template <class U>
void copy_within(const Device& device, MatrixView<const U> from, MatrixView<U> to);

/// The host's numbers, in the device's memory while a word runs.
template <class U>
class Uploaded {
public:
  Uploaded(const Device& device, const U* from, index count) : memory_(device, count) {
    if (count > 0)
      to_device(device, from, memory_.view(1, count));
  }
  [[nodiscard]] U* get() const { return memory_.get(); }

private:
  Scratch<U> memory_;
};

}  // namespace upweight::cuda
