// SPDX-License-Identifier: BSD-3-Clause
#include "registers.hpp"

#include <pybind11/pybind11.h>

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "Compiled core of upweight; the public interface is the package.";
  upweight::python::register_errors(module);
  upweight::python::register_config(module);
  upweight::python::register_place(module);
  upweight::python::register_rows(module);
  upweight::python::register_fit(module);
  upweight::python::register_influence(module);
}
