// SPDX-License-Identifier: BSD-3-Clause
// The one seam to BLAS and LAPACK: row-major wrappers, always single-threaded;
// parallelism is the tiles of the words. Which library stands behind is CMake's
// business alone.
#pragma once

#include "upweight/view.hpp"

#include <cstdint>
#include <vector>

namespace upweight::cpu::blas {

/// Tells the library to use the calling thread only. Called once, at load.
void single_threaded();

/// Name and version of the library.
[[nodiscard]] const char* describe();

/// C = alpha A op(B) + beta C; op transposes B when b_transposed.     2 m n k
template <class T>
void gemm(T alpha, MatrixView<const T> A, MatrixView<const T> B, bool b_transposed,
          T beta, MatrixView<T> C);

/// C = alpha A' B + beta C for A (k x m), B (k x n).                  2 m n k
template <class T>
void gemm_at(T alpha, MatrixView<const T> A, MatrixView<const T> B, T beta,
             MatrixView<T> C);

/// Rows b of B become R^-T b (half), or R^-1 b, for an upper triangle R.   m n^2
template <class T>
void solve_rows(MatrixView<const T> R, bool half, MatrixView<T> B);

/// Rows b of B become U' b for an upper triangle U.                    m n^2
template <class T>
void multiply_rows(MatrixView<const T> U, MatrixView<T> B);

/// Upper triangle of H becomes R with H = R'R; returns the failing row, or -1. n^3 / 3
template <class T>
index potrf(MatrixView<T> H);

/// The same with pivoting, K[order][:, order] = R'R, until no pivot is over
/// `tolerance`: R has `rank` rows. What is under them is left over.     n^3 / 3
index potrf_pivoted(Matrix K, double tolerance, std::vector<std::int64_t>& order);

/// Upper triangle of C -= A' A for A (k x n).                        k n^2
template <class T>
void syrk_subtract(MatrixView<const T> A, MatrixView<T> C);

/// Rows of B (k x n) become R^-T B for an upper triangle R (k x k): B on the right of a
/// blocked Cholesky's diagonal block.                                n k^2
template <class T>
void solve_panel(MatrixView<const T> R, MatrixView<T> B);

/// C = B H for the upper triangle of a symmetric H (n x n), B (m x n). 2 m n^2
template <class T>
void symm(MatrixView<const T> H, MatrixView<const T> B, MatrixView<T> C);

/// Of a symmetric S, from its upper triangle, overwritten; ascending, infinite when
/// they cannot be found. 4/3 n^3
[[nodiscard]] std::vector<double> eigenvalues(Matrix S);

}  // namespace upweight::cpu::blas
