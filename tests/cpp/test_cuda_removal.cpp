// SPDX-License-Identifier: BSD-3-Clause
// CUDA's words for leaving rows out, against the CPU's: designs on the device, sets of
// every size that is treated apart, and sums that cross tiles.
#include "sparse_design.hpp"

#include <algorithm>
#include <tuple>
#include <vector>

namespace upweight::test {

namespace {

/// Sets of the given sizes, of rows that come again in other sets.
RowSets sets_of(const std::vector<index>& sizes, index n) {
  RowSets sets;
  std::int64_t next = 0;
  for (const index size : sizes) {
    std::vector<std::int64_t> rows;
    for (index m = 0; m < size; ++m)
      rows.push_back((next += 7) % n);
    sets.add(rows.data(), size);
  }
  return sets;
}

std::vector<index> singles(index count) {
  return std::vector<index>(static_cast<std::size_t>(count), 1);
}

/// Every word that reads rows of the design in an order of their own.
template <class T>
void compare_rows(const Design<T>& there, const Design<T>& here) {
  const index n = here.rows(), q = here.columns();
  const auto cuda = words<T>(1);
  const auto cpu = cpu_backend<T>(2);
  const RowSets sets = sets_of({1, 4, 1, 17, 2}, n);
  const index M = sets.total();
  Values R(q, q);
  for (index i = 0; i < q; ++i)
    for (index j = i; j < q; ++j)
      R(i, j) = i == j ? 1.5 + 0.1 * double(i) : 0.3 / double(1 + j - i);
  const std::int64_t* rows = sets.members.data();
  Values x(M, q, 1), z(M, q, 2), x_cpu(M, q), z_cpu(M, q);
  Grid<float> xs(M, q, 1), zs(M, q, 2);
  cuda->gather_design(there, rows, Matrix(x));
  cuda->gather_design(there, rows, MatrixView<float>(xs));
  cuda->whiten(there, R, rows, Matrix(z));
  cuda->whiten(there, R, rows, MatrixView<float>(zs));
  cpu->gather_design(here, rows, Matrix(x_cpu));
  cpu->whiten(here, R, rows, Matrix(z_cpu));
  CHECK(relative_error(x, x_cpu) == 0);
  CHECK(relative_error(z, z_cpu) < 1e-13);
  CHECK(relative_error(xs, x_cpu) < 1e-7);
  CHECK(relative_error(zs, z_cpu) < 1e-7);
  CHECK(x.gaps_untouched());
  CHECK(z.gaps_untouched());
  CHECK(xs.gaps_untouched());
  CHECK(zs.gaps_untouched());
  for (const index K : {1, 3}) {
    const Values delta = random_grid(sets.count(), K * q, 91, 1);
    Values moves(M, K, 1), expected(M, K);
    cuda->own_moves(there, sets, delta, moves);
    cpu->own_moves(here, sets, delta, expected);
    CHECK(relative_error(moves, expected) < 1e-13);
    CHECK(moves.gaps_untouched());
  }
}

/// Rows E (M K x P) of which E E' < 0.4 for every set: whitened ones, C = E E'.
Values whitened_rows(const RowSets& sets, index K, index P) {
  index most = 1;
  for (index b = 0; b < sets.count(); ++b)
    most = std::max(most, sets.size(b));
  Values E = random_grid(sets.total() * K, P, 92, 1);
  for (index i = 0; i < E.rows(); ++i)
    for (index j = 0; j < P; ++j)
      E(i, j) *= 0.6 / std::sqrt(double(P) * double(most * K));
  return E;
}

/// inner_blocks, removal_terms, newton_deltas and chord_step of some sets.
void compare_sets(const std::vector<index>& sizes, RandomWeights::Kind kind, index K,
                  bool with_optional) {
  const index n = 301, P = 40;
  const RowSets sets = sets_of(sizes, n);
  const index M = sets.total(), count = sets.count();
  const RandomWeights W(kind, n, K);
  const Values r = random_grid(n, K, 93, 2), E = whitened_rows(sets, K, P);
  index blocks = 0;
  for (index b = 0; b < count; ++b)
    blocks += sets.size(b) * K * sets.size(b) * K;
  const auto cuda = words<double>(1);
  const auto cpu = cpu_backend<double>(2);

  Values C(1, blocks), C_cpu(1, blocks);
  cuda->inner_blocks(sets, K, E, E, C);
  cpu->inner_blocks(sets, K, E, E, C_cpu);
  CHECK(relative_error(C, C_cpu) < 1e-13);

  Values a(M, K), move(M, K), N(1, blocks), a_cpu(M, K), move_cpu(M, K),
      N_cpu(1, blocks);
  const RemovalTerms terms = cuda->removal_terms(
      W.view(), r, sets, C_cpu, a, with_optional ? Matrix(move) : Matrix(),
      with_optional ? Matrix(N) : Matrix());
  const RemovalTerms expected =
      cpu->removal_terms(W.view(), r, sets, C_cpu, a_cpu, move_cpu, N_cpu);
  CHECK(relative_error(a, a_cpu) < 1e-12);
  if (with_optional) {
    CHECK(relative_error(move, move_cpu) < 1e-12);
    CHECK(relative_error(N, N_cpu) < 1e-12);
  }
  for (std::size_t b = 0; b < terms.norm.size(); ++b) {
    REQUIRE(expected.kept[b] > 0);
    CHECK(terms.norm[b] ==
          doctest::Approx(expected.norm[b]).epsilon(1e-11).scale(1e-11));
    CHECK(terms.kept[b] == doctest::Approx(expected.kept[b]).epsilon(1e-12));
    CHECK(terms.reach[b] == doctest::Approx(expected.reach[b]).epsilon(1e-12));
  }

  Values delta(count, P, 1), delta_cpu(count, P);
  cuda->newton_deltas(sets, K, E, a_cpu, delta);
  cpu->newton_deltas(sets, K, E, a_cpu, delta_cpu);
  CHECK(relative_error(delta, delta_cpu) < 1e-13);
  const Values G = random_grid(count, P, 94, 1), V = random_grid(count, P, 95, 2);
  Values previous = random_grid(count, P, 96, 3), previous_cpu = previous;
  Values moved2(count, 1, 1), moved2_cpu(count, 1);
  cuda->chord_step(sets, K, E, a_cpu, N_cpu, G, V, delta, previous, moved2);
  cpu->chord_step(sets, K, E, a_cpu, N_cpu, G, V, delta_cpu, previous_cpu, moved2_cpu);
  CHECK(relative_error(delta, delta_cpu) < 1e-13);
  CHECK(relative_error(previous, previous_cpu) == 0);
  CHECK(relative_error(moved2, moved2_cpu) < 1e-12);
  CHECK(delta.gaps_untouched());
  CHECK(moved2.gaps_untouched());
}

}  // namespace

TEST_CASE_TEMPLATE("rows of the device are whitened, gathered and moved as the host's",
                   T, double, float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  for (const bool intercept : {false, true}) {
    CAPTURE(intercept);
    const RandomDesign<T> dense(301, 24, intercept);
    const Resident<T> there = cuda->resident(dense.view());
    REQUIRE(is_device_memory(there.design.features.data));
    compare_rows<T>(there.design, dense.view());
    compare_rows<T>(dense.view(), dense.view());
    const SparseDesign<T> sparse(301, 24, 0.2, intercept);
    const Resident<T> sparse_there = cuda->resident(sparse.sparse());
    REQUIRE(is_device_memory(sparse_there.design.sparse.starts));
    compare_rows<T>(sparse_there.design, sparse.sparse());
    compare_rows<T>(sparse.sparse(), sparse.sparse());
  }
}

TEST_CASE("more rows than a tile are whitened in float32 as in float64") {
  if (!testing_cuda())
    return;
  const index n = 9000, q = 700;  // tiles of 5,991 rows, blocks of as many
  const RandomDesign<double> X(n, q, true);
  std::vector<std::int64_t> rows;
  for (index i = 0; i < n; ++i)
    rows.push_back(static_cast<std::int64_t>(n - 1 - i));
  Values R(q, q), z(n, q);
  for (index i = 0; i < q; ++i) {
    R(i, i) = 2;
    if (i + 1 < q)
      R(i, i + 1) = 0.5;
  }
  Grid<float> single(n, q);
  const auto cuda = words<double>(1);
  const Resident<double> there = cuda->resident(X.view());
  cuda->whiten(X.view(), R, rows.data(), Matrix(z));
  cuda->whiten(there.design, R, rows.data(), MatrixView<float>(single));
  bool same = true;
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < q; ++j)
      same = same && single(i, j) == static_cast<float>(z(i, j));
  CHECK(same);
  CHECK(z(n - 1, 0) == entry(X.view(), 0, 0) / 2);
}

