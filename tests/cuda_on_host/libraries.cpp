// SPDX-License-Identifier: BSD-3-Clause
// cuBLAS and cuSOLVER by the host's BLAS and LAPACK, whose conventions they follow.
#include "cuda/libraries.hpp"

#include "on_host.hpp"

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <type_traits>
#include <vector>

#if defined(UPWEIGHT_SCIPY_OPENBLAS)
#define UPW_BLAS(name) scipy_##name
#else
#define UPW_BLAS(name) name
#endif

extern "C" {
using blas_int = std::int32_t;
#define UPW_TYPED(T, x)                                                                \
  void UPW_BLAS(x##gemm_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const blas_int*, const T*, const T*, const blas_int*,        \
                          const T*, const blas_int*, const T*, T*, const blas_int*);   \
  void UPW_BLAS(x##syrk_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const T*, const T*, const blas_int*, const T*, T*,           \
                          const blas_int*);                                            \
  void UPW_BLAS(x##symm_)(const char*, const char*, const blas_int*, const blas_int*,  \
                          const T*, const T*, const blas_int*, const T*,               \
                          const blas_int*, const T*, T*, const blas_int*);             \
  void UPW_BLAS(x##trsm_)(const char*, const char*, const char*, const char*,          \
                          const blas_int*, const blas_int*, const T*, const T*,        \
                          const blas_int*, T*, const blas_int*);                       \
  void UPW_BLAS(x##potrf_)(const char*, const blas_int*, T*, const blas_int*,          \
                           blas_int*);
UPW_TYPED(double, d)
UPW_TYPED(float, s)
#undef UPW_TYPED
#if defined(UPWEIGHT_SCIPY_OPENBLAS)
void scipy_openblas_set_num_threads(int);
#endif
void UPW_BLAS(dsyev_)(const char*, const char*, const blas_int*, double*,
                      const blas_int*, double*, double*, const blas_int*, blas_int*);
}

struct cublasContext {
  upweight::cuda::MathMode mode = upweight::cuda::MathMode::plain;
};

