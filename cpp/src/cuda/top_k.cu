// SPDX-License-Identifier: BSD-3-Clause
// The k best of both ends of each test row, exactly, from a scan in low precision, as
// cpu/top_k.cpp has it: a tile of scores is a product of floats that stays in the
// second-level cache; what its bound cannot exclude is scored again in float64 while
// the tile's rows are there. Rows come by falling |z_i|, so that |z_t| |z_i| under
// both thresholds ends a test row.
//
// A million rows of 256 floats against 1000 test rows are 5e11 flops: 10 ms in
// float32, 1.3 ms in TF32, whose bound is some 40 times wider at that depth and still
// lets few more candidates through. Hence TF32 where its bound is sharp.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/pack.hpp"
#include "cuda/products.hpp"
#include "cuda/top_k.hpp"
#include "scan_bounds.hpp"

#include <algorithm>
#include <vector>

namespace upweight::cuda {
namespace {

constexpr index segment = 256;  // rows of the scan that share a bound

/// As scan_roundoff, for factors cut off to 11 bits (a unit of 2^-10: tensor cores may
/// drop the rest rather than round it) and sums in float32 whose terms are aligned and
/// cut off (2^-22 a term covers what Fasi et al. 2021 found of them).
double tf32_roundoff(index P) {
  return 1.01 * (2 * 0x1p-10 + static_cast<double>(P + 4) * 0x1p-22);
}

/// Rows of the design as a scan reads them.
template <class T>
struct Tile {
  Design<T> X;                // on the device
  ConstMatrix a;              // of the rows of X
  const std::int64_t* local;  // which rows of X, on the device; null: in order
  index local_first;          // of the order
  index first, count;         // place in the scan
};

/// What tiles and test rows are judged by, on the device.
struct Judge {
  const std::int64_t* order;  // rows by their place in the scan, or null
  const double* widest;       // largest |D^-1 g| of each segment of the scan
  const double* scaled;       // |D v| of each test row
  double roundoff, underflow;
};

/// widest[s] = largest |D^-1 g| of segment s of the scan.
void find_widest(const Device& device, const std::int64_t* order, const double* scaled,
                 index n, double* widest) {
  each_row(device, "widest", ceil_div(n, segment), segment,
           [=] __device__(const Team& team, index s) {
             double most = 0;
             const index end = (s + 1) * segment < n ? (s + 1) * segment : n;
             for (index i = s * segment + team.rank(); i < end; i += team.size()) {
               const double norm = scaled[order != nullptr ? order[i] : i];
               most = norm > most ? norm : most;
             }
             widest[s] = team.max(most);
           });
}

/// to(c, k) = a(order[c], k).
void gather_coefficients(const Device& device, ConstMatrix a, const std::int64_t* order,
                         Matrix to) {
  each(device, "gather_coefficients", to.rows, to.cols,
       [=] __device__(index c, index k) {
         to(c, k) = a(static_cast<index>(order[c]), k);
       });
}

/// Row s of `to` is row active[s] of V.
template <class U>
void gather_tests(const Device& device, ConstMatrix V, const std::int64_t* active,
                  MatrixView<U> to) {
  each(device, "gather_tests", to.rows, to.cols, [=] __device__(index s, index j) {
    to(s, j) = static_cast<U>(V(static_cast<index>(active[s]), j));
  });
}

/// What a tile of scans adds to the lists of its test rows active[s] of V.
template <class U, class T>
void join_scan(const Device& device, const Lists& lists, const std::int64_t* active,
               MatrixView<const U> scores, const Tile<T>& tile, ConstMatrix V,
               const Judge& judge) {
  const index first = tile.first, last = tile.first + tile.count - 1;
  const std::int64_t* order = judge.order;
  const auto error = [=] __device__(const Team& team, index t) {
    double widest = 0;
    for (index s = first / segment + team.rank(); s <= last / segment; s += team.size())
      widest = judge.widest[s] > widest ? judge.widest[s] : widest;
    return judge.roundoff * team.max(widest) * judge.scaled[t] + judge.underflow;
  };
  const auto number = [=] __device__(index c) -> std::int64_t {
    return order != nullptr ? order[first + c] : first + c;
  };
  const MatrixView<const T> X = tile.X.features;
  const ConstMatrix a = tile.a;
  const std::int64_t* local = tile.local;
  const index local_first = tile.local_first, q = tile.X.columns();
  const bool intercept = tile.X.intercept;
  const auto exact = [=] __device__(const Team& team, index t, index c) {
    const index i = local != nullptr ? static_cast<index>(local[c]) : local_first + c;
    double sum = 0;
    for (index k = 0; k < a.cols; ++k) {
      const double* v = V.row(t) + k * q;
      double dot = intercept && team.rank() == 0 ? v[X.cols] : 0.0;
      for (index j = team.rank(); j < X.cols; j += team.size())
        dot += v[j] * static_cast<double>(X(i, j));
      sum += a(i, k) * dot;
    }
    return team.sum(sum);
  };
  join_all(device, lists, active, scores, error, number, exact);
}

/// wanted[s] = whether a row of norm <= `norm` can change a list of test row
/// active[s], whose own norm is norms[active[s]].
void find_wanted(const Device& device, const Lists& lists, const std::int64_t* active,
                 index tests, double norm, const double* norms, std::int32_t* wanted) {
  each_row(device, "wanted", tests, scan_columns,
           [=] __device__(const Team& team, index s) {
             const auto t = static_cast<index>(active[s]);
             List helpful(lists, 2 * t), harmful(lists, 2 * t + 1);
             helpful.refresh(team);
             harmful.refresh(team);
             // 1e-12: the norms themselves are rounded
             const double reach = norm * norms[t] * (1 + 1e-12);
             wanted[s] =
                 reach >= helpful.threshold() || reach >= harmful.threshold() ? 1 : 0;
             helpful.close(team);
             harmful.close(team);
           });
}

/// A scan of the design for some test rows, a tile at a time, in precision U.
template <class T, class U>
class Scan {
public:
  Scan(const Device& device, ConstMatrix V, const PairBounds& bounds, index t0,
       const Judge& judge, blas::Precision precision, index n, index k)
      : device_(device), V_(V), bounds_(bounds), judge_(judge), precision_(precision),
        columns_(std::min({scan_columns, tile_rows(V.cols * index(sizeof(U))),
                           tile_rows(V.rows * index(sizeof(U)))})),
        memory_(device, V.rows, n, k), left_(device, V.rows * V.cols),
        packed_(device, columns_ * V.cols), scores_(device, V.rows * columns_),
        numbers_(device, V.rows), wanted_(device, V.rows),
        scaled_(device, bounds.tests.scaled_norm.data() + t0, V.rows),
        norms_(device, bounds.tests.norm.data() + (bounds.rows.norm.empty() ? 0 : t0),
               bounds.rows.norm.empty() ? 0 : V.rows) {
    judge_.scaled = scaled_.get();
    for (index t = 0; t < V.rows; ++t)
      active_.push_back(t);
    take_active();
  }

