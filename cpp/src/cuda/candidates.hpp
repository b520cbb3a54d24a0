// SPDX-License-Identifier: BSD-3-Clause
// The best k of a stream of scores that are known up to a bound, for each end of each
// test row, in the device's memory: cpu/candidates.hpp by teams (launch.hpp). Scores
// are exact once a tile is done with, for then its rows may leave the device.
#pragma once

#include "upweight/view.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#if defined(__CUDACC__)
#define UPW_TEAM __device__
#else
#define UPW_TEAM  // teams of the host's threads, in tests
#endif

namespace upweight::cuda {

struct Candidate {
  double score;  // of this end: larger is better
  std::int64_t row;
  index column;  // of the tile, while the score is the scan's
};

/// The bits of a number, as unsigned ones that are ordered as the numbers are.
UPW_TEAM inline std::uint64_t ordered_bits(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x + 0.0);  // -0 becomes 0
  constexpr std::uint64_t sign = std::uint64_t(1) << 63;
  return (bits & sign) != 0 ? ~bits : bits | sign;
}
UPW_TEAM inline double from_ordered_bits(std::uint64_t bits) {
  constexpr std::uint64_t sign = std::uint64_t(1) << 63;
  return std::bit_cast<double>((bits & sign) != 0 ? bits & ~sign : ~bits);
}

/// The k-th largest of key(j), j < count, bit by bit from the highest: 64 counts,
/// whatever k is.
template <class Team, class Key>
[[nodiscard]] UPW_TEAM std::uint64_t kth_largest(const Team& team, index count, index k,
                                                 const Key& key) {
  std::uint64_t kth = 0;
  for (int bit = 63; bit >= 0; --bit) {
    const std::uint64_t trial = kth | std::uint64_t(1) << bit;
    index reach = 0;
    for (index j = team.rank(); j < count; j += team.size())
      reach += key(j) >= trial ? 1 : 0;
    kth = team.sum(reach) >= k ? trial : kth;
  }
  return kth;
}

/// All lists, as kernels take them. List 2 s is of the largest scores of the test row
/// with number s, list 2 s + 1 of the smallest, negated.
struct Lists {
  index k, limit, capacity;
  Candidate* entries;
  index* counts;
  double* thresholds;
};

/// One list in the hands of a team. All members hold the same count and threshold.
class List {
public:
  UPW_TEAM List(const Lists& lists, index l)
      : k_(lists.k), limit_(lists.limit), entries_(lists.entries + l * lists.capacity),
        to_count_(lists.counts + l), to_threshold_(lists.thresholds + l),
        count_(*to_count_), exact_(count_), threshold_(*to_threshold_) {}

  /// What an exact score must reach: the k-th largest lower bound of some of the
  /// scores so far.
  [[nodiscard]] UPW_TEAM double threshold() const { return threshold_; }
  [[nodiscard]] UPW_TEAM index count() const { return count_; }
  [[nodiscard]] UPW_TEAM const Candidate& operator[](index j) const {
    return entries_[j];
  }

  /// Adds the candidates of the members who have one. exact(team, column) gives the
  /// exact score of a row of the tile, `error` bounds how far its scan is off: 0 when
  /// not at all.
  template <class Team, class Exact>
  UPW_TEAM void add(const Team& team, bool wanted, const Candidate& candidate,
                    double error, const Exact& exact) {
    const auto places = team.count(wanted);
    if (wanted)
      entries_[count_ + places.before] = candidate;
    count_ += places.total;
    exact_ = error > 0 ? exact_ : count_;
    team.sync();
    if (count_ <= limit_)
      return;
    drop_low(team, error);
    if (2 * count_ > limit_) {  // bounds alone leave too many
      make_exact(team, exact);
      keep_best(team);
    }
  }

  /// The tile's rows are about to leave: scores become exact. The list is cut when it
  /// has grown by enough to pay, so that the threshold keeps up.
  template <class Team, class Exact>
  UPW_TEAM void end_tile(const Team& team, double error, const Exact& exact) {
    const index grown = 2 * k_ + 16;
    const bool cut = count_ > grown;
    if (cut)
      drop_low(team, error);
    make_exact(team, exact);
    if (cut)
      keep_best(team);
  }

