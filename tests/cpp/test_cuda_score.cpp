// SPDX-License-Identifier: BSD-3-Clause
// CUDA's scores, changes and ends against the CPU's: designs and results on the device,
// results and designs of the host that go through more than one tile.
#include "cuda/candidates.hpp"
#include "sparse_design.hpp"
#include "thread_team.hpp"

#include <algorithm>
#include <numeric>
#include <vector>
#if __has_include("on_host.hpp")
#include <cuda_runtime.h>
#endif

namespace upweight::test {

namespace {

template <class T>
constexpr double tolerance = sizeof(T) == 8 ? 1e-13 : 2e-5;

template <class T>
Values as_double(const Grid<T>& grid) {
  Values out(grid.rows(), grid.cols());
  for (index i = 0; i < grid.rows(); ++i)
    for (index j = 0; j < grid.cols(); ++j)
      out(i, j) = static_cast<double>(grid(i, j));
  return out;
}

/// A matrix of the device, with what the host may read of it.
struct There {
  There(const Backend<double>& backend, const Values& from)
      : there(backend.zeros(from.rows(), from.cols())) {
    std::vector<double> numbers;
    for (index i = 0; i < from.rows(); ++i)
      for (index j = 0; j < from.cols(); ++j)
        numbers.push_back(from(i, j));
    backend.upload(numbers.data(), there);
  }
  [[nodiscard]] Values here(const Backend<double>& backend) const {
    Values to(there.rows(), there.cols());
    backend.download(there, Matrix(to).data);
    return to;
  }
  Array there;
};

struct Labels {
  Labels(index m, index K) : y(m, 1), eta(random_grid(m, K, 52, 1)) {
    for (index t = 0; t < m; ++t)
      y(t, 0) = double(t % std::max<index>(K, 2));
  }
  Values y, eta;
};

/// Scores and changes of `cuda`'s design against those of the host's on the CPU.
template <class T>
void compare(const Design<T>& there, const Design<T>& here, index m, index K) {
  const index n = here.rows(), q = here.columns();
  const Values a = random_grid(n, K, 50, 1), V = random_grid(m * K, K * q, 51, 2);
  const Labels test(m, K);
  const auto cuda = words<T>(1);
  const auto cpu = cpu_backend<T>(2);
  Grid<T> out(m * K, n, 3), expected(m * K, n);
  cuda->score(there, a, V, out);
  cpu->score(here, a, V, expected);
  CHECK(relative_error(out, as_double(expected)) < tolerance<T>);
  CHECK(out.gaps_untouched());
  const Family family = K == 1 ? Family::binomial : Family::multinomial;
  Grid<T> changed(m, n, 1), change(m, n);
  for (const Target target : {Target::loss, Target::probability}) {
    cuda->change(there, a, V, family, target, test.y, test.eta, changed);
    cpu->change(here, a, V, family, target, test.y, test.eta, change);
    CHECK(relative_error(changed, as_double(change)) < 20 * tolerance<T>);
    CHECK(changed.gaps_untouched());
  }
}

/// Rows whose sizes fall over two decades, with bounds that hold for H = I, D = I.
struct Scanned {
  Scanned(index n, index m, index p, index K, bool ordered, unsigned seed = 61)
      : X(n, p, true, seed), a(random_grid(n, K, seed + 1)),
        V(random_grid(m, K * p, seed + 2)) {
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K; ++k)
        a(i, k) *= std::pow(10, -2 * double((i * 7919) % n) / double(n));
    rows.scale.assign(static_cast<std::size_t>(V.cols()), 1.0);
    for (index i = 0; i < n; ++i) {
      double coefficient = 0, row = 0;
      for (index k = 0; k < K; ++k)
        coefficient += a(i, k) * a(i, k);
      for (index j = 0; j < p; ++j)
        row += entry(X.view(), i, j) * entry(X.view(), i, j);
      rows.scaled_norm.push_back(std::sqrt(coefficient * row));
    }
    for (index t = 0; t < m; ++t) {
      double v = 0;
      for (index j = 0; j < V.cols(); ++j)
        v += V(t, j) * V(t, j);
      tests.scaled_norm.push_back(std::sqrt(v));
    }
    if (!ordered)
      return;
    rows.norm = rows.scaled_norm;
    tests.norm = tests.scaled_norm;
    rows.order.resize(static_cast<std::size_t>(n));
    std::iota(rows.order.begin(), rows.order.end(), std::int64_t(0));
    std::stable_sort(rows.order.begin(), rows.order.end(), [&](auto i, auto j) {
      return rows.norm[static_cast<std::size_t>(i)] >
             rows.norm[static_cast<std::size_t>(j)];
    });
  }

