// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/blas.hpp"

#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#if defined(UPWEIGHT_SCIPY_OPENBLAS)
#define UPW_BLAS(name) scipy_##name
#else
#define UPW_BLAS(name) name
#endif

using blas_int = int;

// Fortran's own names: every BLAS has them, while C headers differ from one to the
// next.
#define UPW_DECLARE(T, p)                                                              \
  void UPW_BLAS(p##gemm_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const blas_int*, const T*, const T*, const blas_int*,        \
                          const T*, const blas_int*, const T*, T*, const blas_int*);   \
  void UPW_BLAS(p##trsm_)(const char*, const char*, const char*, const char*,          \
                          const blas_int*, const blas_int*, const T*, const T*,        \
                          const blas_int*, T*, const blas_int*);                       \
  void UPW_BLAS(p##trmm_)(const char*, const char*, const char*, const char*,          \
                          const blas_int*, const blas_int*, const T*, const T*,        \
                          const blas_int*, T*, const blas_int*);                       \
  void UPW_BLAS(p##syrk_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const T*, const T*, const blas_int*, const T*, T*,           \
                          const blas_int*);                                            \
  void UPW_BLAS(p##potrf_)(const char*, const blas_int*, T*, const blas_int*,          \
                           blas_int*);                                                 \
  void UPW_BLAS(p##symm_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const T*, const T*, const blas_int*, const T*,               \
                          const blas_int*, const T*, T*, const blas_int*);
extern "C" {
UPW_DECLARE(double, d)
UPW_DECLARE(float, s)
void UPW_BLAS(dsyev_)(const char*, const char*, const blas_int*, double*,
                      const blas_int*, double*, double*, const blas_int*, blas_int*);
void UPW_BLAS(dpstrf_)(const char*, const blas_int*, double*, const blas_int*,
                       blas_int*, blas_int*, const double*, double*, blas_int*);
#if defined(UPWEIGHT_SCIPY_OPENBLAS)
void scipy_openblas_set_num_threads(int);
char* scipy_openblas_get_config(void);
#endif
}

