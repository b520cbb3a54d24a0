// SPDX-License-Identifier: BSD-3-Clause
// Preconditioned conjugate gradients, all right-hand sides at once. Besides A and M^-1,
// a step reads or writes the blocks R, Z, P, Q, X eight times.
#include "upweight/cg.hpp"

#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
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

}  // namespace

template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const RowOperator& apply,
                             const RowOperator& precondition, Matrix B,
                             const CgOptions& options) {
  const index m = B.rows, parameters = B.cols;
  const int limit =
      options.max_iter > 0 ? options.max_iter : static_cast<int>(10 * parameters);
  const Array R = backend.zeros(m, parameters), P = backend.zeros(m, parameters);
  const Array ZQ = backend.zeros(m, parameters);  // Z and Q are never needed together
  Array rho = backend.zeros(m, 1), rho_old = backend.zeros(m, 1);
  const Array norm2 = backend.zeros(m, 1);
  std::vector<double> now(static_cast<std::size_t>(m)), at_start(now.size());

  backend.copy(B, R);  // x = 0: the residual is the right-hand side
  backend.fill(B, 0.0);
  precondition(R, ZQ);
  backend.cg_dots(R, ZQ, rho, norm2);
  backend.download(norm2, at_start.data());
  std::vector<int> exponent;
  if (rescale(backend, R, at_start, exponent)) {
    precondition(R, ZQ);
    backend.cg_dots(R, ZQ, rho, norm2);
    backend.download(norm2, at_start.data());
  }

  CgResult result;
  const auto worst_residual = [&] {
    backend.download(norm2, now.data());
    double worst = 0;
    for (std::size_t b = 0; b < now.size(); ++b)
      if (at_start[b] > 0)
        worst = std::max(worst, std::sqrt(now[b] / at_start[b]));
    return worst;
  };
  result.worst_residual = worst_residual();
  while (!(result.worst_residual <= options.rtol)) {
    if (result.iterations >= limit) {
      std::ostringstream message;
      message << "solver: conjugate gradients left a relative residual of "
              << result.worst_residual << " after " << result.iterations
              << " iterations, expected at most " << options.rtol
              << "; raise l2, or use solver='cholesky' in float64";
      throw NotConvergedError(message.str());
    }
    for (int s = 0; s < options.check_every; ++s) {
      backend.cg_direction(ZQ, rho, rho_old, P);  // P = Z + P (rho / rho_old)
      apply(P, ZQ);                               // Q = A P
      backend.cg_advance(P, ZQ, rho, B, R);       // X += a P, R -= a Q
      std::swap(rho, rho_old);
      precondition(R, ZQ);                 // Z = M^-1 R
      backend.cg_dots(R, ZQ, rho, norm2);  // rho = R . Z
    }
    result.iterations += options.check_every;
    result.worst_residual = worst_residual();
  }
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
