// SPDX-License-Identifier: BSD-3-Clause
// Quadratic forms of rows of X in H^-1, through whitened tiles z = R^-T x that live in
// cache and are never stored.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/pack.hpp"

#include <algorithm>
#include <cmath>
#include <deque>

namespace upweight::cuda {
namespace {

/// z = R^-T x for many rows x. Substitution goes block by block of R; with many rows,
/// multiplying by its inverse is one product, and as accurate as far as |R^-1| |R|
/// allows: not for coupled outputs, whose tie and uneven curvatures can make that 100
/// times less than substitution is.
class Whitener {
public:
  Whitener(const Device& device, ConstMatrix R, bool may_invert)
      : device_(device), R_(R), invert_(may_invert && R.cols <= most_inverted),
        memory_(device, invert_ ? R.cols * R.cols : 0) {
    if (invert_)
      invert();
  }

  /// Rows of `out` are R^-T (0, x, 0) for the rows x of X (m x c), from place `first`
  /// on; as R^-T leaves the zeros before that, only what follows is written.
  void operator()(ConstMatrix X, index first, Matrix out) const {
    const index width = R_.cols - first, columns = X.cols;
    const Matrix to = out.columns(first, width);
    if (invert_) {
      const Matrix inverse = memory_.view(R_.cols, R_.cols);
      blas::gemm<double>(
          device_, 1, X,
          ConstMatrix(inverse.row(first) + first, columns, width, inverse.stride),
          false, 0, to);
      return;
    }
    each(device_, "widen", to.rows, width,
         [=] __device__(index i, index j) { to(i, j) = j < columns ? X(i, j) : 0.0; });
    blas::solve_rows<double>(
        device_, ConstMatrix(R_.row(first) + first, width, width, R_.stride), true, to);
  }

  // not private: it holds a lambda of the device's
  void invert() const {
    const Matrix inverse = memory_.view(R_.cols, R_.cols);
    each(device_, "identity", R_.cols, R_.cols,
         [=] __device__(index i, index j) { inverse(i, j) = i == j ? 1.0 : 0.0; });
    // row i: R^-T e_i, the row i of R^-1
    blas::solve_rows<double>(device_, R_, true, inverse);
  }

private:
  static constexpr index most_inverted = 4096;