namespace upweight::cpu::blas {
namespace {

blas_int narrow(index n) {
  if (n > std::numeric_limits<blas_int>::max())
    throw std::length_error("a matrix dimension is over BLAS's 2^31 - 1");
  return static_cast<blas_int>(n);
}

template <class T>
constexpr bool is_double = std::is_same_v<T, double>;

}  // namespace

void single_threaded() {
#if defined(UPWEIGHT_SCIPY_OPENBLAS)
  scipy_openblas_set_num_threads(1);
#endif
}

const char* describe() {
#if defined(UPWEIGHT_SCIPY_OPENBLAS)
  return scipy_openblas_get_config();
#else
  return "system BLAS";
#endif
}

// A row-major matrix is the transpose of the column-major one on the same memory: a
// row-major C = A B is Fortran's C' = B' A'.
template <class T>
static void fortran_gemm(char op_left, char op_right, index m, index n, index k,
                         T alpha, const T* left, index left_stride, const T* right,
                         index right_stride, T beta, T* C, index c_stride) {
  const blas_int m_ = narrow(m), n_ = narrow(n), k_ = narrow(k);
  const blas_int l = narrow(left_stride), r = narrow(right_stride),
                 c = narrow(c_stride);
  if constexpr (is_double<T>)
    UPW_BLAS(dgemm_)(&op_left, &op_right, &m_, &n_, &k_, &alpha, left, &l, right, &r,
                     &beta, C, &c);
  else
    UPW_BLAS(sgemm_)(&op_left, &op_right, &m_, &n_, &k_, &alpha, left, &l, right, &r,
                     &beta, C, &c);
}

template <class T>
void gemm(T alpha, MatrixView<const T> A, MatrixView<const T> B, bool b_transposed,
          T beta, MatrixView<T> C) {
  fortran_gemm<T>(b_transposed ? 'T' : 'N', 'N', C.cols, C.rows, A.cols, alpha, B.data,
                  B.stride, A.data, A.stride, beta, C.data, C.stride);
}

template <class T>
void gemm_at(T alpha, MatrixView<const T> A, MatrixView<const T> B, T beta,
             MatrixView<T> C) {
  fortran_gemm<T>('N', 'T', C.cols, C.rows, A.rows, alpha, B.data, B.stride, A.data,
                  A.stride, beta, C.data, C.stride);
}

template <class T>
static void trsm(char op, MatrixView<const T> R, index rows, index cols, T* B,
                 index stride, char side) {
  // row-major upper R is column-major lower R'
  const char lower = 'L', unit = 'N';
  const T one = 1;
  const blas_int m = narrow(rows), n = narrow(cols), ldr = narrow(R.stride),
                 ldb = narrow(stride);
  if constexpr (is_double<T>)
    UPW_BLAS(dtrsm_)(&side, &lower, &op, &unit, &m, &n, &one, R.data, &ldr, B, &ldb);
  else
    UPW_BLAS(strsm_)(&side, &lower, &op, &unit, &m, &n, &one, R.data, &ldr, B, &ldb);
}

template <class T>
void solve_rows(MatrixView<const T> R, bool half, MatrixView<T> B) {
  // columns of Fortran's B' are the rows b: solve R' z = b (op N of the lower R'), or R
  // z = b
  trsm<T>(half ? 'N' : 'T', R, B.cols, B.rows, B.data, B.stride, 'L');
}

template <class T>
void multiply_rows(MatrixView<const T> U, MatrixView<T> B) {
  // columns of Fortran's B' are the rows b: U' b, with U' the lower triangle it sees
  const char side = 'L', lower = 'L', op = 'N', unit = 'N';
  const T one = 1;
  const blas_int m = narrow(B.cols), n = narrow(B.rows), ldu = narrow(U.stride),
                 ldb = narrow(B.stride);
  if constexpr (is_double<T>)
    UPW_BLAS(dtrmm_)(&side, &lower, &op, &unit, &m, &n, &one, U.data, &ldu, B.data,
                     &ldb);
  else
    UPW_BLAS(strmm_)(&side, &lower, &op, &unit, &m, &n, &one, U.data, &ldu, B.data,
                     &ldb);
}

template <class T>
void solve_panel(MatrixView<const T> R, MatrixView<T> B) {
  // R' Z = B in row-major is Z' R = B' in Fortran's order: R (op T of R') on the right
  trsm<T>('T', R, B.cols, B.rows, B.data, B.stride, 'R');
}

template <class T>
index potrf(MatrixView<T> H) {
  const char lower = 'L';
  const blas_int n = narrow(H.rows), ld = narrow(H.stride);
  blas_int info = 0;
  if constexpr (is_double<T>)
    UPW_BLAS(dpotrf_)(&lower, &n, H.data, &ld, &info);
  else
    UPW_BLAS(spotrf_)(&lower, &n, H.data, &ld, &info);
  return info > 0 ? info - 1 : -1;
}

template <class T>
void syrk_subtract(MatrixView<const T> A, MatrixView<T> C) {
  const char lower = 'L', op = 'N';
  const blas_int n = narrow(C.rows), k = narrow(A.rows), lda = narrow(A.stride),
                 ldc = narrow(C.stride);
  const T minus = -1, one = 1;
  if constexpr (is_double<T>)
    UPW_BLAS(dsyrk_)(&lower, &op, &n, &k, &minus, A.data, &lda, &one, C.data, &ldc);
  else
    UPW_BLAS(ssyrk_)(&lower, &op, &n, &k, &minus, A.data, &lda, &one, C.data, &ldc);
}

template <class T>
void symm(MatrixView<const T> H, MatrixView<const T> B, MatrixView<T> C) {
  // Fortran's C' = H B', with H's upper triangle seen as its lower
  const char side = 'L', lower = 'L';
  const blas_int m = narrow(C.cols), n = narrow(C.rows), ldh = narrow(H.stride),
                 ldb = narrow(B.stride), ldc = narrow(C.stride);
  const T one = 1, zero = 0;
  if constexpr (is_double<T>)
    UPW_BLAS(dsymm_)(&side, &lower, &m, &n, &one, H.data, &ldh, B.data, &ldb, &zero,
                     C.data, &ldc);
  else
    UPW_BLAS(ssymm_)(&side, &lower, &m, &n, &one, H.data, &ldh, B.data, &ldb, &zero,
                     C.data, &ldc);
}

#define UPW_INSTANTIATE(T)                                                             \
  template void gemm<T>(T, MatrixView<const T>, MatrixView<const T>, bool, T,          \
                        MatrixView<T>);                                                \
  template void gemm_at<T>(T, MatrixView<const T>, MatrixView<const T>, T,             \
                           MatrixView<T>);                                             \
  template void solve_rows<T>(MatrixView<const T>, bool, MatrixView<T>);               \
  template void multiply_rows<T>(MatrixView<const T>, MatrixView<T>);                  \
  template void solve_panel<T>(MatrixView<const T>, MatrixView<T>);                    \
  template index potrf<T>(MatrixView<T>);                                              \
  template void syrk_subtract<T>(MatrixView<const T>, MatrixView<T>);                  \
  template void symm<T>(MatrixView<const T>, MatrixView<const T>, MatrixView<T>);
UPW_INSTANTIATE(double)
UPW_INSTANTIATE(float)

index potrf_pivoted(Matrix K, double tolerance, std::vector<std::int64_t>& order) {
  const char lower = 'L';
  const blas_int n = narrow(K.rows), ld = narrow(K.stride);
  std::vector<blas_int> pivots(static_cast<std::size_t>(n));
  std::vector<double> work(2 * static_cast<std::size_t>(n));
  blas_int rank = 0, info = 0;
  UPW_BLAS(dpstrf_)(&lower, &n, K.data, &ld, pivots.data(), &rank, &tolerance,
                    work.data(), &info);
  order.clear();
  for (const blas_int pivot : pivots)
    order.push_back(pivot - 1);
  return rank;
}

std::vector<double> eigenvalues(Matrix S) {
  const blas_int n = narrow(S.rows), stride = narrow(S.stride), work_size = 34 * n;
  std::vector<double> values(static_cast<std::size_t>(n));
  std::vector<double> work(static_cast<std::size_t>(work_size));
  blas_int info = 0;
  // Fortran's lower triangle is a row-major matrix's upper one
  UPW_BLAS(dsyev_)("N", "L", &n, S.data, &stride, values.data(), work.data(),
                   &work_size, &info);
  if (info != 0)
    values.assign(values.size(), std::numeric_limits<double>::infinity());
  return values;
}

}  // namespace upweight::cpu::blas