  RandomDesign<double> X;
  Values a, V;
  ScanBounds rows;
  TestBounds tests;
};

bool same(const TopK& a, const TopK& b) {
  return a.helpful == b.helpful && a.harmful == b.harmful &&
         a.helpful_scores == b.helpful_scores && a.harmful_scores == b.harmful_scores;
}

/// The same rows, and scores to rounding.
void check_like(const TopK& found, const TopK& expected) {
  CHECK(found.helpful == expected.helpful);
  CHECK(found.harmful == expected.harmful);
  double worst = 0;
  for (std::size_t j = 0; j < expected.helpful.size(); ++j)
    worst = std::max({worst,
                      std::fabs(found.helpful_scores[j] - expected.helpful_scores[j]),
                      std::fabs(found.harmful_scores[j] - expected.harmful_scores[j])});
  CHECK(worst < 1e-12);
}

/// The k best of both ends of scores, from tiles of `columns` whose scans are off by
/// up to `error`, by teams of so many members.
TopK by_lists(const std::vector<double>& scores, index k, index columns, double error,
              index members) {
  const auto n = static_cast<index>(scores.size());
  std::vector<cuda::Candidate> entries(static_cast<std::size_t>(2 * (n + members)));
  std::vector<index> counts(2, 0);
  std::vector<double> thresholds(2, -std::numeric_limits<double>::infinity());
  const cuda::Lists lists{k,
                          std::min<index>(4 * k + 64, n),
                          n + members,
                          entries.data(),
                          counts.data(),
                          thresholds.data()};
  Random random(7);
  for (index first = 0; first < n; first += columns) {
    const index count = std::min(columns, n - first);
    std::vector<float> scan;
    for (index c = 0; c < count; ++c)
      scan.push_back(static_cast<float>(scores[static_cast<std::size_t>(first + c)] +
                                        0.9 * random.uniform(-error, error)));
    by_team(members, [&](const ThreadTeam& team) {
      for (const float sign : {1.0f, -1.0f}) {
        cuda::List list(lists, sign > 0 ? 0 : 1);
        cuda::join(
            team, list, sign, scan.data(), count, index(0), error,
            [&](index c) { return static_cast<std::int64_t>(first + c); },
            [&](const ThreadTeam&, index c) {
              return static_cast<double>(sign) *
                     scores[static_cast<std::size_t>(first + c)];
            });
      }
    });
  }
  TopK top;
  for (index l = 0; l < 2; ++l) {
    by_team(members, [&](const ThreadTeam& team) {
      cuda::List list(lists, l);
      list.keep_best(team);
      list.close(team);
    });
    CHECK(counts[static_cast<std::size_t>(l)] == k);
    std::vector<cuda::Candidate> best(entries.begin() + l * lists.capacity,
                                      entries.begin() + l * lists.capacity + k);
    std::sort(best.begin(), best.end(), [](const auto& x, const auto& y) {
      return x.score > y.score || (x.score == y.score && x.row < y.row);
    });
    for (const cuda::Candidate& own : best) {
      (l == 0 ? top.helpful : top.harmful).push_back(own.row);
      (l == 0 ? top.helpful_scores : top.harmful_scores)
          .push_back(l == 0 ? own.score : -own.score);
    }
  }
  return top;
}

/// The same by a sort.
TopK by_sort(const std::vector<double>& scores, index k) {
  TopK top;
  for (const double sign : {1.0, -1.0}) {
    std::vector<std::int64_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::int64_t(0));
    std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) {
      return sign * scores[static_cast<std::size_t>(i)] >
             sign * scores[static_cast<std::size_t>(j)];
    });
    for (index j = 0; j < k; ++j) {
      const std::int64_t row = order[static_cast<std::size_t>(j)];
      (sign > 0 ? top.helpful : top.harmful).push_back(row);
      (sign > 0 ? top.helpful_scores : top.harmful_scores)
          .push_back(scores[static_cast<std::size_t>(row)]);
    }
  }
  return top;
}

}  // namespace

