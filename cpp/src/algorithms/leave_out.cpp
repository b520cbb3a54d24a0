// SPDX-License-Identifier: BSD-3-Clause
#include "upweight/leave_out.hpp"

#include "certificate.hpp"
#include "downdate.hpp"
#include "formula.hpp"
#include "host.hpp"
#include "part.hpp"
#include "refine.hpp"
#include "refit.hpp"
#include "upweight/error.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

namespace upweight {

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();

template <class T>
class LeavingOut {
public:
  LeavingOut(const Influence<T>& influence, RowSets sets,
             const LeaveOutOptions& options)
      : influence_(influence), backend_(influence.backend()),
        problem_(influence.problem()), options_(options) {
    if (!influence.has_factor())
      throw std::invalid_argument(
          "solver: leaving rows out, with its bounds, needs the float64 factor of "
          "solver='cholesky'; without one, scores(method='one_step') and leverage() "
          "are "
          "the Newton step without each row");
    result_.sets = std::move(sets);
  }

  LeaveOut run() {
    const RowSets& sets = result_.sets;
    const index K = problem_.outputs, count = sets.count();
    result_.move.assign(at(sets.total() * K), 0.0);
    result_.bound.assign(at(count), 0.0);
    result_.error.assign(at(count), 0.0);
    result_.passes.assign(at(count), 0);
    result_.route.assign(at(count), Route::one_step);
    floor_.assign(at(count), 0.0);
    std::vector<index> refitted;
    for (index b = 0; b < count; ++b) {
      const Cheapest way = cheapest(sets.size(b));
      if (way == Cheapest::whole) {
        refitted.push_back(b);
        continue;
      }
      Sets& own = way == Cheapest::woodbury ? small_ : last_large();
      own.rows.add(sets.members.data() + sets.offsets[at(b)], sets.size(b));
      own.numbers.push_back(b);
    }
    for (index k = 0; k < parts_of(problem_); ++k) {
      const Part<T> part = make_part(influence_, k);
      result_.gradient_norm =
          std::hypot(result_.gradient_norm, part.gradient_norm * part.unit);
      const double R = part.M * std::sqrt(part.largest_spread);
      result_.fit_error =
          std::max(result_.fit_error,
                   certificate::distance(part.gradient_norm, 0, R) * part.unit);
      add_part(part, k);
    }
    std::vector<index> open;
    const auto sort_out = [&](const Sets& sets_of) {
      for (const index b : sets_of.numbers)
        if (options_.refine && !(result_.bound[at(b)] <= options_.tol)) {
          if (!only_rounding(b))
            open.push_back(b);
        } else if (result_.route[at(b)] == Route::beyond_precision) {
          refitted.push_back(b);  // by the rows that stay it may be told
        }
    };
    sort_out(small_);
    for (const Sets& sets_of : large_)
      sort_out(sets_of);
    refit_all(open, true);
    refit_all(refitted, refits());
    return std::move(result_);
  }

private:
  /// Sets that are left out in the same way, and their numbers among all.
  struct Sets {
    RowSets rows;
    std::vector<index> numbers;
  };
  enum class Cheapest : std::uint8_t { woodbury, downdate, whole };

  /// The large sets that are left out next: as many as their factors may take memory.
  Sets& last_large() {
    constexpr index factor_bytes = index(256) << 20;
    const index q = problem_.design.columns();
    const index most = factor_bytes / (q * q * index(sizeof(double)));
    if (large_.empty() || large_.back().rows.count() >= most)
      large_.emplace_back();
    return large_.back();
  }

