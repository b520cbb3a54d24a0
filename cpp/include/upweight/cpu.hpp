// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <functional>
#include <memory>
#include <string>

namespace upweight {

/// The backend of the host's processor. `poll` is asked now and then, from the thread
/// that called a word; once it says true the word ends with Interrupted.
template <class T>
[[nodiscard]] std::unique_ptr<Backend<T>> cpu_backend(int n_threads,
                                                      std::function<bool()> poll = {});

/// What the CPU backend was built with and chose at run time.
struct CpuConfig {
  std::string instruction_set;
  std::string blas;
  std::string compiler;
};
[[nodiscard]] CpuConfig cpu_config();

/// Row-major number of the first entry that is NaN or infinite, or -1. One read of x.
template <class T>
[[nodiscard]] index first_nonfinite(MatrixView<const T> x, int n_threads);

}  // namespace upweight
