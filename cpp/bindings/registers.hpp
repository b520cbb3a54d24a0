// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <pybind11/pybind11.h>

namespace upweight::python {

void register_errors(pybind11::module_& module);
void register_config(pybind11::module_& module);
void register_place(pybind11::module_& module);
void register_rows(pybind11::module_& module);
void register_fit(pybind11::module_& module);
void register_influence(pybind11::module_& module);

}  // namespace upweight::python