TEST_CASE("sets of every size leave as on the CPU") {
  if (!testing_cuda())
    return;
  // a thread's (1), a warp's, a block's (from 33) and the libraries' (from 129), alone
  // and one after the other; products by dots and, from 64, by matrices
  for (const bool with_optional : {false, true}) {
    CAPTURE(with_optional);
    for (const auto& sizes : {singles(300), std::vector<index>{1, 2, 1, 32, 33, 5},
                              std::vector<index>{63, 64, 100, 128},
                              std::vector<index>{1, 129, 3, 150, 1, 1, 200}})
      compare_sets(sizes, RandomWeights::separable, 1, with_optional);
    for (const auto kind : {RandomWeights::separable, RandomWeights::softmax})
      for (const auto& sizes : {singles(200), std::vector<index>{1, 2, 10, 11, 7},
                                std::vector<index>{42, 43, 1, 60}})
        compare_sets(sizes, kind, 3, with_optional);
  }
}

TEST_CASE("more sets than one memory of systems holds leave as on the CPU") {
  if (!testing_cuda())
    return;
  // 12,640 numbers a set of order 64: 663 sets at once
  compare_sets(std::vector<index>(700, 64), RandomWeights::separable, 1, true);
}

TEST_CASE("a large set that leaves a singular Hessian keeps nothing") {
  if (!testing_cuda())
    return;
  for (const index g : {20, 60, 150}) {  // a warp's, a block's, the libraries'
    CAPTURE(g);
    Values w(g, 1), r = random_grid(g, 1, 97), C(1, g * g);
    for (index i = 0; i < g; ++i) {
      w(i, 0) = 1;
      C(0, i * g + i) = i == 11 ? 1.0 : 0.25;
    }
    RowSets sets;
    std::vector<std::int64_t> rows;
    for (index i = 0; i < g; ++i)
      rows.push_back(i);
    sets.add(rows.data(), g);
    Values a = r, move = r, N(1, g * g);
    const RemovalTerms terms =
        words<double>(1)->removal_terms({w, {}}, r, sets, C, a, move, N);
    CHECK(terms.kept[0] == 0);
    CHECK(terms.norm[0] == 0);
    CHECK(terms.reach[0] == std::numeric_limits<double>::infinity());
    CHECK(relative_error(a, Values(g, 1)) == 0);
    CHECK(relative_error(move, Values(g, 1)) == 0);
    // and with its worst row apart from the rest, all but that of the Hessian
    C(0, 11 * g + 11) = 1 - 1e-9;
    const RemovalTerms barely =
        words<double>(1)->removal_terms({w, {}}, r, sets, C, a, move, N);
    CHECK(barely.kept[0] == doctest::Approx(1e-9).epsilon(1e-4));
    CHECK(barely.kept[0] < 1e-9);  // a lower bound
    CHECK(a(11, 0) == doctest::Approx(1e9 * r(11, 0)).epsilon(1e-6));
  }
}

