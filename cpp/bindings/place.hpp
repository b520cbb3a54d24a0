// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/cuda.hpp"

#include <string>

namespace upweight::python {

/// Where work is done: the host's threads, or a device and its stream.
struct Place {
  std::string backend = "cpu";
  int n_threads = 1;
  CudaOptions cuda;

  [[nodiscard]] bool on_device() const { return backend == "cuda"; }
};

}  // namespace upweight::python
