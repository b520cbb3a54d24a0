// SPDX-License-Identifier: BSD-3-Clause
#include "part.hpp"

#include "formula.hpp"
#include "host.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

namespace upweight {

namespace {

ConstMatrix column(ConstMatrix matrix, index k) {
  return matrix.empty() ? matrix : matrix.columns(k, 1);
}

/// Part::mean_spread, at most: rows up to a cut c count as c, whose sum is at most c H;
/// of the eighth of the rows above it, what they have over c is summed in whitened
/// coordinates. m q^2 flops twice, m = n / 8.
template <class T>
double mean_spread(const Backend<T>& backend, const Problem<T>& problem,
                   const Part<T>& part) {
  const index n = problem.design.rows(), q = problem.design.columns();
  if (!part.whitened || part.M == 0 || q > 512 || n < 8 * q)
    return part.largest_spread;
  std::vector<double> sorted = part.spread;
  const auto eighth = sorted.begin() + n / 8;
  std::nth_element(sorted.begin(), eighth, sorted.end(), std::greater<>());
  const double cut = *eighth;
  const std::vector<double> w = on_host(part.W.diagonal, backend);
  std::vector<std::int64_t> rows;
  std::vector<double> excess;
  for (index j = 0; j < n; ++j)
    if (part.spread[at(j)] > cut) {
      rows.push_back(j);
      excess.push_back(w[at(j)] * (part.spread[at(j)] - cut));
    }
  if (rows.empty())
    return cut;
  const auto m = static_cast<index>(rows.size());
  const BasicArray<T> Z = zeros_of<T>(backend, m, q);
  backend.whiten(problem.design, part.R, rows.data(), Z.view());
  const Array weights = backend.zeros(m, 1), S = backend.zeros(q, q);
  backend.upload(excess.data(), weights);
  const std::vector<double> none(at(q), 0.0);
  backend.gram(Design<T>{Z, false}, {weights, {}, 1.0, false}, Coupling::shared, none,
               {}, S, {});
  constexpr double rounding = 1e-5;  // of Z in float32
  return cut + backend.eigenvalues(S).back() * (1 + rounding);
}

/// |grad J(theta)|_{H^-1} of the part, as computed and of what rounding hides.
template <class T>
void measure_gradient(const Influence<T>& influence, index k,
                      const rounding::Triangle& R, Part<T>& part) {
  const Backend<T>& backend = influence.backend();
  const Problem<T>& problem = influence.problem();
  const index q = problem.design.columns(), K = part.outputs;
  const auto own = influence.theta().begin() + (part.whitened ? k * q : 0);
  const std::vector<double> theta(own, own + K * q);
  const std::vector<double> gradient =
      rounding::exact_gradient(backend, problem, part.r, theta);
  const Array solved = backend.zeros(1, K * q);
  backend.upload(gradient.data(), solved);
  backend.solve(Factor{part.R, 1}, solved, false);
  const std::vector<double> h = on_host(solved, backend);
  const double square =
      std::inner_product(gradient.begin(), gradient.end(), h.begin(), 0.0);
  part.gradient_error = rounding::gradient_error(backend, problem, part.y, part.eta,
                                                 part.r, part.C, theta, R);
  part.gradient_norm = std::sqrt(std::max(square, 0.0)) + part.gradient_error;
}

/// What takes the largest weight to about 1 when squared, where it is far from it.
template <class T>
double unit_of(const Backend<T>& backend, const Part<T>& part) {
  const double largest =
      backend.max_abs(part.whitened || part.s.empty() ? part.W.diagonal : part.s);
  int exponent = 0;
  if (largest > 0 && std::isfinite(largest))
    (void)std::frexp(largest, &exponent);
  constexpr int near = 40;
  return std::abs(exponent) <= near ? 1 : std::ldexp(1.0, exponent / 2);
}

/// Puts the part in units in which its largest weight is about 1. Exact: powers of 2.
template <class T>
void scale(const Backend<T>& backend, Part<T>& part) {
  const double unit = unit_of(backend, part);
  if (unit == 1)
    return;
  const auto times = [&](ConstMatrix matrix, double factor) -> ConstMatrix {
    if (matrix.empty())
      return matrix;
    std::vector<double> values = on_host(matrix, backend);
    for (double& value : values)
      value *= factor;
    part.scaled.push_back(backend.zeros(matrix.rows, matrix.cols));
    backend.upload(values.data(), part.scaled.back());
    return part.scaled.back();
  };
  const double inverse = 1 / unit;
  part.unit = unit;
  part.R = times(part.R, inverse);
  part.W.diagonal = times(times(part.W.diagonal, inverse), inverse);
  part.W.factor = times(part.W.factor, inverse);
  part.r = times(times(part.r, inverse), inverse);
  part.s = times(times(part.s, inverse), inverse);
  (void)times(times(part.C, unit), unit);
  part.C = std::move(part.scaled.back());
  part.scaled.pop_back();
  part.gradient_norm *= inverse;
  part.gradient_error *= inverse;
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
  part.R = influence.factor().block(k);
  part.W = influence.row_weights();
  part.y = problem.y;
  part.r = influence.residual();
  part.eta = influence.linear_predictor();
  part.s = problem.weights;
  part.M = formula::move_concordance(problem.family);
  if (!coupled) {
    part.W.diagonal = column(part.W.diagonal, k);
    part.y = column(part.y, k);
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
  const rounding::Triangle R = rounding::triangle_of(backend, part.R);
  part.factor_error = rounding::factor_error(R, influence.measured_defect(k));
  part.condition = R.condition;
  const index K = part.outputs;
  part.C = backend.zeros(problem.design.rows(), K * K);
  backend.leverage_blocks(problem.design, Factor{part.R, 1}, K, part.C);
  measure_gradient(influence, k, R, part);
  scale(backend, part);
  Problem<T> own = problem;
  own.outputs = K;
  part.spread = move_spread(backend, own, part.C);
  part.largest_spread = *std::max_element(part.spread.begin(), part.spread.end()) *
                        (1 + part.factor_error.products());
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

template <class T>
Array unit_rows(const Backend<T>& backend, const Design<T>& test, index K) {
  const index m = test.rows(), P = K * test.columns();
  Array V = backend.zeros(m * K, P);
  const Array unit = backend.zeros(m, K);
  std::vector<double> ones(at(m * K));
  for (index k = 0; k < K; ++k) {
    for (index t = 0; t < m; ++t)
      for (index l = 0; l < K; ++l)
        ones[at(t * K + l)] = l == k ? 1.0 : 0.0;
    backend.upload(ones.data(), unit);
    backend.gradient_rows(test, unit, Matrix(V.view().row(k), m, P, K * P));
  }
  return V;
}

template Array unit_rows(const Backend<double>&, const Design<double>&, index);
template Part<double> bare_part(const Influence<double>&, index);
template Part<double> make_part(const Influence<double>&, index);
template void member_rows(const Backend<double>&, const Design<double>&,
                          const Part<double>&, const RowSets&, Array&, Array&);
template std::vector<double> move_spread(const Backend<double>&, const Problem<double>&,
                                         ConstMatrix);
template Array unit_rows(const Backend<float>&, const Design<float>&, index);
template Part<float> bare_part(const Influence<float>&, index);
template Part<float> make_part(const Influence<float>&, index);
template void member_rows(const Backend<float>&, const Design<float>&,
                          const Part<float>&, const RowSets&, Array&, Array&);
template std::vector<double> move_spread(const Backend<float>&, const Problem<float>&,
                                         ConstMatrix);

}  // namespace upweight