TEST_CASE("the first row of all that leaves a singular Hessian is named, in any tile") {
  if (!testing_cuda())
    return;
  const index n = 9000, K = 24;  // tiles of 8,192 systems
  const Values w(n, K), f(n, K), r = random_grid(n, K, 98);
  Values ones = w, C(n, K * K), a(n, K, 1);
  for (index i = 0; i < n; ++i)
    for (index k = 0; k < K; ++k)
      ones(i, k) = 1;
  CHECK(words<double>(1)->removal_coefficients({ones, f, -1, false}, C, r, a) == -1);
  CHECK(relative_error(a, r) == 0);
  for (const index bad : {8999, 8192, 8191, 2048, 0}) {  // each before the last
    for (index k = 0; k < K; ++k)
      C(bad, k * K + k) = 1;
    CHECK(words<double>(1)->removal_coefficients({ones, f, -1, false}, C, r, a) == bad);
  }
}

TEST_CASE_TEMPLATE("remainders and their sums go on from one tile to the next", R,
                   double, float) {
  if (!testing_cuda())
    return;
  const double tolerance = sizeof(R) == sizeof(double) ? 1e-12 : 3e-5;
  for (const auto& [family, K, m, batch] :
       {std::tuple<Family, index, index, index>(Family::binomial, 1, 9001, 3),
        {Family::binomial, 1, 4097, 2050},  // two batches of sets
        {Family::poisson, 1, 300000, 2},    // more than one span of tiles
        {{Family::smooth_hinge, 0.25}, 1, 5000, 40},
        {Family::multinomial, 4, 9001, 5},
        {Family::multinomial, 70, 1100, 130}}) {  // tiles of 512 rows
    const index q = 6, count = m - 50;
    Grid<R> Z = random_grid<R>(m, q, 61, 2), weight(1, m), mean(K, m, 1);
    Random random(62);
    for (index j = 0; j < m; ++j) {
      weight(0, j) = static_cast<R>(random.uniform(0, 2));
      for (index k = 0; k < K; ++k)
        mean(k, j) = static_cast<R>(K > 1 ? 1.0 / double(K) : random.uniform(0, 1));
    }
    const RowSets sets = sets_of(std::vector<index>(std::size_t(batch), 2), m);
    std::vector<std::int64_t> own = sets.members;
    own.front() = -1;
    own.back() = count - 1;  // in the last tile
    const Values delta = random_grid(batch, K * q, 63, 1);
    Values G(batch, K * q, 2), reach(batch, 1, 1), G_cpu(batch, K * q),
        reach_cpu(batch, 1);
    const RemainderRows<R> rows{family, K, Z, weight, mean};
    for (const bool third : {false, true}) {
      if (third && K > 1)
        continue;
      words<double>(1)->remainder_gradient(rows, count, third, sets, own.data(), delta,
                                           G, reach);
      cpu_backend<double>(2)->remainder_gradient(rows, count, third, sets, own.data(),
                                                 delta, G_cpu, reach_cpu);
      CAPTURE(static_cast<int>(family));
      CAPTURE(m);
      CAPTURE(third);
      CHECK(relative_error(G, G_cpu) < tolerance);
      CHECK(relative_error(reach, reach_cpu) < 1e-6);
      CHECK(G.gaps_untouched());
      CHECK(reach.gaps_untouched());
    }
  }
}

