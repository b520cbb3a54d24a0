// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

namespace upweight::python {
namespace {

template <class T>
void register_rows_of(py::module_& module, const char* name) {
  py::class_<CsrRows<T>>(module, name)
      .def(py::init([](Input<T> values, Input<std::int32_t> columns,
                       Input<std::int64_t> starts, index width) {
             return CsrRows<T>{std::move(values), std::move(columns), std::move(starts),
                               width};
           }),
           py::arg("values").noconvert(), py::arg("columns").noconvert(),
           py::arg("starts").noconvert(), py::arg("width"));
}

}  // namespace

void register_rows(py::module_& module) {
  register_rows_of<double>(module, "Csr64");
  register_rows_of<float>(module, "Csr32");
  module.def(
      "check_csr",
      [](const Input<std::int64_t>& starts, const Input<std::int32_t>& columns,
         index width) {
        const index rows = starts.size() - 1;
        const std::int64_t* begin = starts.data();
        const std::int32_t* entries = columns.data();
        const CsrFaults faults = released(
            [&] { return check_csr(begin, rows, entries, columns.size(), width); });
        return py::make_tuple(faults.decreasing, faults.out_of_range, faults.unsorted);
      },
      "First rows with starts out of order, columns out of range, columns unsorted.",
      py::arg("starts").noconvert(), py::arg("columns").noconvert(), py::arg("width"));
  const auto predictor = [&]<class T>(const char* name, T) {
    module.def(
        name,
        [](const py::object& X, bool intercept, const Input<double>& theta,
           int n_threads) {
          const Design<T> design = design_of<T>(X, intercept, "X");
          const ConstMatrix parameters = view<double>(theta, "theta");
          py::array_t<double> out({design.rows(), parameters.rows});
          const Matrix eta(out.mutable_data(), design.rows(), parameters.rows);
          released([&] {
            backend<T>(n_threads)->linear_predictor(design, parameters, eta);
          });
          return out;
        },
        "X theta' for theta (K, q).", py::arg("X"), py::arg("intercept"),
        py::arg("theta").noconvert(), py::arg("n_threads"));
  };
  predictor("linear_predictor64", double());
  predictor("linear_predictor32", float());
}

}  // namespace upweight::python
