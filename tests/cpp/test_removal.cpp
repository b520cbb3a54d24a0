// SPDX-License-Identifier: BSD-3-Clause
// The words of removal.cpp, and removal_coefficients, a word of terms.cpp.
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

TEST_CASE("a row of leverage h is removed by r / (1 - h)") {
  const Values w(3, 1, {1, 2, 0}), C(3, 1, {0.5, 0.25, 0.9}), r(3, 1, {1, -3, 7});
  Values a(3, 1);
  CHECK(words<double>(1)->removal_coefficients({w, {}}, C, r, a) == -1);
  CHECK(a.same_bits(Values(3, 1, {2, -6, 7})));
}

TEST_CASE("coupled outputs are removed by (I - W C)^-1 r") {
  for (const index n : {1, 7, 4097}) {
    constexpr index K = 3;
    const RandomWeights W(RandomWeights::softmax, n, K);
    const Values root = random_grid(n, K * K, 31);
    Values r = random_grid(n, K, 32), C(n, K * K), a(n, K, 2), back(n, K);
    for (index i = 0; i < n; ++i)  // residuals of a softmax sum to zero
      r(i, K - 1) = -(r(i, 0) + r(i, 1));
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K; ++k)
        for (index l = 0; l < K; ++l)
          for (index j = 0; j < K; ++j)
            C(i, k * K + l) += 0.2 * root(i, k * K + j) * root(i, l * K + j);
    CHECK(words<double>(2)->removal_coefficients(W.view(), C, r, a) == -1);
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K; ++k) {
        back(i, k) = a(i, k);
        for (index j = 0; j < K; ++j)
          for (index l = 0; l < K; ++l)
            back(i, k) -= weight(W.view(), i, k, j) * C(i, j * K + l) * a(i, l);
      }
    CHECK(relative_error(back, r) < 1e-14);
    CHECK(a.gaps_untouched());
  }
}

TEST_CASE("the first row whose removal leaves a singular Hessian is named") {
  const index n = 9000;
  Values w(n, 1), C(n, 1), r(n, 1), a(n, 1);
  for (index i = 0; i < n; ++i) {
    w(i, 0) = 2;
    C(i, 0) = i == 4711 || i == 8888 ? 0.5 : 0.1;
  }
  CHECK(words<double>(8)->removal_coefficients({w, {}}, C, r, a) == 4711);

  // two outputs, W = diag(1, 1), C = I in the last row only
  Values w2(3, 2, {1, 1, 1, 1, 1, 1}), f(3, 2), C2(3, 4), r2(3, 2), a2(3, 2);
  C2(2, 0) = C2(2, 3) = 1;
  CHECK(words<double>(1)->removal_coefficients({w2, f, -1, false}, C2, r2, a2) == 2);
}

TEST_CASE("a row of weight zero is removed by nothing but its residual") {
  const Values w(1, 2, {0, 0}), f(1, 2, {0, 0}), C(1, 4, {5, 1, 1, 5});
  const Values r(1, 2, {0, 0});
  Values a(1, 2, {1, 1});
  CHECK(words<double>(1)->removal_coefficients({w, f, -1, true}, C, r, a) == -1);
  CHECK(a.same_bits(r));
}

namespace {

/// Solves A x = b by Gauss-Jordan with pivoting, in long double.
std::vector<long double> solve(std::vector<std::vector<long double>> A,
                               std::vector<long double> b) {
  const std::size_t n = b.size();
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t i = c; i < n; ++i)
      if (std::fabs(A[i][c]) > std::fabs(A[pivot][c]))
        pivot = i;
    std::swap(A[c], A[pivot]);
    std::swap(b[c], b[pivot]);
    for (std::size_t i = 0; i < n; ++i) {
      const long double f = i == c ? 0 : A[i][c] / A[c][c];
      for (std::size_t j = c; j < n && f != 0; ++j)
        A[i][j] -= f * A[c][j];
      b[i] -= f * b[c];
    }
  }
  for (std::size_t i = 0; i < n; ++i)
    b[i] /= A[i][i];
  return b;
}