namespace upweight::cuda {

namespace {

/// A factor as a product reads it: in TF32 floats lose their last 13 bits, which is the
/// worst that a tensor core may do.
template <class T>
class Factor {
public:
  Factor(cublasHandle_t handle, int rows, int columns, const T* data, int stride)
      : data_(data) {
    if constexpr (std::is_same_v<T, float>) {
      if (handle->mode != MathMode::tf32)
        return;
      const auto step = static_cast<std::size_t>(stride);
      cut_.resize(step * static_cast<std::size_t>(columns));
      for (std::size_t j = 0; j < static_cast<std::size_t>(columns); ++j)
        for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i)
          cut_[j * step + i] = std::bit_cast<float>(
              std::bit_cast<std::uint32_t>(data[j * step + i]) & 0xffffe000u);
      data_ = cut_.data();
    }
  }
  [[nodiscard]] const T* data() const { return data_; }

private:
  const T* data_;
  std::vector<T> cut_;
};

constexpr int not_initialised = 1;  // CUBLAS_STATUS_NOT_INITIALIZED

const char* op(Op o) {
  return o == Op::none ? "N" : "T";
}
const char* fill(Fill f) {
  return f == Fill::lower ? "L" : "U";
}
const char* side(Side s) {
  return s == Side::left ? "L" : "R";
}
const char* diagonal(Diagonal d) {
  return d == Diagonal::any ? "N" : "U";
}

#define UPW_TYPED(T, x)                                                                \
  TypedLibraries<T> typed_##x() {                                                      \
    TypedLibraries<T> t;                                                               \
    t.gemm = [](cublasHandle_t h, Op a, Op b, int m, int n, int k, const T* alpha,     \
                const T* A, int lda, const T* B, int ldb, const T* beta, T* C,         \
                int ldc) {                                                             \
      if (h == nullptr)                                                                \
        return not_initialised;                                                        \
      const on_host::Access access;                                                    \
      const Factor<T> left(h, a == Op::none ? m : k, a == Op::none ? k : m, A, lda);   \
      const Factor<T> right(h, b == Op::none ? k : n, b == Op::none ? n : k, B, ldb);  \
      A = left.data();                                                                 \
      B = right.data();                                                                \
      UPW_BLAS(x##gemm_)(op(a), op(b), &m, &n, &k, alpha, A, &lda, B, &ldb, beta, C,   \
                         &ldc);                                                        \
      return 0;                                                                        \
    };                                                                                 \
    t.gemm_stack = [](cublasHandle_t h, Op a, Op b, int m, int n, int k,               \
                      const T* alpha, const T* A, int lda, long long a_step,           \
                      const T* B, int ldb, long long b_step, const T* beta, T* C,      \
                      int ldc, long long c_step, int count) {                          \
      if (h == nullptr)                                                                \
        return not_initialised;                                                        \
      const on_host::Access access;                                                    \
      for (int s = 0; s < count; ++s)                                                  \
        UPW_BLAS(x##gemm_)(op(a), op(b), &m, &n, &k, alpha, A + s * a_step, &lda,      \
                           B + s * b_step, &ldb, beta, C + s * c_step, &ldc);          \
      return 0;                                                                        \
    };                                                                                 \
    t.syrk = [](cublasHandle_t, Fill f, Op o, int n, int k, const T* alpha,            \
                const T* A, int lda, const T* beta, T* C, int ldc) {                   \
      const on_host::Access access;                                                    \
      UPW_BLAS(x##syrk_)(fill(f), op(o), &n, &k, alpha, A, &lda, beta, C, &ldc);       \
      return 0;                                                                        \
    };                                                                                 \
    t.symm = [](cublasHandle_t, Side s, Fill f, int m, int n, const T* alpha,          \
                const T* A, int lda, const T* B, int ldb, const T* beta, T* C,         \
                int ldc) {                                                             \
      const on_host::Access access;                                                    \
      UPW_BLAS(x##symm_)(side(s), fill(f), &m, &n, alpha, A, &lda, B, &ldb, beta, C,   \
                         &ldc);                                                        \
      return 0;                                                                        \
    };                                                                                 \
    t.trsm = [](cublasHandle_t, Side s, Fill f, Op o, Diagonal d, int m, int n,        \
                const T* alpha, const T* A, int lda, T* B, int ldb) {                  \
      const on_host::Access access;                                                    \
      UPW_BLAS(x##trsm_)(side(s), fill(f), op(o), diagonal(d), &m, &n, alpha, A, &lda, \
                         B, &ldb);                                                     \
      return 0;                                                                        \
    };                                                                                 \
    t.potrf_size = [](cusolverDnHandle_t, Fill, int, T*, int, int* size) {             \
      *size = 1;                                                                       \
      return 0;                                                                        \
    };                                                                                 \
    t.potrf = [](cusolverDnHandle_t, Fill f, int n, T* A, int lda, T*, int,            \
                 int* info) {                                                          \
      const on_host::Access access;                                                    \
      UPW_BLAS(x##potrf_)(fill(f), &n, A, &lda, info);                                 \
      return 0;                                                                        \
    };                                                                                 \
    return t;                                                                          \
  }
UPW_TYPED(double, d)
UPW_TYPED(float, s)
#undef UPW_TYPED

Libraries on_host() {
  Libraries all;
#if defined(UPWEIGHT_SCIPY_OPENBLAS)
  scipy_openblas_set_num_threads(1);  // its threads spin while ours work
#endif
  all.versions = "the host's BLAS for cuBLAS and cuSOLVER";
  all.blas_create = [](cublasHandle_t* handle) {
    on_host::count_handle();
    *handle = new cublasContext;
    return 0;
  };
  all.blas_destroy = [](cublasHandle_t handle) {
    delete handle;
    return 0;
  };
  all.blas_stream = [](cublasHandle_t, cudaStream_t) { return 0; };
  all.blas_math = [](cublasHandle_t handle, MathMode mode) {
    handle->mode = mode;
    return 0;
  };
  all.solver_create = [](cusolverDnHandle_t* handle) {
    on_host::count_handle();
    *handle = static_cast<cusolverDnHandle_t>(std::malloc(1));
    return 0;
  };
  all.solver_destroy = [](cusolverDnHandle_t handle) {
    std::free(handle);
    return 0;
  };
  all.solver_stream = [](cusolverDnHandle_t, cudaStream_t) { return 0; };
  all.syevd_size = [](cusolverDnHandle_t, EigenMode, Fill, int n, const double*, int,
                      const double*, int* size) {
    *size = 34 * n;
    return 0;
  };
  all.syevd = [](cusolverDnHandle_t, EigenMode mode, Fill f, int n, double* A, int lda,
                 double* W, double* work, int size, int* info) {
    const on_host::Access access;
    UPW_BLAS(dsyev_)(mode == EigenMode::values ? "N" : "V", fill(f), &n, A, &lda, W,
                     work, &size, info);
    return 0;
  };
  all.of_double = typed_d();
  all.of_float = typed_s();
  return all;
}

}  // namespace

const Libraries& libraries() {
  static const Libraries all = on_host();
  return all;
}

void library_folders(std::vector<std::string>) {}

}  // namespace upweight::cuda
