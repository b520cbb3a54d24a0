// SPDX-License-Identifier: BSD-3-Clause
// Sketches are rows here, as right-hand sides are: Y is r x P.
#include "upweight/nystroem.hpp"

#include "host.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <utility>

namespace upweight {

namespace {

constexpr index most_rank = 512, sketch_bytes = index(256) << 20;
constexpr index rows_at_once = 64;
constexpr double least_rest = 1e-12;  // of the unit diagonal: above F F''s rounding

/// Segment k of the rows of a sketch.
auto segment(auto matrix, index k, index order) {
  return decltype(matrix)(matrix.data + k * order, matrix.rows, order, matrix.stride);
}

/// A sketch of growing rank.
template <class T>
struct Sketch {
  const Backend<T>& backend;
  const RowOperator& product;
  ConstMatrix root_diagonal;  // 1 x width: D^1/2
  index width, order, count;
  Array Y;                       // rows G^ omega
  std::vector<Array> core;       // C of each Hessian (r x r, upper)
  double largest = 0, last = 0;  // eigenvalues of F F', of the worst Hessian

  /// Rows first .. first + out.rows - 1 of Omega: uniform in (-1, 1), each row with a
  /// seed of its own, so that a longer sketch begins with the shorter one.
  void random_rows(index first, Matrix out) const {
    std::vector<double> row(at(width));
    for (index b = 0; b < out.rows; ++b) {
      std::mt19937_64 bits(20210712U + static_cast<std::uint64_t>(first + b));
      for (double& value : row)
        value = std::ldexp(static_cast<double>(bits() >> 11), -52) - 1.0;
      backend.upload(row.data(), out.block(b, 1));
    }
  }

  void grow(index rank) {
    const index before = Y.rows();
    Array longer = backend.zeros(rank, width);
    if (before > 0)
      backend.copy(Y, longer.view().block(0, before));
    Y = std::move(longer);
    const Array V = backend.zeros(std::min(rows_at_once, rank - before), width);
    for (index first = before; first < rank; first += rows_at_once) {
      const index rows = std::min(rows_at_once, rank - first);
      const Matrix omega = V.view().block(0, rows), out = Y.view().block(first, rows);
      random_rows(first, omega);
      backend.divide_rows(omega, root_diagonal, omega);
      product(omega, out);
      backend.divide_rows(out, root_diagonal, out);
    }
    factor_cores();
  }

  /// C'C = Omega'Y + shift, the shift of its rounding's size: F F' stays under G^.
  void factor_cores() {
    const index r = Y.rows();
    core.clear();
    for (index k = 0; k < count; ++k)
      core.push_back(backend.zeros(r, r));
    const Array V = backend.zeros(std::min(rows_at_once, r), width);
    for (index first = 0; first < r; first += rows_at_once) {
      const index rows = std::min(rows_at_once, r - first);
      const Matrix omega = V.view().block(0, rows);
      random_rows(first, omega);
      for (index k = 0; k < count; ++k)
        backend.multiply(1, segment(omega, k, order), segment(Y.view(), k, order), true,
                         0, core[at(k)].view().block(first, rows));
    }
    largest = last = 0;
    for (index k = 0; k < count; ++k) {
      factor_core(core[at(k)]);
      const std::vector<double> values = eigenvalues(k);
      largest = std::max(largest, values.back());
      last = std::max(last, values.front());
    }
  }

  void factor_core(const Array& C) {
    const index r = C.rows();
    const std::vector<double> given = on_host(C, backend);
    std::vector<double> shifted(given.size());
    double trace = 0;
    for (index i = 0; i < r; ++i)
      trace += std::fabs(given[at(i * r + i)]);
    double shift = std::max(8 * std::numeric_limits<double>::epsilon() * trace,
                            std::numeric_limits<double>::min());
    for (; std::isfinite(shift); shift *= 64) {
      for (index i = 0; i < r; ++i)
        for (index j = 0; j < r; ++j)
          shifted[at(i * r + j)] = 0.5 * (given[at(i * r + j)] + given[at(j * r + i)]) +
                                   (i == j ? shift : 0.0);
      backend.upload(shifted.data(), C);
      if (backend.potrf(C, 1, 0.0) < 0)
        return;
    }
  }