  /// How to take a set's Newton steps, by flops at the speed of a large product. An
  /// elimination takes about 100 a cube, once a pass, several sets at a time; a factor
  /// with its eigenvalues 15, once, but one set after the other. Weighed as if both
  /// came once a pass, they cross where timings do. A refit takes four Hessians,
  /// leverages and the factors' ratio.
  [[nodiscard]] Cheapest cheapest(index rows) const {
    if (rows == 1)
      return Cheapest::woodbury;
    constexpr double refit_calls = 5e7, factor_calls = 4e6;  // many small ones
    const bool coupled = coupling_of(problem_.family) == Coupling::full;
    const auto K = static_cast<double>(coupled ? problem_.outputs : 1);
    const auto n = static_cast<double>(problem_.design.rows());
    const auto g = static_cast<double>(rows), order = K * g;
    const double P = K * static_cast<double>(problem_.design.columns());
    const double passes = refits() ? 6 : 1;
    const double eliminate = 100 * order * order * order + 2 * order * order * P;
    const double factor =
        coupled ? infinite : 4 * g * P * P + 15 * P * P * P + factor_calls;
    const double whole = (refits() ? 8 : 4) * n * P * P + 2 * n * K * P * P +
                         4 * P * P * P + refit_calls;
    if (passes * std::min(eliminate, factor) > whole)
      return Cheapest::whole;
    return eliminate <= factor ? Cheapest::woodbury : Cheapest::downdate;
  }

  /// Whether a set's Newton step is the optimum, and its bound what rounding hides of
  /// the gradient at the fit, of which a refit would have as much.
  [[nodiscard]] bool only_rounding(index b) const {
    return exact_step() && std::isfinite(result_.bound[at(b)]) &&
           result_.bound[at(b)] <= 4 * floor_[at(b)];
  }

  /// Whether a set may need more than the Newton step, which is exact for some.
  [[nodiscard]] bool refits() const { return options_.refine && !exact_step(); }
  [[nodiscard]] bool exact_step() const {
    return formula::move_concordance(problem_.family) == 0;
  }

  /// The Newton step and its certificate for every set, then what some need more.
  void add_part(const Part<T>& part, index k) {
    LeaveOut::Part refined;
    refined.place.assign(at(result_.sets.count()), -1);
    if (small_.rows.count() > 0) {
      const Array a = backend_.zeros(small_.rows.total(), part.outputs);
      const Array move = backend_.zeros(small_.rows.total(), part.outputs);
      const RemovalTerms terms = newton_terms(part, a, move);
      add_sets(part, k, small_, terms, on_host(move, backend_), nullptr, refined);
    }
    for (const Sets& sets : large_) {
      const Downdated steps = downdate(backend_, problem_.design, part, sets.rows);
      add_sets(part, k, sets, steps.terms, std::vector<double>(at(sets.rows.total())),
               &steps, refined);
    }
    result_.parts.push_back(std::move(refined));
  }

  /// The same for sets whose Newton steps are known: by the members' `moves`, or by the
  /// parameters' of `large` ones.
  void add_sets(const Part<T>& part, index k, const Sets& sets,
                const RemovalTerms& terms, std::vector<double> moves,
                const Downdated* large, LeaveOut::Part& refined) {
    const index K = part.outputs, count = sets.rows.count(), outputs = problem_.outputs;
    std::vector<SetState> states(at(count));
    for (index b = 0; b < count; ++b) {
      SetState& s = states[at(b)];
      s.norm = terms.norm[at(b)];
      s.kept = terms.kept[at(b)];
      s.reach = terms.reach[at(b)];
      lower_by_rounding(part, s);
      bound_newton_step(part, s);
    }
    std::vector<std::int64_t> place(at(count), -1);
    Array deltas;
    if (options_.refine || large)
      deltas = refine(backend_, problem_.design, part, sets.rows, options_, states,
                      place, large);
    if (!part.whitened) {
      centre(moves, K, 1);
      std::vector<double> rows = on_host(deltas, backend_);
      centre(rows, K, problem_.design.columns());
      backend_.upload(rows.data(), deltas);
    }
    overwrite_moves(sets.rows, deltas, place, K, moves);
    const index held = refined.deltas.rows();
    for (index b = 0; b < count; ++b) {
      const SetState& s = states[at(b)];
      const index number = sets.numbers[at(b)];
      const bool regular = s.kept > 0;
      const double bound = regular ? s.reach * s.error : infinite;
      const double error = regular ? s.error / std::sqrt(s.kept) * part.unit : infinite;
      if (std::isfinite(error))
        result_.farthest =
            std::max(result_.farthest, s.norm / std::sqrt(s.kept) * part.unit + error);
      result_.bound[at(number)] = std::max(result_.bound[at(number)], bound);
      result_.error[at(number)] = std::max(result_.error[at(number)], error);
      if (regular)
        floor_[at(number)] = std::max(
            floor_[at(number)], s.reach * part.gradient_error / std::sqrt(s.kept));
      result_.passes[at(number)] = std::max(result_.passes[at(number)], s.passes);
      const Route route = regular ? s.route : Route::beyond_precision;
      result_.route[at(number)] = std::max(result_.route[at(number)], route);
      if (place[at(b)] >= 0)
        refined.place[at(number)] = held + place[at(b)];
      const index from = sets.rows.offsets[at(b)];
      const index to = result_.sets.offsets[at(number)];
      for (index m = 0; m < sets.rows.size(b); ++m)
        for (index l = 0; l < K; ++l)
          result_.move[at((to + m) * outputs + (part.whitened ? k : l))] =
              terms.kept[at(b)] > 0 ? moves[at((from + m) * K + l)]
                                    : std::numeric_limits<double>::quiet_NaN();
    }
    append(refined.deltas, std::move(deltas));
  }

