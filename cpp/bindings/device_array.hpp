// SPDX-License-Identifier: BSD-3-Clause
// Arrays of a device, from and to other libraries by the DLPack protocol.
#pragma once

#include "upweight/view.hpp"

#include <cstdint>
#include <memory>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <string>
#include <vector>

namespace upweight::python {

namespace py = pybind11;

/// A strided array of one or two dimensions in a device's memory: another library's,
/// kept alive through its DLPack capsule, or ours.
class DeviceArray {
public:
  /// What `array.__dlpack__(stream=stream)` exports; the producer has made its work
  /// come before that stream's.
  DeviceArray(const py::object& array, std::intptr_t stream);
  /// Memory of ours, C-contiguous.
  DeviceArray(std::shared_ptr<void> memory, std::vector<std::int64_t> shape, char kind,
              int bits, int device);

  [[nodiscard]] const std::vector<std::int64_t>& shape() const { return shape_; }
  /// Entries from one index to the next, of each dimension.
  [[nodiscard]] const std::vector<std::int64_t>& strides() const { return strides_; }
  /// NumPy's name: float64, int32, ...
  [[nodiscard]] std::string dtype() const;
  [[nodiscard]] void* data() const { return data_; }
  [[nodiscard]] int device() const { return device_; }
  [[nodiscard]] bool is(char kind, int bits) const {
    return kind_ == kind && bits_ == bits;
  }

  /// A view of rows [first, first + count).
  [[nodiscard]] DeviceArray rows(std::int64_t first, std::int64_t count) const;

  /// A capsule for another library's from_dlpack. The array waits for its own work
  /// before; the memory lives as long as the capsule.
  [[nodiscard]] py::capsule dlpack() const;
  /// A copy in the host's memory.
  [[nodiscard]] py::array numpy() const;

  /// A 2-d array of T whose rows are contiguous; one dimension is a row. Throws
  /// std::invalid_argument.
  template <class T>
  [[nodiscard]] MatrixView<T> matrix(const char* name) const;

private:
  std::shared_ptr<void> memory_;
  void* data_ = nullptr;
  std::vector<std::int64_t> shape_, strides_;
  char kind_ = 'f';  // NumPy's: f, i, u, b
  int bits_ = 64, device_ = 0;
};

}  // namespace upweight::python