TEST_CASE_TEMPLATE("designs of the device have the scores and changes of the host's", T,
                   double, float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  for (const bool intercept : {false, true})
    for (const index K : {1, 3}) {
      CAPTURE(intercept);
      CAPTURE(K);
      const RandomDesign<T> dense(301, 24, intercept);
      const Resident<T> there = cuda->resident(dense.view());
      REQUIRE(is_device_memory(there.design.features.data));
      compare<T>(there.design, dense.view(), 17, K);
      const SparseDesign<T> sparse(301, 24, 0.2, intercept);
      const Resident<T> sparse_there = cuda->resident(sparse.sparse());
      REQUIRE(is_device_memory(sparse_there.design.sparse.starts));
      compare<T>(sparse_there.design, sparse.sparse(), 17, K);
    }
}

TEST_CASE_TEMPLATE("results of the host come whole from many tiles", T, double, float) {
  if (!testing_cuda())
    return;
  // blocks of 4,096 rows; tiles of 256 (or 512) test rows, and of 256 / K of a change
  const RandomDesign<T> X(9001, 3, true);
  compare<T>(X.view(), X.view(), 1100, 1);
  compare<T>(X.view(), X.view(), 300, 3);
  const SparseDesign<T> sparse(9001, 5, 0.4, true);
  compare<T>(sparse.sparse(), sparse.sparse(), 600, 1);
}

TEST_CASE("results of the device are those of the host") {
  if (!testing_cuda())
    return;
  const index n = 5001, m = 300, q = 6, K = 2;
  const auto cuda = words<double>(1);
  const RandomDesign<double> X(n, q, true);
  const Resident<double> there = cuda->resident(X.view());
  const There a(*cuda, random_grid(n, K, 50)), V(*cuda, random_grid(m * K, K * q, 51));
  const Labels test(m, K);
  const There y(*cuda, test.y), eta(*cuda, test.eta);
  Values scores(m * K, n), changes(m, n);
  cuda->score(there.design, a.there, V.there, scores);
  cuda->change(there.design, a.there, V.there, Family::multinomial, Target::loss,
               y.there, eta.there, changes);
  const There out(*cuda, Values(m * K, n)), changed(*cuda, Values(m, n));
  cuda->score(there.design, a.there, V.there, out.there);
  cuda->change(there.design, a.there, V.there, Family::multinomial, Target::loss,
               y.there, eta.there, changed.there);
  CHECK(relative_error(out.here(*cuda), scores) < 1e-15);
  CHECK(relative_error(changed.here(*cuda), changes) < 1e-13);
  // a change by steps of the parameters, both on the device
  const There deltas(*cuda, random_grid(700, K * q, 54));
  const There by(*cuda, Values(m, 700));
  cuda->change_by(deltas.there, V.there, Family::multinomial, Target::loss, y.there,
                  eta.there, by.there);
  Values expected(m, 700);
  cpu_backend<double>(2)->change_by(random_grid(700, K * q, 54),
                                    random_grid(m * K, K * q, 51), Family::multinomial,
                                    Target::loss, test.y, test.eta, expected);
  CHECK(relative_error(by.here(*cuda), expected) < 1e-12);
}

TEST_CASE("changes of a hundred outputs are the CPU's") {
  if (!testing_cuda())
    return;
  const RandomDesign<double> X(4200, 3, true);
  compare<double>(X.view(), X.view(), 25, 100);
}

#if __has_include("on_host.hpp")
TEST_CASE("results go straight to the host's memory where that is pinned") {
  if (!testing_cuda())
    return;
  const index n = 5001, m = 300, q = 6;
  const RandomDesign<double> X(n, q, true);
  const Values a = random_grid(n, 1, 50), V = random_grid(m, q, 51);
  Values expected(m, n);
  words<double>(1)->score(X.view(), a, V, expected);
  void* memory = nullptr;
  const std::size_t bytes = static_cast<std::size_t>(m * (n + 2)) * sizeof(double);
  REQUIRE(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) == cudaSuccess);
  const Matrix pinned(static_cast<double*>(memory), m, n, n + 2);
  words<double>(1)->score(X.view(), a, V, pinned);
  CHECK(relative_error(ConstMatrix(pinned), expected) == 0);
  REQUIRE(cudaFreeHost(memory) == cudaSuccess);
}
#endif

