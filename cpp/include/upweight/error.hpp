// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/view.hpp"

#include <cstddef>
#include <new>
#include <stdexcept>
#include <string>

namespace upweight {

/// A Hessian that is not positive definite to working precision.
class SingularError : public std::runtime_error {
public:
  SingularError(const std::string& what, index parameter)
      : std::runtime_error(what), parameter_(parameter) {}
  /// Column of the design whose pivot vanished first; -1 where there is none to name.
  [[nodiscard]] index parameter() const { return parameter_; }

private:
  index parameter_;
};

/// A problem without a finite optimum: some direction classifies every row.
class SeparableError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// An iteration that ended before its tolerance was met.
class NotConvergedError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A kernel whose matrix is not positive semidefinite.
class IndefiniteError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The caller asked to stop (Ctrl-C).
class Interrupted : public std::runtime_error {
public:
  Interrupted() : std::runtime_error("interrupted") {}
};

/// A call of CUDA or of one of its libraries that failed: what was being done, and why.
class CudaError : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A device without room for what was asked.
class DeviceMemoryError : public std::bad_alloc {
public:
  explicit DeviceMemoryError(std::size_t bytes)
      : message_("the device has no room for " + std::to_string(bytes) + " bytes") {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }

private:
  std::string message_;
};

}  // namespace upweight
