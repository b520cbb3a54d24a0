// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

namespace upweight {

using index = std::ptrdiff_t;

[[nodiscard]] constexpr index ceil_div(index a, index b) {
  return (a + b - 1) / b;
}

/// A row-major matrix that somebody else owns: entry (i, j) is data[i * stride + j].
/// Members are constexpr so that kernels of a GPU may call them too.
template <class T>
struct MatrixView {
  T* data = nullptr;
  index rows = 0;
  index cols = 0;
  index stride = 0;  // elements from one row to the next, at least cols

  constexpr MatrixView() = default;
  constexpr MatrixView(T* data_, index rows_, index cols_)
      : MatrixView(data_, rows_, cols_, cols_) {}
  constexpr MatrixView(T* data_, index rows_, index cols_, index stride_)
      : data(data_), rows(rows_), cols(cols_), stride(stride_) {}

  /// A view of mutable data is a view of constant data.
  template <class U>
    requires(std::is_same_v<const U, T> && !std::is_same_v<U, T>)
  constexpr MatrixView(const MatrixView<U>& other)
      : MatrixView(other.data, other.rows, other.cols, other.stride) {}

  [[nodiscard]] constexpr T* row(index i) const { return data + i * stride; }
  [[nodiscard]] constexpr T& operator()(index i, index j) const {
    return data[i * stride + j];
  }
  [[nodiscard]] constexpr bool empty() const { return rows == 0 || cols == 0; }
  [[nodiscard]] constexpr MatrixView block(index first, index count) const {
    return {row(first), count, cols, stride};
  }
  [[nodiscard]] constexpr MatrixView columns(index first, index count) const {
    return {data + first, rows, count, stride};
  }
};

using Matrix = MatrixView<double>;
using ConstMatrix = MatrixView<const double>;

/// A sparse matrix that somebody else owns, row after row (CSR): row i has values[e] in
/// column columns[e] for starts[i] <= e < starts[i + 1], columns strictly rising.
template <class T>
struct SparseView {
  const T* values = nullptr;
  const std::int32_t* columns = nullptr;
  const std::int64_t* starts = nullptr;  // rows + 1

  [[nodiscard]] constexpr index begin(index i) const {
    return static_cast<index>(starts[i]);
  }
  [[nodiscard]] constexpr index end(index i) const {
    return static_cast<index>(starts[i + 1]);
  }
};

/// A matrix in a backend's own memory, freed with the array.
template <class T>
class BasicArray {
public:
  using Free = std::function<void(T*)>;

  BasicArray() = default;
  BasicArray(T* data, index rows, index cols, Free free)
      : data_(data, std::move(free)), rows_(rows), cols_(cols) {}

  [[nodiscard]] MatrixView<T> view() const { return {data_.get(), rows_, cols_}; }
  operator MatrixView<T>() const { return view(); }
  operator MatrixView<const T>() const { return view(); }
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return cols_; }
  [[nodiscard]] bool empty() const { return rows_ == 0 || cols_ == 0; }
  [[nodiscard]] index bytes() const {
    return rows_ * cols_ * static_cast<index>(sizeof(T));
  }

private:
  std::unique_ptr<T, Free> data_{nullptr, Free()};
  index rows_ = 0;
  index cols_ = 0;
};

using Array = BasicArray<double>;
using SingleArray = BasicArray<float>;

}  // namespace upweight
