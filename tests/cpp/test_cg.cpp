// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"
#include "upweight/cg.hpp"
#include "upweight/error.hpp"
#include "upweight/hessian.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

/// A problem with weights at some point, for solves with its Hessian.
template <class T>
struct WeightedProblem {
  WeightedProblem(Family family, index n, index q, index K)
      : X(n, q, true), W(family == Family::multinomial ? RandomWeights::softmax
                                                       : RandomWeights::separable,
                         n, K),
        y(n, K), r(n, K) {
    for (index i = 0; i < n && family == Family::gaussian; ++i)
      for (index k = 1; k < K; ++k)  // its outputs share their weights
        W.diagonal(i, k) = W.diagonal(i, 0);
    problem = {X.view(), family, K, y, {}, random_penalty(q)};
  }
  [[nodiscard]] Values solve(Solver solver, Values B, int threads = 2) const {
    const auto cpu = words<T>(threads);
    Hessian<T> hessian(solver, {});
    hessian.assemble(*cpu, problem, W.view(), r);
    hessian.solve(*cpu, problem, W.view(), B);
    return B;
  }

  RandomDesign<T> X;
  RandomWeights W;
  Values y, r;
  Problem<T> problem;
};

}  // namespace

TEST_CASE("the vector steps are what one computes by hand") {
  const auto cpu = words<double>(1);
  const Values R(2, 2, {1, 2, 3, 4}), Z(2, 2, {1, 1, 0, -1});
  Values rho(2, 1), norm2(2, 1), out(2, 2);
  cpu->cg_dots(R, Z, rho, norm2);
  CHECK(rho.same_bits(Values(2, 1, {3, -4})));
  CHECK(norm2.same_bits(Values(2, 1, {5, 25})));
  cpu->divide_rows(R, Values(1, 2, {2, 4}), out);
  CHECK(out.same_bits(Values(2, 2, {0.5, 0.5, 1.5, 1})));

  // the first row has no direction before it
  Values P(2, 2, {7, 7, 1, 2});
  cpu->cg_direction(Z, Values(2, 1, {5, 6}), Values(2, 1, {0, 2}), P);
  CHECK(P.same_bits(Values(2, 2, {1, 1, 3, 5})));

  // p.q = 2, rho = 6: a = 3; the second row is finished
  Values X(2, 2, {0, 1, 8, 9}), left(2, 2, {1, 1, 0, 0});
  cpu->cg_advance(Values(2, 2, {1, 1, 0, 0}), Values(2, 2, {2, 0, 0, 0}),
                  Values(2, 1, {6, 0}), X, left);
  CHECK(X.same_bits(Values(2, 2, {3, 4, 8, 9})));
  CHECK(left.same_bits(Values(2, 2, {-5, 1, 0, 0})));
}

TEST_CASE("the vector steps do the same to strided rows of any number") {
  for (const index m : {1, 4, 5, 9})
    for (const index P : {1, 7, 257}) {
      const auto cpu = words<double>(3);
      const Values Z = random_grid(m, P, 1, 1), Q = random_grid(m, P, 2, 2);
      Values rho(m, 1), old(m, 1), norm2(m, 1, 1);
      Values D = random_grid(m, P, 3, 3), X = random_grid(m, P, 4, 1),
             R = random_grid(m, P, 5, 2);
      Values direction(m, P), moved(m, P), left(m, P);
      for (index b = 0; b < m; ++b) {
        rho(b, 0) = 1 + double(b);
        old(b, 0) = double(b % 3);
        double pq = 0;
        for (index j = 0; j < P; ++j) {
          const double beta = old(b, 0) > 0 ? rho(b, 0) / old(b, 0) : 0.0;
          direction(b, j) = Z(b, j) + beta * D(b, j);
          pq += direction(b, j) * Q(b, j);
        }
        const double a = pq > 0 ? rho(b, 0) / pq : 0.0;
        for (index j = 0; j < P; ++j) {
          moved(b, j) = X(b, j) + a * direction(b, j);
          left(b, j) = R(b, j) - a * Q(b, j);
        }
      }
      cpu->cg_direction(Z, rho, old, D);
      cpu->cg_advance(D, Q, rho, X, R);
      CHECK(relative_error(D, direction) < 1e-14);
      CHECK(relative_error(X, moved) < 1e-13);
      CHECK(relative_error(R, left) < 1e-13);
      CHECK((D.gaps_untouched() && X.gaps_untouched() && R.gaps_untouched()));
    }
}

