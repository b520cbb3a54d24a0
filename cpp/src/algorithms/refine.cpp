// SPDX-License-Identifier: BSD-3-Clause
#include "refine.hpp"

#include "certificate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace upweight {

namespace {

using certificate::phi;
using certificate::psi;

constexpr double single_unit = 0x1p-24, double_unit = 0x1p-53;
constexpr double infinite = std::numeric_limits<double>::infinity();

/// Rounding of a sum of n terms, relative: sqrt(n) units and not n, as their errors are
/// independent (Higham and Mary 2019), with their constant at 4.
double sum_error(index n, double unit) {
  return 4 * std::sqrt(static_cast<double>(n)) * unit;
}

std::size_t at(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

/// |A delta - g|_{A^-1} of a delta solved in float64: H is off by E, of rounding's size
/// beside its diagonal, and |E delta|_{A^-1} is at most |H^-1/2 E H^-1/2| |delta|_A /
/// kept, its first factor up to the square of the pivots' ratio.
template <class T>
double step_error(const Part<T>& part, const SetState& s) {
  return sum_error(part.R.cols, double_unit) * part.pivot_ratio * part.pivot_ratio /
         s.kept * s.norm;
}

}  // namespace

template <class T>
void bound_newton_step(const Part<T>& part, SetState& s) {
  if (!(s.kept > 0)) {
    s.error = infinite;
    return;
  }
  const double R = part.M * std::sqrt(part.largest_spread / s.kept);
  const double D = R * s.norm;
  const double rounding = step_error(part, s);
  const double nu = phi(D) * s.norm + part.gradient_norm / std::sqrt(s.kept) + rounding;
  s.error = certificate::distance(nu, D, R);
}

template <class T>
void member_rows(const Backend<T>& backend, const Design<T>& design,
                 const Part<T>& part, const RowSets& sets, Array& E, Array& V) {
  const index q = design.columns(), K = part.outputs, M = sets.total();
  if (part.whitened) {
    E = backend.zeros(M, q);
    backend.whiten(design, part.R, sets.members.data(), E.view());
    return;
  }
  const Array x = backend.zeros(M, q);
  backend.gather_design(design, sets.members.data(), x.view());
  E = backend.zeros(M * K, K * q);
  for (index k = 0; k < K; ++k)  // segment k of the rows m K + k
    backend.copy(x, Matrix(E.view().row(k) + k * q, M, q, K * K * q));
  V = backend.zeros(M * K, K * q);
  backend.copy(E, V);
  backend.solve(Factor{part.R, 1}, V, false);
}

namespace {

template <class T>
class Refiner {
public:
  Refiner(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
          const RowSets& sets, const LeaveOutOptions& options,
          std::vector<SetState>& states, std::vector<std::int64_t>& place)
      : backend_(backend), design_(design), part_(part), sets_(sets), options_(options),
        states_(states), place_(place), q_(design.columns()), P_(part.outputs * q_) {}

  Array run() {
    std::vector<index> active;
    for (index b = 0; b < sets_.count(); ++b) {
      const SetState& s = states_[at(b)];
      const bool worth = s.kept > 0 && s.norm > 0 && part_.M > 0;
      place_[at(b)] = -1;
      if (worth && !s.within(options_.tol)) {
        place_[at(b)] = static_cast<std::int64_t>(active.size());
        active.push_back(b);
      }
    }
    if (active.empty())
      return Array();
    const auto refined = static_cast<index>(active.size());
    deltas_ = backend_.zeros(refined, P_);
    previous_ = backend_.zeros(refined, P_);
    stalled_.assign(states_.size(), false);
    cuts_.resize(states_.size());
    cubic_ = cubic_pays(active);
    for (int round = 0; round < options_.max_passes && !active.empty(); ++round) {
      sort_by_need(active);
      const index most = sets_at_once();
      for (index first = 0; first < static_cast<index>(active.size()); first += most) {
        const index last = std::min(first + most, static_cast<index>(active.size()));
        pass({active.begin() + first, active.begin() + last});
      }
      std::erase_if(active, [&](index b) {
        return states_[at(b)].within(options_.tol) || stalled_[at(b)];
      });
    }
    if (part_.whitened)
      backend_.unwhiten(part_.R, deltas_);
    return std::move(deltas_);
  }

private:
  /// Under which c_jj rows may be left out of a set's pass, at a quarter of what its
  /// bound may be.
  [[nodiscard]] double cut_of(index b, bool cubic) const {
    const SetState& s = states_[at(b)];
    const double allowed = 0.25 * options_.tol / (s.reach * s.norm);
    const double d =
        cubic ? certificate::inverse_psi(allowed) : certificate::inverse_phi(allowed);
    const double root = d / (part_.M * s.norm);
    return root * root * s.kept;
  }

