// SPDX-License-Identifier: BSD-3-Clause
#include "downdate.hpp"

#include "host.hpp"
#include "removed_set.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

namespace upweight {

namespace {

template <class T>
class Downdating {
public:
  Downdating(const Backend<T>& backend, const Design<T>& design, const Part<T>& part)
      : backend_(backend), design_(design), part_(part), q_(design.columns()),
        w_(on_host(part.W.diagonal, backend)), r_(on_host(part.r, backend)) {}

  /// One set's factor and terms, and its step under `steps`.
  void add(const std::int64_t* rows, index g, Downdated& found,
           std::vector<double>& steps) const {
    Array A = backend_.zeros(q_, q_);
    const std::vector<double> right = less_own(rows, g, A);
    const Array used = backend_.zeros(q_, q_);
    backend_.copy(A, used);
    const double kept =
        RemovedSet::kept_of(1 - backend_.eigenvalues(used).front(), std::max(g, q_));
    constexpr double pivot = 1e-14;
    if (!RemovedSet::regular(kept) || backend_.potrf(A, 1, pivot) >= 0) {
      found.factors.emplace_back();
      found.terms.norm.push_back(0);
      found.terms.kept.push_back(0);
      found.terms.reach.push_back(std::numeric_limits<double>::infinity());
      steps.insert(steps.end(), right.size(), 0.0);
      return;
    }
    const Factor factor{A, 1};
    const Array solved = backend_.zeros(1, q_);
    backend_.upload(right.data(), solved);
    backend_.solve(factor, solved, false);
    const std::vector<double> step = on_host(solved, backend_);
    const double square =
        std::inner_product(right.begin(), right.end(), step.begin(), 0.0);
    found.terms.norm.push_back(std::sqrt(std::max(square, 0.0)));
    found.terms.kept.push_back(kept);
    found.terms.reach.push_back(reach(factor, rows, g));
    found.factors.push_back(std::move(A));
    steps.insert(steps.end(), step.begin(), step.end());
  }

private:
  /// in(Z, first) for blocks of the rows' z_m, the first of them number `first`.
  template <class Work>
  void each_block(const std::int64_t* rows, index g, const Work& in) const {
    constexpr index rows_at_once = 4096;
    for (index first = 0; first < g; first += rows_at_once) {
      RowSets some;
      some.add(rows + first, std::min(rows_at_once, g - first));
      Array Z, none;
      member_rows(backend_, design_, part_, some, Z, none);
      in(Z, first);
    }
  }

  /// A = I - sum_m w_m z_m z_m'; returns sum_m r_m z_m.
  std::vector<double> less_own(const std::int64_t* rows, index g,
                               const Array& A) const {
    std::vector<double> right(at(q_), 0.0), one(at(q_ * q_), 0.0);
    for (index j = 0; j < q_; ++j)
      one[at(j * q_ + j)] = 1;
    backend_.upload(one.data(), A);
    each_block(rows, g, [&](const Array& Z, index first) {
      std::vector<double> z = on_host(Z, backend_);
      for (index m = 0; m < Z.rows(); ++m) {
        const std::size_t row = at(rows[first + m]);
        for (index j = 0; j < q_; ++j) {
          right[at(j)] += r_[row] * z[at(m * q_ + j)];
          z[at(m * q_ + j)] *= w_[row];
        }
      }
      const Array weighted = backend_.zeros(Z.rows(), q_);
      backend_.upload(z.data(), weighted);
      const Array columns = backend_.zeros(q_, Z.rows());
      backend_.transpose(Z, columns);
      backend_.multiply(-1, columns, weighted, false, 1, A);
    });
    return right;
  }

  /// The largest (z_m'A^-1 z_m)^(1/2).
  double reach(const Factor& A, const std::int64_t* rows, index g) const {
    double farthest2 = 0;
    each_block(rows, g, [&](const Array& Z, index) {
      backend_.solve(A, Z, true);
      const std::vector<double> v = on_host(Z, backend_);
      for (auto row = v.begin(); row != v.end(); row += q_)
        farthest2 = std::max(farthest2, std::inner_product(row, row + q_, row, 0.0));
    });
    return std::sqrt(farthest2);
  }

  const Backend<T>& backend_;
  const Design<T>& design_;
  const Part<T>& part_;
  index q_;
  std::vector<double> w_, r_;  // n
};

}  // namespace

template <class T>
Downdated downdate(const Backend<T>& backend, const Design<T>& design,
                   const Part<T>& part, const RowSets& sets) {
  const Downdating<T> without(backend, design, part);
  Downdated found;
  std::vector<double> steps;
  for (index b = 0; b < sets.count(); ++b)
    without.add(sets.members.data() + sets.offsets[at(b)], sets.size(b), found, steps);
  found.steps = backend.zeros(sets.count(), design.columns());
  backend.upload(steps.data(), found.steps);
  return found;
}

template Downdated downdate(const Backend<double>&, const Design<double>&,
                            const Part<double>&, const RowSets&);
template Downdated downdate(const Backend<float>&, const Design<float>&,
                            const Part<float>&, const RowSets&);

}  // namespace upweight