  /// Only the k best stay, ties going to the lower row; all scores are exact.
  template <class Team>
  UPW_TEAM void keep_best(const Team& team) {
    if (count_ < k_)
      return;
    const Candidate* entries = entries_;
    const index count = count_;
    const std::uint64_t last = kth_largest(
        team, count, k_, [=](index j) { return ordered_bits(entries[j].score); });
    threshold_ = from_ordered_bits(last);
    if (count == k_)
      return;
    index over = 0;
    for (index j = team.rank(); j < count; j += team.size())
      over += ordered_bits(entries[j].score) > last ? 1 : 0;
    over = team.sum(over);
    const std::uint64_t tied =
        kth_largest(team, count, k_ - over, [=](index j) -> std::uint64_t {
          return ordered_bits(entries[j].score) == last
                     ? ~static_cast<std::uint64_t>(entries[j].row)
                     : 0;
        });
    keep(team, [=](const Candidate& own, index) {
      const std::uint64_t bits = ordered_bits(own.score);
      return bits > last ||
             (bits == last && ~static_cast<std::uint64_t>(own.row) >= tied);
    });
  }
  /// The same where it could change anything.
  template <class Team>
  UPW_TEAM void refresh(const Team& team) {
    if (count_ > k_ || threshold_ == -std::numeric_limits<double>::infinity())
      keep_best(team);
  }

  /// Leaves the list as the next team shall find it.
  template <class Team>
  UPW_TEAM void close(const Team& team) const {
    team.sync();
    if (team.rank() > 0)
      return;
    *to_count_ = count_;
    *to_threshold_ = threshold_;
  }

private:
  template <class Team>
  UPW_TEAM void drop_low(const Team& team, double error) {
    if (count_ >= k_) {
      const Candidate* entries = entries_;
      const index exact = exact_;
      const double lower =
          from_ordered_bits(kth_largest(team, count_, k_, [=](index j) {
            return ordered_bits(entries[j].score - (j < exact ? 0.0 : error));
          }));
      threshold_ = lower > threshold_ ? lower : threshold_;
    }
    const double threshold = threshold_;
    const index exact = exact_;
    keep(team, [=](const Candidate& own, index j) {
      return own.score + (j < exact ? 0.0 : error) >= threshold;
    });
  }

  template <class Team, class Exact>
  UPW_TEAM void make_exact(const Team& team, const Exact& exact) {
    for (index j = exact_; j < count_; ++j) {
      const double score = exact(team, entries_[j].column);
      if (team.rank() == 0)
        entries_[j].score = score;
    }
    exact_ = count_;
    team.sync();
  }

  /// Only the candidates that are wanted stay, in their order.
  template <class Team, class Wanted>
  UPW_TEAM void keep(const Team& team, const Wanted& wanted) {
    index kept = 0, kept_exact = 0;
    for (index first = 0; first < count_; first += team.size()) {
      const index j = first + team.rank();
      Candidate own{};
      if (j < count_)
        own = entries_[j];
      const bool stays = j < count_ && wanted(own, j);
      const auto places = team.count(stays);
      team.sync();  // all have read before any writes
      if (stays)
        entries_[kept + places.before] = own;
      kept += places.total;
      kept_exact += stays && j < exact_ ? 1 : 0;
    }
    count_ = kept;
    exact_ = team.sum(kept_exact);
    team.sync();
  }

  index k_, limit_;
  Candidate* entries_;
  index* to_count_;
  double* to_threshold_;
  index count_;
  index exact_;  // entries known exactly: the first, as others come behind
  double threshold_;
};

/// The largest U not above x, so that comparing in U never loses a candidate.
template <class U>
[[nodiscard]] UPW_TEAM U below(double x) {
  const U rounded = static_cast<U>(x);
  return static_cast<double>(rounded) > x
             ? std::nextafter(rounded, -std::numeric_limits<U>::infinity())
             : rounded;
}

/// One end of a test row meets a tile: what may be among its best joins the list, in
/// the order of the columns. Members look at every team.size()-th column; `mine` is
/// the first of them, in steps, that may join.
template <class Team, class U, class Number, class Exact>
UPW_TEAM void join(const Team& team, List& list, U sign, const U* scores, index columns,
                   index mine, double error, const Number& number, const Exact& exact) {
  const index steps = (columns + team.size() - 1) / team.size();
  for (;;) {
    const index step = steps - team.max(steps - mine);  // the first of all members'
    if (step == steps)
      break;
    const index c = step * team.size() + team.rank();
    const bool here = mine == step;
    const double score = here ? static_cast<double>(sign * scores[c]) : 0.0;
    list.add(team, here && score + error >= list.threshold(),
             {score, here ? number(c) : 0, c}, error, exact);
    if (here) {
      const U bound = below<U>(list.threshold() - error);
      for (++mine; mine < steps; ++mine) {
        const index next = mine * team.size() + team.rank();
        if (next < columns && sign * scores[next] >= bound)
          break;
      }
    }
  }
  list.end_tile(team, error, exact);
  list.close(team);
}

}  // namespace upweight::cuda
