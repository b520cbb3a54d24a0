// SPDX-License-Identifier: BSD-3-Clause
// Cholesky factors and solves of order P.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/launch.hpp"
#include "cuda/patches.hpp"
#include "cuda/split.hpp"

#include <cmath>
#include <limits>
#include <vector>

namespace upweight::cuda {
namespace {

/// The first of R's first `reached` rows whose pivot is not over `tolerance` times the
/// diagonal (1 x P) that H had, or -1. Waits.
template <class U>
index first_small_pivot(const Device& device, MatrixView<const U> R,
                        ConstMatrix diagonal, index reached, double tolerance) {
  if (reached <= 0)
    return -1;
  const Scratch<double> memory(device, 1);
  const Matrix found = memory.view(1, 1);
  each_row(device, "check_pivots", 1, reached, [=] __device__(const Team& team, index) {
    index first = reached;
    for (index j = team.rank(); j < reached; j += team.size()) {
      const auto root = static_cast<double>(R(j, j));
      if (first == reached && !(root * root > tolerance * diagonal(0, j)))
        first = j;
    }
    found(0, 0) = static_cast<double>(-team.max(-first));
  });
  double first = 0;
  to_host<double>(device, found, &first);
  return static_cast<index>(first) < reached ? static_cast<index>(first) : -1;
}

/// R'R = H in the upper triangle; the first row whose pivot fails, or -1. Waits.
template <class U>
index factor_checked(const Device& device, MatrixView<U> H, ConstMatrix diagonal,
                     double tolerance) {
  const index failed = blas::potrf<U>(device, H);
  // the library may go on past a NaN: what it leaves on the diagonal tells
  const index small = first_small_pivot<U>(device, H, diagonal,
                                           failed < 0 ? H.rows : failed, tolerance);
  return small >= 0 ? small : failed;
}

/// Where a pivoted factorisation stands, on the device.
struct Pivoting {
  Matrix K;
  double* squares;      // n: sums over the panel's rows of R's squares
  std::int64_t* order;  // n
  std::int64_t* rank;   // n until the pivots end
  std::int64_t* pivot;  // of the step
  double* value;
};

/// Finds the largest pivot that is left at step j, the first of equals; when it is not
/// over `tolerance` (or not a number) the rank is j, and later steps do nothing.
void choose_pivot(const Device& device, const Pivoting& at, index j, double tolerance) {
  const index n = at.K.rows;
  each_row(device, "choose_pivot", 1, n - j, [=] __device__(const Team& team, index) {
    if (*at.rank <= j)
      return;
    double best = -std::numeric_limits<double>::infinity();
    for (index i = j + team.rank(); i < n; i += team.size()) {
      const double left = at.K(i, i) - at.squares[i];
      best = left > best ? left : best;
    }
    best = team.max(best);
    index first = n;
    for (index i = j + team.rank(); i < n; i += team.size())
      if (first == n && at.K(i, i) - at.squares[i] == best)
        first = i;
    first = -team.max(-first);
    if (team.rank() != 0)
      return;
    *at.pivot = static_cast<std::int64_t>(first);
    *at.value = best;
    if (!(best > tolerance))
      *at.rank = static_cast<std::int64_t>(j);
  });
}

/// Exchanges rows and columns j and the pivot's, in the upper triangle.
void exchange(const Device& device, const Pivoting& at, index j) {
  each(device, "exchange", at.K.rows, [=] __device__(index c) {
    const auto p = static_cast<index>(*at.pivot);
    if (*at.rank <= j || p == j || c == p)
      return;
    const auto swap = [](auto& a, auto& b) {
      const auto kept = a;
      a = b;
      b = kept;
    };
    if (c < j) {
      swap(at.K(c, j), at.K(c, p));
    } else if (c == j) {
      swap(at.K(j, j), at.K(p, p));
      swap(at.squares[j], at.squares[p]);
      swap(at.order[j], at.order[p]);
    } else if (c < p) {
      swap(at.K(j, c), at.K(c, p));
    } else {
      swap(at.K(j, c), at.K(p, c));
    }
  });
}

/// Row j of R from that of K, less the panel's rows from k0 on.
void finish_row(const Device& device, const Pivoting& at, index j, index k0) {
  each(device, "finish_row", at.K.rows - j, [=] __device__(index c) {
    if (*at.rank <= j)
      return;
    const index i = j + c;
    const double root = std::sqrt(*at.value);
    if (i == j) {
      at.K(j, j) = root;
      return;
    }
    double sum = at.K(j, i);
    for (index r = k0; r < j; ++r)
      sum -= at.K(r, j) * at.K(r, i);
    sum /= root;
    at.K(j, i) = sum;
    at.squares[i] += sum * sum;
  });
}

}  // namespace

template <class T>
index CudaBackend<T>::potrf(Matrix H, index count, double tolerance) const {
  const index P = H.cols;
  const Scratch<double> memory(device(), P);
  const Matrix diagonal = memory.view(1, P);
  for (index k = 0; k < count; ++k) {
    device().pause_point();
    const Matrix block = H.block(k * P, P);
    each(device(), "keep_diagonal", P,
         [=] __device__(index j) { diagonal(0, j) = block(j, j); });
    const index failed = factor_checked<double>(device(), block, diagonal, tolerance);
    if (failed >= 0)
      return k * P + failed;
    clear_lower(device(), block);
  }
  return -1;
}

/// Panels of rows, as LAPACK's dpstrf: within one, each pivot is the largest of what
/// all rows so far have left, and its row is finished from the panel's; then the panel
/// is taken off the rest at once. The host waits once a panel, to learn the rank.
template <class T>
index CudaBackend<T>::potrf_pivoted(Matrix K, double tolerance,
                                    std::vector<std::int64_t>& order) const {
  constexpr index panel = 64;
  const index n = K.rows;
  const Scratch<std::int64_t> numbers(device(), n + 2);
  const Scratch<double> values(device(), n + 1);
  const Pivoting at{K,
                    values.get(),
                    numbers.get(),
                    numbers.get() + n,
                    numbers.get() + n + 1,
                    values.get() + n};
  each(device(), "start_pivoting", n + 1, [=] __device__(index i) {
    at.order[i] = static_cast<std::int64_t>(i);  // and the rank, behind it: n
  });
  std::int64_t rank = static_cast<std::int64_t>(n);
  for (index first = 0; first < n && static_cast<index>(rank) == n; first += panel) {
    device().pause_point();
    const index next = std::min(first + panel, n);
    clear(device(), Matrix(at.squares, 1, n));
    for (index j = first; j < next; ++j) {
      choose_pivot(device(), at, j, tolerance);
      exchange(device(), at, j);
      finish_row(device(), at, j, first);
    }
    to_host<std::int64_t>(device(), {at.rank, 1, 1}, &rank);
    if (next < n && static_cast<index>(rank) == n)
      blas::syrk_at<double>(
          device(), -1,
          ConstMatrix(K.block(first, next - first).columns(next, n - next)), 1,
          K.block(next, n - next).columns(next, n - next));
  }
  order.resize(static_cast<std::size_t>(n));
  to_host<std::int64_t>(device(), {at.order, 1, n}, order.data());
  return static_cast<index>(rank);
}

template <class T>
void CudaBackend<T>::solve(const Factor& factor, Matrix B, bool half) const {
  const index order = factor.order(), segments = B.cols / order;
  const auto solve_block = [&](ConstMatrix R, Matrix rows) {
    device().pause_point();
    blas::solve_rows<double>(device(), R, true, rows);
    if (!half)
      blas::solve_rows<double>(device(), R, false, rows);
  };
  if (factor.count == 1 && B.stride == B.cols)  // all segments are rows of their own
    return solve_block(factor.block(0), Matrix(B.data, B.rows * segments, order));
  for (index k = 0; k < segments; ++k)
    solve_block(factor.block(k), B.columns(k * order, order));
}

template <class T>
std::vector<double> CudaBackend<T>::eigenvalues(Matrix S) const {
  std::vector<double> values(static_cast<std::size_t>(S.rows),
                             std::numeric_limits<double>::infinity());
  const Scratch<double> memory(device(), S.rows);
  const Matrix found = memory.view(1, S.rows);
  if (blas::eigenvalues(device(), S, found))
    to_host<double>(device(), found, values.data());
  return values;
}

template <class T>
void CudaBackend<T>::multiply(double alpha, ConstMatrix A, ConstMatrix B,
                              bool transposed, double beta, Matrix C) const {
  const index parts = split_parts(C.rows, C.cols, A.cols);
  if (parts == 1)
    return blas::gemm<double>(device(), alpha, A, B, transposed, beta, C);
  // the inner dimension in parts, the last of them with what is left over
  const index depth = A.cols / parts, rest = A.cols - parts * depth;
  const auto right = [&](index first, index count) {
    return transposed ? B.columns(first, count) : B.block(first, count);
  };
  const Scratch<double> memory(device(), parts * C.rows * C.cols);
  const Matrix sums = memory.view(parts * C.rows, C.cols);
  blas::gemm_stack<double>(device(), parts, 1, {A.columns(0, depth), depth}, false,
                           {right(0, depth), transposed ? depth : depth * B.stride},
                           transposed, 0, {sums.block(0, C.rows), C.rows * C.cols});
  if (rest > 0)
    blas::gemm<double>(device(), 1, A.columns(parts * depth, rest),
                       right(parts * depth, rest), transposed, 1,
                       sums.block((parts - 1) * C.rows, C.rows));
  add_parts(device(), alpha, sums, beta, C);
}

template <class T>
void CudaBackend<T>::transpose(ConstMatrix A, Matrix out) const {
  transpose_into<double>(device(), A, out);
}

template <class T>
void CudaBackend<T>::forward_rows(ConstMatrix R, Matrix B) const {
  blas::solve_panel<double>(device(), R, B);
}

template <class T>
index CudaBackend<T>::potrf_single(ConstMatrix H, double shift, MatrixView<float> R,
                                   Matrix D) const {
  const index P = H.cols;
  each(device(), "root_diagonal", P,
       [=] __device__(index j) { D(0, j) = H(j, j) > 0 ? std::sqrt(H(j, j)) : 1.0; });
  each(device(), "scale_single", P, P, [=] __device__(index i, index j) {
    R(i, j) = static_cast<float>(j < i    ? 0.0
                                 : j == i ? 1.0 + shift
                                          : H(i, j) / D(0, i) / D(0, j));
  });
  return factor_checked<float>(device(), R, D, 0.0);
}

template <class T>
void CudaBackend<T>::solve_single(MatrixView<const float> R, ConstMatrix D,
                                  ConstMatrix B, Matrix out) const {
  const index P = R.cols;
  const Scratch<float> memory(device(), B.rows * P);
  const MatrixView<float> rows = memory.view(B.rows, P);
  each(device(), "scale_single", B.rows, P, [=] __device__(index b, index j) {
    rows(b, j) = static_cast<float>(B(b, j) / D(0, j));
  });
  blas::solve_rows<float>(device(), R, true, rows);
  blas::solve_rows<float>(device(), R, false, rows);
  each(device(), "unscale_single", B.rows, P, [=] __device__(index b, index j) {
    out(b, j) = static_cast<double>(rows(b, j)) / D(0, j);
  });
}

template <class T>
void CudaBackend<T>::symmetric_product(ConstMatrix H, ConstMatrix V, Matrix out) const {
  blas::symm<double>(device(), H, V, out);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
