// SPDX-License-Identifier: BSD-3-Clause
// UPWEIGHT_FAKE_GPU_MEMORY (bytes) and UPWEIGHT_FAKE_GPU_FAIL (a kernel's name) set
// what on_host.hpp sets, for tests in Python.
#include "on_host.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <cuda_runtime.h>
#include <map>
#include <mutex>
#include <utility>

namespace on_host {
namespace {

struct Memory {
  std::mutex mutex;
  std::map<const char*, std::size_t> device, pinned;  // by first byte
  std::size_t used = 0, total = std::size_t(8) << 30, copied = 0;
  std::string failing;
  cudaError_t last = cudaSuccess;

  Memory() {
    if (const char* bytes = std::getenv("UPWEIGHT_FAKE_GPU_MEMORY"))
      total = std::strtoull(bytes, nullptr, 10);
    if (const char* kernel = std::getenv("UPWEIGHT_FAKE_GPU_FAIL"))
      failing = kernel;
  }
};

Memory& memory() {
  static Memory one;
  return one;
}

bool holds(const std::map<const char*, std::size_t>& blocks, const void* data) {
  const auto* byte = static_cast<const char*>(data);
  auto after = blocks.upper_bound(byte);
  if (after == blocks.begin())
    return false;
  --after;
  return byte < after->first + std::max<std::size_t>(after->second, 1);
}

}  // namespace

Kernel::Kernel(const char* name) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  fails_ = !m.failing.empty() && m.failing == name;
  if (fails_)
    m.last = cudaErrorLaunchFailure;
}

void fail_kernel(const std::string& name) {
  const std::lock_guard lock(memory().mutex);
  memory().failing = name;
}
void set_memory(std::size_t bytes) {
  const std::lock_guard lock(memory().mutex);
  memory().total = bytes;
}
std::size_t memory_in_use() {
  const std::lock_guard lock(memory().mutex);
  return memory().used;
}
std::size_t bytes_to_device() {
  const std::lock_guard lock(memory().mutex);
  return memory().copied;
}

}  // namespace on_host

using on_host::memory;

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "the host's processor, for tests");
  properties->major = 9;
  properties->multiProcessorCount = 1;
  properties->l2CacheSize = 1 << 20;
  properties->totalGlobalMem = memory().total;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  const std::lock_guard lock(memory().mutex);
  return std::exchange(memory().last, cudaSuccess);
}
const char* cudaGetErrorString(cudaError_t status) {
  switch (status) {
  case cudaSuccess:
    return "no error";
  case cudaErrorMemoryAllocation:
    return "out of memory";
  case cudaErrorLaunchFailure:
    return "unspecified launch failure";
  case cudaErrorNoDevice:
    return "no CUDA-capable device is detected";
  case cudaErrorInvalidValue:
    break;
  }
  return "invalid argument";
}
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  const std::lock_guard lock(memory().mutex);
  *total = memory().total;
  *free = memory().total - std::min(memory().used, memory().total);
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::free(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) {
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(std::malloc(1));
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  std::free(event);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int) {
  *pool = nullptr;
  return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** data, std::size_t bytes, cudaStream_t) {
  const std::lock_guard lock(memory().mutex);
  if (memory().used + bytes > memory().total)
    return memory().last = cudaErrorMemoryAllocation;
  *data = std::malloc(std::max<std::size_t>(bytes, 1));
  std::memset(*data, 0xff, bytes);  // NaN, so that what nobody wrote is found out
  memory().device[static_cast<const char*>(*data)] = bytes;
  memory().used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().device.find(static_cast<const char*>(data));
  if (found == memory().device.end())
    return memory().last = cudaErrorInvalidValue;
  memory().used -= found->second;
  memory().device.erase(found);
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** data, std::size_t bytes, unsigned) {
  *data = std::malloc(std::max<std::size_t>(bytes, 1));
  const std::lock_guard lock(memory().mutex);
  memory().pinned[static_cast<const char*>(*data)] = bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void* data) {
  const std::lock_guard lock(memory().mutex);
  memory().pinned.erase(static_cast<const char*>(data));
  std::free(data);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes,
                                     const void* data) {
  const std::lock_guard lock(memory().mutex);
  *attributes = {};
  attributes->type = on_host::holds(memory().device, data) ? cudaMemoryTypeDevice
                     : on_host::holds(memory().pinned, data)
                         ? cudaMemoryTypeHost
                         : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes,
                            cudaMemcpyKind kind, cudaStream_t) {
  std::memmove(to, from, bytes);
  const std::lock_guard lock(memory().mutex);
  memory().copied += kind == cudaMemcpyHostToDevice ? bytes : 0;
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind kind, cudaStream_t) {
  for (std::size_t i = 0; i < height; ++i)
    std::memmove(static_cast<char*>(to) + i * to_pitch,
                 static_cast<const char*>(from) + i * from_pitch, width);
  const std::lock_guard lock(memory().mutex);
  memory().copied += kind == cudaMemcpyHostToDevice ? width * height : 0;
  return cudaSuccess;
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from,
                         std::size_t from_pitch, std::size_t width, std::size_t height,
                         cudaMemcpyKind kind) {
  return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind,
                           nullptr);
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset2DAsync(void* data, std::size_t pitch, int value,
                              std::size_t width, std::size_t height, cudaStream_t) {
  for (std::size_t i = 0; i < height; ++i)
    std::memset(static_cast<char*>(data) + i * pitch, value, width);
  return cudaSuccess;
}
