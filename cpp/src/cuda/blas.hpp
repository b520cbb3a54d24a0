// SPDX-License-Identifier: BSD-3-Clause
// The one seam to cuBLAS and cuSOLVER: row-major wrappers, enqueued on the device's
// stream. All matrices are the device's.
#pragma once

#include "cuda/device.hpp"
#include "upweight/view.hpp"

namespace upweight::cuda::blas {

/// Precision of products of floats.
enum class Precision {
  plain,  // float32
  tf32,   // factors rounded to 11 bits, on tensor cores; sums in float32
};

/// C = alpha A op(B) + beta C; op transposes B when b_transposed.     2 m n k
template <class T>
void gemm(const Device& device, T alpha, MatrixView<const T> A, MatrixView<const T> B,
          bool b_transposed, T beta, MatrixView<T> C,
          Precision precision = Precision::plain);

/// C = alpha A' B + beta C for A (k x m), B (k x n).                  2 m n k
template <class T>
void gemm_at(const Device& device, T alpha, MatrixView<const T> A,
             MatrixView<const T> B, T beta, MatrixView<T> C,
             Precision precision = Precision::plain);

/// Matrices of one shape, `step` numbers from one to the next.
template <class T>
struct Stack {
  MatrixView<T> first;
  index step;
};

/// C_s = alpha op(A_s) op(B_s) + beta C_s for s < count.             2 count m n k
template <class T>
void gemm_stack(const Device& device, index count, T alpha, Stack<const T> A,
                bool a_transposed, Stack<const T> B, bool b_transposed, T beta,
                Stack<T> C);

/// Upper triangle of C = alpha A' A + beta C for A (k x n).           k n^2
template <class T>
void syrk_at(const Device& device, T alpha, MatrixView<const T> A, T beta,
             MatrixView<T> C);

/// Rows b of B become R^-T b (half), or R^-1 b, for an upper triangle R.   m n^2
template <class T>
void solve_rows(const Device& device, MatrixView<const T> R, bool half,
                MatrixView<T> B);

/// B (k x n) becomes R^-T B for an upper triangle R (k x k).         n k^2
template <class T>
void solve_panel(const Device& device, MatrixView<const T> R, MatrixView<T> B);

/// C = B H for the upper triangle of a symmetric H (n x n), B (m x n). 2 m n^2
template <class T>
void symm(const Device& device, MatrixView<const T> H, MatrixView<const T> B,
          MatrixView<T> C);

/// Upper triangle of H becomes R with H = R'R; the failing row, or -1. Waits. n^3 / 3
template <class T>
[[nodiscard]] index potrf(const Device& device, MatrixView<T> H);

/// The eigenvalues (1 x n, ascending) of a symmetric S, whose upper triangle is read
/// and overwritten. Waits; false when they cannot be found.           4/3 n^3
[[nodiscard]] bool eigenvalues(const Device& device, Matrix S, Matrix values);

}  // namespace upweight::cuda::blas
