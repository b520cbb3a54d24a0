// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/view.hpp"

#include <functional>

namespace upweight::cpu {

/// Threads for one coarse word at a time. They are started with the word and joined at
/// its end (about 30 us): nothing outlives a call, so a process may fork at any other
/// time.
class Threads {
public:
  /// True when the caller wants to stop; asked from the calling thread only, between
  /// tasks.
  using Poll = std::function<bool()>;

  explicit Threads(int count, Poll poll = {}) : count_(count), poll_(std::move(poll)) {}

  [[nodiscard]] int count() const { return count_; }

  /// Runs task(i) for i = 0 .. tasks - 1, each once, in no fixed order. Results are the
  /// same for any number of threads as long as no task reads what another writes. The
  /// first exception of any task ends the rest and is thrown here; so is Interrupted.
  void run(index tasks, const std::function<void(index)>& task) const;

  /// For long tasks: throws Interrupted when the caller of run() wants to stop, or when
  /// another task has failed.
  static void pause_point();

  /// run() over the ranges [first, last) that cut [0, n) into pieces of `grain`.
  void ranges(index n, index grain,
              const std::function<void(index first, index last)>& task) const;

private:
  int count_;
  Poll poll_;
};

}  // namespace upweight::cpu
