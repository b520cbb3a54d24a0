// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/backend.hpp"

#include <cstdint>
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

/// The first rows of sparse columns that break a promise of SparseView; -1: none does.
struct CsrFaults {
  index decreasing = -1;    // starts fall, or are not those of `entries` entries
  index out_of_range = -1;  // a column is not one of `width`
  index unsorted = -1;      // columns do not rise strictly
};
[[nodiscard]] CsrFaults check_csr(const std::int64_t* starts, index rows,
                                  const std::int32_t* columns, index entries,
                                  index width);

}  // namespace upweight
