// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/backend.hpp"

#include "cpu/blas.hpp"
#include "simd/kernels.hpp"
#include "upweight/cpu.hpp"

#include <atomic>
#include <cmath>
#include <mutex>

namespace upweight {

template <class T>
std::unique_ptr<Backend<T>> cpu_backend(int n_threads, std::function<bool()> poll) {
  static std::once_flag once;
  std::call_once(once, cpu::blas::single_threaded);
  return std::make_unique<cpu::CpuBackend<T>>(cpu::Threads(n_threads, std::move(poll)));
}

CpuConfig cpu_config() {
  return {cpu::kernels().name, cpu::blas::describe(), __VERSION__};
}

static double max_abs(index count, const double* x) {
  return cpu::kernels().max_abs(count, x);
}
static double max_abs(index count, const float* x) {
  return static_cast<double>(cpu::kernels().max_abs_float(count, x));
}

template <class T>
index first_nonfinite(MatrixView<const T> x, int n_threads) {
  std::atomic<bool> all_finite{true};
  const index grain = std::max<index>(1, 65536 / std::max<index>(x.cols, 1));
  const cpu::Threads threads(x.rows * x.cols < 65536 ? 1 : n_threads);
  threads.ranges(x.rows, grain, [&](index first, index last) {
    if (x.stride == x.cols) {
      if (!std::isfinite(max_abs((last - first) * x.cols, x.row(first))))
        all_finite = false;
      return;
    }
    for (index i = first; i < last; ++i)
      if (!std::isfinite(max_abs(x.cols, x.row(i))))
        all_finite = false;
  });
  if (all_finite)
    return -1;
  for (index i = 0; i < x.rows; ++i)
    for (index j = 0; j < x.cols; ++j)
      if (!std::isfinite(x(i, j)))
        return i * x.cols + j;
  return -1;
}

CsrFaults check_csr(const std::int64_t* starts, index rows, const std::int32_t* columns,
                    index entries, index width) {
  CsrFaults faults;
  for (index i = 0; i < rows; ++i) {
    if (starts[i] < 0 || starts[i] > starts[i + 1] || starts[i + 1] > entries) {
      faults.decreasing = i;
      return faults;
    }
    bool rising = true, inside = true;
    std::int32_t last = -1;
    for (std::int64_t e = starts[i]; e < starts[i + 1]; ++e) {
      const std::int32_t column = columns[e];
      inside &= column >= 0 && column < width;
      rising &= column > last;
      last = column;
    }
    if (!inside && faults.out_of_range < 0)
      faults.out_of_range = i;
    if (!rising && faults.unsorted < 0)
      faults.unsorted = i;
  }
  return faults;
}

template std::unique_ptr<Backend<double>> cpu_backend(int, std::function<bool()>);
template std::unique_ptr<Backend<float>> cpu_backend(int, std::function<bool()>);
template index first_nonfinite(MatrixView<const double>, int);
template index first_nonfinite(MatrixView<const float>, int);

}  // namespace upweight