  const Device& device_;
  ConstMatrix R_;
  bool invert_;
  Scratch<double> memory_;
};

/// Columns [k, last) of out = |z|^2 for the rows z of Z.
void row_norms(const Device& device, ConstMatrix Z, index k, index last, Matrix out) {
  each_row(device, "row_norms", Z.rows, Z.cols,
           [=] __device__(const Team& team, index i) {
             double sum = 0;
             for (index j = team.rank(); j < Z.cols; j += team.size())
               sum += Z(i, j) * Z(i, j);
             sum = team.sum(sum);
             for (index l = k + team.rank(); l < last; l += team.size())
               out(i, l) = sum;
           });
}

/// out(i, k K + l) = z_ik . z_il, where z_ik is row k n + i of Z and zero before its
/// place k q; a team has one i and k, and all l from k on.
void row_products(const Device& device, ConstMatrix Z, index K, Matrix out) {
  const index n = out.rows, q = Z.cols / K;
  each_row(device, "row_products", n * K, Z.cols,
           [=] __device__(const Team& team, index r) {
             const index i = r / K, k = r - i * K;
             const double* own = Z.row(k * n + i);
             for (index l = k; l < K; ++l) {
               const double* other = Z.row(l * n + i);
               double sum = 0;
               for (index j = l * q + team.rank(); j < Z.cols; j += team.size())
                 sum += own[j] * other[j];
               sum = team.sum(sum);
               if (team.rank() == 0)
                 out(i, k * K + l) = out(i, l * K + k) = sum;
             }
           });
}

}  // namespace

template <class T>
void CudaBackend<T>::leverage_blocks(const Design<T>& X, const Factor& factor,
                                     index outputs, Matrix out) const {
  const index q = X.columns(), K = outputs;
  if (factor.order() == q) {
    std::deque<Whitener> whiten;
    for (index k = 0; k < factor.count; ++k)
      whiten.emplace_back(device(), factor.block(k), X.rows() >= 2 * q);
    const index tile = tile_rows(2 * q * index(sizeof(double)));
    each_block(device(), X, tile, [&](const Design<T>& block, index first) {
      const DenseRows<double, T> rows(device(), block);
      const Scratch<double> memory(device(), block.rows() * q);
      const Matrix Z = memory.view(block.rows(), q);
      for (index k = 0; k < factor.count; ++k) {
        whiten[static_cast<std::size_t>(k)](rows.view(), 0, Z);
        row_norms(device(), Z, k, factor.count == 1 ? K : k + 1,
                  out.block(first, block.rows()));
      }
    });
    return;
  }
  // e_k (x) x_i is zero before segment k, and R^-T keeps those zeros
  const index P = K * q;
  const Whitener whiten(device(), factor.block(0), false);
  const index tile = tile_rows((K * P + q) * index(sizeof(double)));
  each_block(device(), X, tile, [&](const Design<T>& block, index first) {
    const index n = block.rows();
    const DenseRows<double, T> rows(device(), block);
    const Scratch<double> memory(device(), K * n * P);
    const Matrix Z = memory.view(K * n, P);
    for (index k = 0; k < K; ++k)
      whiten(rows.view(), k * q, Z.block(k * n, n));
    row_products(device(), Z, K, out.block(first, n));
  });
}

template <class T>
void CudaBackend<T>::quadratic_form(const Design<T>& X, const Factor& factor,
                                    ConstMatrix a, Matrix out) const {
  const index q = X.columns(), K = a.cols;
  if (factor.order() == q) {  // sum_k a_ik^2 c_ik
    const Scratch<double> memory(device(), X.rows() * K);
    const Matrix c = memory.view(X.rows(), K);
    leverage_blocks(X, factor, K, c);
    each(device(), "quadratic_form", X.rows(), [=] __device__(index i) {
      double sum = 0;
      for (index k = 0; k < K; ++k)
        sum += a(i, k) * a(i, k) * c(i, k);
      out(i, 0) = sum;
    });
    return;
  }
  const index P = K * q;
  const Whitener whiten(device(), factor.block(0), false);
  const index tile = tile_rows(2 * P * index(sizeof(double)));
  each_block(device(), X, tile, [&](const Design<T>& block, index first) {
    const index n = block.rows();
    const Scratch<double> packed(device(), n * P), whitened(device(), n * P);
    const Matrix rows = packed.view(n, P), Z = whitened.view(n, P);
    pack(device(), block, 0, nullptr, a.block(first, n), rows);
    whiten(rows, 0, Z);
    row_norms(device(), Z, 0, 1, out.block(first, n));
  });
}

/// out(i, 0) = |a_i| |x_i / scale|, by what is stored of x_i.
template <class T>
static void scaled_norms(const Device& device, const Design<T>& X, ConstMatrix a,
                         ConstMatrix scale, Matrix out) {
  const bool sparse = X.is_sparse(), intercept = X.intercept;
  const index p = X.features.cols, K = a.cols;
  const MatrixView<const T> features = X.features;
  const SparseView<T> S = X.sparse;
  each_row(device, "scaled_norm", X.rows(), sparse ? 32 : p,
           [=] __device__(const Team& team, index i) {
             double square = 0, own = 0;
             const index first = sparse ? S.begin(i) : 0, last = sparse ? S.end(i) : p;
             for (index e = first + team.rank(); e < last; e += team.size()) {
               const T x = sparse ? S.values[e] : features(i, e);
               const double scaled =
                   static_cast<double>(x) / scale(0, sparse ? S.columns[e] : e);
               square += scaled * scaled;
             }
             for (index k = team.rank(); k < K; k += team.size())
               own += a(i, k) * a(i, k);
             square = team.sum(square);
             own = team.sum(own);
             if (intercept)
               square += 1.0 / (scale(0, p) * scale(0, p));
             if (team.rank() == 0)
               out(i, 0) = std::sqrt(square * own);
           });
}

template <class T>
void CudaBackend<T>::scaled_norm(const Design<T>& X, ConstMatrix a, ConstMatrix scale,
                                 Matrix out) const {
  each_block(device(), X, index(1) << 20, [&](const Design<T>& block, index first) {
    scaled_norms(device(), block, a.block(first, block.rows()), scale,
                 out.block(first, block.rows()));
  });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