TEST_CASE("conjugate gradients solve a diagonal system in as many steps as it has "
          "eigenvalues") {
  const auto cpu = words<double>(1);
  const Values d(1, 5, {1, 2, 4, 2, 1});
  const auto apply = [&](ConstMatrix in, Matrix out) {
    for (index b = 0; b < in.rows; ++b)
      for (index j = 0; j < 5; ++j)
        out(b, j) = d(0, j) * in(b, j);
  };
  const auto identity = [&](ConstMatrix in, Matrix out) { cpu->copy(in, out); };
  const auto jacobi = [&](ConstMatrix in, Matrix out) { cpu->divide_rows(in, d, out); };
  // the second right-hand side is zero, and stays so
  Values B(2, 5, {1, 2, 4, 4, 3, 0, 0, 0, 0, 0}), same = B, sparse = B;
  const Values x(2, 5, {1, 1, 1, 2, 3, 0, 0, 0, 0, 0});
  CgOptions options;
  CHECK(conjugate_gradients<double>(*cpu, apply, identity, B, options).iterations == 3);
  CHECK(relative_error(B, x) < 1e-14);
  const CgResult one = conjugate_gradients<double>(*cpu, apply, jacobi, same, options);
  CHECK(one.iterations == 1);
  CHECK(one.worst_residual <= options.rtol);
  CHECK(relative_error(same, x) < 1e-14);
  options.check_every = 5;
  CHECK(
      conjugate_gradients<double>(*cpu, apply, identity, sparse, options).iterations ==
      5);
  CHECK(relative_error(sparse, x) < 1e-14);
}

TEST_CASE("a right-hand side that is done leaves the block, and stays as it was") {
  const auto cpu = words<double>(1);
  const index P = 40;
  Values d(1, P), B(5, P), alone(5, P), exact(5, P);
  for (index j = 0; j < P; ++j)
    d(0, j) = 1 + double(j);
  // row b needs as many steps as it has entries: 2, 40, 0, 7, 1
  const index entries[] = {2, 40, 0, 7, 1};
  for (index b = 0; b < 5; ++b)
    for (index j = 0; j < entries[b]; ++j) {
      B(b, j) = 1 + double((b + 3 * j) % 5);
      exact(b, j) = B(b, j) / d(0, j);
    }
  std::vector<index> applied;
  const auto apply = [&](ConstMatrix in, Matrix out) {
    applied.push_back(in.rows);
    for (index b = 0; b < in.rows; ++b)
      for (index j = 0; j < P; ++j)
        out(b, j) = d(0, j) * in(b, j);
  };
  const auto identity = [&](ConstMatrix in, Matrix out) { cpu->copy(in, out); };
  CgOptions options;
  options.rtol = 1e-12;
  index steps = 0;
  for (index b = 0; b < 5; ++b) {
    Values one(1, P);
    for (index j = 0; j < P; ++j)
      one(0, j) = B(b, j);
    steps +=
        conjugate_gradients<double>(*cpu, apply, identity, one, options).column_steps;
    for (index j = 0; j < P; ++j)
      alone(b, j) = one(0, j);
  }
  applied.clear();
  const CgResult result =
      conjugate_gradients<double>(*cpu, apply, identity, B, options);
  CHECK(B.same_bits(alone));
  CHECK(relative_error(B, exact) < 1e-11);
  CHECK(result.column_steps == steps);
  CHECK(result.worst_residual <= options.rtol);
  index rows = 0;
  for (const index each : applied)
    rows += each;
  CHECK(rows == steps);         // A was applied to nothing that was done
  CHECK(applied.front() == 4);  // zero is done before it begins
  CHECK(applied[1] == 3);
  CHECK(applied.back() == 1);
}

TEST_CASE("going on past convergence hurts no right-hand side") {
  const auto cpu = words<double>(1);
  const Values d(1, 3, {1, 2, 3});
  const auto apply = [&](ConstMatrix in, Matrix out) {
    for (index b = 0; b < in.rows; ++b)
      for (index j = 0; j < 3; ++j)
        out(b, j) = d(0, j) * in(b, j);
  };
  const auto identity = [&](ConstMatrix in, Matrix out) { cpu->copy(in, out); };
  for (const int check_every : {1, 7, 200}) {
    Values B(2, 3, {1, 2, 3, 0, 2, 0});
    CgOptions options;
    options.check_every = check_every;
    options.max_iter = 1000;
    static_cast<void>(conjugate_gradients<double>(*cpu, apply, identity, B, options));
    CHECK(relative_error(B, Values(2, 3, {1, 1, 1, 0, 1, 0})) < 1e-14);
  }
}

TEST_CASE("conjugate gradients that do not converge say what is left") {
  const auto cpu = words<double>(1);
  const auto apply = [](ConstMatrix in, Matrix out) {
    for (index j = 0; j < 3; ++j)
      out(0, j) = double(j + 1) * in(0, j);
  };
  const auto identity = [&](ConstMatrix in, Matrix out) { cpu->copy(in, out); };
  Values B(1, 3, {1, 1, 1});
  CgOptions options;
  options.max_iter = 2;
  CHECK_THROWS_WITH_AS(conjugate_gradients<double>(*cpu, apply, identity, B, options),
                       doctest::Contains("after 2 iterations"), NotConvergedError);
}