  /// Rows of a tile.
  [[nodiscard]] index columns() const { return columns_; }

  /// False when no test row wants more.
  bool read(const Tile<T>& tile) {
    device_.pause_point();
    if (!bounds_.rows.norm.empty() && tile.first > 0 && time_to_look())
      drop_finished(norm_at(tile.first));
    const auto tests = static_cast<index>(active_.size());
    if (tests == 0)
      return false;
    const MatrixView<U> rows = packed_.view(tile.count, V_.cols);
    pack(device_, tile.X, tile.local_first, tile.local, tile.a, rows);
    const MatrixView<U> scores = scores_.view(tests, tile.count);
    blas::gemm<U>(device_, 1, left_.view(tests, V_.cols), rows, true, 0, scores,
                  precision_);
    join_scan<U, T>(device_, memory_.lists(), numbers_.get(), scores, tile, V_, judge_);
    scanned_ += tests * tile.count;
    return true;
  }

  void finish(TopK& top) const {
    append_best(device_, memory_.lists(), V_.rows, top);
    top.pairs_scanned += scanned_;
  }

private:
  /// To look is to wait for the device, so that it is done less and less often.
  bool time_to_look() {
    constexpr index often = 8;
    const index tile = ++tiles_;
    return tile < often || tile % often == 0;
  }
  [[nodiscard]] double norm_at(index place) const {
    const auto at = static_cast<std::size_t>(place);
    return bounds_.rows.norm[bounds_.rows.order.empty()
                                 ? at
                                 : static_cast<std::size_t>(bounds_.rows.order[at])];
  }

  void drop_finished(double norm) {
    const auto tests = static_cast<index>(active_.size());
    find_wanted(device_, memory_.lists(), numbers_.get(), tests, norm, norms_.get(),
                wanted_.get());
    std::vector<std::int32_t> wanted(active_.size());
    to_host<std::int32_t>(device_, wanted_.view(1, tests), wanted.data());
    std::vector<std::int64_t> still;
    for (std::size_t s = 0; s < active_.size(); ++s)
      if (wanted[s] != 0)
        still.push_back(active_[s]);
    if (still.size() == active_.size())
      return;
    active_ = still;
    take_active();
  }

  void take_active() {
    const auto tests = static_cast<index>(active_.size());
    if (tests == 0)
      return;
    to_device(device_, active_.data(), numbers_.view(1, tests));
    gather_tests(device_, V_, numbers_.get(), left_.view(tests, V_.cols));
  }