  /// Puts rows under those that are there.
  void append(Array& rows, Array more) const {
    if (rows.empty()) {
      rows = std::move(more);
      return;
    }
    if (more.empty())
      return;
    const index held = rows.rows();
    Array grown = backend_.zeros(held + more.rows(), more.cols());
    if (held > 0)
      backend_.copy(rows, grown.view().block(0, held));
    backend_.copy(more, grown.view().block(held, more.rows()));
    rows = std::move(grown);
  }

  /// removal_terms of every set: single rows from the leverages that are there, larger
  /// sets from their whitened rows, a batch at a time.
  RemovalTerms newton_terms(const Part<T>& part, Matrix a, Matrix move) const {
    const RowSets& sets = small_.rows;
    const index K = part.outputs;
    if (sets.total() == sets.count()) {
      const Array C = backend_.zeros(sets.count(), K * K);
      backend_.copy_rows(part.C, sets.members.data(), C, nullptr, sets.count());
      return backend_.removal_terms(part.W, part.r, sets, C, a, move, {});
    }
    RemovalTerms all;
    constexpr index rows_at_once = 4096;
    for (index first = 0; first < sets.count();) {
      RowSets some;
      index last = first, block = 0;
      for (; last < sets.count() && (last == first || some.total() < rows_at_once);
           ++last) {
        const index size = sets.size(last);
        some.add(sets.members.data() + sets.offsets[at(last)], size);
        block += size * K * size * K;
      }
      Array E, V;
      member_rows(backend_, problem_.design, part, some, E, V);
      const Array C = backend_.zeros(1, block);
      backend_.inner_blocks(some, K, E, part.whitened ? E : V, C);
      const index begin = sets.offsets[at(first)], rows = some.total();
      const RemovalTerms terms = backend_.removal_terms(
          part.W, part.r, some, C, a.block(begin, rows), move.block(begin, rows), {});
      all.norm.insert(all.norm.end(), terms.norm.begin(), terms.norm.end());
      all.kept.insert(all.kept.end(), terms.kept.begin(), terms.kept.end());
      all.reach.insert(all.reach.end(), terms.reach.begin(), terms.reach.end());
      first = last;
    }
    return all;
  }

  /// The refined sets' own moves, x'delta.
  void overwrite_moves(const RowSets& sets, ConstMatrix deltas,
                       const std::vector<std::int64_t>& place, index K,
                       std::vector<double>& moves) const {
    RowSets some;
    std::vector<index> begins;
    for (index b = 0; b < sets.count(); ++b)
      if (place[at(b)] >= 0) {  // in the order of their places
        const index begin = sets.offsets[at(b)];
        some.add(sets.members.data() + begin, sets.size(b));
        begins.push_back(begin);
      }
    if (begins.empty())
      return;
    const Array out = backend_.zeros(some.total(), K);
    backend_.own_moves(problem_.design, some, deltas, out);
    const std::vector<double> own = on_host(out, backend_);
    for (index b = 0; b < some.count(); ++b)
      std::copy(own.begin() + some.offsets[at(b)] * K,
                own.begin() + some.offsets[at(b) + 1] * K,
                moves.begin() + begins[at(b)] * K);
  }

