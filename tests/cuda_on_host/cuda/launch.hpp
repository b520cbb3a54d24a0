// SPDX-License-Identifier: BSD-3-Clause
// The forms of cpp/src/cuda/launch.hpp on the host's processor: loops, and teams of one
// thread, so that the functions that kernels are made of run where there is no GPU.
#pragma once

#include "cuda/device.hpp"
#include "upweight/view.hpp"

#include <cuda_runtime.h>

namespace upweight::cuda {

class Team {
public:
  [[nodiscard]] index rank() const { return 0; }
  [[nodiscard]] index size() const { return 1; }
  void sync() const {}
  template <class U>
  [[nodiscard]] U sum(U x) const {
    return x;
  }
  template <class U>
  [[nodiscard]] U max(U x) const {
    return x;
  }
  struct Count {
    index before, total;
  };
  [[nodiscard]] Count count(bool yes) const { return {0, yes ? 1 : 0}; }
};

template <class F>
void each(const Device& device, const char* name, index rows, index cols, const F& f) {
  if (rows <= 0 || cols <= 0)
    return;
  on_host::Kernel running(name);
  for (index i = 0; running && i < rows; ++i)
    for (index j = 0; j < cols; ++j)
      f(i, j);
  device.check_launch(name);
}

template <class F>
void each(const Device& device, const char* name, index count, const F& f) {
  if (count <= 0)
    return;
  on_host::Kernel running(name);
  for (index i = 0; running && i < count; ++i)
    f(i);
  device.check_launch(name);
}

template <class F>
void each_row(const Device& device, const char* name, index rows, index, const F& f) {
  if (rows <= 0)
    return;
  on_host::Kernel running(name);
  for (index i = 0; running && i < rows; ++i)
    f(Team(), i);
  device.check_launch(name);
}

}  // namespace upweight::cuda
