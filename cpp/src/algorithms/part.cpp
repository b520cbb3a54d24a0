// SPDX-License-Identifier: BSD-3-Clause
#include "part.hpp"

#include "formula.hpp"
#include "host.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace upweight {

namespace {

ConstMatrix column(ConstMatrix matrix, index k) {
  return matrix.empty() ? matrix
                        : ConstMatrix(matrix.data + k, matrix.rows, 1, matrix.stride);
}

/// max (H_jj)^(1/2) / R_jj, H_jj being the square of R's column j.
double pivot_ratio(ConstMatrix R, const auto& backend) {
  const std::vector<double> r = on_host(R, backend);
  double worst = 1;
  for (index j = 0; j < R.cols; ++j) {
    double h = 0;
    for (index i = 0; i <= j; ++i)
      h += r[at(i * R.cols + j)] * r[at(i * R.cols + j)];
    worst = std::max(worst, std::sqrt(h) / std::fabs(r[at(j * R.cols + j)]));
  }
  return worst;
}

/// Part::mean_spread, at the cost of another Gram; what bounds it where that costs
/// more than it tells.
template <class T>
double mean_spread(const Backend<T>& backend, const Problem<T>& problem,
                   const Part<T>& part) {
  const index n = problem.design.rows(), q = problem.design.columns();
  if (!part.whitened || part.M == 0 || q > 512 || n < 8 * q)
    return part.largest_spread;
  std::vector<double> w = on_host(part.W.diagonal, backend);
  for (index j = 0; j < n; ++j)
    w[at(j)] *= part.spread[at(j)];
  const Array weights = backend.zeros(n, 1), S = backend.zeros(q, q);
  backend.upload(w.data(), weights);
  const std::vector<double> none(at(q), 0.0);
  backend.gram(problem.design, {weights, {}, 1.0, false}, Coupling::shared, none, {}, S,
               {});
  std::vector<double> s = on_host(S, backend);
  for (int side = 0; side < 2; ++side) {  // R^-T S R^-1, by rows and by columns
    for (index i = 0; i < q; ++i)
      for (index j = 0; j < i; ++j) {
        if (side == 0)
          s[at(i * q + j)] = s[at(j * q + i)];  // the upper triangle is what is there
        else
          std::swap(s[at(i * q + j)], s[at(j * q + i)]);
      }
    backend.upload(s.data(), S);
    backend.solve(Factor{part.R, 1}, S, true);
    s = on_host(S, backend);
  }
  return backend.largest_eigenvalue(S) * (1 + 1e-10);
}

/// |grad J(theta)|_{H^-1} of the part, as computed and of what rounding hides.
template <class T>
double gradient_norm(const Influence<T>& influence, const Part<T>& part, index k) {
  const Backend<T>& backend = influence.backend();
  const Problem<T>& problem = influence.problem();
  const index q = problem.design.columns(), K = part.outputs;
  const Array g = backend.zeros(K, q);
  backend.gradient(problem.design, part.r, g);
  std::vector<double> gradient = on_host(g, backend);
  const double* theta = influence.theta().data() + (part.whitened ? k * q : 0);
  for (std::size_t j = 0; j < gradient.size(); ++j)
    gradient[j] += problem.penalty[j % at(q)] * theta[j];
  const Array solved = backend.zeros(1, K * q);
  backend.upload(gradient.data(), solved);
  backend.solve(Factor{part.R, 1}, solved, false);
  const std::vector<double> h = on_host(solved, backend);
  const double square =
      std::inner_product(gradient.begin(), gradient.end(), h.begin(), 0.0);
  return std::sqrt(std::max(square, 0.0)) +
         predictor_error(backend, part.W.diagonal, part.eta, q);
}

}  // namespace

void centre(std::vector<double>& rows, index outputs, index segment) {
  const index width = outputs * segment;
  for (double* row = rows.data(); row < rows.data() + rows.size(); row += width)
    for (index j = 0; j < segment; ++j) {
      double mean = 0;
      for (index k = 0; k < outputs; ++k)
        mean += row[k * segment + j] / static_cast<double>(outputs);
      for (index k = 0; k < outputs; ++k)
        row[k * segment + j] -= mean;
    }
}

template <class T>
double predictor_error(const Backend<T>& backend, ConstMatrix w, ConstMatrix eta,
                       index q) {
  const std::vector<double> weights = on_host(w, backend),
                            at_rows = on_host(eta, backend);
  double squares = 0;
  for (std::size_t i = 0; i < weights.size(); ++i)
    if (weights[i] > 0)  // of others the predictor may be anywhere
      squares += weights[i] * at_rows[i] * at_rows[i];
  return 4 * std::sqrt(static_cast<double>(q)) * 0x1p-53 * std::sqrt(squares);
}

