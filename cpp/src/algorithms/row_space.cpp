// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/row_space.hpp"

#include "host.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace upweight {

namespace {

constexpr double unit = std::numeric_limits<double>::epsilon();

ConstMatrix diagonal_of(ConstMatrix K) {
  return {K.data, K.rows, 1, K.stride + 1};
}

}  // namespace

RowSpace::RowSpace(const Backend<double>& backend, Array K)
    : backend_(backend), factor_(std::move(K)), rank_(factor_.rows()) {
  const index n = rank_;
  const std::vector<double> diagonal = on_host(diagonal_of(factor_), backend);
  // a pivot under this is rounding of those before it
  const double tolerance = 16 * static_cast<double>(n) * unit;
  if (backend.potrf(factor_, 1, tolerance) < 0)
    return;
  // potrf has left the lower triangle as it was
  std::vector<double> whole = on_host(factor_, backend);
  for (index i = 0; i < n; ++i) {
    whole[at(i * n + i)] = diagonal[at(i)];
    for (index j = 0; j < i; ++j)
      whole[at(j * n + i)] = whole[at(i * n + j)];
  }
  backend.upload(whole.data(), factor_);
  pivoted();
}

void RowSpace::pivoted() {
  const index n = factor_.rows();
  // each row in units of its own size, so that small ones are not lost beside large
  std::vector<double> K = on_host(factor_, backend_);
  size_.assign(at(n), 1.0);
  for (index i = 0; i < n; ++i)
    if (K[at(i * n + i)] > 0) {
      int exponent = 0;
      (void)std::frexp(K[at(i * n + i)], &exponent);
      size_[at(i)] = std::ldexp(1.0, exponent / 2);
    }
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < n; ++j)
      K[at(i * n + j)] /= size_[at(i)] * size_[at(j)];
  backend_.upload(K.data(), factor_);
  const double tolerance = 4 * static_cast<double>(n) * unit;
  rank_ = backend_.potrf_pivoted(factor_, tolerance, order_);
  std::vector<double> R = on_host(factor_, backend_);
  for (index i = 0; i < n; ++i)
    std::fill_n(R.begin() + i * n, i < rank_ ? i : n, 0.0);
  backend_.upload(R.data(), factor_);

  // what the pivots leave of the other rows is rounding, or K is not semidefinite
  const index left = n - rank_;
  for (index i = 0; i < n; ++i)
    if (!(K[at(i * n + i)] >= 0))
      error_ = std::numeric_limits<double>::infinity();
  if (rank_ > 0 && left > 0) {
    const Array Z = backend_.zeros(n, rank_), again = backend_.zeros(left, left);
    backend_.transpose(factor_.view().block(0, rank_), Z);
    const ConstMatrix rest = Z.view().block(rank_, left);
    backend_.multiply(1, rest, rest, true, 0, again);
    const std::vector<double> zz = on_host(again, backend_);
    for (index i = 0; i < left; ++i)
      for (index j = 0; j < left; ++j)
        error_ = std::max(
            error_, std::fabs(K[at(order_[at(rank_ + i)] * n + order_[at(rank_ + j)])] -
                              zz[at(i * left + j)]));
  }
  if (rank_ == 0 || error_ > 100 * tolerance) {
    std::ostringstream message;
    message << "kernel: expected a positive semidefinite matrix, got one that differs "
               "by "
            << (rank_ == 0 ? 1.0 : error_)
            << " times its rows' own sizes from the nearest found of rank " << rank_;
    throw IndefiniteError(message.str());
  }
}

void RowSpace::coordinates(Matrix Z) const {
  const index n = rows();
  const ConstMatrix R = factor_.view().block(0, rank_);
  if (order_.empty()) {
    backend_.transpose(R, Z);
    return;
  }
  const Array sorted = backend_.zeros(n, rank_);
  backend_.transpose(R, sorted);
  std::vector<double> z = on_host(sorted, backend_);
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < rank_; ++j)
      z[at(i * rank_ + j)] *= size_[at(order_[at(i)])];
  backend_.upload(z.data(), sorted);
  backend_.copy_rows(sorted, nullptr, Z, order_.data(), n);
}

void RowSpace::project(ConstMatrix cross, Matrix z) const {
  if (order_.empty()) {
    backend_.copy(cross, z);
  } else {
    std::vector<double> all = on_host(cross, backend_), some;
    for (index t = 0; t < cross.rows; ++t)
      for (index j = 0; j < rank_; ++j)
        some.push_back(all[at(t * cross.cols + order_[at(j)])] /
                       size_[at(order_[at(j)])]);
    backend_.upload(some.data(), z);
  }
  backend_.solve(triangle(), z, true);
}

void RowSpace::lift(ConstMatrix beta, Matrix a) const {
  const Array solved = backend_.zeros(beta.rows, rank_);
  backend_.copy(beta, solved);
  backend_.unwhiten(triangle().blocks, solved);
  if (order_.empty()) {
    backend_.copy(solved, a);
    return;
  }
  const std::vector<double> some = on_host(solved, backend_);
  std::vector<double> all(at(a.rows * a.cols), 0.0);
  for (index t = 0; t < a.rows; ++t)
    for (index j = 0; j < rank_; ++j)
      all[at(t * a.cols + order_[at(j)])] =
          some[at(t * rank_ + j)] / size_[at(order_[at(j)])];
  backend_.upload(all.data(), a);
}

}  // namespace upweight