  /// Of F F' of Hessian k, ascending: those of C^-T (Y Y') C^-1.
  [[nodiscard]] std::vector<double> eigenvalues(index k) const {
    const index r = Y.rows();
    const ConstMatrix y = segment(Y.view(), k, order);
    const Array half = backend.zeros(r, r), S = backend.zeros(r, r);
    backend.multiply(1, y, y, true, 0, half);
    backend.forward_rows(core[at(k)], half);
    backend.transpose(half, S);
    backend.forward_rows(core[at(k)], S);
    return backend.eigenvalues(S);
  }
};

}  // namespace

index nystroem_rank_limit(index order, index count) {
  const index row = order * count * static_cast<index>(sizeof(double));
  return std::max<index>(1, std::min({most_rank, order / 2, sketch_bytes / row}));
}

index nystroem_workspace(index order, index count) {
  const index r = nystroem_rank_limit(order, count);
  // while the rank doubles, a sketch of half the rank stands beside the new one
  return static_cast<index>(sizeof(double)) *
         ((r / 2 + 2 * std::min(r, rows_at_once) + 3) * order * count +
          (count + 2) * r * r);
}

template <class T>
bool Nystroem<T>::make(const Backend<T>& backend, const RowOperator& product,
                       const std::vector<double>& diagonal,
                       const std::vector<double>& penalty, index count,
                       const NystroemOptions& options) {
  const index width = static_cast<index>(diagonal.size()), order = width / count;
  std::vector<double> root(diagonal.size()), pull(diagonal.size());
  std::vector<double> positive;
  for (std::size_t j = 0; j < root.size(); ++j) {
    const double own = penalty[j % penalty.size()];
    root[j] = diagonal[j] > 0 ? std::sqrt(diagonal[j]) : 1.0;
    pull[j] = diagonal[j] > 0 ? own / diagonal[j] : 0.0;
    if (pull[j] > 0)
      positive.push_back(pull[j]);
  }
  double typical = 0;
  if (!positive.empty()) {
    const auto middle =
        positive.begin() + static_cast<std::ptrdiff_t>(positive.size() / 2);
    std::nth_element(positive.begin(), middle, positive.end());
    typical = *middle;
  }
  Array scale = backend.zeros(1, width);
  backend.upload(root.data(), scale);

  Sketch<T> sketch{backend, product, scale, width, order, count, {}, {}};
  const index limit = nystroem_rank_limit(order, count);
  double before = std::numeric_limits<double>::infinity();
  for (index rank = std::min(options.first_rank, limit);;
       rank = std::min(2 * rank, limit)) {
    sketch.grow(rank);
    const bool near = sketch.last <= options.near_penalty * typical ||
                      sketch.last <= least_rest * sketch.largest;
    const bool flat = rank >= options.least_rank && sketch.last > before / 2;
    if (near || flat || rank == limit)
      break;
    before = sketch.last;
  }
  if (!options.always && !(sketch.last * options.pays <= sketch.largest)) {
    *this = {};
    return false;
  }

  const index r = sketch.Y.rows();
  const Matrix Y = sketch.Y;
  for (index k = 0; k < count; ++k)  // F' = C^-T Y'
    backend.forward_rows(sketch.core[at(k)], segment(Y, k, order));
  std::vector<double> row(at(width)), covered(at(width), 0.0), rest(at(width), 1.0);
  for (index b = 0; b < r; ++b) {
    backend.download(Y.block(b, 1), row.data());
    for (std::size_t j = 0; j < row.size(); ++j)
      covered[j] += row[j] * row[j];
  }
  for (std::size_t j = 0; j < rest.size(); ++j) {
    if (!(diagonal[j] > 0))
      continue;  // nothing there to precondition
    rest[j] = std::sqrt(pull[j] + std::max(1.0 - pull[j] - covered[j], least_rest));
    root[j] *= rest[j];
  }
  backend.upload(rest.data(), scale);
  backend.divide_rows(Y, scale, Y);
  for (index k = 0; k < count; ++k) {
    const Matrix F = segment(Y, k, order);
    const Array& S = sketch.core[at(k)];
    std::vector<double> identity(at(r * r), 0.0);
    for (index i = 0; i < r; ++i)
      identity[at(i * r + i)] = 1.0;
    backend.upload(identity.data(), S);
    backend.multiply(1, F, F, true, 1, S);
    static_cast<void>(backend.potrf(S, 1, 0.0));  // at least I
    backend.forward_rows(S, F);
  }
  backend.upload(root.data(), scale);
  Q_ = std::move(sketch.Y);
  root_ = std::move(scale);
  count_ = count;
  return true;
}

template <class T>
void Nystroem<T>::apply(const Backend<T>& backend, ConstMatrix in, Matrix out) const {
  const index order = Q_.cols() / count_;
  const Array dots = backend.zeros(in.rows, rank());
  for (index k = 0; k < in.cols / order; ++k) {
    const index own = std::min(k, count_ - 1);
    const ConstMatrix Q = segment(ConstMatrix(Q_), own, order);
    const ConstMatrix e = segment(ConstMatrix(root_), own, order);
    const Matrix to = segment(out, k, order);
    backend.divide_rows(segment(in, k, order), e, to);
    backend.multiply(1, to, Q, true, 0, dots);
    backend.multiply(-1, dots, Q, false, 1, to);
    backend.divide_rows(to, e, to);
  }
}

template class Nystroem<double>;
template class Nystroem<float>;

}  // namespace upweight
