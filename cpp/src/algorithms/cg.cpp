// SPDX-License-Identifier: BSD-3-Clause
// Preconditioned conjugate gradients for H x_b = b, all right-hand sides at once.
// A step reads X once (4 n P B flops) and the four blocks R, P, Q, X once or twice.
#include "upweight/cg.hpp"

#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

namespace upweight {

namespace {

/// Strength of the tie between the outputs of each column that softmax leaves without a
/// curvature of its own: the mean of H's diagonal there, added to it as tau vv'. Empty
/// when there is none. `diagonal` (P) becomes that of the tied H.
std::vector<double> tie_outputs(const RowWeights& W, const std::vector<double>& penalty,
                                std::vector<double>& diagonal) {
  if (!W.rows_sum_to_zero)
    return {};
  const std::size_t q = penalty.size(), K = diagonal.size() / q;
  std::vector<double> tie(q, 0.0);
  for (std::size_t j = 0; j < q; ++j) {
    if (penalty[j] != 0)
      continue;
    for (std::size_t k = 0; k < K; ++k)
      tie[j] += diagonal[k * q + j] / static_cast<double>(K);
    for (std::size_t k = 0; k < K; ++k)
      diagonal[k * q + j] += tie[j] / static_cast<double>(K);
  }
  return tie;
}

}  // namespace

template <class T>
CgResult conjugate_gradients(const Backend<T>& backend, const Design<T>& X,
                             const RowWeights& W, const std::vector<double>& penalty,
                             Matrix B, const CgOptions& options) {
  const index m = B.rows, parameters = B.cols;
  const int limit =
      options.max_iter > 0 ? options.max_iter : static_cast<int>(10 * parameters);
  const Array precond = backend.zeros(1, parameters);
  backend.hessian_diagonal(X, W, penalty, precond);
  std::vector<double> diagonal(static_cast<std::size_t>(parameters));
  backend.download(precond, diagonal.data());
  const std::vector<double> tie = tie_outputs(W, penalty, diagonal);
  backend.upload(diagonal.data(), precond);

  const Array R = backend.zeros(m, parameters), P = backend.zeros(m, parameters);
  const Array Q = backend.zeros(m, parameters);
  Array rho = backend.zeros(m, 1), rho_old = backend.zeros(m, 1);
  const Array norm2 = backend.zeros(m, 1);
  std::vector<double> now(static_cast<std::size_t>(m)), at_start(now.size());

  backend.copy(B, R);  // x = 0: the residual is the right-hand side
  backend.fill(B, 0.0);
  backend.cg_dots(R, precond, rho, norm2);
  backend.download(norm2, at_start.data());

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
  while (result.worst_residual > options.rtol) {
    if (result.iterations >= limit) {
      std::ostringstream message;
      message << "solver='cg': the relative residual is " << result.worst_residual
              << " after " << result.iterations << " iterations, expected at most "
              << options.rtol << "; raise l2 or use solver='cholesky'";
      throw NotConvergedError(message.str());
    }
    for (int s = 0; s < options.check_every; ++s) {
      backend.cg_direction(R, precond, rho, rho_old,
                           P);  // P = R / D + P (rho / rho_old)
      backend.hessian_product(X, W, penalty, tie, P, Q);  // Q = H P
      backend.cg_advance(P, Q, rho, B, R);                // X += a P, R -= a Q
      std::swap(rho, rho_old);
      backend.cg_dots(R, precond, rho, norm2);  // rho = R . R / D
    }
    result.iterations += options.check_every;
    result.worst_residual = worst_residual();
  }
  return result;
}

template CgResult conjugate_gradients<double>(const Backend<double>&,
                                              const Design<double>&, const RowWeights&,
                                              const std::vector<double>&, Matrix,
                                              const CgOptions&);
template CgResult conjugate_gradients<float>(const Backend<float>&,
                                             const Design<float>&, const RowWeights&,
                                             const std::vector<double>&, Matrix,
                                             const CgOptions&);

}  // namespace upweight
