// SPDX-License-Identifier: BSD-3-Clause
#include "whitened_gram.hpp"

#include "host.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace upweight {

namespace {

constexpr index block_bytes = index(32) << 20;

/// G += A'B for the rows of A and B.
template <class T>
void add_products(const Backend<T>& backend, ConstMatrix A, ConstMatrix B,
                  const Array& G) {
  const Array columns = backend.zeros(A.cols, A.rows);
  backend.transpose(A, columns);
  backend.multiply(1, columns, B, false, 1, G);
}

/// Rows w_i z_i of z_i.
void weigh(std::vector<double>& z, index width, const double* w, index step) {
  for (std::size_t i = 0; i * at(width) < z.size(); ++i)
    for (std::size_t j = i * at(width); j < (i + 1) * at(width); ++j)
      z[j] *= w[static_cast<index>(i) * step];
}

/// Rows (W_i (x) I) of the K rows of z that each example has.
void weigh_coupled(std::vector<double>& z, index K, index width, const double* diagonal,
                   const double* factor, double sign) {
  std::vector<double> along(at(width));
  const index n = static_cast<index>(z.size()) / (K * width);
  for (index i = 0; i < n; ++i) {
    double* rows = z.data() + i * K * width;
    std::fill(along.begin(), along.end(), 0.0);
    for (index k = 0; k < K; ++k)
      for (index j = 0; j < width; ++j)
        along[at(j)] += factor[i * K + k] * rows[k * width + j];
    for (index k = 0; k < K; ++k)
      for (index j = 0; j < width; ++j) {
        double& entry = rows[k * width + j];
        entry = diagonal[i * K + k] * entry + sign * factor[i * K + k] * along[at(j)];
      }
  }
}

/// R^-T (P + tie) R^-1, added to G: as the products of R^-T times roots of P's rows.
template <class T>
void add_penalty(const Backend<T>& backend, const std::vector<double>& penalty,
                 const std::vector<double>& tie, ConstMatrix R, const Array& G) {
  const index q = static_cast<index>(penalty.size()), P = R.cols, K = P / q;
  std::vector<double> rows;
  for (index c = 0; c < P; ++c)
    if (penalty[at(c % q)] > 0) {
      rows.resize(rows.size() + at(P), 0.0);
      rows[rows.size() - at(P) + at(c)] = std::sqrt(penalty[at(c % q)]);
    }
  for (index j = 0; j < static_cast<index>(tie.size()); ++j)
    if (tie[at(j)] > 0) {
      rows.resize(rows.size() + at(P), 0.0);
      for (index k = 0; k < K; ++k)
        rows[rows.size() - at(P) + at(k * q + j)] =
            std::sqrt(tie[at(j)] / static_cast<double>(K));
    }
  if (rows.empty())
    return;
  const Array B = backend.zeros(static_cast<index>(rows.size()) / P, P);
  backend.upload(rows.data(), B);
  backend.solve(Factor{R, 1}, B, true);
  add_products(backend, B, B, G);
}

}  // namespace

template <class T>
Array whitened_gram(const Backend<T>& backend, const Problem<T>& problem,
                    const RowWeights& W, index output, const std::vector<double>& tie,
                    ConstMatrix R) {
  const Design<T>& design = problem.design;
  const index n = design.rows(), q = design.columns(), P = R.cols, K = P / q;
  Array G = backend.zeros(P, P);
  const std::vector<double> diagonal = on_host(W.diagonal, backend);
  const std::vector<double> factor =
      K > 1 ? on_host(W.factor, backend) : std::vector<double>();
  const index outputs = W.diagonal.cols;
  const index at_once =
      std::clamp<index>(block_bytes / (3 * K * P * index(sizeof(double))), 64, 65536);
  std::vector<std::int64_t> numbers;
  for (index first = 0; first < n; first += at_once) {
    const index rows = std::min(at_once, n - first);
    numbers.resize(at(rows));
    std::iota(numbers.begin(), numbers.end(), first);
    const Array Z = backend.zeros(rows * K, P), weighted = backend.zeros(rows * K, P);
    if (K == 1) {
      backend.whiten(design, R, numbers.data(), Z.view());
    } else {
      const Array x = backend.zeros(rows, q);
      backend.gather_design(design, numbers.data(), x.view());
      for (index k = 0; k < K; ++k)  // e_k (x) x_i in row i K + k
        backend.copy(x, Matrix(Z.view().row(k) + k * q, rows, q, K * P));
      backend.solve(Factor{R, 1}, Z, true);
    }
    std::vector<double> z = on_host(Z, backend);
    if (K == 1)
      weigh(z, P, diagonal.data() + first * outputs + output, outputs);
    else
      weigh_coupled(z, K, P, diagonal.data() + first * K, factor.data() + first * K,
                    W.sign);
    backend.upload(z.data(), weighted);
    add_products(backend, Z, weighted, G);
  }
  add_penalty(backend, problem.penalty, tie, R, G);
  return G;
}

double distance_to_identity(const std::vector<double>& G, index order) {
  double squares = 0, most = 0;
  for (index i = 0; i < order; ++i) {
    double row = 0;
    for (index j = 0; j < order; ++j) {
      const double entry = G[at(i * order + j)] - (i == j ? 1.0 : 0.0);
      row += std::fabs(entry);
      squares += entry * entry;
    }
    most = std::max(most, row);
  }
  return std::min(most, std::sqrt(squares));
}

template Array whitened_gram(const Backend<double>&, const Problem<double>&,
                             const RowWeights&, index, const std::vector<double>&,
                             ConstMatrix);
template Array whitened_gram(const Backend<float>&, const Problem<float>&,
                             const RowWeights&, index, const std::vector<double>&,
                             ConstMatrix);

}  // namespace upweight
