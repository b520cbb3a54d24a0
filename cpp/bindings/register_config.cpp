// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace upweight::python {

void register_config(py::module_& module) {
  module.def("config", [] {
    const CpuConfig config = cpu_config();
    py::dict out;
    out["instruction_set"] = config.instruction_set;
    out["blas"] = config.blas;
    out["compiler"] = config.compiler;
    return out;
  });
  const auto nonfinite = [&]<class T>(T) {
    module.def(
        "first_nonfinite",
        [](const Input<T>& x, int n_threads) {
          const MatrixView<const T> values = view<T>(x, "x");
          return released([&] { return first_nonfinite<T>(values, n_threads); });
        },
        py::arg("x").noconvert(), py::arg("n_threads"));
  };
  nonfinite(double());
  nonfinite(float());
}

}  // namespace upweight::python
