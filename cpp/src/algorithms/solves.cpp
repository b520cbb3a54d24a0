// SPDX-License-Identifier: BSD-3-Clause
// What takes the place of a factor: leverages by solves for every row, and the sampled
// recursion of the influence-function paper.
#include "host.hpp"
#include "part.hpp"
#include "upweight/influence.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace upweight {

/// Leverages by solves: of coupled outputs for each e_k (x) x_i, of outputs apart for
/// all outputs at once, (x_i, .., x_i), of a shared Hessian for x_i.
template <class T>
void Influence<T>::solve_leverages(bool coupled, const Progress& progress,
                                   Matrix C) const {
  const index n = problem_.design.rows(), K = problem_.outputs;
  const index q = problem_.design.columns();
  const bool shared = coupling_of(problem_.family) == Coupling::shared;
  const index copies = shared ? 1 : K;  // of x_i in a right-hand side
  const index at_once =
      std::max<index>(1, Hessian<T>::block_rows(copies * q) / (coupled ? K : 1));
  const Array ones = backend_.zeros(at_once, copies);
  backend_.fill(ones, 1.0);
  const Array dots = backend_.zeros(at_once, 1), norm2 = backend_.zeros(at_once, 1);
  for (index first = 0; first < n; first += at_once) {
    const index count = std::min(at_once, n - first);
    const Design<T> rows = problem_.design.block(first, count);
    if (coupled) {
      const Array E = unit_rows(backend_, rows, K);
      const Array V = backend_.zeros(E.rows(), E.cols());
      backend_.copy(E, V);
      solve(V, progress);
      RowSets each;
      for (std::int64_t i = 0; i < count; ++i)
        each.add(&i, 1);
      backend_.inner_blocks(each, K, E, V, C.block(first, count));
      continue;
    }
    const Array E = backend_.zeros(count, copies * q);
    const Array V = backend_.zeros(count, copies * q);
    backend_.gradient_rows(rows, ones.view().block(0, count), E);
    backend_.copy(E, V);
    solve(V, progress);
    const auto output = [&](const Array& of, index k) {
      return Matrix(of.view().data + k * q, count, q, copies * q);
    };
    for (index k = 0; k < K; ++k) {
      const index own = shared ? 0 : k;
      backend_.cg_dots(output(E, own), output(V, own), dots.view().block(0, count),
                       norm2.view().block(0, count));
      backend_.copy(dots.view().block(0, count),
                    Matrix(C.row(first) + k, count, 1, C.stride));
    }
  }
}

template <class T>
double Influence<T>::sampled_solve(ConstMatrix B, const std::int64_t* sample,
                                   index steps, index batch, double scale,
                                   Matrix v) const {
  const index n = problem_.design.rows(), K = problem_.outputs;
  const index q = problem_.design.columns(), m = B.rows;
  const RowWeights W = row_weights();
  const BasicArray<T> rows = zeros_of<T>(backend_, batch, q);
  const Design<T> sampled{rows.view(), false};  // gathered with their ones
  const Array diagonal = backend_.zeros(batch, K);
  const Array factor = W.factor.empty() ? Array() : backend_.zeros(batch, K);
  const Array product = backend_.zeros(m, B.cols);
  const RowWeights own{diagonal, factor, W.sign, W.rows_sum_to_zero};
  // n / batch times a sampled sum is what the recursion subtracts: into the step
  const double more = static_cast<double>(n) / static_cast<double>(batch);
  std::vector<double> penalty = problem_.penalty;
  for (double& pull : penalty)
    pull /= more;
  const Array one = backend_.zeros(m, 1), step = backend_.zeros(m, 1);
  backend_.fill(one, 1.0);
  backend_.fill(step, -more / scale);

  backend_.copy(B, v);
  for (index j = 0; j < steps; ++j) {
    const std::int64_t* chosen = sample + j * batch;
    backend_.gather_design(problem_.design, chosen, rows.view());
    backend_.copy_rows(W.diagonal, chosen, diagonal, nullptr, batch);
    if (!W.factor.empty())
      backend_.copy_rows(W.factor, chosen, factor, nullptr, batch);
    backend_.hessian_product(sampled, own, penalty, {}, v, product);
    backend_.cg_direction(v, step, one, product);  // v - H_s v / scale
    backend_.cg_direction(B, one, one, product);   // + b
    backend_.copy(product, v);
  }
  const Array divisor = backend_.zeros(1, B.cols);
  backend_.fill(divisor, scale);
  backend_.divide_rows(v, divisor, v);
  return backend_.max_abs(v);
}

template class Influence<double>;
template class Influence<float>;

}  // namespace upweight
