// SPDX-License-Identifier: BSD-3-Clause
// What the core found, as arrays, and where scores go.
#pragma once

#include "arrays.hpp"
#include "upweight/backend.hpp"

#include <algorithm>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <vector>

namespace upweight::python {

inline py::array_t<double> copy_of(const auto& backend, ConstMatrix values) {
  py::array_t<double> out({values.rows, values.cols});
  backend.download(values, out.mutable_data());
  return out;
}

/// Where scores go: an array of the host, or of the device.
template <class T>
MatrixView<T> destination(const py::object& out) {
  if (py::isinstance<DeviceArray>(out))
    return out.cast<const DeviceArray&>().matrix<T>("out");
  if (!py::isinstance<Input<T>>(out))
    throw py::type_error("out: expected an array of the data's type");
  auto array = py::reinterpret_borrow<Input<T>>(out);
  return writable<T>(array, "out");
}

template <class U>
py::array_t<U> vector_of(const std::vector<U>& values) {
  return py::array_t<U>(static_cast<py::ssize_t>(values.size()), values.data());
}

template <class U>
py::array_t<U> table(const std::vector<U>& values, index rows) {
  const auto cols = static_cast<index>(values.size()) / std::max<index>(rows, 1);
  py::array_t<U> out({rows, cols});
  std::copy(values.begin(), values.end(), out.mutable_data());
  return out;
}

inline py::tuple top_tuple(const TopK& top, index m) {
  return py::make_tuple(table(top.helpful, m), table(top.helpful_scores, m),
                        table(top.harmful, m), table(top.harmful_scores, m),
                        top.pairs_scanned);
}

}  // namespace upweight::python