  /// Whether the third derivative's tensor pays, by counted flops: n q^3 / 3 for it and
  /// q^3 a set, against longer prefixes. Prefixes are told from a sample of the rows.
  [[nodiscard]] bool cubic_pays(const std::vector<index>& active) const {
    constexpr double most_bytes = 512e6;
    const auto n = static_cast<double>(design_.rows()), q = static_cast<double>(q_);
    if (!part_.whitened || 2 * q * q * q > most_bytes)
      return false;
    constexpr index sample_size = 4096;
    const index step = std::max<index>(1, design_.rows() / sample_size);
    std::vector<double> sample;
    for (index j = 0; j < design_.rows(); j += step)
      sample.push_back(part_.spread[at(j)]);
    std::sort(sample.begin(), sample.end());
    const auto prefix = [&](double cut) {
      const auto above =
          sample.end() - std::upper_bound(sample.begin(), sample.end(), cut);
      return n * static_cast<double>(above) / static_cast<double>(sample.size());
    };
    double plain = 0, with_cubic = n * q * q * q / 3;
    for (const index b : active) {
      plain += 4 * prefix(cut_of(b, false)) * q;
      with_cubic += q * q * q + 4 * prefix(cut_of(b, true)) * q;
    }
    return with_cubic < plain;
  }

  /// Sets that need many rows first; the prefix is what the first of them needs.
  void sort_by_need(std::vector<index>& active) {
    for (const index b : active)
      cuts_[at(b)] = cut_of(b, cubic_);
    std::stable_sort(active.begin(), active.end(),
                     [&](index a, index b) { return cuts_[at(a)] < cuts_[at(b)]; });
    const double cut = cuts_[at(active.front())];
    if (cubic_ && tensor_.empty())
      make_prefix(0);  // the tensor is of all rows
    else if (prefix_.empty() || cut < prefix_cut_)
      make_prefix(0.5 * cut);  // later rounds need a little more
  }

  /// Rows of weight whose spread is over `cut`, largest first.
  void make_prefix(double cut) {
    prefix_.clear();
    for (index j = 0; j < design_.rows(); ++j)
      if (part_.spread[at(j)] > cut)
        prefix_.push_back(j);
    std::stable_sort(prefix_.begin(), prefix_.end(),
                     [&](std::int64_t i, std::int64_t j) {
                       return part_.spread[at(i)] > part_.spread[at(j)];
                     });
    prefix_cut_ = cut;
    const auto m = static_cast<index>(prefix_.size());
    position_.assign(at(design_.rows()), -1);
    for (index c = 0; c < m; ++c)
      position_[at(prefix_[at(c)])] = c;
    Z_ = backend_.zeros_single(m, q_);
    weight_ = backend_.zeros_single(1, m);
    mean_ = backend_.zeros_single(part_.outputs, m);
    if (part_.whitened)
      backend_.whiten(design_, part_.R, prefix_.data(), Z_.view());
    else
      backend_.gather_design(design_, prefix_.data(), Z_.view());
    backend_.remainder_terms(part_.family, part_.W, part_.s, part_.eta, prefix_.data(),
                             weight_, mean_);
    rows_ = {part_.family, part_.outputs, Z_, weight_, mean_};
    if (cubic_ && tensor_.empty()) {
      tensor_ = backend_.zeros_single(q_ * (q_ + 1) / 2, q_);
      backend_.cubic_tensor(rows_, tensor_);
    }
  }

