// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/give.hpp"

#include "cpu/threads.hpp"

#include <cstring>
#include <thread>

namespace upweight::cuda {

Returner::Returner(const Device& device, std::size_t bytes)
    : device_(device), bytes_(std::max<std::size_t>(bytes, 1)) {
  device.use();
  for (Slot& slot : slots_) {
    check(cudaEventCreateWithFlags(&slot.written, cudaEventDisableTiming),
          "making an event");
    check(cudaEventCreateWithFlags(&slot.arrived, cudaEventDisableTiming),
          "making an event");
    slot.device = static_cast<char*>(device.allocate(bytes_));
  }
}

Returner::~Returner() {
  for (const Slot& slot : slots_) {
    if (slot.on_its_way)
      (void)cudaEventSynchronize(slot.arrived);  // both memories are used until then
    for (cudaEvent_t event : {slot.written, slot.arrived})
      if (event != nullptr)
        (void)cudaEventDestroy(event);
    device_.free(slot.device);
    if (slot.pinned != nullptr)
      (void)cudaFreeHost(slot.pinned);
  }
}

void* Returner::take() {
  Slot& slot = slots_[turn_];
  receive(slot);
  return slot.device;
}

void Returner::give(void* to, std::size_t pitch, std::size_t width,
                    std::size_t height) {
  Slot& slot = slots_[turn_];
  turn_ = 1 - turn_;
  const bool direct = is_pinned(to);
  device_.use();
  if (!direct && slot.pinned == nullptr) {
    void* pinned = nullptr;
    check(cudaHostAlloc(&pinned, bytes_, cudaHostAllocDefault),
          "pinning memory of the host");
    slot.pinned = static_cast<char*>(pinned);
  }
  check(cudaEventRecord(slot.written, device_.stream()), "ordering a copy");
  check(cudaStreamWaitEvent(device_.returns(), slot.written, 0), "ordering a copy");
  slot.on_its_way = true;
  check(cudaMemcpy2DAsync(direct ? to : slot.pinned, direct ? pitch : width,
                          slot.device, width, width, height, cudaMemcpyDeviceToHost,
                          device_.returns()),
        "copying from the device");
  check(cudaEventRecord(slot.arrived, device_.returns()), "ordering a copy");
  slot.to = direct ? nullptr : static_cast<char*>(to);
  slot.pitch = pitch;
  slot.width = width;
  slot.height = height;
}

void Returner::receive(Slot& slot) {
  if (!slot.on_its_way)
    return;
  device_.use();
  check(cudaEventSynchronize(slot.arrived), "waiting for results");
  slot.on_its_way = false;
  if (slot.to == nullptr)
    return;
  // fresh pages of the host are slower to write than the bus is: a few threads keep up
  constexpr unsigned most_threads = 4;
  const cpu::Threads threads(static_cast<int>(
      std::clamp(std::thread::hardware_concurrency(), 1u, most_threads)));
  const auto rows = static_cast<index>(slot.height);
  threads.ranges(rows, ceil_div(rows, threads.count()), [&](index first, index last) {
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last);
         ++i)
      std::memcpy(slot.to + i * slot.pitch, slot.pinned + i * slot.width, slot.width);
  });
}

void Returner::finish() {
  for (const std::size_t slot : {turn_, 1 - turn_})
    receive(slots_[slot]);
}

}  // namespace upweight::cuda
