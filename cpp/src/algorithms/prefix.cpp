// SPDX-License-Identifier: BSD-3-Clause
#include "prefix.hpp"

#include "host.hpp"

#include <algorithm>
#include <limits>

namespace upweight {

template <class T, class R>
void Prefix<T, R>::make(const Backend<T>& backend, const Design<T>& design,
                        const Part<T>& part, double cut) {
  const std::vector<double>& spread = part.spread;
  const auto of = [&](std::int64_t row) {
    return spread[static_cast<std::size_t>(row)];
  };
  // of outputs that share a row, the row's own weight: theirs are made from it
  const ConstMatrix weight = part.whitened ? part.W.diagonal : part.s;
  std::vector<double> w;
  if (!weight.empty())
    w = on_host(weight, backend);
  constexpr double least = std::numeric_limits<R>::min();
  std::vector<std::int64_t> order;
  lost_ = 0;
  for (index j = 0; j < design.rows(); ++j)
    if (of(j) > cut) {
      order.push_back(j);
      if (!w.empty() && w[at(j)] < least)
        lost_ += w[at(j)] * of(j);
    }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t i, std::int64_t j) { return of(i) > of(j); });
  made_ = true;
  cut_ = std::min(cut, part.largest_spread);
  spread_.clear();
  position_.assign(spread.size(), -1);
  for (const std::int64_t row : order) {
    position_[static_cast<std::size_t>(row)] =
        static_cast<std::int64_t>(spread_.size());
    spread_.push_back(of(row));
  }
  const auto m = static_cast<index>(order.size());
  Z_ = zeros_of<R>(backend, m, design.columns());
  weight_ = zeros_of<R>(backend, 1, m);
  mean_ = zeros_of<R>(backend, part.outputs, m);
  if (part.whitened)
    backend.whiten(design, part.R, order.data(), Z_.view());
  else
    backend.gather_design(design, order.data(), Z_.view());
  backend.remainder_terms(part.family, part.W, part.y, part.s, part.eta, order.data(),
                          weight_.view(), mean_.view());
  rows_ = {part.family, part.outputs, Z_, weight_, mean_};
}

template <class T, class R>
index Prefix<T, R>::rows_over(double cut) const {
  const auto over = [cut](double spread) { return spread > cut; };
  return std::partition_point(spread_.begin(), spread_.end(), over) - spread_.begin();
}

template <class T, class R>
double Prefix<T, R>::unread(index count) const {
  const auto next = static_cast<std::size_t>(count);
  return next < spread_.size() ? spread_[next] : cut_;
}

template class Prefix<double, float>;
template class Prefix<double, double>;
template class Prefix<float, float>;
template class Prefix<float, double>;

}  // namespace upweight
