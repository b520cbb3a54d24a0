// SPDX-License-Identifier: BSD-3-Clause
#include "device_array.hpp"

#include "dlpack.hpp"
#include "upweight/cuda.hpp"

#include <stdexcept>
#include <type_traits>
#include <utility>

namespace upweight::python {

namespace {

char kind_of(dlpack::Code code) {
  switch (code) {
  case dlpack::Code::signed_int:
    return 'i';
  case dlpack::Code::unsigned_int:
    return 'u';
  case dlpack::Code::real:
    return 'f';
  case dlpack::Code::boolean:
    return 'b';
  }
  throw py::type_error("expected an array of numbers");
}

dlpack::Code code_of(char kind) {
  switch (kind) {
  case 'i':
    return dlpack::Code::signed_int;
  case 'u':
    return dlpack::Code::unsigned_int;
  case 'b':
    return dlpack::Code::boolean;
  default:
    return dlpack::Code::real;
  }
}

/// What an exported tensor keeps alive.
struct Export {
  dlpack::ManagedTensor managed{};
  std::shared_ptr<void> memory;
  std::vector<std::int64_t> shape, strides;
};

void release_export(dlpack::ManagedTensor* managed) {
  delete static_cast<Export*>(managed->context);
}

}  // namespace

DeviceArray::DeviceArray(const py::object& array, std::intptr_t stream) {
  const py::object exported = array.attr("__dlpack__")(py::arg("stream") = stream);
  auto* managed = static_cast<dlpack::ManagedTensor*>(
      PyCapsule_GetPointer(exported.ptr(), "dltensor"));
  if (managed == nullptr)
    throw py::error_already_set();
  // from here on the tensor is ours: who deletes it calls its deleter once
  PyCapsule_SetName(exported.ptr(), "used_dltensor");
  memory_ = std::shared_ptr<void>(managed, [](void* owned) {
    const py::gil_scoped_acquire gil;
    auto* tensor = static_cast<dlpack::ManagedTensor*>(owned);
    if (tensor->deleter != nullptr)
      tensor->deleter(tensor);
  });
  const dlpack::Tensor& tensor = managed->tensor;
  if (tensor.device.type != dlpack::DeviceType::cuda &&
      tensor.device.type != dlpack::DeviceType::cuda_managed)
    throw py::type_error("expected an array of a CUDA device");
  if (tensor.type.lanes != 1)
    throw py::type_error("expected an array of numbers");
  kind_ = kind_of(tensor.type.code);
  bits_ = tensor.type.bits;
  device_ = tensor.device.number;
  data_ = static_cast<char*>(tensor.data) + tensor.byte_offset;
  shape_.assign(tensor.shape, tensor.shape + tensor.dimensions);
  if (tensor.strides != nullptr) {
    strides_.assign(tensor.strides, tensor.strides + tensor.dimensions);
    return;
  }
  strides_.assign(shape_.size(), 1);
  for (std::size_t d = shape_.size(); d-- > 1;)
    strides_[d - 1] = strides_[d] * shape_[d];
}

DeviceArray::DeviceArray(std::shared_ptr<void> memory, std::vector<std::int64_t> shape,
                         char kind, int bits, int device)
    : memory_(std::move(memory)), data_(memory_.get()), shape_(std::move(shape)),
      strides_(shape_.size(), 1), kind_(kind), bits_(bits), device_(device) {
  for (std::size_t d = shape_.size(); d-- > 1;)
    strides_[d - 1] = strides_[d] * shape_[d];
}

std::string DeviceArray::dtype() const {
  if (kind_ == 'b')
    return "bool";
  const char* names[] = {"float", "int", "uint"};
  return names[kind_ == 'f' ? 0 : kind_ == 'i' ? 1 : 2] + std::to_string(bits_);
}

DeviceArray DeviceArray::rows(std::int64_t first, std::int64_t count) const {
  DeviceArray some = *this;
  some.data_ = static_cast<char*>(data_) + first * strides_.at(0) * bits_ / 8;
  some.shape_[0] = count;
  return some;
}

py::capsule DeviceArray::dlpack() const {
  auto owned = std::make_unique<Export>();
  owned->memory = memory_;
  owned->shape = shape_;
  owned->strides = strides_;
  owned->managed.tensor = {data_,
                           {dlpack::DeviceType::cuda, device_},
                           static_cast<std::int32_t>(shape_.size()),
                           {code_of(kind_), static_cast<std::uint8_t>(bits_), 1},
                           owned->shape.data(),
                           owned->strides.data(),
                           0};
  owned->managed.context = owned.get();
  owned->managed.deleter = release_export;
  return py::capsule(&owned.release()->managed, "dltensor", [](PyObject* capsule) {
    if (PyCapsule_IsValid(capsule, "dltensor") == 0)
      return;  // somebody took it
    auto* managed =
        static_cast<dlpack::ManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
    managed->deleter(managed);
  });
}

py::array DeviceArray::numpy() const {
  std::vector<py::ssize_t> shape(shape_.begin(), shape_.end());
  py::array out(py::dtype(dtype()), shape);
  const index rows = shape_.empty() ? 1 : shape_[0];
  const index cols = shape_.size() > 1 ? shape_[1] : 1;
  const index down = shape_.empty() ? 1 : strides_[0];
  const index across = shape_.size() > 1 ? strides_[1] : 1;
  if (shape_.size() > 2)
    throw std::invalid_argument("expected at most 2 dimensions");
  cuda_download(data_, static_cast<std::size_t>(bits_ / 8), rows, cols, down, across,
                out.mutable_data());
  return out;
}

template <class T>
MatrixView<T> DeviceArray::matrix(const char* name) const {
  const bool one_row = shape_.size() == 1;
  if ((!one_row && shape_.size() != 2) || !is('f', 8 * sizeof(T)))
    throw std::invalid_argument(std::string(name) + ": expected 2 dimensions of " +
                                (sizeof(T) == 8 ? "float64" : "float32"));
  const index rows = one_row ? 1 : shape_[0], cols = shape_.back();
  const index down = rows > 1 ? strides_[0] : cols;
  if ((cols > 1 && strides_.back() != 1) || down < cols)
    throw std::invalid_argument(std::string(name) + ": expected contiguous rows");
  return {static_cast<T*>(data_), rows, cols, down};
}

template MatrixView<double> DeviceArray::matrix(const char*) const;
template MatrixView<float> DeviceArray::matrix(const char*) const;
template MatrixView<const double> DeviceArray::matrix(const char*) const;
template MatrixView<const float> DeviceArray::matrix(const char*) const;

}  // namespace upweight::python
