// SPDX-License-Identifier: BSD-3-Clause
// The few functions of cuBLAS and cuSOLVER that we call. They are found when a device
// is first used, in the libraries that CuPy, PyTorch, the nvidia-* wheels or the system
// brought, so that a build needs neither, nor their headers; these are their stable C
// prototypes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cuda_runtime.h>
#include <string>
#include <vector>

extern "C" {
using cublasHandle_t = struct cublasContext*;
using cusolverDnHandle_t = struct cusolverDnContext*;
}

namespace upweight::cuda {

enum class Op : int { none = 0, transposed = 1 };        // cublasOperation_t
enum class Fill : int { lower = 0, upper = 1 };          // cublasFillMode_t
enum class Side : int { left = 0, right = 1 };           // cublasSideMode_t
enum class Diagonal : int { any = 0, unit = 1 };         // cublasDiagType_t
enum class MathMode : int { plain = 0, tf32 = 3 };       // cublasMath_t
enum class EigenMode : int { values = 0, vectors = 1 };  // cusolverEigMode_t

/// A type's functions: D and S of the names.
template <class T>
struct TypedLibraries {
  int (*gemm)(cublasHandle_t, Op, Op, int m, int n, int k, const T* alpha, const T* A,
              int lda, const T* B, int ldb, const T* beta, T* C, int ldc);
  int (*gemm_stack)(cublasHandle_t, Op, Op, int m, int n, int k, const T* alpha,
                    const T* A, int lda, long long a_step, const T* B, int ldb,
                    long long b_step, const T* beta, T* C, int ldc, long long c_step,
                    int count);  // gemmStridedBatched
  int (*syrk)(cublasHandle_t, Fill, Op, int n, int k, const T* alpha, const T* A,
              int lda, const T* beta, T* C, int ldc);
  int (*symm)(cublasHandle_t, Side, Fill, int m, int n, const T* alpha, const T* A,
              int lda, const T* B, int ldb, const T* beta, T* C, int ldc);
  int (*trsm)(cublasHandle_t, Side, Fill, Op, Diagonal, int m, int n, const T* alpha,
              const T* A, int lda, T* B, int ldb);
  int (*potrf_size)(cusolverDnHandle_t, Fill, int n, T* A, int lda, int* size);
  int (*potrf)(cusolverDnHandle_t, Fill, int n, T* A, int lda, T* work, int size,
               int* info);
};

struct Libraries {
  std::string absent;    // why they cannot be used; empty when they can
  std::string versions;  // of those found

  int (*blas_create)(cublasHandle_t*) = nullptr;
  int (*blas_destroy)(cublasHandle_t) = nullptr;
  int (*blas_stream)(cublasHandle_t, cudaStream_t) = nullptr;
  int (*blas_math)(cublasHandle_t, MathMode) = nullptr;
  int (*solver_create)(cusolverDnHandle_t*) = nullptr;
  int (*solver_destroy)(cusolverDnHandle_t) = nullptr;
  int (*solver_stream)(cusolverDnHandle_t, cudaStream_t) = nullptr;
  int (*syevd_size)(cusolverDnHandle_t, EigenMode, Fill, int n, const double* A,
                    int lda, const double* W, int* size) = nullptr;
  int (*syevd)(cusolverDnHandle_t, EigenMode, Fill, int n, double* A, int lda,
               double* W, double* work, int size, int* info) = nullptr;
  TypedLibraries<double> of_double{};
  TypedLibraries<float> of_float{};

  template <class T>
  [[nodiscard]] const TypedLibraries<T>& of() const;
};

template <>
inline const TypedLibraries<double>& Libraries::of<double>() const {
  return of_double;
}
template <>
inline const TypedLibraries<float>& Libraries::of<float>() const {
  return of_float;
}

/// The libraries, looked for on the first call; those not found are named in `absent`.
[[nodiscard]] const Libraries& libraries();

/// Folders to look in, besides where the system looks.
void library_folders(std::vector<std::string> folders);

}  // namespace upweight::cuda