template <class T>
std::vector<double> move_spread(const Backend<T>& backend, const Problem<T>& problem,
                                ConstMatrix C) {
  const index n = problem.design.rows(), K = problem.outputs;
  const std::vector<double> c = on_host(C, backend);
  std::vector<double> weights, spread(at(n), 0.0);
  if (!problem.weights.empty())
    weights = on_host(problem.weights, backend);
  for (index i = 0; i < n; ++i) {
    if (!weights.empty() && !(weights[at(i)] > 0))
      continue;
    const double* block = c.data() + i * C.cols;
    double& most = spread[at(i)];
    if (C.cols == K && problem.family != Family::multinomial) {
      most = *std::max_element(block, block + K);
      continue;
    }
    for (index k = 0; k < K; ++k)
      for (index l = 0; l < k; ++l)
        most =
            std::max(most, block[k * K + k] + block[l * K + l] - 2 * block[k * K + l]);
  }
  return spread;
}

template <class T>
Part<T> bare_part(const Influence<T>& influence, index k) {
  const Problem<T>& problem = influence.problem();
  const bool coupled = coupling_of(problem.family) == Coupling::full;
  Part<T> part;
  part.family = problem.family;
  part.outputs = coupled ? problem.outputs : 1;
  part.whitened = !coupled;
  part.R = influence.state().hessian.factor().block(k);
  part.W = influence.row_weights();
  part.r = influence.residual();
  part.eta = influence.linear_predictor();
  part.s = problem.weights;
  part.M = formula::move_concordance(problem.family);
  if (!coupled) {
    part.W.diagonal = column(part.W.diagonal, k);
    part.r = column(part.r, k);
    part.eta = column(part.eta, k);
  }
  return part;
}

template <class T>
Part<T> make_part(const Influence<T>& influence, index k) {
  const Backend<T>& backend = influence.backend();
  const Problem<T>& problem = influence.problem();
  Part<T> part = bare_part(influence, k);
  part.pivot_ratio = pivot_ratio(part.R, backend);
  part.gradient_norm = gradient_norm(influence, part, k);
  const index K = part.outputs;
  part.C = backend.zeros(problem.design.rows(), K * K);
  backend.leverage_blocks(problem.design, Factor{part.R, 1}, K, part.C);
  Problem<T> own = problem;
  own.outputs = K;
  part.spread = move_spread(backend, own, part.C);
  part.largest_spread = *std::max_element(part.spread.begin(), part.spread.end());
  part.mean_spread = mean_spread(backend, problem, part);
  return part;
}

template <class T>
void member_rows(const Backend<T>& backend, const Design<T>& design,
                 const Part<T>& part, const RowSets& sets, Array& E, Array& V) {
  const index q = design.columns(), K = part.outputs, M = sets.total();
  if (part.whitened) {
    E = backend.zeros(M, q);
    backend.whiten(design, part.R, sets.members.data(), E.view());
    return;
  }
  const Array x = backend.zeros(M, q);
  backend.gather_design(design, sets.members.data(), x.view());
  E = backend.zeros(M * K, K * q);
  for (index k = 0; k < K; ++k)  // segment k of the rows m K + k
    backend.copy(x, Matrix(E.view().row(k) + k * q, M, q, K * K * q));
  V = backend.zeros(M * K, K * q);
  backend.copy(E, V);
  backend.solve(Factor{part.R, 1}, V, false);
}

template Part<double> bare_part(const Influence<double>&, index);
template Part<double> make_part(const Influence<double>&, index);
template void member_rows(const Backend<double>&, const Design<double>&,
                          const Part<double>&, const RowSets&, Array&, Array&);
template double predictor_error(const Backend<double>&, ConstMatrix, ConstMatrix,
                                index);
template std::vector<double> move_spread(const Backend<double>&, const Problem<double>&,
                                         ConstMatrix);
template Part<float> bare_part(const Influence<float>&, index);
template Part<float> make_part(const Influence<float>&, index);
template void member_rows(const Backend<float>&, const Design<float>&,
                          const Part<float>&, const RowSets&, Array&, Array&);
template double predictor_error(const Backend<float>&, ConstMatrix, ConstMatrix, index);
template std::vector<double> move_spread(const Backend<float>&, const Problem<float>&,
                                         ConstMatrix);

}  // namespace upweight
