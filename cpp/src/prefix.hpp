// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "refine.hpp"

#include <cstdint>
#include <vector>

namespace upweight {

/// The training rows that passes read, those of the largest spread first, in precision
/// R. Memory: m q numbers of it.
template <class T, class R>
class Prefix {
public:
  /// All rows of weight whose spread is over `cut`.
  void make(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
            double cut);

  [[nodiscard]] bool made() const { return made_; }
  [[nodiscard]] double cut() const { return cut_; }
  [[nodiscard]] const RemainderRows<R>& rows() const { return rows_; }
  /// Where each training row is; -1: not here.
  [[nodiscard]] std::int64_t position(std::int64_t row) const {
    return position_[static_cast<std::size_t>(row)];
  }
  /// How many rows have a spread over `cut`.
  [[nodiscard]] index rows_over(double cut) const;
  /// The largest spread of a row that is not among the first `count`.
  [[nodiscard]] double unread(index count) const;
  /// Sum of w_j times the spread over the rows whose weight R does not hold to its last
  /// digit, so that their remainders may come out as anything down to nothing.
  [[nodiscard]] double lost() const { return lost_; }

private:
  bool made_ = false;
  double cut_ = 0, lost_ = 0;
  std::vector<double> spread_;          // falling
  std::vector<std::int64_t> position_;  // n
  BasicArray<R> Z_, weight_, mean_;
  RemainderRows<R> rows_;
};

}  // namespace upweight