TEST_CASE("third derivatives go on from one block of pairs and rows to the next") {
  if (!testing_cuda())
    return;
  const index m = 4500, q = 100, batch = 2100;  // 5,050 pairs
  Grid<float> Z = random_grid<float>(m, q, 71, 3), weight(1, m), mean(1, m);
  Random random(72);
  for (index j = 0; j < m; ++j) {
    weight(0, j) = static_cast<float>(random.uniform(0.1, 2));
    mean(0, j) = static_cast<float>(random.uniform(0.05, 0.95));
  }
  const RemainderRows<float> rows{Family::binomial, 1, Z, weight, mean};
  const auto cuda = words<double>(1);
  const auto cpu = cpu_backend<double>(2);
  Grid<float> cubic(q * (q + 1) / 2, q, 1), cubic_cpu(q * (q + 1) / 2, q);
  cuda->cubic_tensor(rows, cubic);
  cpu->cubic_tensor(rows, cubic_cpu);
  double worst = 0;
  for (index e = 0; e < cubic.rows(); ++e)
    for (index k = 0; k < q; ++k)
      worst = std::max(worst, std::fabs(double(cubic(e, k)) - double(cubic_cpu(e, k))));
  CHECK(worst < 1e-4);  // of sums of 4,500 terms of order 0.1
  CHECK(cubic.gaps_untouched());

  const RowSets sets = sets_of(singles(batch), m);
  const Values own = random_grid(batch, q, 73, 1), delta = random_grid(batch, q, 74, 2);
  Values G = random_grid(batch, q, 75, 1), G_cpu = G;
  cuda->cubic_contract(cubic_cpu, sets, rows, own, delta, G);
  cpu->cubic_contract(cubic_cpu, sets, rows, own, delta, G_cpu);
  CHECK(relative_error(G, G_cpu) < 1e-5);
  CHECK(G.gaps_untouched());
}

TEST_CASE("terms of more rows than a run are summed in a fixed order") {
  if (!testing_cuda())
    return;
  for (const Family family : {Family::poisson, Family::multinomial}) {
    const index n = 50001, K = 3;
    const Values eta = random_grid(n, K, 21, 1);
    Values y(n, K), r(n, K), w(n, K), f(n, K), moved(n, K);
    const auto run = [&](const Backend<double>& backend) {
      return backend.glm_terms(family, y, {}, eta, {}, 0, moved, r, w, f);
    };
    const GlmSummary first = run(*words<double>(1)), again = run(*words<double>(1)),
                     cpu = run(*cpu_backend<double>(2));
    CHECK(first.loss == again.loss);
    CHECK(first.loss == doctest::Approx(cpu.loss).epsilon(1e-13));
    CHECK(first.worst_residual == doctest::Approx(cpu.worst_residual).epsilon(1e-14));
  }
}

}  // namespace upweight::test