/// A problem in the parameters' own coordinates: H, and the sets that leave it.
struct Removal {
  Removal(index K_, index q_, bool softmax)
      : K(K_), q(q_), P(K_ * q_), n(23), X(n, q, true, 81),
        W(softmax ? RandomWeights::softmax : RandomWeights::separable, n, K),
        r(random_grid(n, K, 82)),
        H(naive_hessian(X.view(), W.view(), K,
                        std::vector<double>(static_cast<std::size_t>(q), 0.7))) {
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K && i % 3 == 1; ++k)
        r(i, k) = 0;  // their weight is 0
    for (const auto& set : {std::vector<std::int64_t>{4}, {1}, {0, 7}, {22, 3, 9, 12}})
      sets.add(set.data(), static_cast<index>(set.size()));
    const index M = sets.total();
    E = Values(M * K, P);
    HX = Values(M * K, P);
    for (index m = 0; m < M; ++m)
      for (index k = 0; k < K; ++k) {
        std::vector<long double> e(static_cast<std::size_t>(P), 0);
        for (index j = 0; j < q; ++j)
          e[static_cast<std::size_t>(k * q + j)] = entry(X.view(), row(m), j);
        const std::vector<long double> h = solve(dense(H), e);
        for (index j = 0; j < P; ++j) {
          E(m * K + k, j) = static_cast<double>(e[static_cast<std::size_t>(j)]);
          HX(m * K + k, j) = static_cast<double>(h[static_cast<std::size_t>(j)]);
        }
      }
    blocks = 0;
    for (index b = 0; b < sets.count(); ++b)
      blocks += sets.size(b) * K * sets.size(b) * K;
  }

  [[nodiscard]] index row(index m) const {
    return static_cast<index>(sets.members[static_cast<std::size_t>(m)]);
  }
  [[nodiscard]] static std::vector<std::vector<long double>> dense(const Values& A) {
    std::vector<std::vector<long double>> out(static_cast<std::size_t>(A.rows()));
    for (index i = 0; i < A.rows(); ++i)
      for (index j = 0; j < A.cols(); ++j)
        out[static_cast<std::size_t>(i)].push_back(A(i, j));
    return out;
  }
  /// H without the rows of set b.
  [[nodiscard]] Values without(index b) const {
    Values A = H;
    for (index m = sets.offsets[static_cast<std::size_t>(b)];
         m < sets.offsets[static_cast<std::size_t>(b) + 1]; ++m)
      for (index k = 0; k < K; ++k)
        for (index l = 0; l < K; ++l)
          for (index i = 0; i < q; ++i)
            for (index j = 0; j < q; ++j)
              A(k * q + i, l * q + j) -= weight(W.view(), row(m), k, l) *
                                         entry(X.view(), row(m), i) *
                                         entry(X.view(), row(m), j);
    return A;
  }
  /// sum over the set of r_i (x) x_i.
  [[nodiscard]] std::vector<long double> gradient(index b) const {
    std::vector<long double> g(static_cast<std::size_t>(P), 0);
    for (index m = sets.offsets[static_cast<std::size_t>(b)];
         m < sets.offsets[static_cast<std::size_t>(b) + 1]; ++m)
      for (index k = 0; k < K; ++k)
        for (index j = 0; j < q; ++j)
          g[static_cast<std::size_t>(k * q + j)] +=
              static_cast<long double>(r(row(m), k)) * entry(X.view(), row(m), j);
    return g;
  }

  index K, q, P, n;
  RandomDesign<double> X;
  RandomWeights W;
  Values r, H;
  RowSets sets;
  Values E, HX;
  index blocks = 0;
};

double inner(const std::vector<long double>& a, const std::vector<long double>& b) {
  long double sum = 0;
  for (std::size_t j = 0; j < a.size(); ++j)
    sum += a[j] * b[j];
  return static_cast<double>(sum);
}

}  // namespace

