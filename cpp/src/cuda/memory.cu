// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "cuda/launch.hpp"

#include <cmath>
#include <limits>

namespace upweight::cuda {
namespace {

template <class U>
BasicArray<U> zeroed(const std::shared_ptr<const Device>& device, index rows,
                     index cols) {
  const auto bytes = static_cast<std::size_t>(rows * cols) * sizeof(U);
  auto* data = static_cast<U*>(device->allocate(bytes > 0 ? bytes : 1));
  BasicArray<U> array(data, rows, cols, [device](U* owned) { device->free(owned); });
  check(cudaMemsetAsync(data, 0, bytes, device->stream()), "clearing memory");
  return array;
}

}  // namespace

template <class T>
Array CudaBackend<T>::zeros(index rows, index cols) const {
  return zeroed<double>(device_, rows, cols);
}

template <class T>
SingleArray CudaBackend<T>::zeros_single(index rows, index cols) const {
  return zeroed<float>(device_, rows, cols);
}

template <class T>
void CudaBackend<T>::copy(ConstMatrix from, Matrix to) const {
  copy_within(device(), from, to);
}

template <class T>
void CudaBackend<T>::fill(Matrix to, double value) const {
  each(device(), "fill", to.rows, to.cols,
       [=] __device__(index i, index j) { to(i, j) = value; });
}

template <class T>
void CudaBackend<T>::upload(const double* from, Matrix to) const {
  to_device(device(), from, to);
}

template <class T>
void CudaBackend<T>::download(ConstMatrix from, double* to) const {
  to_host(device(), from, to);
}

template <class T>
double CudaBackend<T>::max_abs(ConstMatrix x) const {
  if (x.empty())
    return 0;
  const Scratch<double> largest(device(), x.rows + 1);
  const Matrix of_rows = largest.view(x.rows + 1, 1);
  const index rows = x.rows, cols = x.cols;
  each_row(device(), "max_abs", rows, cols, [=] __device__(const Team& team, index i) {
    double most = 0;
    for (index j = team.rank(); j < cols; j += team.size()) {
      const double size = std::fabs(x(i, j));
      // what is not finite wins, NaN too
      most = size <= most ? most
             : size <= std::numeric_limits<double>::max()
                 ? size
                 : std::numeric_limits<double>::infinity();
    }
    of_rows(i, 0) = team.max(most);
  });
  each_row(device(), "max_abs", 1, rows, [=] __device__(const Team& team, index) {
    double most = 0;
    for (index i = team.rank(); i < rows; i += team.size())
      most = of_rows(i, 0) > most ? of_rows(i, 0) : most;
    of_rows(rows, 0) = team.max(most);
  });
  double result = 0;
  to_host<double>(device(), of_rows.block(rows, 1), &result);
  return result;
}

template class CudaBackend<double>;
template class CudaBackend<float>;

namespace {

template <class T>
index first_nonfinite(const Device& device, MatrixView<const T> x) {
  const index rows = x.rows, cols = x.cols, none = rows * cols;
  const Scratch<std::int64_t> found(device, rows + 1);
  std::int64_t* of_rows = found.get();
  // largest of the negated numbers: the first
  each_row(device, "first_nonfinite", rows, cols,
           [=] __device__(const Team& team, index i) {
             double first = -static_cast<double>(none);
             for (index j = team.rank(); j < cols; j += team.size())
               if (!(std::fabs(static_cast<double>(x(i, j))) <=
                     std::numeric_limits<double>::max())) {
                 first = -static_cast<double>(i * cols + j);
                 break;
               }
             of_rows[i] = static_cast<std::int64_t>(-team.max(first));
           });
  each_row(device, "first_nonfinite", 1, rows, [=] __device__(const Team& team, index) {
    double first = -static_cast<double>(none);
    for (index i = team.rank(); i < rows; i += team.size())
      if (-static_cast<double>(of_rows[i]) > first)
        first = -static_cast<double>(of_rows[i]);
    of_rows[rows] = static_cast<std::int64_t>(-team.max(first));
  });
  std::int64_t first = 0;
  to_host<std::int64_t>(device, {of_rows + rows, 1, 1}, &first);
  return first == none ? -1 : static_cast<index>(first);
}

}  // namespace

}  // namespace upweight::cuda

namespace upweight {

template <class T>
index cuda_first_nonfinite(MatrixView<const T> x, const CudaOptions& options) {
  const cuda::Device device(options, {});
  return cuda::first_nonfinite(device, x);
}

template index cuda_first_nonfinite(MatrixView<const double>, const CudaOptions&);
template index cuda_first_nonfinite(MatrixView<const float>, const CudaOptions&);

}  // namespace upweight