  const Device& device_;
  ConstMatrix V_;
  PairBounds bounds_;
  Judge judge_;
  blas::Precision precision_;
  index columns_, tiles_ = 0;
  std::int64_t scanned_ = 0;
  std::vector<std::int64_t> active_;
  ListMemory memory_;
  Scratch<U> left_, packed_, scores_;
  Scratch<std::int64_t> numbers_;
  Scratch<std::int32_t> wanted_;
  Uploaded<double> scaled_;
  Uploaded<double> norms_;
};

/// Test rows whose lists and products are made at once.
index panel_rows(index n, index k, index P) {
  constexpr index most = 4096;
  constexpr index list_bytes = index(1) << 30, factor_bytes = index(256) << 20;
  return std::clamp<index>(std::min(list_bytes / ListMemory::bytes(n, k),
                                    factor_bytes / (P * index(sizeof(double)))),
                           1, most);
}

template <class U, class T>
TopK scan_all(const Device& device, const Design<T>& X, ConstMatrix a, ConstMatrix V,
              const PairBounds& bounds, index k, double roundoff,
              blas::Precision precision) {
  const index n = X.rows(), m = V.rows;
  const std::vector<std::int64_t>& order = bounds.rows.order;
  const Uploaded<std::int64_t> numbers(device, order.data(),
                                       static_cast<index>(order.size()));
  const Scratch<double> widest(device, ceil_div(n, segment));
  Judge judge{order.empty() ? nullptr : numbers.get(), widest.get(), nullptr, roundoff,
              scan_underflow<U>(bounds, V.cols)};
  {
    const Uploaded<double> scaled(device, bounds.rows.scaled_norm.data(), n);
    find_widest(device, judge.order, scaled.get(), n, widest.get());
  }
  const bool resident = on_device(X);
  // blocks from the host come in the order of the scan, and so do their coefficients
  const bool gather = !resident && !order.empty();
  const Scratch<double> gathered(device, gather ? n * a.cols : 0);
  if (gather)
    gather_coefficients(device, a, judge.order, gathered.view(n, a.cols));
  const ConstMatrix in_order = gather ? gathered.view(n, a.cols) : a;

  TopK top;
  const index panel = panel_rows(n, k, V.cols);
  for (index t0 = 0; t0 < m; t0 += panel) {
    Scan<T, U> scan(device, V.block(t0, std::min(panel, m - t0)), bounds, t0, judge,
                    precision, n, k);
    // rows [first, first + count) of the scan, which lie in X from `from` on
    const auto read = [&](const Design<T>& rows, ConstMatrix of_rows, index from,
                          index first, index count) {
      bool more = true;
      for (index c = 0; c < count && more; c += scan.columns())
        more = scan.read(
            {rows, of_rows,
             resident && judge.order != nullptr ? judge.order + first + c : nullptr,
             from + c, first + c, std::min(scan.columns(), count - c)});
      return more;
    };
    if (resident)
      read(X, a, 0, 0, n);
    else
      each_carried_block(
          device, X,
          [&](index i) {
            return order.empty()
                       ? i
                       : static_cast<index>(order[static_cast<std::size_t>(i)]);
          },
          n, n, order.empty(),
          [&](const Design<T>& block, index first) {
            return read(block, in_order.block(first, block.rows()), 0, first,
                        block.rows());
          });
    scan.finish(top);
  }
  return top;
}

/// What the exact scores of rows from `first` on add to the lists of their test rows.
void join_exact(const Device& device, const Lists& lists, ConstMatrix scores,
                index first) {
  join_all(
      device, lists, nullptr, scores,
      [=] __device__(const Team&, index) { return 0.0; },
      [=] __device__(index c) -> std::int64_t { return first + c; },
      [=] __device__(const Team&, index t, index c) { return scores(t, c); });
}

/// Of sparse rows, whose products are exact from the start.
template <class T>
TopK sparse_top_k(const Device& device, const Design<T>& X, ConstMatrix a,
                  ConstMatrix V, index k) {
  const index n = X.rows(), m = V.rows, panel = panel_rows(n, k, V.cols);
  TopK top;
  for (index t0 = 0; t0 < m; t0 += panel) {
    const index tests = std::min(panel, m - t0);
    const index columns =
        std::min({scan_columns, n, tile_rows(tests * index(sizeof(double)))});
    const ListMemory memory(device, tests, n, k);
    const Scratch<double> tile(device, tests * columns);
    SparseProducts<T> products(device, X, a, V.block(t0, tests));
    each_block(device, X, columns, [&](const Design<T>& block, index first) {
      const Matrix scores = tile.view(tests, block.rows());
      products.load(block, first);
      products.write(0, scores);
      join_exact(device, memory.lists(), scores, first);
    });
    append_best(device, memory.lists(), tests, top);
  }
  top.pairs_scanned = m * n;
  return top;
}

}  // namespace

template <class T>
TopK CudaBackend<T>::top_k(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                           const ScanBounds& rows, const TestBounds& tests,
                           index k) const {
  if (X.is_sparse())
    return sparse_top_k(device(), X, a, V, k);
  const PairBounds bounds{rows, tests};
  const index P = V.cols;
  // without norms nothing tells how wide a bound is beside the scores
  if (!rows.norm.empty() && scan_is_sharp(bounds, tf32_roundoff(P)))
    return scan_all<float>(device(), X, a, V, bounds, k, tf32_roundoff(P),
                           blas::Precision::tf32);
  if (scan_is_sharp(bounds, scan_roundoff<float>(P)))
    return scan_all<float>(device(), X, a, V, bounds, k, scan_roundoff<float>(P),
                           blas::Precision::plain);
  return scan_all<double>(device(), X, a, V, bounds, k, scan_roundoff<double>(P),
                          blas::Precision::plain);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
