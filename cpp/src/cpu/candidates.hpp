// SPDX-License-Identifier: BSD-3-Clause
// The best k of a stream of scores that are known up to a bound.
#pragma once

#include "upweight/view.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace upweight::cpu {

struct Entry {
  double score;  // of this end: larger is better
  double error;  // bound on |score - exact|; 0 when exact
  std::int64_t row;
};

inline bool better(const Entry& a, const Entry& b) {
  return a.score > b.score || (a.score == b.score && a.row < b.row);
}

/// The best k so far of one end of one test row, with all that may still turn out
/// better.
class Candidates {
public:
  explicit Candidates(index k) : k_(static_cast<std::size_t>(k)), limit_(4 * k_ + 64) {}

  /// k-th largest lower bound: what an exact score must reach.
  [[nodiscard]] double threshold() const { return threshold_; }

  /// True when the list should be cut before more comes in.
  [[nodiscard]] bool full() const { return entries_.size() >= limit_; }

  void add(Entry entry) {
    entries_.push_back(entry);
    raise(entry.score - entry.error);
  }

  /// Drops what cannot reach the threshold. When bounds alone leave too many,
  /// `exact(row)` replaces them, and just k stay.
  template <class Exact>
  void cut(const Exact& exact) {
    drop_low();
    if (2 * entries_.size() > limit_)
      finish(exact);
  }

  /// The k best by exact score, best first.
  template <class Exact>
  const std::vector<Entry>& finish(const Exact& exact) {
    drop_low();
    for (Entry& entry : entries_)
      if (entry.error > 0)
        entry = {exact(entry.row), 0.0, entry.row};
    std::sort(entries_.begin(), entries_.end(), better);
    if (entries_.size() > k_)
      entries_.resize(k_);
    lowest_.clear();
    for (const Entry& entry : entries_)
      raise(entry.score);
    return entries_;
  }

private:
  void drop_low() {
    std::erase_if(entries_, [this](const Entry& entry) {
      return entry.score + entry.error < threshold_;
    });
  }

  /// Takes a lower bound among the k largest, when it is one.
  void raise(double lower) {
    if (lowest_.size() == k_) {
      if (!(lower > lowest_.front()))
        return;
      std::pop_heap(lowest_.begin(), lowest_.end(), std::greater<>());
      lowest_.back() = lower;
    } else {
      lowest_.push_back(lower);
    }
    std::push_heap(lowest_.begin(), lowest_.end(), std::greater<>());
    if (lowest_.size() == k_)
      threshold_ = std::max(threshold_, lowest_.front());
  }

  std::size_t k_, limit_;
  double threshold_ = -std::numeric_limits<double>::infinity();
  std::vector<Entry> entries_;
  std::vector<double> lowest_;  // heap of the k largest lower bounds, least in front
};

}  // namespace upweight::cpu
