// SPDX-License-Identifier: BSD-3-Clause
#include "registers.hpp"
#include "upweight/error.hpp"

#include <pybind11/pybind11.h>

namespace upweight::python {

namespace py = pybind11;

void register_errors(py::module_& module) {
  py::register_exception<SeparableError>(module, "SeparableError", PyExc_ValueError);
  py::register_exception<IndefiniteError>(module, "IndefiniteError", PyExc_ValueError);
  py::register_exception<CudaError>(module, "CudaError", PyExc_RuntimeError);
  py::register_exception<DeviceMemoryError>(module, "DeviceMemoryError",
                                            PyExc_MemoryError);
  // SingularError carries the parameter's number, so that Python can name the column
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> singular;
  singular.call_once_and_store_result([&]() -> py::object {
    return py::exception<SingularError>(module, "SingularError", PyExc_ValueError);
  });
  py::register_exception_translator([](std::exception_ptr error) {
    try {
      if (error)
        std::rethrow_exception(error);
    } catch (const SingularError& caught) {
      const py::object type = singular.get_stored();
      const py::object value = type(caught.what());
      value.attr("parameter") = caught.parameter();
      PyErr_SetObject(type.ptr(), value.ptr());
    } catch (const NotConvergedError& caught) {
      const py::object type =
          py::module_::import("upweight.errors").attr("NotConvergedError");
      py::set_error(type, caught.what());
    }
  });
}

}  // namespace upweight::python
