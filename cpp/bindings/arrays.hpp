// SPDX-License-Identifier: BSD-3-Clause
// NumPy arrays as views, without a copy; the Python layer has validated them.
#pragma once

#include "upweight/cpu.hpp"
#include "upweight/error.hpp"
#include "upweight/problem.hpp"

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
std::unique_ptr<Backend<T>> backend(int n_threads) {
  return cpu_backend<T>(n_threads, SignalPoll());
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

/// A dense array, or CsrRows, as rows of a design. `X` must outlive it.
template <class T>
Design<T> design_of(const py::object& X, bool intercept, const char* name) {
  if (py::isinstance<CsrRows<T>>(X)) {
    const auto& rows = X.cast<const CsrRows<T>&>();
    return sparse_design(rows.view(), rows.rows(), rows.width, intercept);
  }
  if (!py::isinstance<Input<T>>(X))
    throw py::type_error(std::string(name) + ": expected an array of the data's type");
  return {view<T>(py::reinterpret_borrow<Input<T>>(X), name), intercept, {}};
}

/// work(T()) for the type T of rows: float, or else double.
template <class Work>
auto by_type(const py::object& X, const Work& work) {
  if (py::isinstance<CsrRows<float>>(X) || py::isinstance<Input<float>>(X))
    return work(float());
  return work(double());
}

/// A problem that keeps its arrays alive.
template <class T>
struct HeldProblem {
  Problem<T> problem;
  py::object X;
  Input<double> y;
  py::object weights;
  py::object row_gram;
};

template <class T>
HeldProblem<T> hold(py::object X, bool intercept, Family family, index outputs,
                    Input<double> y, py::object weights, std::vector<double> penalty,
                    py::object row_gram) {
  HeldProblem<T> held;
  held.problem.design = design_of<T>(X, intercept, "X");
  held.problem.family = family;
  held.problem.outputs = outputs;
  held.problem.y = view<double>(y, "y");
  if (!weights.is_none())
    held.problem.weights = view<double>(weights.cast<Input<double>>(), "sample_weight");
  held.problem.penalty = std::move(penalty);
  if (!row_gram.is_none())
    held.problem.row_gram = view<double>(row_gram.cast<Input<double>>(), "row_gram");
  held.row_gram = std::move(row_gram);
  held.X = std::move(X);
  held.y = std::move(y);
  held.weights = std::move(weights);
  return held;
}

}  // namespace upweight::python
