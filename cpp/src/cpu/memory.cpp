// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/backend.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>

namespace upweight::cpu {

namespace {

template <class U>
void release(U* data) {
  ::operator delete(data, std::align_val_t(64));
}

/// Zeroed by all threads: the first touch of large memory is what costs.
template <class U>
BasicArray<U> zeroed(const Threads& threads, index rows, index cols) {
  const auto bytes = static_cast<std::size_t>(rows * cols) * sizeof(U);
  auto* data = static_cast<U*>(
      ::operator new(std::max<std::size_t>(bytes, 1), std::align_val_t(64)));
  BasicArray<U> array(data, rows, cols, &release<U>);
  threads.ranges(rows * cols, index(1) << 20, [&](index first, index last) {
    std::memset(data + first, 0, static_cast<std::size_t>(last - first) * sizeof(U));
  });
  return array;
}

}  // namespace

template <class T>
Array CpuBackend<T>::zeros(index rows, index cols) const {
  return zeroed<double>(threads_, rows, cols);
}

template <class T>
SingleArray CpuBackend<T>::zeros_single(index rows, index cols) const {
  return zeroed<float>(threads_, rows, cols);
}

template <class T>
void CpuBackend<T>::copy(ConstMatrix from, Matrix to) const {
  for (index i = 0; i < from.rows; ++i)
    std::copy_n(from.row(i), from.cols, to.row(i));
}

template <class T>
void CpuBackend<T>::fill(Matrix to, double value) const {
  for (index i = 0; i < to.rows; ++i)
    std::fill_n(to.row(i), to.cols, value);
}

template <class T>
void CpuBackend<T>::upload(const double* from, Matrix to) const {
  for (index i = 0; i < to.rows; ++i)
    std::copy_n(from + i * to.cols, to.cols, to.row(i));
}

template <class T>
void CpuBackend<T>::download(ConstMatrix from, double* to) const {
  for (index i = 0; i < from.rows; ++i)
    std::copy_n(from.row(i), from.cols, to + i * from.cols);
}

template <class T>
double CpuBackend<T>::max_abs(ConstMatrix x) const {
  if (x.stride == x.cols)
    return kernels().max_abs(x.rows * x.cols, x.data);
  double worst = 0;
  for (index i = 0; i < x.rows; ++i)
    worst = std::max(worst, kernels().max_abs(x.cols, x.row(i)));
  return worst;
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
