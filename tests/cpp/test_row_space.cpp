// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"
#include "upweight/dual.hpp"
#include "upweight/error.hpp"
#include "upweight/hessian.hpp"
#include "upweight/row_space.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

Array copy_of(const Backend<double>& backend, const Values& from) {
  Array to = backend.zeros(from.rows(), from.cols());
  backend.copy(from, to);
  return to;
}

/// Inner products of rows.
template <class T>
Values naive_gram(const Design<T>& Y, const Design<T>& X) {
  Values K(Y.rows(), X.rows());
  for (index t = 0; t < Y.rows(); ++t)
    for (index i = 0; i < X.rows(); ++i)
      for (index j = 0; j < X.features.cols; ++j)
        K(t, i) += static_cast<double>(Y.features(t, j)) *
                   static_cast<double>(X.features(i, j));
  return K;
}

double largest_gap(const Values& a, const Values& b) {
  double worst = 0;
  for (index i = 0; i < a.rows(); ++i)
    for (index j = 0; j < a.cols(); ++j)
      worst = std::max(worst, std::fabs(a(i, j) - b(i, j)));
  return worst;
}

/// Z Z' of a row space's coordinates.
Values products_of(const Backend<double>& backend, const RowSpace& space) {
  const Array Z = backend.zeros(space.rows(), space.rank());
  space.coordinates(Z);
  Values K(space.rows(), space.rows());
  for (index i = 0; i < K.rows(); ++i)
    for (index j = 0; j < K.cols(); ++j)
      for (index l = 0; l < space.rank(); ++l)
        K(i, j) += Z.view()(i, l) * Z.view()(j, l);
  return K;
}

}  // namespace

TEST_CASE_TEMPLATE("kernels are their formulas", T, double, float) {
  for (const index n : {1, 15, 257, 300})
    for (const index p : {1, 9}) {
      const RandomDesign<T> X(n, p + 1, true, 3), Y(n / 2 + 1, p + 1, true, 4);
      const auto cpu = words<T>(2);
      const double tolerance = 1e-13;
      for (const bool same : {false, true}) {
        const Design<T> left = same ? X.view() : Y.view();
        const Values products = naive_gram(left, X.view());
        const Values xx = naive_gram(X.view(), X.view());
        const Values yy = naive_gram(left, left);
        Values out(left.rows(), n, 2), expected(left.rows(), n);
        cpu->kernel({Kernel::Kind::linear, 1, 0, 1}, left, X.view(), same, out);
        CHECK(largest_gap(out, products) < tolerance);
        CHECK(out.gaps_untouched());
        cpu->kernel({Kernel::Kind::poly, 0.5, 1.5, 3}, left, X.view(), same, out);
        for (index t = 0; t < left.rows(); ++t)
          for (index i = 0; i < n; ++i)
            expected(t, i) = std::pow(0.5 * products(t, i) + 1.5, 3);
        CHECK(largest_gap(out, expected) < 100 * tolerance);
        cpu->kernel({Kernel::Kind::rbf, 0.7, 0, 1}, left, X.view(), same, out);
        for (index t = 0; t < left.rows(); ++t)
          for (index i = 0; i < n; ++i)
            expected(t, i) =
                std::exp(-0.7 * (yy(t, t) + xx(i, i) - 2 * products(t, i)));
        CHECK(largest_gap(out, expected) < tolerance);
      }
    }
}

TEST_CASE("products and transposes") {
  const auto cpu = words<double>(2);
  const Values A = random_grid(5, 300, 1, 2), B = random_grid(300, 7, 2, 1);
  Values product(5, 7, 3), same(5, 7), Bt(7, 300, 1);
  cpu->multiply(1, A, B, false, 0, product);
  cpu->transpose(B, Bt);
  cpu->multiply(1, A, Bt, true, 0, same);
  for (index i = 0; i < 5; ++i)
    for (index j = 0; j < 7; ++j) {
      double sum = 0;
      for (index l = 0; l < 300; ++l)
        sum += A(i, l) * B(l, j);
      CHECK(product(i, j) == doctest::Approx(sum).epsilon(1e-13));
      CHECK(same(i, j) == doctest::Approx(sum).epsilon(1e-13));
    }
  CHECK(product.gaps_untouched());
  CHECK(Bt.gaps_untouched());
}