  /// Says of a set that nothing is known, and why.
  void lose(index b, Route route) {
    const index K = problem_.outputs;
    result_.route[at(b)] = route;
    result_.bound[at(b)] = result_.error[at(b)] = infinite;
    std::fill_n(result_.move.begin() + result_.sets.offsets[at(b)] * K,
                result_.sets.size(b) * K, std::numeric_limits<double>::quiet_NaN());
  }

  /// Takes sets through the whole Hessian: to the end by Newton's method, or one step
  /// of it.
  void refit_all(const std::vector<index>& numbers, bool to_the_end) {
    const RowSets& sets = result_.sets;
    const index K = problem_.outputs;
    std::vector<double> deltas;
    std::vector<index> found;
    for (const index b : numbers) {
      const index begin = sets.offsets[at(b)], size = sets.size(b);
      const std::int64_t* rows = sets.members.data() + begin;
      const Refit fit = to_the_end ? refit(influence_, rows, size)
                                   : large_step(influence_, rows, size);
      // of what there was, a set's own Newton step may be nearer than its refit
      const bool stepped = cheapest(size) != Cheapest::whole;
      const bool certified = stepped && std::isfinite(result_.bound[at(b)]);
      if (fit.outcome == Refit::Outcome::none) {
        lose(b, Route::no_optimum);
        continue;
      }
      if (fit.outcome == Refit::Outcome::untold) {
        if (!stepped)
          lose(b, Route::beyond_precision);
        else if (!certified)
          result_.route[at(b)] = Route::beyond_precision;
        continue;
      }
      if (certified && exact_step() && result_.bound[at(b)] <= fit.bound)
        continue;
      result_.route[at(b)] = !to_the_end                ? Route::one_step
                             : std::isfinite(fit.bound) ? Route::refit
                                                        : Route::beyond_precision;
      result_.bound[at(b)] = fit.bound;
      result_.error[at(b)] = fit.error;
      if (std::isfinite(fit.error))
        result_.farthest = std::max(result_.farthest, fit.distance + fit.error);
      std::copy(fit.move.begin(), fit.move.end(), result_.move.begin() + begin * K);
      deltas.insert(deltas.end(), fit.delta.begin(), fit.delta.end());
      found.push_back(b);
    }
    store(deltas, found, problem_.parameters());
  }

  /// Puts refitted changes (found x P) into the parts' deltas.
  void store(const std::vector<double>& deltas, const std::vector<index>& found,
             index P) {
    if (found.empty())
      return;
    const auto count = static_cast<index>(found.size());
    const index parts = parts_of(problem_), width = P / parts;
    const Array all = backend_.zeros(count, P);
    backend_.upload(deltas.data(), all);
    for (index k = 0; k < parts; ++k) {
      LeaveOut::Part& part = result_.parts[at(k)];
      const index held = part.deltas.rows();
      std::vector<std::int64_t> to;
      index next = held;
      for (const index b : found) {
        std::int64_t& place = part.place[at(b)];
        if (place < 0)
          place = next++;
        to.push_back(place);
      }
      Array grown = backend_.zeros(next, width);
      if (held > 0)
        backend_.copy(part.deltas, grown.view().block(0, held));
      backend_.copy_rows(ConstMatrix(all.view().data + k * width, count, width, P),
                         nullptr, grown, to.data(), count);
      part.deltas = std::move(grown);
    }
  }

  const Influence<T>& influence_;
  const Backend<T>& backend_;
  const Problem<T>& problem_;
  LeaveOutOptions options_;
  LeaveOut result_;
  Sets small_;                 // by Woodbury's form
  std::vector<Sets> large_;    // by the Hessian less their own
  std::vector<double> floor_;  // of a set's bound: what rounding hides at the fit
};

}  // namespace

template <class T>
LeaveOut leave_out(const Influence<T>& influence, RowSets sets,
                   const LeaveOutOptions& options) {
  return LeavingOut<T>(influence, std::move(sets), options).run();
}

template LeaveOut leave_out(const Influence<double>&, RowSets, const LeaveOutOptions&);
template LeaveOut leave_out(const Influence<float>&, RowSets, const LeaveOutOptions&);
}  // namespace upweight
