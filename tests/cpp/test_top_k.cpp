// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <algorithm>
#include <doctest/doctest.h>
#include <numeric>

namespace upweight::test {

namespace {

/// A scan's input, with the bounds that hold for H = I and D = scale.
template <class T>
struct ScanInput {
  ScanInput(index n, index m, index q, index K, bool ordered)
      : X(n, q, true), a(random_grid(n, K, 101)), V(random_grid(m, K * q, 102)) {
    for (index i = 0; i < n; ++i)  // sizes fall over four decades
      for (index k = 0; k < K; ++k)
        a(i, k) *= std::pow(10, -4 * double((i * 7919) % n) / double(n));
    set_bounds(ordered);
  }

  void set_bounds(bool ordered) {
    rows = {};
    tests = {};
    const index n = X.view().rows(), q = X.view().columns(), P = V.cols();
    for (index j = 0; j < P; ++j)
      rows.scale.push_back(0.5 + 0.1 * double(j % 5));
    for (index i = 0; i < n; ++i) {
      double plain = 0, scaled = 0;
      for (index j = 0; j < P; ++j) {
        const double g = a(i, j / q) * entry(X.view(), i, j % q);
        plain += g * g;
        scaled += std::pow(g / rows.scale[static_cast<std::size_t>(j)], 2);
      }
      rows.scaled_norm.push_back(std::sqrt(scaled));
      if (ordered)
        rows.norm.push_back(std::sqrt(plain));
    }
    if (ordered) {
      rows.order.resize(static_cast<std::size_t>(n));
      std::iota(rows.order.begin(), rows.order.end(), std::int64_t(0));
      std::stable_sort(rows.order.begin(), rows.order.end(), [&](auto i, auto j) {
        return rows.norm[static_cast<std::size_t>(i)] >
               rows.norm[static_cast<std::size_t>(j)];
      });
    }
    for (index t = 0; t < V.rows(); ++t) {
      double plain = 0, scaled = 0;
      for (index j = 0; j < P; ++j) {
        plain += V(t, j) * V(t, j);
        scaled += std::pow(V(t, j) * rows.scale[static_cast<std::size_t>(j)], 2);
      }
      tests.norm.push_back(std::sqrt(plain));
      tests.scaled_norm.push_back(std::sqrt(scaled));
    }
  }

  [[nodiscard]] TopK top(index k, int threads) const {
    return words<T>(threads)->top_k(X.view(), a, V, rows, tests, k);
  }

  /// Scores of one test row by the definition.
  [[nodiscard]] std::vector<double> scores(index t) const {
    const Design<T> design = X.view();
    const index q = design.columns();
    std::vector<double> s;
    for (index i = 0; i < design.rows(); ++i) {
      double sum = 0;
      for (index k = 0; k < a.cols(); ++k)
        for (index j = 0; j < q; ++j)
          sum += V(t, k * q + j) * a(i, k) * entry(design, i, j);
      s.push_back(sum);
    }
    return s;
  }

  RandomDesign<T> X;
  Values a, V;
  ScanBounds rows;
  TestBounds tests;
};

/// Numbers of the k largest scores, the lower number first among equals.
std::vector<std::int64_t> best(std::vector<double> scores, double sign, index k) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::int64_t(0));
  std::stable_sort(order.begin(), order.end(), [&](auto i, auto j) {
    return sign * scores[static_cast<std::size_t>(i)] >
           sign * scores[static_cast<std::size_t>(j)];
  });
  order.resize(static_cast<std::size_t>(k));
  return order;
}

template <class T>
void check_against_sort(const ScanInput<T>& in, index k, int threads) {
  const TopK top = in.top(k, threads);
  const index m = in.V.rows(), n = in.X.view().rows();
  CHECK(top.pairs_scanned <= m * n);
  REQUIRE(top.helpful.size() == static_cast<std::size_t>(m * k));
  bool rows_agree = true;
  double worst = 0;
  for (index t = 0; t < m; ++t) {
    const std::vector<double> scores = in.scores(t);
    const auto helpful = best(scores, 1, k), harmful = best(scores, -1, k);
    for (index j = 0; j < k; ++j) {
      const auto at = static_cast<std::size_t>(t * k + j), nth = std::size_t(j);
      rows_agree = rows_agree && top.helpful[at] == helpful[nth] &&
                   top.harmful[at] == harmful[nth];
      worst = std::max({worst,
                        std::fabs(top.helpful_scores[at] -
                                  scores[static_cast<std::size_t>(helpful[nth])]),
                        std::fabs(top.harmful_scores[at] -
                                  scores[static_cast<std::size_t>(harmful[nth])])});
    }
  }
  CHECK(rows_agree);
  CHECK(worst < 1e-12);
}

bool same(const TopK& a, const TopK& b) {
  return a.helpful == b.helpful && a.harmful == b.harmful &&
         a.helpful_scores == b.helpful_scores && a.harmful_scores == b.harmful_scores;
}

}  // namespace

