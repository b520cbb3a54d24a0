// SPDX-License-Identifier: BSD-3-Clause
// The k best of both ends of each test row, exactly, from a scan in low precision.
//
// A tile of scores is a float32 GEMM that stays in cache; only entries that beat the
// thresholds leave it. With |s32 - s| <= e for a proved e (unit roundoff times
// |D v| |D^-1 g|, Cauchy-Schwarz), an entry can be among the k best only if s32 + e
// reaches the k-th largest s32 - e seen so far; what is left at the end is recomputed
// in float64. Rows come by falling |z_i|, so that |z_t| |z_i| under both thresholds
// ends a test row.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/candidates.hpp"
#include "cpu/pack.hpp"
#include "cpu/sparse.hpp"
#include "scan_bounds.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <type_traits>

namespace upweight::cpu {
namespace {

constexpr index test_rows = 512;  // of one task
constexpr index tile_columns = 256;

template <class T, class U>
class Scan {
public:
  Scan(const Design<T>& X, ConstMatrix a, ConstMatrix V, const PairBounds& bounds,
       index k, index t0, index t1, index slice, index slices)
      : X_(X), a_(a), V_(V), bounds_(bounds), slice_(slice), slices_(slices),
        P_(V.cols), underflow_(scan_underflow<U>(bounds, V.cols)),
        left_((t1 - t0) * V.cols), scores_((t1 - t0) * tile_columns),
        packed_(tile_columns * V.cols), found_(tile_columns) {
    for (index t = t0; t < t1; ++t) {
      active_.push_back(t);
      helpful_.emplace_back(k);
      harmful_.emplace_back(k);
      for (index j = 0; j < P_; ++j)
        left_[(t - t0) * P_ + j] = static_cast<U>(V(t, j));
    }
    first_ = t0;
  }

  /// Reads tiles slice, slice + slices, ... until the rows end or no test row wants
  /// more.
  index run() {
    const index n = X_.rows(), tiles = ceil_div(n, tile_columns);
    index scanned = 0;
    for (index tile = slice_; tile < tiles && !active_.empty(); tile += slices_) {
      const index first = tile * tile_columns,
                  count = std::min(tile_columns, n - first);
      if (!bounds_.rows.norm.empty())
        drop_finished(norm_of(first));
      if (active_.empty())
        break;
      Threads::pause_point();
      scanned += count * static_cast<index>(active_.size());
      scan_tile(first, count);
    }
    return scanned;
  }

  const std::vector<Entry>& helpful(index t) {
    return helpful_[slot(t)].finish([&](std::int64_t i) { return exact(t, i); });
  }
  const std::vector<Entry>& harmful(index t) {
    return harmful_[slot(t)].finish([&](std::int64_t i) { return -exact(t, i); });
  }

private:
  [[nodiscard]] std::size_t slot(index t) const {
    return static_cast<std::size_t>(t - first_);
  }
  [[nodiscard]] std::int64_t row_at(index position) const {
    return bounds_.rows.order.empty()
               ? position
               : bounds_.rows.order[static_cast<std::size_t>(position)];
  }
  [[nodiscard]] double norm_of(index position) const {
    return bounds_.rows.norm[static_cast<std::size_t>(row_at(position))];
  }

  /// v_t . g_i in float64, always summed in the same order.
  [[nodiscard]] double exact(index t, std::int64_t i) const {
    const index q = X_.columns(), p = X_.features.cols;
    const T* x = X_.features.row(static_cast<index>(i));
    double sum = 0;
    for (index k = 0; k < a_.cols; ++k) {
      const double* v = V_.row(t) + k * q;
      double lanes[8] = {};
      index j = 0;
      for (; j + 8 <= p; j += 8)
        for (index l = 0; l < 8; ++l)
          lanes[l] += v[j + l] * static_cast<double>(x[j + l]);
      for (; j < p; ++j)
        lanes[0] += v[j] * static_cast<double>(x[j]);
      if (X_.intercept)
        lanes[1] += v[p];
      const double dot = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
                         ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
      sum += a_(static_cast<index>(i), k) * dot;
    }
    return sum;
  }

  /// Test rows that no row of norm <= `norm` can change leave, the last taking their
  /// place.
  void drop_finished(double norm) {
    for (std::size_t s = 0; s < active_.size();) {
      const index t = active_[s];
      // 1e-12: the norms themselves are rounded
      const double reach =
          norm * bounds_.tests.norm[static_cast<std::size_t>(t)] * (1 + 1e-12);
      if (reach >= helpful_[slot(t)].threshold() ||
          reach >= harmful_[slot(t)].threshold()) {
        ++s;
        continue;
      }
      const std::size_t last = active_.size() - 1;
      active_[s] = active_[last];
      std::copy_n(left_.get() + static_cast<index>(last) * P_, P_,
                  left_.get() + static_cast<index>(s) * P_);
      active_.pop_back();
    }
  }

