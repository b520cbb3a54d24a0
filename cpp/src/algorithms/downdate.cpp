// SPDX-License-Identifier: BSD-3-Clause
#include "downdate.hpp"

#include "host.hpp"
#include "removed_set.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace upweight {

template <class T>
Downdates<T>::Downdates(const Backend<T>& backend, const Design<T>& design,
                        const Part<T>& part)
    : backend_(backend), design_(design), part_(part),
      w_(on_host(part.W.diagonal, backend)), r_(on_host(part.r, backend)) {}

template <class T>
template <class Work>
void Downdates<T>::each_block(const std::int64_t* rows, index g, const Work& in) const {
  constexpr index rows_at_once = 4096;
  for (index first = 0; first < g; first += rows_at_once) {
    RowSets some;
    some.add(rows + first, std::min(rows_at_once, g - first));
    Array Z, none;
    member_rows(backend_, design_, part_, some, Z, none);
    in(Z, first);
  }
}

template <class T>
double Downdates<T>::reach(const Factor& A, const std::int64_t* rows, index g) const {
  const index q = A.order();
  double farthest2 = 0;
  each_block(rows, g, [&](const Array& Z, index) {
    backend_.solve(A, Z, true);
    const std::vector<double> v = on_host(Z, backend_);
    for (auto row = v.begin(); row != v.end(); row += q)
      farthest2 = std::max(farthest2, std::inner_product(row, row + q, row, 0.0));
  });
  return std::sqrt(farthest2);
}

template <class T>
typename Downdates<T>::Step Downdates<T>::step(const std::int64_t* rows, index g,
                                               bool bounds) const {
  const index q = design_.columns();
  Step step;
  step.R = backend_.zeros(q, q);
  std::vector<double> right(at(q), 0.0), one(at(q * q), 0.0);
  for (index j = 0; j < q; ++j)
    one[at(j * q + j)] = 1;
  backend_.upload(one.data(), step.R);
  each_block(rows, g, [&](const Array& Z, index first) {
    const index count = Z.rows();
    std::vector<double> z = on_host(Z, backend_);
    for (index m = 0; m < count; ++m) {
      const std::size_t row = at(rows[first + m]);
      for (index j = 0; j < q; ++j) {
        right[at(j)] += r_[row] * z[at(m * q + j)];
        z[at(m * q + j)] *= w_[row];
      }
    }
    const Array WZ = backend_.zeros(count, q);
    backend_.upload(z.data(), WZ);
    const Array columns = backend_.zeros(q, count), weighted = backend_.zeros(q, count);
    backend_.transpose(Z, columns);
    backend_.transpose(WZ, weighted);
    backend_.multiply(-1, columns, weighted, true, 1, step.R);
  });
  if (bounds) {
    const Array A = backend_.zeros(q, q);
    backend_.copy(step.R, A);
    step.kept =
        RemovedSet::kept_of(1 - backend_.eigenvalues(A).front(), std::max(g, q));
  }
  constexpr double pivot = 1e-14;
  if ((bounds && !RemovedSet::regular(step.kept)) ||
      backend_.potrf(step.R, 1, pivot) >= 0) {
    step.R = Array();
    step.delta.assign(at(q), 0.0);
    step.kept = 0;
    step.reach = std::numeric_limits<double>::infinity();
    return step;
  }
  const Factor A{step.R, 1};
  const Array delta = backend_.zeros(1, q);
  backend_.upload(right.data(), delta);
  backend_.solve(A, delta, false);
  step.delta = on_host(delta, backend_);
  if (bounds) {
    const double square =
        std::inner_product(right.begin(), right.end(), step.delta.begin(), 0.0);
    step.norm = std::sqrt(std::max(square, 0.0));
    step.reach = reach(A, rows, g);
  }
  return step;
}

template class Downdates<double>;
template class Downdates<float>;

}  // namespace upweight
