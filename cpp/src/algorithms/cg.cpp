// SPDX-License-Identifier: BSD-3-Clause
// Preconditioned conjugate gradients, all right-hand sides at once. Besides A and M^-1,
// a step reads or writes the blocks R, Z, P, Q, X eight times.
#include "upweight/cg.hpp"

#include "host.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>
#include <vector>

namespace upweight {

namespace {

/// Right-hand sides so small, or large, that their squares leave the range of numbers
/// (or they that of float32) take a power of two for a factor: row b of B that of
/// exponent[b]. False, and nothing done, when all are within.
bool rescale(const auto& backend, Matrix B, const std::vector<double>& norm2,
             std::vector<int>& exponent) {
  constexpr double least = 1e-30, most = 1e30;
  if (std::all_of(norm2.begin(), norm2.end(),
                  [&](double s) { return s >= least && s <= most; }))
    return false;
  std::vector<double> values(static_cast<std::size_t>(B.rows * B.cols));
  backend.download(B, values.data());
  exponent.assign(norm2.size(), 0);
  for (std::size_t b = 0; b < norm2.size(); ++b) {
    const auto row = values.begin() + static_cast<std::ptrdiff_t>(b) * B.cols;
    double size = 0;
    for (auto x = row; x != row + B.cols; ++x)
      size = std::max(size, std::fabs(*x));
    if (size > 0 && std::isfinite(size))
      exponent[b] = -std::ilogb(size);
    for (auto x = row; x != row + B.cols; ++x)
      *x = std::scalbn(*x, exponent[b]);
  }
  backend.upload(values.data(), B);
  return true;
}

/// Takes the factors off again.
void unscale(const auto& backend, Matrix B, const std::vector<int>& exponent) {
  std::vector<double> values(static_cast<std::size_t>(B.rows * B.cols));
  backend.download(B, values.data());
  for (std::size_t e = 0; e < values.size(); ++e)
    values[e] = std::scalbn(values[e], -exponent[e / static_cast<std::size_t>(B.cols)]);
  backend.upload(values.data(), B);
}

[[noreturn]] void throw_not_converged(double residual, int iterations,
                                      const CgOptions& options) {
  std::ostringstream message;
  message << "solver: conjugate gradients left a relative residual of " << residual
          << " after " << iterations << " iterations, expected at most " << options.rtol
          << "; raise l2 or cg_rtol" << options.advice;
  throw NotConvergedError(message.str());
}

/// The blocks of one run. Their first `active` rows are the right-hand sides that are
/// not done; `home[b]` is the row of B that row b belongs to.
template <class T>
struct Blocks {
  Blocks(const Backend<T>& backend_, Matrix B)
      : backend(backend_), X(B), active(B.rows), R(backend.zeros(B.rows, B.cols)),
        P(backend.zeros(B.rows, B.cols)), ZQ(backend.zeros(B.rows, B.cols)),
        spare(backend.zeros(1, B.cols)), rho(backend.zeros(B.rows, 1)),
        rho_old(backend.zeros(B.rows, 1)), norm2(backend.zeros(B.rows, 1)),
        home(at(B.rows)), now(at(B.rows)) {
    std::iota(home.begin(), home.end(), index(0));
  }

  [[nodiscard]] Matrix first(Matrix block) const { return block.block(0, active); }
  [[nodiscard]] Matrix first(const Array& block) const { return first(block.view()); }

  void swap_solutions(index a, index b) {
    backend.copy(X.block(a, 1), spare);
    backend.copy(X.block(b, 1), X.block(a, 1));
    backend.copy(spare, X.block(b, 1));
    std::swap(home[at(a)], home[at(b)]);
  }

  /// Moves row b out: the last active one takes its place.
  void retire(index b) {
    const index last = --active;
    if (b == last)
      return;
    for (const Array* block : {&R, &P, &ZQ, &rho, &rho_old})
      backend.copy(block->view().block(last, 1), block->view().block(b, 1));
    now[at(b)] = now[at(last)];
    swap_solutions(b, last);
  }