TEST_CASE("sets leave by Woodbury's form: step, norms and next iterate") {
  for (const auto& [K, softmax] :
       {std::pair<index, bool>(1, false), {3, false}, {3, true}})
    for (const index q : {1, 4, 9}) {
      const Removal at(K, q, softmax);
      const auto cpu = words<double>(2);
      const index M = at.sets.total(), count = at.sets.count();
      Values C(1, at.blocks), N(1, at.blocks), a(M, K), move(M, K);
      cpu->inner_blocks(at.sets, K, at.E, at.HX, C);
      const RemovalTerms terms =
          cpu->removal_terms(at.W.view(), at.r, at.sets, C, a, move, N);
      Values delta(count, at.P, 1), expected(count, at.P);
      cpu->newton_deltas(at.sets, K, at.HX, a, delta);
      const Values G = random_grid(count, at.P, 83, 2);
      Values V(count, at.P, 1), next(count, at.P), moved2(count, 1, 1), size2(count, 1);
      Values stepped = delta, previous(count, at.P, 3);
      for (index b = 0; b < count; ++b) {
        const auto A = Removal::dense(at.without(b));
        const std::vector<long double> g = at.gradient(b), step = solve(A, g);
        std::vector<long double> left = g, pull;
        for (index j = 0; j < at.P; ++j) {
          const auto c = static_cast<std::size_t>(j);
          expected(b, j) = static_cast<double>(step[c]);
          left[c] -= static_cast<long double>(G(b, j));
          pull.push_back(G(b, j));
        }
        const std::vector<long double> then = solve(A, left),
                                       h = solve(Removal::dense(at.H), pull),
                                       pulled = solve(A, pull);
        for (index j = 0; j < at.P; ++j) {
          const auto c = static_cast<std::size_t>(j);
          next(b, j) = static_cast<double>(then[c]);
          V(b, j) = static_cast<double>(h[c]);
        }
        size2(b, 0) = inner(pull, pulled);  // |delta - next|_A^2
        const auto set = static_cast<std::size_t>(b);
        CHECK(terms.norm[set] ==
              doctest::Approx(std::sqrt(inner(g, step))).epsilon(1e-9).scale(1e-9));
        double reach = 0;
        for (index m = at.sets.offsets[set]; m < at.sets.offsets[set + 1]; ++m)
          for (index k = 0; k < K; ++k) {
            std::vector<long double> e;
            for (index j = 0; j < at.P; ++j)
              e.push_back(at.E(m * K + k, j));
            reach = std::max(reach, std::sqrt(inner(e, solve(A, e))));
            CHECK(move(m, k) ==
                  doctest::Approx(inner(e, step)).epsilon(1e-9).scale(1e-9));
          }
        CHECK(terms.reach[set] == doctest::Approx(reach).epsilon(1e-9));
        // kept: v'A v is at least that of v'H v, and for the worst v no more
        CHECK(terms.kept[set] > 0);
        CHECK(terms.kept[set] <= 1);
        for (unsigned seed = 0; seed < 30; ++seed) {
          const Values v = random_grid(1, at.P, 84 + seed);
          const Values A_b = at.without(b);
          double with = 0, without = 0;
          for (index i = 0; i < at.P; ++i)
            for (index j = 0; j < at.P; ++j) {
              with += v(0, i) * at.H(i, j) * v(0, j);
              without += v(0, i) * A_b(i, j) * v(0, j);
            }
          CHECK(without >= terms.kept[set] * with * (1 - 1e-12));
        }
      }
      CAPTURE(K);
      CAPTURE(softmax);
      CAPTURE(q);
      CHECK(relative_error(delta, expected) < 1e-10);
      cpu->chord_step(at.sets, K, at.HX, a, N, G, V, stepped, previous, moved2);
      CHECK(relative_error(stepped, next) < 1e-10);
      CHECK(relative_error(previous, G) == 0);
      CHECK(relative_error(moved2, size2) < 1e-9);
      CHECK(delta.gaps_untouched());
      CHECK(stepped.gaps_untouched());
      CHECK(previous.gaps_untouched());
      Values own(M, K, 1);
      cpu->own_moves(at.X.view(), at.sets, delta, own);
      CHECK(relative_error(own, move) < 1e-9);
    }
}

TEST_CASE("kept is one less the leverage of a row") {
  const Values w(3, 1, {1, 2, 0}), r(3, 1, {1, -3, 0});
  RowSets sets;
  for (const std::int64_t i : {0, 1, 2})
    sets.add(&i, 1);
  const Values C(1, 3, {0.5, 0.25, 4});
  Values a(3, 1), move(3, 1), N(1, 3);
  const RemovalTerms terms =
      words<double>(1)->removal_terms({w, {}}, r, sets, C, a, move, N);
  CHECK(terms.kept == std::vector<double>{0.5, 0.5, 1});
  CHECK(terms.norm[0] == doctest::Approx(1));  // |r| (c / (1 - h))^(1/2)
  CHECK(terms.norm[1] == doctest::Approx(3 * std::sqrt(0.5)));
  CHECK(terms.norm[2] == 0);
  CHECK(terms.reach[2] == 2);
  CHECK(a.same_bits(Values(3, 1, {2, -6, 0})));
  CHECK(move.same_bits(Values(3, 1, {1, -1.5, 0})));
  CHECK(N.same_bits(Values(1, 3, {2, 4, 0})));
}

