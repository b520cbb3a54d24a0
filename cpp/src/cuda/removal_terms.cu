// SPDX-License-Identifier: BSD-3-Clause
// What leaving sets of rows out does to the Hessian (Woodbury): single rows by a
// thread, sets by a team, large ones by the libraries.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/launch.hpp"
#include "cuda/sets.hpp"
#include "cuda/tridiagonal.hpp"
#include "removed_set.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace upweight::cuda {
namespace {

constexpr index warp_order = 32;   // sets up to this are a warp's
constexpr index team_order = 128;  // up to this a block's

/// Where the word's results go: `norms` has a row each for norm, kept and reach.
struct Results {
  Matrix a, move, N;
  Matrix norms;  // 3 x sets

  __device__ void put(index b, const RemovedSet::Norms& found) const {
    norms(0, b) = found.norm;
    norms(1, b) = found.kept;
    norms(2, b) = found.reach;
  }
};

/// Sets of one row with one output.
void single_rows(const Device& device, const RowWeights& W, ConstMatrix r,
                 const SetLists& sets, const double* C, const Results& to) {
  const ConstMatrix diagonal = W.diagonal;
  each(device, "removal_terms", to.norms.cols, [=] __device__(index b) {
    if (sets.size(b) != 1)
      return;
    const index m = sets.begin(b), i = static_cast<index>(sets.members[m]);
    const double c = C[sets.block(b)], w = diagonal(i, 0), residual = r(i, 0);
    const double left = 1.0 - w * c;
    const bool regular = RemovedSet::regular(left);
    const double a = regular ? residual / left : 0.0;
    const double reach =
        regular ? std::sqrt(c / left) : std::numeric_limits<double>::infinity();
    to.put(b,
           {regular ? std::fabs(residual) * reach : 0.0, regular ? left : 0.0, reach});
    to.a(m, 0) = a;
    if (!to.move.empty())
      to.move(m, 0) = c * a;
    if (!to.N.empty())
      to.N.data[sets.block(b)] = regular ? w / left : 0.0;
  });
}

/// Sets first .. first + count - 1, but those of one row with one output and those too
/// large; `memory` holds what RemovedSet asks for, set after set.
void team_sets(const Device& device, const RowWeights& W, ConstMatrix r,
               const SetLists& sets, const double* C, index first, index count,
               index largest, double* memory, const Results& to) {
  const index work = largest > warp_order ? largest * largest : warp_order;
  each_row(device, "removal_terms", count, work,
           [=] __device__(const Team& team, index at) {
             const index b = first + at, begin = sets.begin(b), K = sets.K;
             const index g = sets.size(b), n = g * K;
             if (n == 1 || n > team_order)
               return;
             const index blocks = sets.block(b) - sets.block(first),
                         rows = begin - sets.begin(first);
             const RemovedSet set{W,
                                  r,
                                  sets.members + begin,
                                  g,
                                  K,
                                  C + sets.block(b),
                                  memory + 3 * blocks + 4 * K * rows};
             double* S = set.symmetric(team);
             const double largest_value = largest_eigenvalue(
                 team, n, S, set.memory + RemovedSet::memory_of(n) - 3 * n);
             const double kept = RemovedSet::kept_of(largest_value, n);
             team.sync();  // what S took serves again
             to.put(b, set.terms(team, kept, to.a.row(begin),
                                 to.move.empty() ? nullptr : to.move.row(begin),
                                 to.N.empty() ? nullptr : to.N.data + sets.block(b)));
           });
}

/// A large set b, whose blocks start at `start`: N = F (I - F'CF)^-1 F' = Y'Y for Y =
/// R^-T F', R'R = I - F'CF, and (I - W C)^-1 = I + N C.
void large_set(const Device& device, const RemovedSet& set, index b, index begin,
               index start, const Results& to) {
  const index n = set.order(), K = set.K;
  const Scratch<double> squares(device, 4 * n * n), lists(device, (K + 2) * n);
  const Matrix all = squares.view(4 * n, n);
  const Matrix S = all.block(0, n), R = all.block(n, n), Y = all.block(2 * n, n);
  const Matrix N = to.N.empty() ? all.block(3 * n, n) : Matrix(to.N.data + start, n, n);
  double *F = lists.get(), *first = F + n * K, *second = first + n;
  each(device, "removal_terms", n,
       [=] __device__(index i) { set.root_row(i, F + i * K); });
  each(device, "removal_terms", n, n,
       [=] __device__(index i, index c) { Y(i, c) = set.c_root(F, i, c); });
  each_row(device, "removal_terms", n, n, [=] __device__(const Team& team, index i) {
    set.root_c_root_row(F, Y.data, i, team.rank(), team.size(), S.row(i));
    for (index j = team.rank(); j < n; j += team.size())
      R(i, j) = (i == j ? 1.0 : 0.0) - S(i, j);
  });
  double largest = std::numeric_limits<double>::infinity();
  if (blas::eigenvalues(device, S, Matrix(first, 1, n)))
    to_host<double>(device, ConstMatrix(first + n - 1, 1, 1), &largest);
  const double kept = RemovedSet::kept_of(largest, n);
  if (!RemovedSet::regular(kept) || blas::potrf<double>(device, R) >= 0) {
    each(device, "removal_terms", n, [=] __device__(index i) {
      to.a.row(begin)[i] = 0;
      if (!to.move.empty())
        to.move.row(begin)[i] = 0;
      if (i == 0)
        to.put(b, {0, 0, std::numeric_limits<double>::infinity()});
    });
    return;
  }
  each(device, "removal_terms", n, n, [=] __device__(index c, index i) {
    const index m = set.row_of(c);
    Y(c, i) = set.row_of(i) == m ? F[i * K + c - m * K] : 0.0;
  });
  const ConstMatrix C(set.C, n, n);
  const Matrix NC = S;
  blas::solve_panel<double>(device, R, Y);
  blas::gemm_at<double>(device, 1, Y, Y, 0, N);
  blas::gemm<double>(device, 1, N, C, false, 0, NC);
  each_row(device, "removal_terms", n, n, [=] __device__(const Team& team, index i) {
    double sum = 0;
    for (index j = team.rank(); j < n; j += team.size())
      sum += NC(i, j) * set.residual(j);
    to.a.row(begin)[i] = set.residual(i) + team.sum(sum);
  });
  each_row(device, "removal_terms", n, n, [=] __device__(const Team& team, index i) {
    double ca = 0, cnc = 0;  // of C a, and the diagonal of C N C
    for (index j = team.rank(); j < n; j += team.size()) {
      ca += C(i, j) * to.a.row(begin)[j];
      cnc += C(i, j) * NC(j, i);
    }
    ca = team.sum(ca);
    first[i] = set.residual(i) * ca;
    second[i] = C(i, i) + team.sum(cnc);
    if (!to.move.empty())
      to.move.row(begin)[i] = ca;
  });
  each_row(device, "removal_terms", 1, n, [=] __device__(const Team& team, index) {
    double norm2 = 0, farthest2 = 0;
    for (index i = team.rank(); i < n; i += team.size()) {
      norm2 += first[i];
      farthest2 = second[i] > farthest2 ? second[i] : farthest2;
    }
    to.put(b, RemovedSet::norms(team.sum(norm2), kept, team.max(farthest2)));
  });
}

/// All sets but those of one row with one output: runs of those that teams take, as
/// many at once as the memory of their systems allows, and the large ones.
void larger_sets(const Device& device, const RowWeights& W, ConstMatrix r,
                 const RowSets& sets, const SetLists& lists, const double* C,
                 const Results& to) {
  constexpr index most_numbers = index(8) << 20;
  const index K = lists.K, count = sets.count();
  const auto order = [&](index b) { return sets.size(b) * K; };
  for (index first = 0, start = 0; first < count;) {
    device.pause_point();
    if (order(first) > team_order) {
      const index begin = sets.offsets[static_cast<std::size_t>(first)];
      large_set(device,
                {W, r, lists.members + begin, sets.size(first), K, C + start, nullptr},
                first, begin, start, to);
      start += order(first) * order(first);
      ++first;
      continue;
    }
    index last = first, numbers = 0, largest = 0;
    for (; last < count && order(last) <= team_order; ++last) {
      const index more = RemovedSet::memory_of(order(last));
      if (last > first && numbers + more > most_numbers)
        break;
      numbers += more;
      largest = std::max(largest, order(last));
      start += order(last) * order(last);
    }
    const Scratch<double> memory(device, numbers);
    team_sets(device, W, r, lists, C, first, last - first, largest, memory.get(), to);
    first = last;
  }
}

}  // namespace

template <class T>
RemovalTerms CudaBackend<T>::removal_terms(const RowWeights& W, ConstMatrix r,
                                           const RowSets& sets, ConstMatrix C, Matrix a,
                                           Matrix move, Matrix N) const {
  const index K = r.cols, count = sets.count();
  const auto size = static_cast<std::size_t>(count);
  const UploadedSets uploaded(device(), sets, K, true);
  const Scratch<double> memory(device(), 3 * count);
  const Results to{a, move, N, memory.view(3, count)};
  if (K == 1)
    single_rows(device(), W, r, uploaded.lists(), C.data, to);
  if (K > 1 || sets.total() > count)
    larger_sets(device(), W, r, sets, uploaded.lists(), C.data, to);
  RemovalTerms terms{std::vector<double>(size), std::vector<double>(size),
                     std::vector<double>(size)};
  to_host<double>(device(), to.norms.block(0, 1), terms.norm.data());
  to_host<double>(device(), to.norms.block(1, 1), terms.kept.data());
  to_host<double>(device(), to.norms.block(2, 1), terms.reach.data());
  return terms;
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
