// SPDX-License-Identifier: BSD-3-Clause
#include "refine.hpp"

#include "certificate.hpp"
#include "host.hpp"
#include "prefix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace upweight {

namespace {

using certificate::phi;
using certificate::psi;
using rounding::double_unit;
using rounding::single_unit;
using rounding::sum_error;

constexpr double infinite = std::numeric_limits<double>::infinity();

/// |A delta - g|_{A^-1} of a delta solved with a factor that is off: |delta|_H is at
/// most |delta|_A over the root of kept, and the error in the norm of A^-1 again.
template <class T>
double step_error(const Part<T>& part, const SetState& s) {
  return part.factor_error.products() / s.kept * s.norm;
}

}  // namespace

template <class T>
void lower_by_rounding(const Part<T>& part, SetState& s) {
  const double products = part.factor_error.products();
  const double kept = s.kept - products * (1 - s.kept) - 4 * double_unit;
  if (!(kept > 0)) {
    s.kept = 0;
    return;
  }
  const double rise = std::sqrt(s.kept / kept) * (1 + products);
  s.norm *= rise;
  s.reach *= rise;
  s.kept = kept;
}

template <class T>
void bound_newton_step(const Part<T>& part, SetState& s) {
  if (!(s.kept > 0)) {
    s.error = infinite;
    return;
  }
  const double R = part.M * std::sqrt(part.largest_spread / s.kept);
  const double D = R * s.norm;
  // sum_j w_j (phi(d_j) u_j)^2 over rows that all move as far as the farthest may, or
  // by phi(d_j) <= phi(D) / D d_j and sum_j w_j u_j^4 <= |delta|_H^2 sum_j w_j c_jj
  // u_j^2, both factors in the norm of H and not of A
  const double spread = std::min(part.largest_spread, part.mean_spread / s.kept);
  const double bend = phi(D) * std::sqrt(spread / part.largest_spread);
  const double rounding = step_error(part, s);
  const double nu =
      (D > 0 ? bend : 0.0) * s.norm + part.gradient_norm / std::sqrt(s.kept) + rounding;
  s.error = certificate::distance(nu, D, R);
}

namespace {

template <class T>
class Refiner {
public:
  Refiner(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
          const RowSets& sets, const LeaveOutOptions& options,
          std::vector<SetState>& states, std::vector<std::int64_t>& place,
          const Downdated* large)
      : backend_(backend), design_(design), part_(part), sets_(sets), options_(options),
        states_(states), place_(place), q_(design.columns()), P_(part.outputs * q_),
        large_(large) {}

  Array run() {
    std::vector<index> active;
    for (index b = 0; b < sets_.count(); ++b) {
      const SetState& s = states_[at(b)];
      const bool worth = options_.refine && s.kept > 0 && s.norm > 0 && part_.M > 0;
      place_[at(b)] = large_ ? b : -1;
      if (worth && !s.within(options_.tol)) {
        if (!large_)
          place_[at(b)] = static_cast<std::int64_t>(active.size());
        active.push_back(b);
      }
    }
    if (large_ || !active.empty())
      deltas_ = backend_.zeros(large_ ? sets_.count() : index(active.size()), P_);
    if (large_)
      backend_.copy(large_->steps, deltas_);
    if (!active.empty())
      refine_all(active);
    if (part_.whitened && !deltas_.empty())
      backend_.unwhiten(part_.R, deltas_);
    return std::move(deltas_);
  }

private:
  void refine_all(std::vector<index>& active) {
    previous_ = backend_.zeros(deltas_.rows(), P_);
    cuts_.resize(states_.size());
    progress_.assign(states_.size(), Progress::going);
    cubic_ = cubic_pays(active);
    rounds(active, single_);
    // what float32 could not tell apart goes on in float64
    std::erase_if(active,
                  [&](index b) { return progress_[at(b)] != Progress::rounding; });
    for (const index b : active)
      progress_[at(b)] = Progress::going;
    cubic_ = false;
    rounds(active, double_);
  }

  enum class Progress : std::uint8_t { going, rounding, stalled };

