// SPDX-License-Identifier: BSD-3-Clause
// From tiles of scores to the k best of both ends of each test row.
#pragma once

#include "cuda/candidates.hpp"
#include "cuda/device.hpp"
#include "cuda/launch.hpp"
#include "upweight/backend.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace upweight::cuda {

/// Columns of a tile of scores; teams that read it are blocks whatever its width.
constexpr index scan_columns = 8192;

/// Empty lists of `tests` test rows.
inline void start_lists(const Device& device, const Lists& lists, index tests) {
  each(device, "start_lists", 2 * tests, [=] __device__(index l) {
    lists.counts[l] = 0;
    lists.thresholds[l] = -std::numeric_limits<double>::infinity();
  });
}

/// The memory of all lists of some test rows, of n scores each.
class ListMemory {
public:
  ListMemory(const Device& device, index tests, index n, index k)
      : entries_(device, 2 * tests * capacity(n, k)), counts_(device, 2 * tests),
        thresholds_(device, 2 * tests), lists_{k,
                                               limit(n, k),
                                               capacity(n, k),
                                               entries_.get(),
                                               counts_.get(),
                                               thresholds_.get()} {
    start_lists(device, lists_, tests);
  }
  [[nodiscard]] const Lists& lists() const { return lists_; }

  /// Bytes that a test row takes.
  [[nodiscard]] static index bytes(index n, index k) {
    return 2 * capacity(n, k) * index(sizeof(Candidate));
  }

private:
  static index limit(index n, index k) { return std::min(4 * k + 64, n); }
  /// A list may pass its limit by what one step of a team adds.
  static index capacity(index n, index k) {
    constexpr index most_members = 256;
    return limit(n, k) + most_members;
  }

  Scratch<Candidate> entries_;
  Scratch<index> counts_;
  Scratch<double> thresholds_;
  Lists lists_;
};

/// Row s of a tile holds scores of test row active[s], or s when that is null.
/// error(team, t) bounds how far they are off (0: not at all), number(c) is the row of
/// X of column c, exact(team, t, c) its exact score.
template <class U, class Error, class Number, class Exact>
void join_all(const Device& device, const Lists& lists, const std::int64_t* active,
              MatrixView<const U> scores, const Error& error_of, const Number& number,
              const Exact& exact) {
  const index columns = scores.cols;
  each_row(device, "join", scores.rows, scan_columns,
           [=] __device__(const Team& team, index s) {
             const index t = active != nullptr ? static_cast<index>(active[s]) : s;
             const U* own = scores.row(s);
             const double error = error_of(team, t);
             List helpful(lists, 2 * t), harmful(lists, 2 * t + 1);
             // most tiles have nothing for most test rows, which one look tells
             const U high = below<U>(helpful.threshold() - error);
             const U low = -below<U>(harmful.threshold() - error);
             const index steps = (columns + team.size() - 1) / team.size();
             index first_high = steps, first_low = steps;
             for (index step = steps - 1; step >= 0; --step) {
               const index c = step * team.size() + team.rank();
               if (c >= columns)
                 continue;
               first_high = own[c] >= high ? step : first_high;
               first_low = own[c] <= low ? step : first_low;
             }
             if (team.max(steps - first_high) > 0)
               join(team, helpful, U(1), own, columns, first_high, error, number,
                    [&](const Team& all, index c) { return exact(all, t, c); });
             if (team.max(steps - first_low) > 0)
               join(team, harmful, U(-1), own, columns, first_low, error, number,
                    [&](const Team& all, index c) { return -exact(all, t, c); });
           });
}

/// Row l of `rows` and `scores` becomes the k best of list l, best first.
inline void write_best(const Device& device, const Lists& lists,
                       MatrixView<std::int64_t> rows, Matrix scores) {
  each_row(device, "write_best", rows.rows, scan_columns,
           [=] __device__(const Team& team, index l) {
             List list(lists, l);
             list.keep_best(team);
             const auto better = [](const Candidate& a, const Candidate& b) {
               return a.score > b.score || (a.score == b.score && a.row < b.row);
             };
             for (index j = team.rank(); j < list.count(); j += team.size()) {
               const Candidate own = list[j];
               index place = 0;
               for (index other = 0; other < list.count(); ++other)
                 place += better(list[other], own) ? 1 : 0;
               rows(l, place) = own.row;
               scores(l, place) = l % 2 == 0 ? own.score : 0.0 - own.score;
             }
           });
}

/// Adds what the lists of `tests` test rows have found behind a result.
inline void append_best(const Device& device, const Lists& lists, index tests,
                        TopK& top) {
  const index k = lists.k, size = 2 * tests * k;
  const Scratch<std::int64_t> rows(device, size);
  const Scratch<double> scores(device, size);
  write_best(device, lists, rows.view(2 * tests, k), scores.view(2 * tests, k));
  std::vector<std::int64_t> row(static_cast<std::size_t>(size));
  std::vector<double> score(row.size());
  to_host<std::int64_t>(device, rows.view(1, size), row.data());
  to_host<double>(device, scores.view(1, size), score.data());
  for (index t = 0; t < tests; ++t) {
    const auto rows_at = row.begin() + 2 * t * k;
    const auto scores_at = score.begin() + 2 * t * k;
    top.helpful.insert(top.helpful.end(), rows_at, rows_at + k);
    top.harmful.insert(top.harmful.end(), rows_at + k, rows_at + 2 * k);
    top.helpful_scores.insert(top.helpful_scores.end(), scores_at, scores_at + k);
    top.harmful_scores.insert(top.harmful_scores.end(), scores_at + k,
                              scores_at + 2 * k);
  }
}

}  // namespace upweight::cuda