TEST_CASE("both ends are found across tiles and blocks, wherever the design lies") {
  if (!testing_cuda())
    return;
  const auto cuda = words<double>(1);
  // three tiles, and, at 40 bytes a row or 2,000, one block of the host's or two
  for (const auto& [n, p, K] :
       {std::tuple<index, index, index>(20000, 5, 1), {20000, 4, 3}, {17001, 250, 1}})
    for (const bool ordered : {false, true}) {
      CAPTURE(n);
      CAPTURE(K);
      CAPTURE(ordered);
      const Scanned in(n, 9, p, K, ordered);
      const TopK expected =
          cpu_backend<double>(2)->top_k(in.X.view(), in.a, in.V, in.rows, in.tests, 10);
      const TopK streamed = cuda->top_k(in.X.view(), in.a, in.V, in.rows, in.tests, 10);
      check_like(streamed, expected);
      const Resident<double> there = cuda->resident(in.X.view());
      const There a(*cuda, in.a), V(*cuda, in.V);
      const TopK resident =
          cuda->top_k(there.design, a.there, V.there, in.rows, in.tests, 10);
      CHECK(same(resident, streamed));
      if (ordered) {
        CHECK(resident.pairs_scanned < 9 * n);
        CHECK(streamed.pairs_scanned < 9 * n);
      } else {
        CHECK(resident.pairs_scanned == 9 * n);
      }
    }
}

TEST_CASE("more test rows than a panel, and long lists, are each their own") {
  if (!testing_cuda())
    return;
  for (const auto& [n, m, k] : {std::tuple<index, index, index>(300, 4200, 3),
                                {3000, 5, 700},      // lists of 2,864
                                {9000, 3, 9000}}) {  // all there is
    CAPTURE(n);
    const Scanned in(n, m, 4, 1, true);
    check_like(
        words<double>(1)->top_k(in.X.view(), in.a, in.V, in.rows, in.tests, k),
        cpu_backend<double>(2)->top_k(in.X.view(), in.a, in.V, in.rows, in.tests, k));
  }
}

TEST_CASE_TEMPLATE("both ends of sparse rows are found across tiles", T, double,
                   float) {
  if (!testing_cuda())
    return;
  const auto cuda = words<T>(1);
  const index n = 17001, m = 11, p = 30;
  const SparseDesign<T> X(n, p, 0.2, true);
  const Values a = random_grid(n, 1, 50), V = random_grid(m, p + 1, 51);
  const TopK expected = cpu_backend<T>(2)->top_k(X.sparse(), a, V, {}, {}, 10);
  const Resident<T> there = cuda->resident(X.sparse());
  check_like(cuda->top_k(X.sparse(), a, V, {}, {}, 10), expected);
  check_like(cuda->top_k(there.design, a, V, {}, {}, 10), expected);
}

TEST_CASE("teams of any size keep the best of scores that are known to a bound") {
  Random random(3);
  std::vector<double> scores, tied, close;
  for (index i = 0; i < 1200; ++i) {
    scores.push_back(random.uniform(-1, 1));
    tied.push_back(double(i * 7919 % 1200 / 4 % 30) - 15);
    close.push_back(1 + 1e-9 * random.uniform(-1, 1));
  }
  for (const auto* all : {&scores, &tied, &close})
    for (const double error : {0.0, 1e-6, 0.3})
      for (const index members : {1, 3, 32}) {
        if (error == 0 && all == &close)
          continue;  // a float does not hold them
        CAPTURE(error);
        CAPTURE(members);
        // exact scans must be what a float holds
        std::vector<double> held;
        for (const double score : *all)
          held.push_back(error > 0 ? score : static_cast<double>(float(score)));
        CHECK(same(by_lists(held, 10, 512, error + (error > 0 ? 1e-6 : 0.0), members),
                   by_sort(held, 10)));
      }
}

TEST_CASE("a list of nothing but zeros keeps the first rows") {
  for (const index members : {1, 32}) {
    const TopK top = by_lists(std::vector<double>(700, 0.0), 5, 300, 1e-3, members);
    CHECK(top.helpful == std::vector<std::int64_t>{0, 1, 2, 3, 4});
    CHECK(top.harmful == std::vector<std::int64_t>{0, 1, 2, 3, 4});
  }
}

}  // namespace upweight::test