TEST_CASE("coordinates of two rows by hand") {
  const auto cpu = words<double>(1);
  const RowSpace space(*cpu, copy_of(*cpu, Values(2, 2, {4, 2, 2, 5})));
  CHECK(space.rank() == 2);
  Values Z(2, 2), z(1, 2), a(1, 2);
  space.coordinates(Z);
  CHECK(Z.same_bits(Values(2, 2, {2, 0, 1, 2})));
  space.project(Values(1, 2, {2, 5}), z);  // a row with k = (2, 5) is (1, 2)
  CHECK(z.same_bits(Values(1, 2, {1, 2})));
  space.lift(Values(1, 2, {1, 2}), a);  // which is the second row itself
  CHECK(a.same_bits(Values(1, 2, {0, 1})));
}

TEST_CASE("dependent rows cost no accuracy") {
  const auto cpu = words<double>(2);
  for (const index rank : {1, 3, 20, 60}) {
    const index n = 60;
    const RandomDesign<double> X(n, rank, false, 5);
    const Values K = naive_gram(X.view(), X.view());
    const RowSpace space(*cpu, copy_of(*cpu, K));
    // the column in the middle is zero
    CHECK(space.rank() == (rank >= 3 ? rank - 1 : rank));
    CHECK(largest_gap(products_of(*cpu, space), K) < 1e-13 * static_cast<double>(n));
    Values z(n, space.rank()), Z(n, space.rank()), again(n, n);
    space.project(K, z);
    space.coordinates(Z);
    CHECK(largest_gap(z, Z) < 1e-10);
    space.lift(Z, again);  // K a = z Z' for the coefficients a of z
    for (index t = 0; t < n; ++t)
      for (index i = 0; i < n; ++i) {
        double sum = 0;
        for (index l = 0; l < n; ++l)
          sum += again(t, l) * K(l, i);
        CHECK(sum == doctest::Approx(K(t, i)).epsilon(1e-9));
      }
  }
}

TEST_CASE("what is not semidefinite is refused") {
  const auto cpu = words<double>(1);
  for (const Values& K :
       {Values(2, 2, {0, 1, 1, 0}), Values(2, 2, {1, 2, 2, 1}), Values(1, 1, {-1}),
        Values(3, 3, {1, 0, 0, 0, 1, 0, 0, 0, -1e-6}), Values(2, 2, {0, 0, 0, 0})})
    CHECK_THROWS_AS(RowSpace(*cpu, copy_of(*cpu, K)), IndefiniteError);
}

TEST_CASE("the dual solves what the Hessian's own factor solves") {
  const auto cpu = words<double>(2);
  for (const index n : {1, 7, 40})
    for (const index r : {1, 5, 60})
      for (const bool intercept : {false, true})
        for (const index K : {1, 3}) {
          const RandomDesign<double> X(n, r + (intercept ? 1 : 0), intercept, 6);
          RandomWeights weights(RandomWeights::separable, n, K);
          for (index k = 0; k < K; ++k)
            weights.diagonal(n - 1, k) = 0.25;  // never all zero
          Problem<double> problem;
          problem.design = X.view();
          problem.family = Family::binomial;
          problem.outputs = K;
          problem.penalty.assign(static_cast<std::size_t>(X.view().columns()), 0.3);
          if (intercept)
            problem.penalty.back() = 0;
          const Values gram = naive_gram(X.view(), X.view());
          problem.row_gram = gram;
          const RowWeights W{weights.diagonal, {}, 1.0, false};
          const Values none(n, K);
          const index P = problem.parameters();
          Values ours = random_grid(4, P, 8), theirs = ours;
          for (const Solver solver : {Solver::dual, Solver::cholesky}) {
            Hessian<double> hessian(solver, {});
            (void)hessian.assemble(*cpu, problem, W, none);
            hessian.solve(*cpu, problem, W, solver == Solver::dual ? ours : theirs);
          }
          double largest = 0;
          for (index b = 0; b < 4; ++b)
            for (index j = 0; j < P; ++j)
              largest = std::max(largest, std::fabs(theirs(b, j)));
          CHECK(largest_gap(ours, theirs) < 1e-12 * largest);
        }
}

}  // namespace upweight::test
