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
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace on_host {
namespace {

/// Addresses for device memory, in pages, which are locked and opened all at once.
class Arena {
public:
  explicit Arena(bool strict) : strict_(strict) {
    if (!strict_)
      return;
    void* all = mmap(nullptr, size, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    base_ = all == MAP_FAILED ? nullptr : static_cast<char*>(all);
    strict_ = base_ != nullptr;
  }

  void* allocate(std::size_t bytes) {
    if (!strict_)
      return std::malloc(std::max<std::size_t>(bytes, 1));
    const std::size_t pages = pages_of(bytes);
    std::vector<char*>& free = free_[pages];
    if (!free.empty()) {
      char* block = free.back();
      free.pop_back();
      return block;
    }
    if (used_ + pages * page > size)
      return nullptr;
    char* block = base_ + used_;
    used_ += pages * page;
    if (open_ > 0)
      protect(PROT_READ | PROT_WRITE);
    return block;
  }
  void free(void* block, std::size_t bytes) {
    if (!strict_)
      return std::free(block);
    if (bytes > (std::size_t(1) << 20))  // give large ones back to the system
      (void)madvise(block, pages_of(bytes) * page, MADV_DONTNEED);
    free_[pages_of(bytes)].push_back(static_cast<char*>(block));
  }
  void open() {
    if (strict_ && open_++ == 0)
      protect(PROT_READ | PROT_WRITE);
  }
  void close() {
    if (strict_ && --open_ == 0)
      protect(PROT_NONE);
  }

private:
  static constexpr std::size_t page = 4096, size = std::size_t(64) << 30;
  static std::size_t pages_of(std::size_t bytes) {
    return std::max<std::size_t>((bytes + page - 1) / page, 1);
  }
  void protect(int rights) {
    if (used_ > 0)
      (void)mprotect(base_, used_, rights);
  }

  bool strict_;
  char* base_ = nullptr;
  std::size_t used_ = 0;
  int open_ = 0;
  std::map<std::size_t, std::vector<char*>> free_;  // by pages
};

struct Memory {
  std::mutex mutex;
  std::map<const char*, std::size_t> device, pinned;  // by first byte
  std::size_t handles = 0, used = 0, total = std::size_t(8) << 30;
  std::size_t largest = total;  // block there is room for, as in fragmented memory
  std::string failing;
  cudaError_t last = cudaSuccess;
  Arena arena{std::getenv("UPWEIGHT_FAKE_GPU_STRICT") != nullptr};
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

Access::Access() {
  const std::lock_guard lock(memory().mutex);
  memory().arena.open();
}
Access::~Access() {
  const std::lock_guard lock(memory().mutex);
  memory().arena.close();
}

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
void set_largest(std::size_t bytes) {
  const std::lock_guard lock(memory().mutex);
  memory().largest = bytes;
}
std::size_t memory_in_use() {
  const std::lock_guard lock(memory().mutex);
  return memory().used;
}
std::size_t handles_made() {
  const std::lock_guard lock(memory().mutex);
  return memory().handles;
}
void count_handle() {
  const std::lock_guard lock(memory().mutex);
  ++memory().handles;
}

}  // namespace on_host

// for tests in Python, by ctypes
extern "C" {
__attribute__((visibility("default"))) void upweight_fake_gpu_fail(const char* kernel) {
  on_host::fail_kernel(kernel);
}
__attribute__((visibility("default"))) void
upweight_fake_gpu_largest(std::size_t bytes) {
  on_host::set_largest(bytes);
}
__attribute__((visibility("default"))) std::size_t upweight_fake_gpu_in_use() {
  return on_host::memory_in_use();
}
__attribute__((visibility("default"))) std::size_t upweight_fake_gpu_handles() {
  return on_host::handles_made();
}
}

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
  case cudaErrorInsufficientDriver:
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
  if (memory().used + bytes > memory().total || bytes > memory().largest)
    return memory().last = cudaErrorMemoryAllocation;
  *data = memory().arena.allocate(bytes);
  memory().arena.open();
  std::memset(*data, 0xff, bytes);  // NaN, so that what nobody wrote is found out
  memory().arena.close();
  memory().device[static_cast<const char*>(*data)] = bytes;
  memory().used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFreeAsync(void* data, cudaStream_t) {
  const std::lock_guard lock(memory().mutex);
  const auto found = memory().device.find(static_cast<const char*>(data));
  if (found == memory().device.end())
    return memory().last = cudaErrorInvalidValue;
  const std::size_t bytes = found->second;
  memory().used -= bytes;
  memory().device.erase(found);
  memory().arena.free(data, bytes);
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
                            cudaMemcpyKind, cudaStream_t) {
  const on_host::Access access;
  std::memmove(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width,
                              std::size_t height, cudaMemcpyKind, cudaStream_t) {
  const on_host::Access access;
  for (std::size_t i = 0; i < height; ++i)
    std::memmove(static_cast<char*>(to) + i * to_pitch,
                 static_cast<const char*>(from) + i * from_pitch, width);
  return cudaSuccess;
}
cudaError_t cudaMemcpy2D(void* to, std::size_t to_pitch, const void* from,
                         std::size_t from_pitch, std::size_t width, std::size_t height,
                         cudaMemcpyKind kind) {
  return cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, width, height, kind,
                           nullptr);
}
cudaError_t cudaMemsetAsync(void* data, int value, std::size_t bytes, cudaStream_t) {
  const on_host::Access access;
  std::memset(data, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset2DAsync(void* data, std::size_t pitch, int value,
                              std::size_t width, std::size_t height, cudaStream_t) {
  const on_host::Access access;
  for (std::size_t i = 0; i < height; ++i)
    std::memset(static_cast<char*>(data) + i * pitch, value, width);
  return cudaSuccess;
}