  /// Puts the solutions back in order.
  void restore() {
    for (index b = 0; b < X.rows; ++b)
      while (home[at(b)] != b)
        swap_solutions(b, home[at(b)]);
  }

  const Backend<T>& backend;
  Matrix X;
  index active;
  Array R, P, ZQ;  // Z and Q are never needed together
  Array spare;     // a row
  Array rho, rho_old, norm2;
  std::vector<index> home;
  std::vector<double> now;  // norm2 on the host
};

}  // namespace

template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const RowOperator& apply,
                             const RowOperator& precondition, Matrix B,
                             const CgOptions& options) {
  const int limit =
      options.max_iter > 0 ? options.max_iter : static_cast<int>(30 * B.cols);
  Blocks<T> blocks(backend, B);
  std::vector<double> at_start(at(B.rows));

  backend.copy(B, blocks.R);  // x = 0: the residual is the right-hand side
  backend.fill(B, 0.0);
  precondition(blocks.R, blocks.ZQ);
  backend.cg_dots(blocks.R, blocks.ZQ, blocks.rho, blocks.norm2);
  backend.download(blocks.norm2, at_start.data());
  std::vector<int> exponent;
  if (rescale(backend, blocks.R, at_start, exponent)) {
    precondition(blocks.R, blocks.ZQ);
    backend.cg_dots(blocks.R, blocks.ZQ, blocks.rho, blocks.norm2);
    backend.download(blocks.norm2, at_start.data());
  }

  CgResult result;
  // retires what is done; returns the worst residual of the rest, 0 when there is none
  const auto look = [&] {
    backend.download(blocks.first(blocks.norm2), blocks.now.data());
    double worst = 0;
    for (index b = blocks.active - 1; b >= 0; --b) {
      const double start = at_start[at(blocks.home[at(b)])];
      const double left = start > 0 ? std::sqrt(blocks.now[at(b)] / start) : 0.0;
      if (left <= options.rtol) {
        result.worst_residual = std::max(result.worst_residual, left);
        blocks.retire(b);
      } else if (!std::isfinite(left)) {
        throw_not_converged(left, result.iterations, options);
      } else {
        worst = std::max(worst, left);
      }
    }
    return worst;
  };
  for (double worst = look(); blocks.active > 0; worst = look()) {
    if (result.iterations >= limit)
      throw_not_converged(worst, result.iterations, options);
    const Matrix R = blocks.first(blocks.R), P = blocks.first(blocks.P),
                 ZQ = blocks.first(blocks.ZQ), X = blocks.first(blocks.X),
                 norm2 = blocks.first(blocks.norm2);
    for (int s = 0; s < options.check_every; ++s) {
      const Matrix rho = blocks.first(blocks.rho);
      backend.cg_direction(ZQ, rho, blocks.first(blocks.rho_old), P);
      apply(P, ZQ);                          // Q = A P
      backend.cg_advance(P, ZQ, rho, X, R);  // X += a P, R -= a Q
      std::swap(blocks.rho, blocks.rho_old);
      precondition(R, ZQ);                                      // Z = M^-1 R
      backend.cg_dots(R, ZQ, blocks.first(blocks.rho), norm2);  // rho = R . Z
    }
    result.iterations += options.check_every;
    result.column_steps += options.check_every * blocks.active;
  }
  blocks.restore();
  if (!exponent.empty())
    unscale(backend, B, exponent);
  return result;
}

template CgResult conjugate_gradients<double>(const Backend<double>&,
                                              const RowOperator&, const RowOperator&,
                                              Matrix, const CgOptions&);
template CgResult conjugate_gradients<float>(const Backend<float>&, const RowOperator&,
                                             const RowOperator&, Matrix,
                                             const CgOptions&);

}  // namespace upweight
