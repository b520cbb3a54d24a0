// SPDX-License-Identifier: BSD-3-Clause
// NumPy arrays as views, without a copy where the backend reads the host's memory; the
// Python layer has validated them.
#pragma once

#include "device_array.hpp"
#include "place.hpp"
#include "upweight/cpu.hpp"
#include "upweight/error.hpp"
#include "upweight/problem.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace upweight::python {

namespace py = pybind11;

template <class T>
using Input = py::array_t<T, 0>;

/// A 2-d array whose rows are contiguous. Strides between rows are free.
template <class T, class Array>
MatrixView<T> matrix(Array& array, const char* name) {
  if (array.ndim() != 2)
    throw std::invalid_argument(std::string(name) + ": expected 2 dimensions");
  const index rows = array.shape(0), cols = array.shape(1);
  const auto item = static_cast<index>(sizeof(T));
  if (cols > 1 && array.strides(1) != item)
    throw std::invalid_argument(std::string(name) + ": expected contiguous rows");
  index stride = cols;
  if (rows > 1) {
    if (array.strides(0) % item != 0 || array.strides(0) < cols * item)
      throw std::invalid_argument(std::string(name) + ": expected rows in order");
    stride = array.strides(0) / item;
  }
  if constexpr (std::is_const_v<T>)
    return {array.data(), rows, cols, stride};
  else
    return {array.mutable_data(), rows, cols, stride};
}

template <class T>
MatrixView<const T> view(const Input<T>& array, const char* name) {
  return matrix<const T>(array, name);
}

template <class T>
MatrixView<T> writable(Input<T>& array, const char* name) {
  return matrix<T>(array, name);
}

/// True once Python has a signal to deal with; looks at most every 50 ms. Copies, and
/// threads that share an object, share the time of the next look.
class SignalPoll {
public:
  bool operator()() {
    using std::chrono::steady_clock;
    const auto now = steady_clock::now().time_since_epoch();
    if (now < steady_clock::duration(next_->load()))
      return false;
    next_->store((now + std::chrono::milliseconds(50)).count());
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  }

private:
  using Ticks = std::atomic<std::chrono::steady_clock::rep>;
  std::shared_ptr<Ticks> next_ = std::make_shared<Ticks>(0);
};

/// Runs work() without the GIL. When a signal handler raised in the meantime, its
/// Python exception is what comes out.
template <class Work>
auto released(const Work& work) {
  try {
    const py::gil_scoped_release release;
    return work();
  } catch (const Interrupted&) {
    if (PyErr_Occurred())
      throw py::error_already_set();
    throw;
  }
}

template <class T>
std::unique_ptr<Backend<T>> backend(const Place& place) {
  if (place.on_device())
    return cuda_backend<T>(place.cuda, SignalPoll());
  return cpu_backend<T>(place.n_threads, SignalPoll());
}

/// A matrix of the host as a backend's words read it: itself, or a copy.
class Given {
public:
  Given() = default;
  Given(const auto& backend, ConstMatrix host) : view_(host) {
    if (host.empty() || backend.in_host_memory())
      return;
    copy_ = backend.zeros(host.rows, host.cols);
    if (host.stride == host.cols) {
      backend.upload(host.data, copy_);
    } else {
      std::vector<double> dense(static_cast<std::size_t>(host.rows * host.cols));
      for (index i = 0; i < host.rows; ++i)
        std::copy_n(host.row(i), host.cols, dense.data() + i * host.cols);
      backend.upload(dense.data(), copy_);
    }
    view_ = copy_.view();
  }
  operator ConstMatrix() const { return view_; }
  [[nodiscard]] index rows() const { return view_.rows; }
  [[nodiscard]] index cols() const { return view_.cols; }

private:
  Array copy_;
  ConstMatrix view_;
};

/// A NumPy array (rows x cols) that fill(view) writes, wherever the backend's words do;
/// without the GIL.
template <class Fill>
py::array_t<double> filled(const auto& backend, index rows, index cols,
                           const Fill& fill) {
  py::array_t<double> out({rows, cols});
  const Matrix to(out.mutable_data(), rows, cols);
  released([&] {
    if (backend.in_host_memory())
      return fill(to);
    const Array there = backend.zeros(rows, cols);
    fill(there.view());
    backend.download(there, to.data);
  });
  return out;
}

/// Sparse rows (CSR) over NumPy arrays; the Python layer has checked and sorted them.
template <class T>
struct CsrRows {
  Input<T> values;
  Input<std::int32_t> columns;
  Input<std::int64_t> starts;  // rows + 1
  index width = 0;

  [[nodiscard]] index rows() const { return starts.size() - 1; }
  [[nodiscard]] SparseView<T> view() const {
    return {values.data(), columns.data(), starts.data()};
  }
};

/// A dense array of the host or a device, or CsrRows, as rows of a design. `X` must
/// outlive it.
template <class T>
Design<T> design_of(const py::object& X, bool intercept, const char* name) {
  if (py::isinstance<CsrRows<T>>(X)) {
    const auto& rows = X.cast<const CsrRows<T>&>();
    return sparse_design(rows.view(), rows.rows(), rows.width, intercept);
  }
  if (py::isinstance<DeviceArray>(X))
    return {X.cast<const DeviceArray&>().matrix<const T>(name), intercept, {}, {}};
  if (!py::isinstance<Input<T>>(X))
    throw py::type_error(std::string(name) + ": expected an array of the data's type");
  return {view<T>(py::reinterpret_borrow<Input<T>>(X), name), intercept, {}};
}

/// work(T()) for the type T of rows: float, or else double.
template <class Work>
auto by_type(const py::object& X, const Work& work) {
  const bool on_device = py::isinstance<DeviceArray>(X);
  if (py::isinstance<CsrRows<float>>(X) || py::isinstance<Input<float>>(X) ||
      (on_device && X.cast<const DeviceArray&>().is('f', 32)))
    return work(float());
  return work(double());
}

}  // namespace upweight::python