  [[nodiscard]] index sets_at_once() const {
    constexpr index batch_bytes = index(64) << 20;
    const index per_set = (5 + part_.outputs) * P_ * index(sizeof(double));
    return std::clamp<index>(batch_bytes / per_set, 16, 8192);
  }

  /// One pass for sets sorted by their cuts, which have had as many.
  void pass(const std::vector<index>& batch) {
    RowSets sets;
    std::vector<std::int64_t> stored;
    index block = 0;
    for (const index b : batch) {
      const index order = sets_.size(b) * part_.outputs;
      sets.add(sets_.members.data() + sets_.offsets[at(b)], sets_.size(b));
      stored.push_back(place_[at(b)]);
      block += order * order;
    }
    const index count = sets.count(), K = part_.outputs, M = sets.total();
    Array E, V;
    member_rows(backend_, design_, part_, sets, E, V);
    const ConstMatrix HX = part_.whitened ? E : V;
    const Array C = backend_.zeros(1, block), N = backend_.zeros(1, block);
    const Array a = backend_.zeros(M, K);
    backend_.inner_blocks(sets, K, E, HX, C);
    (void)backend_.removal_terms(part_.W, part_.r, sets, C, a, {}, N);

    const Array delta = backend_.zeros(count, P_), previous = backend_.zeros(count, P_);
    if (states_[at(batch.front())].passes == 0) {
      backend_.newton_deltas(sets, K, HX, a, delta);
    } else {
      backend_.gather(deltas_, stored.data(), delta);
      backend_.gather(previous_, stored.data(), previous);
    }
    const Array G = backend_.zeros(count, P_);
    const Array reach = backend_.zeros(count, 1), moved2 = backend_.zeros(count, 1);
    const index rows = rows_over(cuts_[at(batch.front())]);  // enough for all
    std::vector<std::int64_t> own;
    for (const std::int64_t member : sets.members)
      own.push_back(position_[at(member)]);
    backend_.remainder_gradient(rows_, rows, cubic_, sets, own.data(), delta, G, reach);
    if (cubic_) {
      const SingleArray w = backend_.zeros_single(1, M),
                        p = backend_.zeros_single(1, M);
      backend_.remainder_terms(part_.family, part_.W, part_.s, part_.eta,
                               sets.members.data(), w, p);
      backend_.cubic_contract(tensor_, sets, {part_.family, 1, {}, w, p}, E, delta, G);
    }
    Array solved;
    if (!part_.whitened) {
      solved = backend_.zeros(count, P_);
      backend_.copy(G, solved);
      backend_.solve(Factor{part_.R, 1}, solved, false);
    }
    backend_.chord_step(sets, K, HX, a, N, G, part_.whitened ? G : solved, delta,
                        previous, moved2);
    backend_.scatter(delta, stored.data(), deltas_);
    backend_.scatter(previous, stored.data(), previous_);
    std::vector<double> farthest(at(count)), moved(at(count));
    backend_.download(reach, farthest.data());
    backend_.download(moved2, moved.data());
    const bool all_read = rows == static_cast<index>(prefix_.size());
    const double unread = all_read ? std::min(prefix_cut_, part_.largest_spread)
                                   : part_.spread[at(prefix_[at(rows)])];
    for (index b = 0; b < count; ++b)
      bound_pass(batch[at(b)], part_.M * farthest[at(b)],
                 std::sqrt(std::max(moved[at(b)], 0.0)), unread, rows);
  }