TEST_CASE_TEMPLATE("the ends of one row are what one sees", T, double, float) {
  ScanInput<T> in(4, 1, 1, 1, false);
  in.a = Values(4, 1, {2, -1, 0, 5});
  in.V = Values(1, 1, {-1});  // scores -2, 1, 0, -5
  in.set_bounds(false);
  const TopK top = in.top(2, 1);
  CHECK(top.helpful == std::vector<std::int64_t>{1, 2});
  CHECK(top.helpful_scores == std::vector<double>{1, 0});
  CHECK(top.harmful == std::vector<std::int64_t>{3, 0});
  CHECK(top.harmful_scores == std::vector<double>{-5, -2});
}

TEST_CASE_TEMPLATE("top_k is the ends of the sorted scores, with bounds and without", T,
                   double, float) {
  for (const index n : row_counts)
    for (const index K : {1, 3})
      for (const bool ordered : {false, true}) {
        const ScanInput<T> in(n, 5, 9, K, ordered);
        for (const index k : {index(1), index(10), n}) {
          CAPTURE(n);
          CAPTURE(k);
          CAPTURE(ordered);
          if (k <= n)
            check_against_sort(in, k, 2);
        }
      }
}

TEST_CASE_TEMPLATE("top_k of many test rows is each one's own", T, double, float) {
  check_against_sort(ScanInput<T>(300, 513, 4, 1, true), 3, 2);
}

TEST_CASE("bounds end a scan before its last row") {
  const index n = 20000, m = 3;
  const ScanInput<double> in(n, m, 9, 1, true);
  CHECK(in.top(5, 1).pairs_scanned < m * n / 2);
  CHECK(ScanInput<double>(n, m, 9, 1, false).top(5, 1).pairs_scanned == m * n);
}

TEST_CASE_TEMPLATE("ties go to the lower row number", T, double, float) {
  for (const bool ordered : {false, true}) {
    ScanInput<T> in(3000, 2, 5, 1, ordered);
    for (index i = 0; i < 3000; ++i) {  // rows repeat after 10
      in.a(i, 0) = in.a(i % 10, 0);
      for (index j = 0; j < 4; ++j)
        in.X.features(i, j) = in.X.features(i % 10, j);
    }
    in.set_bounds(ordered);
    check_against_sort(in, 7, 2);
  }
}

TEST_CASE("when all scores are zero the first rows are both ends") {
  ScanInput<double> in(600, 1, 5, 1, true);
  in.a = Values(600, 1);
  in.set_bounds(true);
  const TopK top = in.top(3, 2);
  CHECK(top.helpful == std::vector<std::int64_t>{0, 1, 2});
  CHECK(top.harmful == std::vector<std::int64_t>{0, 1, 2});
  CHECK(top.helpful_scores == std::vector<double>{0, 0, 0});
}

TEST_CASE_TEMPLATE("scores that float32 cannot tell apart, or hold, are still exact", T,
                   double, float) {
  ScanInput<T> close(600, 2, 5, 1, true);
  for (index i = 0; i < 600; ++i) {  // all within 1e-9 of one another
    close.a(i, 0) = 1 + 1e-9 * close.a(i, 0);
    for (index j = 0; j < 4; ++j)
      close.X.features(i, j) = 1;
  }
  close.set_bounds(true);
  check_against_sort(close, 10, 2);

  ScanInput<T> huge(600, 2, 5, 1, true);
  for (index t = 0; t < 2; ++t)
    for (index j = 0; j < 5; ++j)
      huge.V(t, j) *= 1e200;
  huge.set_bounds(true);
  const TopK top = huge.top(10, 2);
  for (index t = 0; t < 2; ++t) {
    const auto helpful = best(huge.scores(t), 1, 10);
    CHECK(std::equal(helpful.begin(), helpful.end(), top.helpful.begin() + t * 10));
  }

  ScanInput<T> tiny(600, 2, 5, 1, false);
  for (index i = 0; i < 600; ++i)
    tiny.a(i, 0) *= 1e-44;
  tiny.set_bounds(false);
  check_against_sort(tiny, 10, 2);
}

TEST_CASE_TEMPLATE("top_k is the same to the last bit for any number of threads", T,
                   double, float) {
  for (const bool ordered : {false, true})
    for (const index m : {1, 7, 600}) {
      const ScanInput<T> in(m > 100 ? 3000 : 20000, m, 9, 1, ordered);
      const TopK one = in.top(10, 1);
      for (const int threads : {2, 3, 8})
        CHECK(same(in.top(10, threads), one));
    }
}

TEST_CASE("append adds the test rows of another result behind") {
  const ScanInput<double> in(100, 2, 5, 1, true);
  const TopK once = in.top(3, 1);
  TopK twice = once;
  twice.append(once);
  CHECK(twice.helpful.size() == 12);
  CHECK(twice.harmful[6] == once.harmful[0]);
  CHECK(twice.helpful_scores[11] == once.helpful_scores[5]);
  CHECK(twice.pairs_scanned == 2 * once.pairs_scanned);
}

}  // namespace upweight::test
