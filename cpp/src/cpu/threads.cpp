// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/threads.hpp"

#include "upweight/error.hpp"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace upweight::cpu {
namespace {

/// What a thread must look at to know that its run is over before its time.
struct RunState {
  const std::atomic<bool>* stop;
  const Threads::Poll* poll;  // of the calling thread; null on the others
};
thread_local const RunState* current = nullptr;

}  // namespace

void Threads::pause_point() {
  if (!current)
    return;
  if (current->stop->load(std::memory_order_relaxed))
    throw Interrupted();
  if (current->poll && *current->poll && (*current->poll)())
    throw Interrupted();
}

void Threads::run(index tasks, const std::function<void(index)>& task) const {
  std::atomic<index> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr first_error;
  std::mutex error_mutex;

  const auto fail = [&] {
    const std::lock_guard lock(error_mutex);
    if (!first_error)
      first_error = std::current_exception();
    stop.store(true, std::memory_order_relaxed);
  };
  const auto work = [&](bool caller) noexcept {
    const RunState state{&stop, caller ? &poll_ : nullptr};
    const RunState* const outer = std::exchange(current, &state);
    try {
      while (!stop.load(std::memory_order_relaxed)) {
        pause_point();
        const index i = next.fetch_add(1, std::memory_order_relaxed);
        if (i >= tasks)
          break;
        task(i);
      }
    } catch (...) {
      fail();
    }
    current = outer;
  };

  const index helpers = std::min<index>(count_, tasks) - 1;
  std::vector<std::thread> threads;
  if (helpers > 0)
    threads.reserve(static_cast<std::size_t>(helpers));
  try {
    for (index t = 0; t < helpers; ++t)
      threads.emplace_back(work, false);
  } catch (...) {  // the system has no more threads: stop those that run, then say so
    fail();
  }
  work(true);
  for (std::thread& thread : threads)
    thread.join();
  if (first_error)
    std::rethrow_exception(first_error);
}

void Threads::ranges(index n, index grain,
                     const std::function<void(index, index)>& task) const {
  run(ceil_div(n, grain), [&](index i) {
    const index first = i * grain;
    task(first, std::min(n, first + grain));
  });
}

}  // namespace upweight::cpu
