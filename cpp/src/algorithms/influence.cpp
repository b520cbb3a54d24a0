// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/influence.hpp"

#include "host.hpp"
#include "part.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>
#include <utility>

namespace upweight {

namespace {

/// What |R^-T H R^-1 - I| may be of a factor that scores and certificates stand on:
/// under what ordinary data's rounding may add up to, and of a condition of 100 on
/// nearer than 100 cond(X) u.
constexpr double sharp_defect = 1e-10;
/// The same where outputs are coupled, whose Gram is that of K rows of P for each.
constexpr double coupled_defect = 1e-6;

double wanted_defect(Family family) {
  return coupling_of(family) == Coupling::full ? coupled_defect : sharp_defect;
}

/// Runs work(first, count) over batches of `rows` test rows whose gradients (and their
/// solutions) take at most `batch_bytes` at a time.
void in_batches(index rows, index parameters, const auto& work) {
  constexpr index batch_bytes = index(128) << 20, least = 64, most = 8192;
  const index row_bytes = parameters * static_cast<index>(sizeof(double));
  const index batch = std::clamp(batch_bytes / row_bytes, least, most);
  for (index first = 0; first < rows; first += batch)
    work(first, std::min(batch, rows - first));
}

}  // namespace

template <class T>
Influence<T>::Influence(const Backend<T>& backend, Problem<T> problem,
                        std::vector<double> theta, const InfluenceOptions& options)
    : backend_(backend), problem_(std::move(problem)), options_(options) {
  NewtonOptions newton_options;
  newton_options.solver = options.solver;
  newton_options.cg = options.cg;
  newton_options.preconditioner = options.preconditioner;
  newton_options.hard_labels = options.hard_labels && options.polish;
  newton_options.apply_last = false;
  newton_options.max_iter = options.polish ? 20 : 0;
  newton_options.tolerance = 1e-11;
  NewtonResult result = newton(backend_, problem_, std::move(theta), newton_options);
  state_ = std::move(result.state);
  state_.hessian.sharpen(backend_, problem_, row_weights(),
                         wanted_defect(problem_.family));
  polish_ = {result.iterations, result.total_move, result.last_move,
             result.gradient_norm};
}

template <class T>
Factor Influence<T>::factor() const {
  if (options_.solver != Solver::dual)
    return state_.hessian.factor();
  std::call_once(factor_once_, [&] {
    factored_ = Hessian<T>(Solver::cholesky, {});
    (void)factored_.assemble(backend_, problem_, row_weights(), state_.residual);
    factored_.sharpen(backend_, problem_, row_weights(),
                      wanted_defect(problem_.family));
  });
  return factored_.factor();
}

template <class T>
double Influence<T>::measured_defect(index k) const {
  (void)factor();
  return options_.solver == Solver::dual ? factored_.measured_defect(k)
                                         : state_.hessian.measured_defect(k);
}

template <class T>
void Influence<T>::solve(Matrix B, const Progress& progress) const {
  state_.hessian.solve(backend_, problem_, row_weights(), B, progress);
}

template <class T>
void Influence<T>::test_gradients(const Design<T>& test, ConstMatrix y, Target target,
                                  Matrix eta, Matrix a) const {
  const Array theta = backend_.zeros(problem_.outputs, problem_.design.columns());
  backend_.upload(state_.theta.data(), theta);
  backend_.linear_predictor(test, theta, eta);
  backend_.target_gradient(problem_.family, target, y, eta, a);
}

template <class T>
void Influence<T>::target_gradients(const Design<T>& test, ConstMatrix y, Target target,
                                    Matrix out) const {
  const index m = test.rows(), K = problem_.outputs;
  const Array eta = backend_.zeros(m, K), a = backend_.zeros(m, K);
  test_gradients(test, y, target, eta, a);
  backend_.gradient_rows(test, a, out);
}

template <class T>
void Influence<T>::scores(const Design<T>& test, ConstMatrix y, Target target,
                          Method method, MatrixView<T> out,
                          const Progress& progress) const {
  const index K = problem_.outputs, P = problem_.parameters();
  const Array removal = method == Method::one_step
                            ? removal_coefficients(leverage_blocks(progress))
                            : Array();
  in_batches(test.rows(), method == Method::one_step ? P * K : P,
             [&](index first, index count) {
               const Design<T> rows = test.block(first, count);
               const ConstMatrix labels = y.block(first, count);
               const MatrixView<T> to = out.block(first, count);
               if (method == Method::influence)
                 first_order(rows, labels, target, to, progress);
               else
                 one_step(rows, labels, target, removal, to, progress);
             });
}

template <class T>
void Influence<T>::first_order(const Design<T>& test, ConstMatrix y, Target target,
                               MatrixView<T> out, const Progress& progress) const {
  const Array V = backend_.zeros(test.rows(), problem_.parameters());
  target_gradients(test, y, target, V);
  solve(V, progress);
  backend_.score(problem_.design, state_.residual, V, out);
}

template <class T>
void Influence<T>::one_step(const Design<T>& test, ConstMatrix y, Target target,
                            ConstMatrix removal, MatrixView<T> out,
                            const Progress& progress) const {
  const index m = test.rows(), K = problem_.outputs;
  const Array eta = backend_.zeros(m, K), slopes = backend_.zeros(m, K);
  test_gradients(test, y, target, eta, slopes);
  // H^-1 (e_k (x) x_t): what moves output k of test row t
  const Array V = unit_rows(backend_, test, K);
  solve(V, progress);
  backend_.change(problem_.design, removal, V, problem_.family, target, y, eta, out);
}

template <class T>
void Influence<T>::mean_scores(const Design<T>& test, ConstMatrix y, Target target,
                               MatrixView<T> out) const {
  const index m = test.rows(), K = problem_.outputs, q = problem_.design.columns();
  const Array eta = backend_.zeros(m, K), a = backend_.zeros(m, K);
  test_gradients(test, y, target, eta, a);
  const Array g = backend_.zeros(K, q);
  backend_.gradient(test, a, g);
  std::vector<double> mean = on_host(g, backend_);
  for (double& value : mean)
    value /= static_cast<double>(m);
  const Array V = backend_.zeros(1, problem_.parameters());
  backend_.upload(mean.data(), V);
  solve(V);
  backend_.score(problem_.design, state_.residual, V, out);
}

template <class T>
void Influence<T>::gradient_scores(ConstMatrix gradients, MatrixView<T> out,
                                   const Progress& progress) const {
  in_batches(gradients.rows, gradients.cols, [&](index first, index count) {
    const Array V = backend_.zeros(count, gradients.cols);
    backend_.copy(gradients.block(first, count), V);
    solve(V, progress);
    backend_.score(problem_.design, state_.residual, V, out.block(first, count));
  });
}

template <class T>
TopK Influence<T>::top(const Design<T>& test, ConstMatrix y, Target target,
                       index k) const {
  const index K = problem_.outputs, P = problem_.parameters();
  TopK all;
  in_batches(test.rows(), P, [&](index first, index count) {
    const Design<T> rows = test.block(first, count);
    const Array eta = backend_.zeros(count, K), a = backend_.zeros(count, K);
    test_gradients(rows, y.block(first, count), target, eta, a);
    const Array gradients = backend_.zeros(count, P);
    backend_.gradient_rows(rows, a, gradients);
    all.append(top_of_batch(gradients, k));
  });
  return all;
}

template <class T>
TopK Influence<T>::gradient_top(ConstMatrix gradients, index k) const {
  TopK all;
  in_batches(gradients.rows, gradients.cols, [&](index first, index count) {
    all.append(top_of_batch(gradients.block(first, count), k));
  });
  return all;
}

template <class T>
TopK Influence<T>::top_of_batch(ConstMatrix gradients, index k) const {
  const index m = gradients.rows, P = gradients.cols, q = problem_.design.columns();
  const Array V = backend_.zeros(m, P);
  backend_.copy(gradients, V);
  solve(V);
  const ScanBounds& rows = training_bounds();

  // |z_t| = (g_t . v_t)^(1/2) and |D v_t|, on the host: m P numbers, once
  const std::vector<double> v = on_host(V, backend_);
  std::vector<double> g(static_cast<std::size_t>(m * P));
  backend_.download(gradients, g.data());
  TestBounds tests;
  for (index t = 0; t < m; ++t) {
    double norm2 = 0, scaled2 = 0;
    for (index j = 0; j < P; ++j) {
      const auto at = static_cast<std::size_t>(t * P + j);
      norm2 += g[at] * v[at];
      const double dv = rows.scale[static_cast<std::size_t>(j % q)] * v[at];
      scaled2 += dv * dv;
    }
    tests.norm.push_back(std::sqrt(std::max(norm2, 0.0)));
    tests.scaled_norm.push_back(std::sqrt(scaled2));
  }
  return backend_.top_k(problem_.design, state_.residual, V, rows, tests, k);
}

/// D (q): root of the diagonal of H, averaged over outputs; 1 where that vanishes.
template <class T>
std::vector<double> Influence<T>::scale() const {
  const Array diagonal = backend_.zeros(1, problem_.parameters());
  backend_.hessian_diagonal(problem_.design, row_weights(), problem_.penalty, diagonal);
  const std::vector<double> host = on_host(diagonal, backend_);
  std::vector<double> d(problem_.penalty.size(), 0.0);
  for (std::size_t j = 0; j < host.size(); ++j)
    d[j % d.size()] += host[j] / static_cast<double>(problem_.outputs);
  for (double& value : d)
    value = value > 0 ? std::sqrt(value) : 1.0;
  return d;
}

template <class T>
const ScanBounds& Influence<T>::training_bounds() const {
  std::call_once(bounds_once_, [&] {
    ScanBounds bounds;
    bounds.scale = scale();
    const Array scaling = backend_.zeros(1, problem_.design.columns());
    backend_.upload(bounds.scale.data(), scaling);
    const index n = problem_.design.rows();
    const Array norms = backend_.zeros(n, 1);
    backend_.scaled_norm(problem_.design, state_.residual, scaling, norms);
    bounds.scaled_norm = on_host(norms, backend_);
    if (state_.hessian.direct()) {
      self_influence(norms);
      bounds.norm = on_host(norms, backend_);
      for (double& norm : bounds.norm)
        norm = std::sqrt(std::max(norm, 0.0));
      bounds.order.resize(static_cast<std::size_t>(n));
      std::iota(bounds.order.begin(), bounds.order.end(), std::int64_t(0));
      std::stable_sort(bounds.order.begin(), bounds.order.end(),
                       [&](std::int64_t i, std::int64_t j) {
                         return bounds.norm[static_cast<std::size_t>(i)] >
                                bounds.norm[static_cast<std::size_t>(j)];
                       });
    }
    bounds_ = std::move(bounds);
  });
  return bounds_;
}

template <class T>
void Influence<T>::self_influence(Matrix out, const Progress& progress) const {
  if (has_factor()) {
    backend_.quadratic_form(problem_.design, factor(), state_.residual, out);
    return;
  }
  // g_i . H^-1 g_i, a block of rows at a time
  const index n = problem_.design.rows(), P = problem_.parameters();
  const index at_once = std::min(n, Hessian<T>::block_rows(P));
  const Array G = backend_.zeros(at_once, P), V = backend_.zeros(at_once, P);
  const Array norm2 = backend_.zeros(at_once, 1);
  for (index first = 0; first < n; first += at_once) {
    const index count = std::min(at_once, n - first);
    const Matrix g = G.view().block(0, count), v = V.view().block(0, count);
    backend_.gradient_rows(problem_.design.block(first, count),
                           state_.residual.view().block(first, count), g);
    backend_.copy(g, v);
    solve(v, progress);
    backend_.cg_dots(g, v, out.block(first, count), norm2.view().block(0, count));
  }
}

template <class T>
Array Influence<T>::leverage_blocks(const Progress& progress) const {
  const index n = problem_.design.rows(), K = problem_.outputs;
  const Coupling coupling = coupling_of(problem_.family);
  const bool coupled = coupling == Coupling::full && K > 1;
  Array C = backend_.zeros(n, coupled ? K * K : K);
  if (has_factor())
    backend_.leverage_blocks(problem_.design, factor(), K, C);
  else
    solve_leverages(coupled, progress, C);
  return C;
}

template <class T>
void Influence<T>::leverage(Matrix out, const Progress& progress) const {
  const index n = problem_.design.rows(), K = problem_.outputs;
  const Array blocks = leverage_blocks(progress);
  const std::vector<double> c = on_host(blocks, backend_);
  const std::vector<double> w = on_host(state_.diagonal, backend_);
  const bool coupled = blocks.cols() != K;
  const std::vector<double> f =
      coupled ? on_host(state_.factor, backend_) : std::vector<double>();
  std::vector<double> h(static_cast<std::size_t>(out.rows * out.cols), 0.0);
  for (index i = 0; i < n; ++i)
    for (index k = 0; k < K; ++k) {
      const auto ik = static_cast<std::size_t>(i * K + k);
      if (!coupled) {  // shared: every output says the same
        h[static_cast<std::size_t>(i * out.cols + (out.cols == 1 ? 0 : k))] =
            w[ik] * c[ik];
        continue;
      }
      double trace = w[ik] * c[static_cast<std::size_t>((i * K + k) * K + k)];
      for (index l = 0; l < K; ++l)
        trace -= f[ik] * f[static_cast<std::size_t>(i * K + l)] *
                 c[static_cast<std::size_t>((i * K + l) * K + k)];
      h[static_cast<std::size_t>(i)] += trace;
    }
  backend_.upload(h.data(), out);
}

template <class T>
Array Influence<T>::removal_coefficients(ConstMatrix blocks) const {
  Array a = backend_.zeros(problem_.design.rows(), problem_.outputs);
  const index bad =
      backend_.removal_coefficients(row_weights(), blocks, state_.residual, a);
  if (bad >= 0) {
    std::ostringstream message;
    message << "X: without training row " << bad
            << " the Hessian is singular (its leverage is 1); use l2 > 0";
    throw SingularError(message.str(), -1);
  }
  return a;
}

template <class T>
void Influence<T>::one_step_coefficients(Matrix out) const {
  backend_.gradient_rows(problem_.design, removal_coefficients(), out);
  solve(out);
}

template <class T>
void Influence<T>::one_step_sqnorm(Matrix out) const {
  const index n = problem_.design.rows(), K = problem_.outputs;
  const Array blocks = leverage_blocks();
  const std::vector<double> a = on_host(removal_coefficients(blocks), backend_);
  const std::vector<double> c = on_host(blocks, backend_);
  const bool coupled = blocks.cols() != K;
  std::vector<double> norms(static_cast<std::size_t>(out.rows * out.cols), 0.0);
  for (index i = 0; i < n; ++i)
    for (index k = 0; k < K; ++k) {
      const auto ik = static_cast<std::size_t>(i * K + k);
      if (!coupled) {
        norms[ik] = a[ik] * a[ik] * c[ik];
        continue;
      }
      for (index l = 0; l < K; ++l)
        norms[static_cast<std::size_t>(i)] +=
            a[ik] * c[static_cast<std::size_t>((i * K + k) * K + l)] *
            a[static_cast<std::size_t>(i * K + l)];
    }
  backend_.upload(norms.data(), out);
}

template <class T>
void Influence<T>::gradient_outer_product(Matrix out) const {
  const std::vector<double> none(problem_.penalty.size(), 0.0);
  const RowWeights outer{{}, state_.residual, 1.0, false};
  backend_.gram(problem_.design, outer, Coupling::full, none, {}, out, {});
}

template <class T>
void Influence<T>::inverse_hessian(Matrix out) const {
  std::vector<double> identity(static_cast<std::size_t>(out.rows * out.cols), 0.0);
  for (index j = 0; j < out.rows; ++j)
    identity[static_cast<std::size_t>(j * out.cols + j)] = 1.0;
  // what softmax leaves undetermined stays out: I - vv', whose rows are orthogonal to v
  const index q = problem_.design.columns(), K = problem_.outputs;
  for (index j = 0; j < (problem_.family == Family::multinomial ? q : 0); ++j)
    if (problem_.penalty[static_cast<std::size_t>(j)] == 0)
      for (index k = 0; k < K; ++k)
        for (index l = 0; l < K; ++l)
          identity[static_cast<std::size_t>((k * q + j) * out.cols + l * q + j)] -=
              1.0 / static_cast<double>(K);
  backend_.upload(identity.data(), out);
  solve(out);
}

template <class T>
void Influence<T>::inverse_blocks(Matrix out) const {
  const index q = problem_.design.columns();
  std::vector<double> identities(static_cast<std::size_t>(out.rows * out.cols), 0.0);
  for (index j = 0; j < q; ++j)
    for (index k = 0; k < problem_.outputs; ++k)
      identities[static_cast<std::size_t>(j * out.cols + k * q + j)] = 1.0;
  backend_.upload(identities.data(), out);
  solve(out);  // each output's segment of a row by its own block
}

template <class T>
index Influence<T>::bytes() const {
  return state_.eta.bytes() + state_.residual.bytes() + state_.diagonal.bytes() +
         state_.factor.bytes() + state_.hessian.bytes();
}

template class Influence<double>;
template class Influence<float>;

}  // namespace upweight