TEST_CASE_TEMPLATE("every solver undoes the same Hessian", T, double, float) {
  for (const Family family : {Family::gaussian, Family::binomial, Family::multinomial})
    for (const index K : {1, 3})
      for (const index m : {1, 65}) {  // 64 right-hand sides are solved at once
        if (family == Family::multinomial && K == 1)
          continue;
        const index n = 300, q = 9;
        const WeightedProblem<T> given(family, n, q, K);
        // for softmax: gradients, which are orthogonal to what H leaves undetermined
        Values B = random_grid(m, K * q, 81);
        for (index b = 0; b < m && family == Family::multinomial; ++b) {
          double mean = 0;
          for (index k = 0; k < K; ++k)
            mean += B(b, k * q + q - 1) / double(K);
          for (index k = 0; k < K; ++k)
            B(b, k * q + q - 1) -= mean;
        }
        const Values direct = given.solve(Solver::cholesky, B);
        CAPTURE(static_cast<int>(family));
        CAPTURE(K);
        CHECK(relative_error(given.solve(Solver::cg, B), direct) < 1e-8);
        CHECK(relative_error(given.solve(Solver::mixed, B), direct) < 1e-8);

        Values back(m, K * q);
        const Values H = naive_hessian(given.problem.design, given.W.view(), K,
                                       given.problem.penalty);
        for (index b = 0; b < m; ++b)
          for (index j = 0; j < K * q; ++j)
            for (index i = 0; i < K * q; ++i)
              back(b, j) += direct(b, i) * H(i, j);
        CHECK(relative_error(back, B) < 1e-12);
      }
}

TEST_CASE("right-hand sides whose squares under- or overflow are solved like others") {
  const WeightedProblem<double> given(Family::binomial, 300, 9, 1);
  const Values B = random_grid(4, 9, 83);
  Values scaled = B;
  const double scale[] = {0x1p-900, 1, 0x1p-60, 0x1p800};
  for (index b = 0; b < 4; ++b)
    for (index j = 0; j < 9; ++j)
      scaled(b, j) *= scale[b];
  for (const Solver solver : {Solver::mixed, Solver::cg}) {
    const Values expected = given.solve(solver, B);
    Values solved = given.solve(solver, scaled);
    for (index b = 0; b < 4; ++b)
      for (index j = 0; j < 9; ++j)
        solved(b, j) /= scale[b];
    CHECK(relative_error(solved, expected) < 1e-9);
  }
}

TEST_CASE("every solver gives the same bits for any number of threads") {
  const WeightedProblem<double> given(Family::binomial, 3000, 9, 1);
  for (const Solver solver : {Solver::cholesky, Solver::mixed, Solver::cg})
    CHECK(same_for_any_threads([&](int threads) {
      return given.solve(solver, random_grid(7, 9, 82), threads);
    }));
}

TEST_CASE_TEMPLATE("every preconditioner solves, and says which it is", T, double,
                   float) {
  for (const Family family :
       {Family::gaussian, Family::binomial, Family::multinomial}) {
    const index K = 3, q = 40, n = 400, m = 5;
    const WeightedProblem<T> given(family, n, q, K);
    const auto cpu = words<T>(2);
    const Values B = random_grid(m, K * q, 83);
    Values direct = B;
    Hessian<T> factor(Solver::cholesky, {});
    factor.assemble(*cpu, given.problem, given.W.view(), given.r);
    factor.solve(*cpu, given.problem, given.W.view(), direct);
    for (const Preconditioner kind :
         {Preconditioner::automatic, Preconditioner::nystroem,
          Preconditioner::jacobi}) {
      Hessian<T> hessian(Solver::cg, {}, kind);
      hessian.assemble(*cpu, given.problem, given.W.view(), given.r);
      Values x = B;
      index told = 0;
      hessian.solve(*cpu, given.problem, given.W.view(), x,
                    [&](index solved) { told += solved; });
      CAPTURE(static_cast<int>(family));
      CHECK(relative_error(x, direct) < 1e-8);
      CHECK(told == m);
      if (kind == Preconditioner::jacobi)
        CHECK(hessian.rank() == 0);
      if (kind == Preconditioner::nystroem)
        CHECK(hessian.rank() >= 16);
      const SolveTotals totals = hessian.totals();
      CHECK(totals.runs == 1);
      CHECK(totals.right_hand_sides == m);
      CHECK(totals.column_steps >= totals.iterations);
      CHECK(totals.worst_residual <= 1e-10);
      CHECK(totals.block_bytes == 8 * ((3 * m + 1) * K * q + 4 * m));
    }
  }
}

TEST_CASE("a singular Hessian names the column of the design") {
  WeightedProblem<double> given(Family::binomial, 300, 9, 3);
  given.problem.penalty.assign(9, 0.0);  // and one column is zero
  try {
    static_cast<void>(given.solve(Solver::cholesky, Values(1, 27)));
    FAIL("no error");
  } catch (const SingularError& error) {
    CHECK(error.parameter() == given.X.zero_column());
  }
}

}  // namespace upweight::test