TEST_CASE("a set that leaves a singular Hessian keeps nothing") {
  const Values w(2, 1, {1, 1}), r(2, 1, {1, 1});
  RowSets sets;
  const std::int64_t one = 0, both[] = {0, 1};
  sets.add(&one, 1);
  sets.add(both, 2);
  const Values C(1, 5, {1, 1, 0, 0, 1});
  Values a(3, 1, {7, 7, 7}), move(3, 1, {7, 7, 7});
  const RemovalTerms terms =
      words<double>(1)->removal_terms({w, {}}, r, sets, C, a, move, {});
  for (const std::size_t b : {0, 1}) {
    CHECK(terms.kept[b] == 0);
    CHECK(terms.norm[b] == 0);
    CHECK(terms.reach[b] == std::numeric_limits<double>::infinity());
  }
  CHECK(a.same_bits(Values(3, 1)));
  CHECK(move.same_bits(Values(3, 1)));
}

TEST_CASE("rows are gathered, whitened and put back where they belong") {
  const RandomDesign<float> X(300, 7, true);
  const std::vector<std::int64_t> rows = {299, 0, 5, 5, 17};
  const auto cpu = words<float>(2);
  Values R(7, 7), x(5, 7, 2), z(5, 7, 1);
  for (index i = 0; i < 7; ++i)
    for (index j = i; j < 7; ++j)
      R(i, j) = i == j ? 1.5 + 0.1 * double(i) : 0.2 * double(j - i);
  Grid<float> single(5, 7, 3), whitened(5, 7);
  cpu->gather_design(X.view(), rows.data(), Matrix(x));
  cpu->gather_design(X.view(), rows.data(), MatrixView<float>(single));
  cpu->whiten(X.view(), R, rows.data(), Matrix(z));
  cpu->whiten(X.view(), R, rows.data(), MatrixView<float>(whitened));
  for (index c = 0; c < 5; ++c)
    for (index j = 0; j < 7; ++j) {
      const double expected =
          entry(X.view(), static_cast<index>(rows[static_cast<std::size_t>(c)]), j);
      double back = 0;  // R'z = x
      for (index i = 0; i <= j; ++i)
        back += R(i, j) * z(c, i);
      CHECK(x(c, j) == expected);
      CHECK(static_cast<double>(single(c, j)) == expected);
      CHECK(back == doctest::Approx(expected).epsilon(1e-13));
      CHECK(whitened(c, j) == static_cast<float>(z(c, j)));
    }
  CHECK(x.gaps_untouched());
  CHECK(z.gaps_untouched());
  CHECK(single.gaps_untouched());

  Values b = z;  // R^-1 of it: R b = z
  cpu->unwhiten(R, b);
  for (index c = 0; c < 5; ++c)
    for (index i = 0; i < 7; ++i) {
      double back = 0;
      for (index j = i; j < 7; ++j)
        back += R(i, j) * b(c, j);
      CHECK(back == doctest::Approx(z(c, i)).epsilon(1e-13));
    }

  const std::vector<std::int64_t> places = {4, 1, 0};
  Values some(3, 7, 1), all(5, 7, 2);
  cpu->copy_rows(z, places.data(), some, nullptr, 3);
  cpu->copy_rows(some, nullptr, all, places.data(), 3);
  for (index j = 0; j < 7; ++j) {
    CHECK(some(0, j) == z(4, j));
    CHECK(all(4, j) == z(4, j));
    CHECK(all(1, j) == z(1, j));
    CHECK(all(0, j) == z(0, j));
    CHECK(all(2, j) == 0);
  }
  CHECK(some.gaps_untouched());
  CHECK(all.gaps_untouched());
}

TEST_CASE("removal terms and steps give the same bits for any number of threads") {
  const index n = 900, K = 3;
  const RandomWeights W(RandomWeights::softmax, n, K);
  const Values r = random_grid(n, K, 85), root = random_grid(n, K * K, 86);
  RowSets sets;
  Values C(1, n * K * K);
  for (std::int64_t i = 0; i < n; ++i) {
    sets.add(&i, 1);
    for (index k = 0; k < K; ++k)
      for (index l = 0; l < K; ++l)
        for (index j = 0; j < K; ++j)
          C(0, (static_cast<index>(i) * K + k) * K + l) +=
              0.2 * root(static_cast<index>(i), k * K + j) *
              root(static_cast<index>(i), l * K + j);
  }
  CHECK(same_for_any_threads([&](int threads) {
    Values a(n, K), N(1, n * K * K), all(n, K + 2);
    const auto cpu = words<double>(threads);
    const RemovalTerms terms = cpu->removal_terms(W.view(), r, sets, C, a, {}, N);
    for (index i = 0; i < n; ++i) {
      for (index k = 0; k < K; ++k)
        all(i, k) = a(i, k) + N(0, i * K * K + k);
      all(i, K) = terms.norm[static_cast<std::size_t>(i)];
      all(i, K + 1) = terms.kept[static_cast<std::size_t>(i)];
    }
    return all;
  }));
}

}  // namespace upweight::test