  /// Passes for all of `active` until each is certified or gets no further; those that
  /// are left when rounding is what holds them up stay in the list.
  template <class R>
  void rounds(std::vector<index>& active, Prefix<T, R>& prefix) {
    std::vector<index> going = active;
    for (int round = 0; round < options_.max_passes && !going.empty(); ++round) {
      sort_by_need(going, prefix);
      for (auto first = going.begin(); first != going.end();) {
        const auto last = batch_end(first, going.end(), prefix);
        pass({first, last}, prefix);
        first = last;
      }
      std::erase_if(going, [&](index b) {
        return states_[at(b)].within(options_.tol) ||
               progress_[at(b)] != Progress::going;
      });
    }
    std::erase_if(active, [&](index b) { return states_[at(b)].within(options_.tol); });
  }

  /// Under which c_jj rows may be left out of a set's pass: what they may add to the
  /// gradient is stretched by e^D in the bound, of which it may be a quarter; and too
  /// much of it proves nothing (certificate::distance).
  [[nodiscard]] double cut_of(index b, bool cubic) const {
    const SetState& s = states_[at(b)];
    const double R = part_.M * std::sqrt(part_.largest_spread / s.kept);
    const double wanted = options_.tol / (s.reach * s.norm * s.stretch);
    const double provable = 0.2 / std::max(R * s.norm * s.stretch, 1.0);
    const double allowed = 0.25 * std::min(wanted, provable);
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
  template <class R>
  void sort_by_need(std::vector<index>& going, Prefix<T, R>& prefix) {
    for (const index b : going)
      cuts_[at(b)] = cut_of(b, cubic_);
    std::stable_sort(going.begin(), going.end(),
                     [&](index a, index b) { return cuts_[at(a)] < cuts_[at(b)]; });
    const double cut = cuts_[at(going.front())];
    const bool tensor = cubic_ && tensor_.empty();  // of all rows
    if (tensor || !prefix.made() || cut < prefix.cut())
      prefix.make(backend_, design_, part_, tensor ? 0 : 0.5 * cut);  // some to spare
    if constexpr (std::is_same_v<R, float>)
      if (tensor) {
        tensor_ = backend_.zeros_single(q_ * (q_ + 1) / 2, q_);
        backend_.cubic_tensor(prefix.rows(), tensor_);
      }
  }

  /// Sets that share a batch read as many rows as its first needs: it ends where the
  /// need has halved, or where it is as large as memory or cache would have it.
  template <class R, class Iterator>
  Iterator batch_end(Iterator first, Iterator end, const Prefix<T, R>& prefix) const {
    constexpr index batch_bytes = index(64) << 20, least_sets = 256, few_rows = 512;
    const index own = large_ && cubic_ ? sets_.size(*first) : 0;
    const index per_set = (5 + part_.outputs + own) * P_ * index(sizeof(double));
    const index most = std::clamp<index>(batch_bytes / per_set, 16, 8192);
    const index rows = prefix.rows_over(cuts_[at(*first)]);
    Iterator last = first;
    while (last != end && last - first < most) {
      if (last - first >= least_sets && rows > few_rows &&
          2 * prefix.rows_over(cuts_[at(*last)]) < rows)
        break;
      ++last;
    }
    return last;
  }

  /// What the chord steps of a batch's sets are made of (Backend::chord_step).
  struct Chord {
    RowSets sets;
    index outputs;
    Array E, V, a, N;

    [[nodiscard]] ConstMatrix HX() const { return V.empty() ? E : V; }
  };

  /// By Woodbury's form of each set.
  Chord woodbury(const RowSets& sets) const {
    const index K = part_.outputs;
    Chord chord{sets, K, {}, {}, backend_.zeros(sets.total(), K), {}};
    index block = 0;
    for (index b = 0; b < sets.count(); ++b)
      block += sets.size(b) * K * sets.size(b) * K;
    member_rows(backend_, design_, part_, sets, chord.E, chord.V);
    const Array C = backend_.zeros(1, block);
    chord.N = backend_.zeros(1, block);
    backend_.inner_blocks(sets, K, chord.E, chord.HX(), C);
    (void)backend_.removal_terms(part_.W, part_.r, sets, C, chord.a, {}, chord.N);
    return chord;
  }

  /// By the factor of each set's A: the next iterate is delta_1 - A^-1 G, so delta_1 is
  /// the only row, with a = 1 and N = 0.
  Chord factored(const std::vector<std::int64_t>& numbers, const RowSets& sets) const {
    const index count = sets.count();
    Chord chord{{},
                1,
                {},
                backend_.zeros(count, P_),
                backend_.zeros(count, 1),
                backend_.zeros(1, count)};
    for (index b = 0; b < count; ++b)
      chord.sets.add(sets.members.data() + sets.offsets[at(b)], 1);
    backend_.copy_rows(large_->steps, numbers.data(), chord.V, nullptr, count);
    const std::vector<double> ones(at(count), 1.0);
    backend_.upload(ones.data(), chord.a);
    Array none;
    if (cubic_)  // takes the sets' own rows off the tensor
      member_rows(backend_, design_, part_, sets, chord.E, none);
    return chord;
  }

  /// One pass for sets sorted by their cuts, which have had as many.
  template <class R>
  void pass(const std::vector<index>& batch, const Prefix<T, R>& prefix) {
    RowSets sets;
    std::vector<std::int64_t> stored;
    for (const index b : batch) {
      sets.add(sets_.members.data() + sets_.offsets[at(b)], sets_.size(b));
      stored.push_back(place_[at(b)]);
    }
    const index count = sets.count(), M = sets.total();
    const Chord chord = large_ ? factored(stored, sets) : woodbury(sets);
    const Array delta = backend_.zeros(count, P_), previous = backend_.zeros(count, P_);
    if (states_[at(batch.front())].passes == 0) {
      backend_.newton_deltas(chord.sets, chord.outputs, chord.HX(), chord.a, delta);
    } else {
      backend_.copy_rows(deltas_, stored.data(), delta, nullptr, count);
      backend_.copy_rows(previous_, stored.data(), previous, nullptr, count);
    }
    const Array G = backend_.zeros(count, P_);
    const Array reach = backend_.zeros(count, 1), moved2 = backend_.zeros(count, 1);
    const index rows = prefix.rows_over(cuts_[at(batch.front())]);  // enough for all
    std::vector<std::int64_t> own;
    for (const std::int64_t member : sets.members)
      own.push_back(prefix.position(member));
    backend_.remainder_gradient(prefix.rows(), rows, cubic_, sets, own.data(), delta, G,
                                reach);
    if (cubic_) {
      const SingleArray w = backend_.zeros_single(1, M),
                        p = backend_.zeros_single(1, M);
      backend_.remainder_terms(part_.family, part_.W, part_.y, part_.s, part_.eta,
                               sets.members.data(), w.view(), p.view());
      backend_.cubic_contract(tensor_, sets, {part_.family, 1, {}, w, p}, chord.E,
                              delta, G);
    }
    const Array solved = solve_remainder(batch, G);
    backend_.chord_step(chord.sets, chord.outputs, chord.HX(), chord.a, chord.N, G,
                        solved.empty() ? G : solved, delta, previous, moved2);
    backend_.copy_rows(delta, nullptr, deltas_, stored.data(), count);
    backend_.copy_rows(previous, nullptr, previous_, stored.data(), count);
    std::vector<double> farthest(at(count)), moved(at(count));
    backend_.download(reach, farthest.data());
    backend_.download(moved2, moved.data());
    constexpr double unit = std::is_same_v<R, float> ? single_unit : double_unit;
    for (index b = 0; b < count; ++b)
      bound_pass(batch[at(b)], part_.M * farthest[at(b)],
                 std::sqrt(std::max(moved[at(b)], 0.0)), prefix.unread(rows),
                 prefix.lost(), rows, unit);
  }

  /// H^-1 G, or A^-1 G of large sets; empty for G itself.
  Array solve_remainder(const std::vector<index>& batch, const Array& G) const {
    if (part_.whitened && !large_)
      return {};
    Array solved = backend_.zeros(G.rows(), P_);
    backend_.copy(G, solved);
    if (!large_) {
      backend_.solve(Factor{part_.R, 1}, solved, false);
      return solved;
    }
    for (index b = 0; b < G.rows(); ++b)
      backend_.solve(Factor{large_->factors[at(batch[at(b)])], 1},
                     solved.view().block(b, 1), false);
    return solved;
  }

  /// The certificate after a pass that changed delta, of norm s.norm, by `moved`. Rows
  /// that were read move by at most `farthest`; of the others c_jj is at most `unread`.
  /// Of those whose weights were too small for the pass's numbers sum_j w_j c_jj is
  /// `lost`, and sum_j w_j u_j^2 at most that times |delta|_H^2.
  void bound_pass(index b, double farthest, double moved, double unread, double lost,
                  index rows, double unit) {
    SetState& s = states_[at(b)];
    const double root = std::sqrt(s.kept);
    const double R = part_.M * std::sqrt(part_.largest_spread) / root;
    const double tail_reach = part_.M *
                              std::sqrt(unread * (1 + part_.factor_error.products())) /
                              root * s.norm;
    const double tail = (cubic_ ? psi(tail_reach) : phi(tail_reach)) * s.norm;
    const double D = std::max(farthest, tail_reach);
    // of the linear predictors and the sums of a tile; then of the step. |delta|_H may
    // be |delta|_A over root, and errors in the norm of A^-1 again.
    const double condition = part_.whitened ? 1.0 : std::sqrt(part_.condition);
    // The tensor holds the set's own rows, whose part is taken off again.
    const double sums = phi(D) + (cubic_ ? R * s.norm / 2 : 0.0);
    const double rounding = condition / s.kept * s.norm *
                                ((sum_error(q_, unit) + part_.factor_error.rows) * D +
                                 sum_error(512, unit) * sums) +
                            step_error(part_, s);
    const double underflow = lost > 0 ? phi(D) * std::sqrt(lost) / root * s.norm : 0.0;
    const double floor = tail + rounding + underflow + part_.gradient_norm / root;
    // the iterate that the pass began with; from there the next one, as a pass shrinks
    // errors by e^D' - 1, or else as it is `moved` away
    const double before = certificate::distance(moved + floor, D, R);
    s.error =
        std::isfinite(before)
            ? std::min(std::expm1(D + R * before) * before + floor, before + moved)
            : infinite;
    s.stretch = std::exp(D);
    const double most = std::min(options_.tol / s.reach, 0.2 / R);  // as in cut_of
    if (unit == single_unit && rounding * s.stretch > 0.5 * most)
      progress_[at(b)] = Progress::rounding;
    else if (!(moved <= 0.7 * (s.passes == 0 ? s.norm : s.moved)))
      progress_[at(b)] = Progress::stalled;
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
  const Downdated* large_;  // of sets that were left out of the Hessian itself
  bool cubic_ = false;
  Prefix<T, float> single_;
  Prefix<T, double> double_;
  SingleArray tensor_;
  std::vector<double> cuts_;
  std::vector<Progress> progress_;
  Array deltas_, previous_;
};

}  // namespace

template <class T>
Array refine(const Backend<T>& backend, const Design<T>& design, const Part<T>& part,
             const RowSets& sets, const LeaveOutOptions& options,
             std::vector<SetState>& states, std::vector<std::int64_t>& place,
             const Downdated* large) {
  return Refiner<T>(backend, design, part, sets, options, states, place, large).run();
}

template void lower_by_rounding(const Part<double>&, SetState&);
template void lower_by_rounding(const Part<float>&, SetState&);
template void bound_newton_step(const Part<double>&, SetState&);
template void bound_newton_step(const Part<float>&, SetState&);
template Array refine(const Backend<double>&, const Design<double>&,
                      const Part<double>&, const RowSets&, const LeaveOutOptions&,
                      std::vector<SetState>&, std::vector<std::int64_t>&,
                      const Downdated*);
template Array refine(const Backend<float>&, const Design<float>&, const Part<float>&,
                      const RowSets&, const LeaveOutOptions&, std::vector<SetState>&,
                      std::vector<std::int64_t>&, const Downdated*);

}  // namespace upweight
