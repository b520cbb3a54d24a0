// SPDX-License-Identifier: BSD-3-Clause
#include "rounding.hpp"

#include "formula.hpp"
#include "host.hpp"

#include <algorithm>
#include <numeric>

namespace upweight::rounding {

namespace {

/// | |A| |B| |_2 of upper triangles, at most: M = |A| |B| has no negative entry, so
/// that |M|_2^2 <= max_i (M'M x)_i / x_i for any positive x (Collatz and Wielandt),
/// close to it after a few steps of the power method.
double product_norm(const std::vector<double>& A, const std::vector<double>& B,
                    index n) {
  const auto times = [n](const std::vector<double>& M, const std::vector<double>& x) {
    std::vector<double> out(at(n), 0.0);
    for (index i = 0; i < n; ++i)
      for (index j = i; j < n; ++j)
        out[at(i)] += std::fabs(M[at(i * n + j)]) * x[at(j)];
    return out;
  };
  const auto transposed = [n](const std::vector<double>& M,
                              const std::vector<double>& x) {
    std::vector<double> out(at(n), 0.0);
    for (index i = 0; i < n; ++i)
      for (index j = i; j < n; ++j)
        out[at(j)] += std::fabs(M[at(i * n + j)]) * x[at(i)];
    return out;
  };
  std::vector<double> x(at(n), 1.0);
  double least = std::numeric_limits<double>::infinity();
  for (int step = 0; step < 8; ++step) {
    std::vector<double> y = transposed(B, transposed(A, times(A, times(B, x))));
    double most = 0;
    for (index i = 0; i < n; ++i)
      most = std::max(most, y[at(i)] / x[at(i)]);
    least = std::min(least, most);
    const double size = *std::max_element(y.begin(), y.end());
    for (double& value : y)
      value = value / size + 1e-8;  // stays positive
    x = std::move(y);
  }
  return std::sqrt(least);
}

/// sum_i e_i^2 c_ii for the rounding e of residuals.
template <class T>
double residual_squares(const Backend<T>& backend, const Problem<T>& problem,
                        ConstMatrix y, ConstMatrix eta, ConstMatrix r, ConstMatrix C) {
  const index n = r.rows, K = r.cols, step = C.cols == K ? 1 : K + 1;
  const std::vector<double> residual = on_host(r, backend), c = on_host(C, backend);
  std::vector<double> terms = residual;
  if (problem.family != Family::multinomial) {  // whose residuals do not cancel
    const std::vector<double> target = on_host(y, backend), at_ = on_host(eta, backend);
    std::vector<double> s;
    if (!problem.weights.empty())
      s = on_host(problem.weights, backend);
    formula::with_separable(problem.family, [&](auto f) {
      for (index i = 0; i < n; ++i)
        for (index k = 0; k < K; ++k)
          terms[at(i * K + k)] =
              (s.empty() ? 1.0 : s[at(i)]) *
              f.residual_terms(target[at(i * K + k)], at_[at(i * K + k)]);
    });
  }
  double squares = 0;
  for (index i = 0; i < n; ++i)
    for (index k = 0; k < K; ++k) {
      const double each = terms[at(i * K + k)];
      if (each != 0)
        squares += each * each * c[at(i * C.cols + k * step)];
    }
  return squares;
}

/// sum_j dg_j^2 (H^-1)_jj for the rounding dg of X'r and of the penalty's part.
template <class T>
double sum_squares(const Backend<T>& backend, const Problem<T>& problem, ConstMatrix r,
                   const std::vector<double>& theta, const Triangle& R) {
  const index n = r.rows, K = r.cols, q = problem.design.columns();
  const index tile = backend.gradient_tile(problem.design);
  std::vector<double> sizes = on_host(r, backend);
  std::vector<double> total(at(K), 0.0);
  for (index i = 0; i < n; ++i)
    for (index k = 0; k < K; ++k) {
      double& size = sizes[at(i * K + k)];
      size = std::fabs(size);
      total[at(k)] += size;
      if (tile < n)
        size *= size;
    }
  // sum_b (sum_(i in b) |x_ij r_i|)^2 over tiles b of the rows, at most: of tiles of m
  // rows m sum_i (x_ij r_i)^2, of one for all sum_i |r_i| x_ij^2 sum_i |r_i|
  const Array weights = backend.zeros(n, K), columns = backend.zeros(1, K * q);
  backend.upload(sizes.data(), weights);
  const std::vector<double> none(at(q), 0.0);
  backend.hessian_diagonal(problem.design, {weights, {}, 1.0, false}, none, columns);
  const std::vector<double> square = on_host(columns, backend);
  const double unit = sum_error(std::min(tile, n), double_unit);
  double sum = 0;
  for (index j = 0; j < K * q; ++j) {
    const double tiles =
        square[at(j)] * (tile < n ? static_cast<double>(tile) : total[at(j / q)]);
    const double off = unit * std::sqrt(tiles) + 4 * double_unit *
                                                     problem.penalty[at(j % q)] *
                                                     std::fabs(theta[at(j)]);
    sum += off * off * R.inverse[at(j)];
  }
  return sum;
}

/// The part of rows that were computed.
template <class T>
double row_part(const Backend<T>& backend, const Problem<T>& problem, ConstMatrix r,
                const std::vector<double>& theta, const Triangle& R) {
  if (!(problem.row_error > 0) && !(problem.product_error > 0))
    return 0;
  const index n = r.rows, q = problem.design.columns();
  const Array ones = backend.zeros(1, q), pulls = backend.zeros(n, 1);
  backend.fill(ones, 1);
  backend.scaled_norm(problem.design, r, ones, pulls);
  double pull2 = 0, trace = 0, theta2 = 0;
  for (const double pull : on_host(pulls, backend))  // |r_i| |x_i|
    pull2 += pull * pull;
  for (const double entry : R.diagonal)
    trace += entry;
  for (std::size_t j = 0; j < theta.size(); ++j)
    if (problem.penalty[j % at(q)] > 0)
      theta2 += theta[j] * theta[j];
  const double l2 = problem.penalty.front(), pull = std::sqrt(pull2);
  return 2 * std::sqrt(trace) *
             (problem.product_error * pull / l2 +
              problem.row_error * std::sqrt(theta2)) +
         problem.row_error * pull / std::sqrt(l2);
}

}  // namespace

template <class T>
std::vector<double> exact_gradient(const Backend<T>& backend, const Problem<T>& problem,
                                   ConstMatrix r, const std::vector<double>& theta) {
  const index q = problem.design.columns();
  const Array sums = backend.zeros(r.cols, q);
  backend.gradient(problem.design, r, sums);
  std::vector<double> g = on_host(sums, backend);
  for (std::size_t j = 0; j < g.size(); ++j)
    g[j] += problem.penalty[j % at(q)] * theta[j];
  return g;
}

template <class T>
Triangle triangle_of(const Backend<T>& backend, ConstMatrix R) {
  const index P = R.cols;
  const Array identity = backend.zeros(P, P);
  std::vector<double> ones(at(P * P), 0.0);
  for (index j = 0; j < P; ++j)
    ones[at(j * P + j)] = 1;
  backend.upload(ones.data(), identity);
  backend.solve(Factor{R, 1}, identity, true);  // row j: R^-T e_j, the row j of R^-1
  const std::vector<double> r = on_host(R, backend), s = on_host(identity, backend);
  Triangle found{std::vector<double>(at(P), 0.0), std::vector<double>(at(P), 0.0)};
  for (index i = 0; i < P; ++i)
    for (index j = i; j < P; ++j) {
      found.diagonal[at(j)] += r[at(i * P + j)] * r[at(i * P + j)];
      found.inverse[at(i)] += s[at(i * P + j)] * s[at(i * P + j)];
    }
  for (index j = 0; j < P; ++j)
    found.condition =
        std::max(found.condition, found.diagonal[at(j)] * found.inverse[at(j)]);
  found.solve = product_norm(r, s, P);
  return found;
}

double modelled_defect(index order, double condition) {
  return sum_error(16 * order, double_unit) * condition;
}

FactorError factor_error(const Triangle& R, double measured) {
  const auto order = static_cast<index>(R.diagonal.size());
  return {measured >= 0 ? measured : modelled_defect(order, R.condition),
          sum_error(order, double_unit) * R.solve};
}

template <class T>
double gradient_error(const Backend<T>& backend, const Problem<T>& problem,
                      ConstMatrix y, ConstMatrix eta, ConstMatrix r, ConstMatrix C,
                      const std::vector<double>& theta, const Triangle& R) {
  double predictors = 0;
  for (std::size_t j = 0; j < theta.size(); ++j)
    predictors += R.diagonal[j % R.diagonal.size()] * theta[j] * theta[j];
  const index q = problem.design.columns();
  return 2 * sum_error(q, double_unit) * std::sqrt(predictors) +
         4 * double_unit * std::sqrt(residual_squares(backend, problem, y, eta, r, C)) +
         std::sqrt(sum_squares(backend, problem, r, theta, R)) +
         row_part(backend, problem, r, theta, R);
}

template Triangle triangle_of(const Backend<double>&, ConstMatrix);
template Triangle triangle_of(const Backend<float>&, ConstMatrix);
template std::vector<double> exact_gradient(const Backend<double>&,
                                            const Problem<double>&, ConstMatrix,
                                            const std::vector<double>&);
template std::vector<double> exact_gradient(const Backend<float>&,
                                            const Problem<float>&, ConstMatrix,
                                            const std::vector<double>&);
template double gradient_error(const Backend<double>&, const Problem<double>&,
                               ConstMatrix, ConstMatrix, ConstMatrix, ConstMatrix,
                               const std::vector<double>&, const Triangle&);
template double gradient_error(const Backend<float>&, const Problem<float>&,
                               ConstMatrix, ConstMatrix, ConstMatrix, ConstMatrix,
                               const std::vector<double>&, const Triangle&);

}  // namespace upweight::rounding
