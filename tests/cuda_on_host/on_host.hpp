// SPDX-License-Identifier: BSD-3-Clause
// What tests ask of the device that is the host.
#pragma once

#include <cstddef>
#include <string>

namespace on_host {

/// Kernels of this name fail to launch from now on; empty: none does.
void fail_kernel(const std::string& name);
/// Larger blocks than so many bytes are refused from now on, as in fragmented memory.
void set_largest(std::size_t bytes);
/// Bytes of device memory that are allocated now.
[[nodiscard]] std::size_t memory_in_use();

/// Handles of the libraries that were made so far.
[[nodiscard]] std::size_t handles_made();
void count_handle();

}  // namespace on_host