  /// How many rows of the prefix have a spread over `cut`.
  [[nodiscard]] index rows_over(double cut) const {
    const auto over = [&](std::int64_t j) { return part_.spread[at(j)] > cut; };
    return std::partition_point(prefix_.begin(), prefix_.end(), over) - prefix_.begin();
  }

  /// The certificate after a pass that changed delta, of norm s.norm, by `moved`. Rows
  /// that were read move by at most `farthest`; of the others c_jj is at most `unread`.
  void bound_pass(index b, double farthest, double moved, double unread, index rows) {
    SetState& s = states_[at(b)];
    const double root = std::sqrt(s.kept);
    const double R = part_.M * std::sqrt(part_.largest_spread) / root;
    const double tail_reach = part_.M * std::sqrt(unread) / root * s.norm;
    const double tail = (cubic_ ? psi(tail_reach) : phi(tail_reach)) * s.norm;
    const double D = std::max(farthest, tail_reach);
    // of the linear predictors and the sums of a tile, in float32; then of the step.
    // |delta|_H may be |delta|_A over root, and errors in the norm of A^-1 again.
    const double condition = part_.whitened ? 1.0 : part_.pivot_ratio;
    // The tensor holds the set's own rows, whose part is taken off again.
    const double sums = phi(D) + (cubic_ ? R * s.norm / 2 : 0.0);
    const double rounding =
        condition / s.kept * s.norm *
            (sum_error(q_, single_unit) * D + sum_error(512, single_unit) * sums) +
        step_error(part_, s);
    const double floor = tail + rounding + part_.gradient_norm / root;
    // the iterate that the pass began with; from there the next one, as a pass shrinks
    // errors by e^D' - 1, or else as it is `moved` away
    const double before = certificate::distance(moved + floor, D, R);
    s.error =
        std::isfinite(before)
            ? std::min(std::expm1(D + R * before) * before + floor, before + moved)
            : infinite;
    stalled_[at(b)] = !(moved <= 0.7 * (s.passes == 0 ? s.norm : s.moved));
    s.route = cubic_ && rows == 0 && s.passes == 0 ? Route::cubic : Route::passes;
    s.moved = moved;
    s.norm += moved;
    ++s.passes;
  }

  const Backend<T>& backend_;
  const Design<T>& design_;
  const Part<T>& part_;
  const RowSets& sets_;
  const LeaveOutOptions& options_;
  std::vector<SetState>& states_;
  std::vector<std::int64_t>& place_;
  index q_, P_;
  bool cubic_ = false;
  double prefix_cut_ = 0;               // spread of rows outside the prefix, at most
  std::vector<std::int64_t> prefix_;    // rows of X, by falling spread
  std::vector<std::int64_t> position_;  // their places
  std::vector<double> cuts_;
  std::vector<bool> stalled_;
  SingleArray Z_, weight_, mean_, tensor_;
  RemainderRows rows_;
  Array deltas_, previous_;
};

}  // namespace

template <class T>
Array refine(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
             const RowSets& sets, const LeaveOutOptions& options,
             std::vector<SetState>& states, std::vector<std::int64_t>& place) {
  return Refiner<T>(backend, design, part, sets, options, states, place).run();
}

template void bound_newton_step(const Part<double>&, SetState&);
template void bound_newton_step(const Part<float>&, SetState&);
template void member_rows(const Backend<double>&, const Design<double>&,
                          const Part<double>&, const RowSets&, Array&, Array&);
template void member_rows(const Backend<float>&, const Design<float>&,
                          const Part<float>&, const RowSets&, Array&, Array&);
template Array refine(const Backend<double>&, const Design<double>&,
                      const Part<double>&, const RowSets&, const LeaveOutOptions&,
                      std::vector<SetState>&, std::vector<std::int64_t>&);
template Array refine(const Backend<float>&, const Design<float>&, const Part<float>&,
                      const RowSets&, const LeaveOutOptions&, std::vector<SetState>&,
                      std::vector<std::int64_t>&);

}  // namespace upweight
