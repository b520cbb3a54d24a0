// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"

#include <cstdint>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace upweight::python {
namespace {

/// A Python pool as the core calls it, from threads that do not hold the GIL.
DeviceAllocator allocator_of(const py::object& allocate, const py::object& free) {
  if (allocate.is_none())
    return {};
  // shared, and dropped with the GIL held: whoever is last may not hold it
  const auto held = [](const py::object& callable) {
    return std::shared_ptr<py::object>(new py::object(callable), [](py::object* owned) {
      const py::gil_scoped_acquire gil;
      delete owned;
    });
  };
  return {[call = held(allocate)](std::size_t bytes) {
            const py::gil_scoped_acquire gil;
            return reinterpret_cast<void*>(
                (*call)(bytes).template cast<std::uintptr_t>());
          },
          [call = held(free)](void* data) {
            const py::gil_scoped_acquire gil;
            (*call)(reinterpret_cast<std::uintptr_t>(data));
          }};
}

}  // namespace

void register_place(py::module_& module) {
  py::class_<Place>(module, "Place")
      .def(py::init([](const std::string& backend, int n_threads, int device,
                       std::uintptr_t stream, const py::object& allocate,
                       const py::object& free) {
             return Place{backend,
                          n_threads,
                          {device, reinterpret_cast<void*>(stream),
                           allocator_of(allocate, free)}};
           }),
           py::arg("backend"), py::arg("n_threads"), py::arg("device") = 0,
           py::arg("stream") = 0, py::arg("allocate") = py::none(),
           py::arg("free") = py::none())
      .def_readonly("backend", &Place::backend)
      .def_readonly("n_threads", &Place::n_threads)
      .def_property_readonly("device",
                             [](const Place& self) { return self.cuda.device; })
      .def_property_readonly("stream", [](const Place& self) {
        return reinterpret_cast<std::uintptr_t>(self.cuda.stream);
      });
  py::class_<DeviceArray>(module, "DeviceArray")
      .def(py::init<const py::object&, std::intptr_t>(), py::arg("array"),
           py::arg("stream"))
      .def_static(
          "empty",
          [](std::vector<std::int64_t> shape, const std::string& dtype,
             const Place& place) {
            const py::dtype type(dtype);
            std::size_t bytes = static_cast<std::size_t>(type.itemsize());
            for (const std::int64_t size : shape)
              bytes *= static_cast<std::size_t>(size);
            auto memory =
                released([&] { return cuda_upload(nullptr, bytes, place.cuda); });
            return DeviceArray(std::move(memory), std::move(shape), type.kind(),
                               static_cast<int>(8 * type.itemsize()),
                               place.cuda.device);
          },
          py::arg("shape"), py::arg("dtype"), py::arg("place"))
      .def_static(
          "copy_of",
          [](const py::array& array, const Place& place) {
            const py::array whole = py::array::ensure(array, py::array::c_style);
            const void* from = whole.data();
            const auto bytes = static_cast<std::size_t>(whole.nbytes());
            auto memory =
                released([&] { return cuda_upload(from, bytes, place.cuda); });
            return DeviceArray(
                std::move(memory),
                std::vector<std::int64_t>(whole.shape(), whole.shape() + whole.ndim()),
                whole.dtype().kind(), static_cast<int>(8 * whole.itemsize()),
                place.cuda.device);
          },
          py::arg("array"), py::arg("place"))
      .def_property_readonly(
          "shape",
          [](const DeviceArray& self) { return py::tuple(py::cast(self.shape())); })
      .def_property_readonly(
          "strides",
          [](const DeviceArray& self) { return py::tuple(py::cast(self.strides())); })
      .def_property_readonly("dtype", &DeviceArray::dtype)
      .def_property_readonly("pointer",
                             [](const DeviceArray& self) {
                               return reinterpret_cast<std::uintptr_t>(self.data());
                             })
      .def("rows", &DeviceArray::rows, py::arg("first"), py::arg("count"),
           "A view of some rows.")
      .def("numpy", &DeviceArray::numpy, "A copy in the host's memory.")
      .def(
          "__dlpack__",
          [](const DeviceArray& self, const py::object&, const py::kwargs&) {
            return self.dlpack();
          },
          py::arg("stream") = py::none())
      .def("__dlpack_device__", [](const DeviceArray& self) {
        return py::make_tuple(2, self.device());  // kDLCUDA
      });
  module.def("cuda_config", [] {
    const CudaConfig config = cuda_config();
    py::dict out;
    out["absent"] = config.absent;
    out["device"] = config.device;
    out["versions"] = config.versions;
    return out;
  });
  module.def("cuda_library_folders", &cuda_library_folders, py::arg("folders"));
  module.def("cuda_free_memory", &cuda_free_memory, py::arg("device"));
  module.def(
      "device_first_nonfinite",
      [](const DeviceArray& x, const Place& place) {
        return released([&] {
          return x.is('f', 32) ? cuda_first_nonfinite<float>(x.matrix<const float>("x"),
                                                             place.cuda)
                               : cuda_first_nonfinite<double>(
                                     x.matrix<const double>("x"), place.cuda);
        });
      },
      "Row-major number of the first entry that is not finite, or -1.", py::arg("x"),
      py::arg("place"));
}

}  // namespace upweight::python
