// SPDX-License-Identifier: BSD-3-Clause
// What teams of a GPU's threads do with small matrices, by threads of the host: every
// wait that is missing is a race that ThreadSanitizer sees.
#include "cuda/tridiagonal.hpp"
#include "naive.hpp"
#include "removed_set.hpp"
#include "thread_team.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <vector>

namespace upweight::test {

namespace {

constexpr index team_sizes[] = {1, 3, 32, 64};

/// G G' of a random G (n x rank), largest eigenvalue about 1.
Values semidefinite(index n, index rank) {
  const Values G = random_grid(n, rank, 51);
  Values S(n, n);
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < n; ++j)
      for (index k = 0; k < rank; ++k)
        S(i, j) += G(i, k) * G(j, k) / static_cast<double>(n);
  return S;
}

}  // namespace

TEST_CASE(
    "a team finds the largest eigenvalue to rounding, the same for every member") {
  for (const index n : {1, 2, 3, 10, 33})
    for (const index rank : {index(0), index(1), n}) {
      Values S = semidefinite(n, rank), copy = S;
      const double expected = cpu_backend<double>(1)->eigenvalues(copy).back();
      for (const index size : team_sizes) {
        CAPTURE(n);
        CAPTURE(rank);
        CAPTURE(size);
        Values used = S, work(1, 3 * n);
        std::vector<double> found(static_cast<std::size_t>(size));
        by_team(size, [&](const ThreadTeam& team) {
          found[static_cast<std::size_t>(team.rank())] =
              cuda::largest_eigenvalue(team, n, Matrix(used).data, Matrix(work).data);
        });
        const double unit = 1e-16 * static_cast<double>(10 + n);
        CHECK(std::fabs(found.front() - expected) <= 10 * unit);
        CHECK(std::count(found.begin(), found.end(), found.front()) == size);
      }
    }
}

TEST_CASE("a tiny matrix beside 1 does not overflow the reflections") {
  for (const double scale : {1e-90, 1e-160, 1e-300}) {
    Values S = semidefinite(5, 5), work(1, 15);
    for (index i = 0; i < 5; ++i)
      for (index j = 0; j < 5; ++j)
        S(i, j) *= scale;
    const double found =
        cuda::largest_eigenvalue(Alone(), 5, Matrix(S).data, Matrix(work).data);
    CHECK(found >= 0);
    CHECK(found <= 1e-15);
  }
}

TEST_CASE("a team's elimination has the same bits as one's alone") {
  for (const index n : {1, 2, 7, 40}) {
    const Values M = random_grid(n, n, 52), B = random_grid(n, n + 1, 53);
    Values M_alone = M, X_alone = B;
    REQUIRE(solve_small(Alone(), n, Matrix(M_alone).data, n + 1, Matrix(X_alone).data));
    for (const index size : team_sizes) {
      Values M_team = M, X_team = B;
      bool regular = true;
      by_team(size, [&](const ThreadTeam& team) {
        const bool mine =
            solve_small(team, n, Matrix(M_team).data, n + 1, Matrix(X_team).data);
        if (team.rank() == 0)
          regular = mine;
      });
      CHECK(regular);
      CHECK(X_team.same_bits(X_alone));
    }
  }
}

TEST_CASE("interleaved systems are solved each for itself") {
  constexpr index n = 5, count = 3;
  Values M(n * n, count), x(n, count);
  for (index b = 0; b < count; ++b) {
    Values own = random_grid(n, n, 54 + unsigned(b)), right = random_grid(n, 1, 57);
    for (index e = 0; e < n * n; ++e)
      M(e, b) = own(e / n, e % n);
    for (index i = 0; i < n; ++i)
      x(i, b) = right(i, 0);
    REQUIRE(solve_small(Alone(), n, Matrix(own).data, 1, Matrix(right).data));
    REQUIRE(solve_small(Alone(), n, Interleaved{Matrix(M).data + b, count}, 1,
                        Interleaved{Matrix(x).data + b, count}));
    for (index i = 0; i < n; ++i)
      CHECK(x(i, b) == right(i, 0));
  }
}

TEST_CASE("a team leaves a set out as one alone does") {
  for (const auto& [g, K] : {std::pair<index, index>(2, 1), {1, 4}, {5, 3}, {35, 1}}) {
    const index n = g * K, rows = 60;
    const RandomWeights W(K > 1 ? RandomWeights::softmax : RandomWeights::separable,
                          rows, K);
    const Values r = random_grid(rows, K, 55);
    Values C = semidefinite(n, n);
    for (index i = 0; i < n; ++i)
      for (index j = 0; j < n; ++j)
        C(i, j) *= 0.3;
    std::vector<std::int64_t> members;
    for (index m = 0; m < g; ++m)
      members.push_back((7 * m) % rows);
    const auto run = [&](index size) {
      Values memory(1, RemovedSet::memory_of(n)), out(3 + n, n);
      by_team(size, [&](const ThreadTeam& team) {
        const RemovedSet set{
            W.view(), r, members.data(), g, K, Matrix(C).data, Matrix(memory).data};
        double* S = set.symmetric(team);
        const double largest = cuda::largest_eigenvalue(
            team, n, S, set.memory + RemovedSet::memory_of(n) - 3 * n);
        team.sync();
        const RemovedSet::Norms norms =
            set.terms(team, RemovedSet::kept_of(largest, n), Matrix(out).row(0),
                      Matrix(out).row(1), Matrix(out).row(3));
        if (team.rank() == 0) {
          out(2, 0) = norms.norm + norms.reach;
          out(2, 1) = norms.kept;
        }
      });
      return out;
    };
    const Values alone = run(1);
    CHECK(alone(2, 1) > 0);
    for (const index size : {3, 32, 64})
      CHECK(relative_error(run(size), alone) < 1e-13);
  }
}

}  // namespace upweight::test
