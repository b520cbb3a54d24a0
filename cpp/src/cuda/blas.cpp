// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/blas.hpp"

#include <limits>
#include <stdexcept>
#include <type_traits>

namespace upweight::cuda::blas {
namespace {

int narrow(index n) {
  if (n > std::numeric_limits<int>::max())
    throw std::length_error("a matrix dimension is over cuBLAS's 2^31 - 1");
  return static_cast<int>(n);
}

/// A leading dimension: at least one, also of a matrix of no columns.
int leading(index stride) {
  return narrow(stride > 0 ? stride : 1);
}

/// A call with the handles' lock held, on the device.
template <class Call>
void enqueue(const Device& device, const char* what, const Call& call) {
  const auto lock = device.lock();
  device.use();
  check_library(call(), what);
}

/// The libraries' functions of a type on a device's handle.
template <class T>
const TypedLibraries<T>& of(const Device& device) {
  return device.libraries().template of<T>();
}

// A row-major matrix is the transpose of the column-major one on the same memory: a
// row-major C = A B is the library's C' = B' A'.
template <class T>
void column_gemm(const Device& device, Op left_op, Op right_op, index m, index n,
                 index k, T alpha, const T* left, index left_stride, const T* right,
                 index right_stride, T beta, MatrixView<T> C, Precision precision) {
  if (C.empty())
    return;
  const bool tf32 = std::is_same_v<T, float> && precision == Precision::tf32;
  enqueue(device, "a matrix product", [&] {
    if (tf32)
      (void)device.libraries().blas_math(device.blas(), MathMode::tf32);
    const int status =
        of<T>(device).gemm(device.blas(), left_op, right_op, narrow(m), narrow(n),
                           narrow(k), &alpha, left, leading(left_stride), right,
                           leading(right_stride), &beta, C.data, leading(C.stride));
    if (tf32)
      (void)device.libraries().blas_math(device.blas(), MathMode::plain);
    return status;
  });
}

template <class T>
void trsm(const Device& device, Side side, Op op, MatrixView<const T> R, index rows,
          index cols, MatrixView<T> B) {
  if (B.empty())
    return;
  const T one = 1;
  // row-major upper R is column-major lower R'
  enqueue(device, "a triangular solve", [&] {
    return of<T>(device).trsm(device.blas(), side, Fill::lower, op, Diagonal::any,
                              narrow(rows), narrow(cols), &one, R.data,
                              leading(R.stride), B.data, leading(B.stride));
  });
}

}  // namespace

template <class T>
void gemm(const Device& device, T alpha, MatrixView<const T> A, MatrixView<const T> B,
          bool b_transposed, T beta, MatrixView<T> C, Precision precision) {
  column_gemm<T>(device, b_transposed ? Op::transposed : Op::none, Op::none, C.cols,
                 C.rows, A.cols, alpha, B.data, B.stride, A.data, A.stride, beta, C,
                 precision);
}

template <class T>
void gemm_at(const Device& device, T alpha, MatrixView<const T> A,
             MatrixView<const T> B, T beta, MatrixView<T> C, Precision precision) {
  column_gemm<T>(device, Op::none, Op::transposed, C.cols, C.rows, A.rows, alpha,
                 B.data, B.stride, A.data, A.stride, beta, C, precision);
}

template <class T>
void gemm_stack(const Device& device, index count, T alpha, Stack<const T> A,
                bool a_transposed, Stack<const T> B, bool b_transposed, T beta,
                Stack<T> C) {
  if (C.first.empty() || count == 0)
    return;
  const index depth = a_transposed ? A.first.rows : A.first.cols;
  enqueue(device, "matrix products", [&] {
    return of<T>(device).gemm_stack(
        device.blas(), b_transposed ? Op::transposed : Op::none,
        a_transposed ? Op::transposed : Op::none, narrow(C.first.cols),
        narrow(C.first.rows), narrow(depth), &alpha, B.first.data,
        leading(B.first.stride), B.step, A.first.data, leading(A.first.stride), A.step,
        &beta, C.first.data, leading(C.first.stride), C.step, narrow(count));
  });
}

template <class T>
void syrk_at(const Device& device, T alpha, MatrixView<const T> A, T beta,
             MatrixView<T> C) {
  if (C.empty())
    return;
  enqueue(device, "a symmetric product", [&] {
    return of<T>(device).syrk(device.blas(), Fill::lower, Op::none, narrow(C.rows),
                              narrow(A.rows), &alpha, A.data, leading(A.stride), &beta,
                              C.data, leading(C.stride));
  });
}

template <class T>
void solve_rows(const Device& device, MatrixView<const T> R, bool half,
                MatrixView<T> B) {
  // columns of the library's B' are the rows b: solve R' z = b (op N of the lower R'),
  // or R z = b
  trsm<T>(device, Side::left, half ? Op::none : Op::transposed, R, B.cols, B.rows, B);
}

template <class T>
void solve_panel(const Device& device, MatrixView<const T> R, MatrixView<T> B) {
  // R' Z = B in row-major is Z' R = B' in the library's order: R (op T of R') on the
  // right
  trsm<T>(device, Side::right, Op::transposed, R, B.cols, B.rows, B);
}

template <class T>
void symm(const Device& device, MatrixView<const T> H, MatrixView<const T> B,
          MatrixView<T> C) {
  if (C.empty())
    return;
  const T one = 1, zero = 0;
  // the library's C' = H B', with H's upper triangle seen as its lower
  enqueue(device, "a symmetric product", [&] {
    return of<T>(device).symm(device.blas(), Side::left, Fill::lower, narrow(C.cols),
                              narrow(C.rows), &one, H.data, leading(H.stride), B.data,
                              leading(B.stride), &zero, C.data, leading(C.stride));
  });
}

template <class T>
index potrf(const Device& device, MatrixView<T> H) {
  const int n = narrow(H.rows), stride = leading(H.stride);
  int size = 0;
  enqueue(device, "a Cholesky factor", [&] {
    return of<T>(device).potrf_size(device.solver(), Fill::lower, n, H.data, stride,
                                    &size);
  });
  const Scratch<T> work(device, size);
  const Scratch<std::int32_t> info(device, 1);
  enqueue(device, "a Cholesky factor", [&] {
    return of<T>(device).potrf(device.solver(), Fill::lower, n, H.data, stride,
                               work.get(), size, info.get());
  });
  std::int32_t failed = 0;
  to_host<std::int32_t>(device, info.view(1, 1), &failed);
  return failed > 0 ? failed - 1 : -1;
}

bool eigenvalues(const Device& device, Matrix S, Matrix values) {
  const int n = narrow(S.rows), stride = leading(S.stride);
  int size = 0;
  const Libraries& libraries = device.libraries();
  enqueue(device, "eigenvalues", [&] {
    return libraries.syevd_size(device.solver(), EigenMode::values, Fill::lower, n,
                                S.data, stride, values.data, &size);
  });
  const Scratch<double> work(device, size);
  const Scratch<std::int32_t> info(device, 1);
  enqueue(device, "eigenvalues", [&] {
    return libraries.syevd(device.solver(), EigenMode::values, Fill::lower, n, S.data,
                           stride, values.data, work.get(), size, info.get());
  });
  std::int32_t failed = 0;
  to_host<std::int32_t>(device, info.view(1, 1), &failed);
  return failed == 0;
}

#define UPW_INSTANTIATE(T)                                                             \
  template void gemm<T>(const Device&, T, MatrixView<const T>, MatrixView<const T>,    \
                        bool, T, MatrixView<T>, Precision);                            \
  template void gemm_at<T>(const Device&, T, MatrixView<const T>, MatrixView<const T>, \
                           T, MatrixView<T>, Precision);                               \
  template void gemm_stack<T>(const Device&, index, T, Stack<const T>, bool,           \
                              Stack<const T>, bool, T, Stack<T>);                      \
  template void syrk_at<T>(const Device&, T, MatrixView<const T>, T, MatrixView<T>);   \
  template void solve_rows<T>(const Device&, MatrixView<const T>, bool,                \
                              MatrixView<T>);                                          \
  template void solve_panel<T>(const Device&, MatrixView<const T>, MatrixView<T>);     \
  template void symm<T>(const Device&, MatrixView<const T>, MatrixView<const T>,       \
                        MatrixView<T>);                                                \
  template index potrf<T>(const Device&, MatrixView<T>);
UPW_INSTANTIATE(double)
UPW_INSTANTIATE(float)

}  // namespace upweight::cuda::blas