  void scan_tile(index first, index count) {
    const index m = static_cast<index>(active_.size());
    const std::int64_t* rows =
        bounds_.rows.order.empty() ? nullptr : bounds_.rows.order.data() + first;
    const MatrixView<const U> right =
        pack_products<T, U>(X_, a_, first, count, rows, packed_.get());
    blas::gemm<U>(1, MatrixView<const U>(left_.get(), m, P_), right, true, 0,
                  MatrixView<U>(scores_.get(), m, count));
    double widest = 0;
    for (index c = 0; c < count; ++c)
      widest = std::max(
          widest,
          bounds_.rows.scaled_norm[static_cast<std::size_t>(row_at(first + c))]);
    for (index s = 0; s < m; ++s)
      collect(active_[static_cast<std::size_t>(s)], first, count,
              scores_.get() + s * count, widest);
  }

  void collect(index t, index first, index count, const U* scores, double widest) {
    Candidates &helpful = helpful_[slot(t)], &harmful = harmful_[slot(t)];
    const double error = scan_roundoff<U>(P_) * widest *
                             bounds_.tests.scaled_norm[static_cast<std::size_t>(t)] +
                         underflow_;
    const U high = below(helpful.threshold() - error);
    const U low = -below(harmful.threshold() - error);
    index found = 0;
    if constexpr (std::is_same_v<U, float>) {
      found = kernels().outside(count, scores, low, high, found_.get());
    } else {
      for (index c = 0; c < count; ++c) {
        found_[found] = static_cast<std::int32_t>(c);
        found += scores[c] >= high || scores[c] <= low;
      }
    }
    for (index f = 0; f < found; ++f) {
      const index c = found_[f];
      const double s = static_cast<double>(scores[c]);
      const std::int64_t row = row_at(first + c);
      if (s + error >= helpful.threshold()) {
        helpful.add({s, error, row});
        if (helpful.full())
          helpful.cut([&](std::int64_t i) { return exact(t, i); });
      }
      if (-s + error >= harmful.threshold()) {
        harmful.add({-s, error, row});
        if (harmful.full())
          harmful.cut([&](std::int64_t i) { return -exact(t, i); });
      }
    }
  }

  /// The largest U not above x, so that comparing in U never loses a candidate.
  static U below(double x) {
    const U rounded = static_cast<U>(x);
    return static_cast<double>(rounded) > x
               ? std::nextafter(rounded, -std::numeric_limits<U>::infinity())
               : rounded;
  }

  const Design<T>& X_;
  ConstMatrix a_, V_;
  PairBounds bounds_;
  index slice_, slices_, P_, first_ = 0;
  double underflow_;
  std::vector<index> active_;
  std::vector<Candidates> helpful_, harmful_;
  Scratch<U> left_, scores_, packed_;
  Scratch<std::int32_t> found_;
};

template <class T, class U>
TopK scan_all(const Threads& threads, const Design<T>& X, ConstMatrix a, ConstMatrix V,
              const PairBounds& bounds, index k) {
  const index m = V.rows;
  const index blocks = ceil_div(m, test_rows);
  const index slices =
      std::clamp<index>(ceil_div(threads.count(), blocks), 1,
                        std::max<index>(1, X.rows() / (8 * tile_columns)));
  using Lists = std::vector<std::vector<Entry>>;
  Lists helpful(static_cast<std::size_t>(m * slices)), harmful(helpful.size());
  std::atomic<std::int64_t> scanned{0};
  threads.run(blocks * slices, [&](index task) {
    const index block = task / slices, slice = task % slices;
    const index t0 = block * m / blocks, t1 = (block + 1) * m / blocks;
    Scan<T, U> scan(X, a, V, bounds, k, t0, t1, slice, slices);
    scanned += scan.run();
    for (index t = t0; t < t1; ++t) {
      helpful[static_cast<std::size_t>(t * slices + slice)] = scan.helpful(t);
      harmful[static_cast<std::size_t>(t * slices + slice)] = scan.harmful(t);
    }
  });

  TopK top;
  top.pairs_scanned = scanned;
  const auto merge = [&](const Lists& lists, double sign,
                         std::vector<std::int64_t>& rows, std::vector<double>& scores) {
    for (index t = 0; t < m; ++t) {
      std::vector<Entry> all;
      for (index slice = 0; slice < slices; ++slice) {
        const auto& part = lists[static_cast<std::size_t>(t * slices + slice)];
        all.insert(all.end(), part.begin(), part.end());
      }
      std::sort(all.begin(), all.end(), better);
      for (std::size_t j = 0; j < static_cast<std::size_t>(k); ++j) {
        rows.push_back(all[j].row);
        scores.push_back(sign * all[j].score);
      }
    }
  };
  merge(helpful, 1.0, top.helpful, top.helpful_scores);
  merge(harmful, -1.0, top.harmful, top.harmful_scores);
  return top;
}

}  // namespace

template <class T>
TopK CpuBackend<T>::top_k(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                          const ScanBounds& rows, const TestBounds& tests,
                          index k) const {
  if (X.is_sparse())
    return sparse_top_k(threads_, X, a, V, k);
  const PairBounds bounds{rows, tests};
  if (scan_is_sharp(bounds, scan_roundoff<float>(V.cols)))
    return scan_all<T, float>(threads_, X, a, V, bounds, k);
  return scan_all<T, double>(threads_, X, a, V, bounds, k);
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
