// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/stream.hpp"

namespace upweight::cuda {

Carrier::Carrier(const Device& device, std::size_t bytes)
    : device_(device), bytes_(std::max<std::size_t>(bytes, 1)) {  // rows of no columns
  device.use();
  device_memory_ = static_cast<char*>(device.allocate(bytes_));
  check(cudaEventCreateWithFlags(&arrived_, cudaEventDisableTiming), "making an event");
  check(cudaEventCreateWithFlags(&done_, cudaEventDisableTiming), "making an event");
  // memory comes in the order of the stream: copies wait until it is there
  worked_on();
}

Carrier::~Carrier() {
  if (done_ != nullptr)
    (void)cudaEventSynchronize(done_);  // the pinned memory is read until then
  for (cudaEvent_t event : {arrived_, done_})
    if (event != nullptr)
      (void)cudaEventDestroy(event);
  device_.free(device_memory_);
  if (host_memory_ != nullptr)
    (void)cudaFreeHost(host_memory_);
}

void Carrier::wait() {
  check(cudaEventSynchronize(done_), "waiting for a block");
}

char* Carrier::host() {
  wait();
  if (host_memory_ == nullptr) {
    void* pinned = nullptr;
    device_.use();
    check(cudaHostAlloc(&pinned, bytes_, cudaHostAllocDefault),
          "pinning memory of the host");
    host_memory_ = static_cast<char*>(pinned);
  }
  return host_memory_;
}

void Carrier::send(std::size_t bytes) {
  send_from(host_memory_, bytes, bytes, 1);
}

void Carrier::send_from(const void* from, std::size_t pitch, std::size_t width,
                        std::size_t height) {
  device_.use();
  check(cudaStreamWaitEvent(device_.copies(), done_, 0), "ordering a copy");
  if (width > 0)
    check(cudaMemcpy2DAsync(device_memory_, width, from, pitch, width, height,
                            cudaMemcpyHostToDevice, device_.copies()),
          "copying to the device");
  check(cudaEventRecord(arrived_, device_.copies()), "ordering a copy");
  check(cudaStreamWaitEvent(device_.stream(), arrived_, 0), "ordering a copy");
}

void Carrier::worked_on() {
  device_.use();
  check(cudaEventRecord(done_, device_.stream()), "ordering a copy");
}

bool is_pinned(const void* data) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, data) != cudaSuccess) {
    (void)cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeHost;
}

}  // namespace upweight::cuda
