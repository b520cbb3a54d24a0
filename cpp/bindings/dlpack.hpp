// SPDX-License-Identifier: BSD-3-Clause
// The C structs of the DLPack protocol, unversioned form (dmlc/dlpack, ABI of 2017),
// which every library that speaks it understands.
#pragma once

#include <cstdint>

namespace upweight::python::dlpack {

enum class DeviceType : std::int32_t {
  cpu = 1,
  cuda = 2,
  cuda_host = 3,
  cuda_managed = 13
};
enum class Code : std::uint8_t {
  signed_int = 0,
  unsigned_int = 1,
  real = 2,
  boolean = 6
};

struct Device {
  DeviceType type;
  std::int32_t number;
};

struct DataType {
  Code code;
  std::uint8_t bits;
  std::uint16_t lanes;
};

struct Tensor {
  void* data;
  Device device;
  std::int32_t dimensions;
  DataType type;
  std::int64_t* shape;
  std::int64_t* strides;  // in entries; null for C order
  std::uint64_t byte_offset;
};

struct ManagedTensor {
  Tensor tensor;
  void* context;
  void (*deleter)(ManagedTensor*);
};

}  // namespace upweight::python::dlpack
