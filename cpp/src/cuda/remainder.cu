// SPDX-License-Identifier: BSD-3-Clause
// Gradients of what the losses leave of their quadratic (or cubic) models, for many
// moved parameters at once: a panel of moves while it is in cache, so that no (removals
// x rows) matrix is ever held.
#include "cuda/backend.hpp"
#include "cuda/blas.hpp"
#include "cuda/launch.hpp"
#include "cuda/pack.hpp"
#include "cuda/sets.hpp"
#include "formula.hpp"

#include <algorithm>
#include <type_traits>

namespace upweight::cuda {
namespace {

// Of the products of floats. A remainder is quadratic in a move, so that TF32 would
// cost a pass at most.
constexpr blas::Precision product_precision = blas::Precision::plain;

template <class R>
void fill_terms(const Device& device, Family family, const RowWeights& W, ConstMatrix y,
                ConstMatrix s, ConstMatrix eta, const std::int64_t* rows,
                MatrixView<R> weight, MatrixView<R> mean) {
  const index K = mean.rows, count = weight.cols;
  const Uploaded<std::int64_t> uploaded(device, rows, count);
  const std::int64_t* const numbers = uploaded.get();
  if (family != Family::multinomial) {
    const ConstMatrix diagonal = W.diagonal;
    each(device, "remainder_terms", count, [=] __device__(index c) {
      const auto i = static_cast<index>(numbers[c]);
      const double label = y(i, 0), e = eta(i, 0);
      weight(0, c) = static_cast<R>(diagonal(i, 0));
      mean(0, c) = static_cast<R>(
          formula::with_separable(family, [&](auto f) { return f.mean(label, e); }));
    });
    return;
  }
  const index most = std::min(count, tile_rows(K * index(sizeof(double))));
  const Scratch<double> memory(device, most * K);
  const Matrix probabilities = memory.view(most, K);
  for (index first = 0; first < count; first += most)
    each(device, "remainder_terms", std::min(most, count - first),
         [=] __device__(index at) {
           const index c = first + at, i = static_cast<index>(numbers[c]);
           double* p = probabilities.row(at);
           (void)formula::Multinomial::softmax(eta.row(i), K, p);
           weight(0, c) = static_cast<R>(s.empty() ? 1.0 : s(i, 0));
           for (index k = 0; k < K; ++k)
             mean(k, c) = static_cast<R>(p[k]);
         });
}

/// How much is worked on at once: panels of K x batch x span moves that stay in a
/// second-level cache. A function of the shape alone: it fixes the order of sums.
struct Tiling {
  index tile;   // rows whose sum is formed in R: rounding grows with them
  index batch;  // sets
  index span;   // rows, whole tiles

  Tiling(index sets, index K, index bytes) {
    constexpr index panel_bytes = index(32) << 20, most_tiles = 64;
    const index numbers = panel_bytes / (bytes * K);
    tile = std::clamp<index>(numbers / 128 / 512 * 512, 512, 4096);
    batch = std::min(sets, std::clamp<index>(numbers / tile, 64, 2048));
    span = tile * std::clamp<index>(numbers / (batch * tile), 1, most_tiles);
  }
};

/// The moves of some sets at some rows: row k sets + b of `u` is output k of set b.
template <class R>
struct Panel {
  MatrixView<R> u;
  index sets, first_set, first, tile;
  const R *weight, *mean;  // of the first row
  index mean_stride;
  const std::int64_t* own;
  SetLists lists;

  [[nodiscard]] __device__ R* row(index k, index b) const {
    return u.row(k * sets + b);
  }
  /// Rows of tile t, from the panel's first.
  [[nodiscard]] __device__ index begin(index t) const { return t * tile; }
  [[nodiscard]] __device__ index end(index t) const {
    const index last = (t + 1) * tile;
    return last < u.cols ? last : u.cols;
  }
  /// Own rows do not move.
  __device__ void stop_own(const Team& team, index b, index t) const {
    const index set = first_set + b, low = first + begin(t), high = first + end(t);
    const index from = lists.begin(set), to = from + lists.size(set);
    for (index m = from + team.rank(); m < to; m += team.size())
      if (own[m] >= low && own[m] < high)
        for (index k = 0; k < lists.K; ++k)
          row(k, b)[static_cast<index>(own[m]) - first] = 0;
    team.sync();
  }
};

constexpr int most_move = 40;  // no certificate reaches so far: only finiteness counts

template <class R>
__device__ R clipped(R v) {
  constexpr R most = most_move;
  return v > most ? most : v < -most ? -most : v;
}

/// A team's remainders of tile t of set b in place of its moves; the largest of these.
template <class R>
__device__ R separable_remainders(const Team& team, Family family, bool third,
                                  const Panel<R>& panel, index b, index t) {
  R* const u = panel.row(0, b);
  const index begin = panel.begin(t), end = panel.end(t);
  return formula::with_separable(family, [&](auto f) {
    const auto scale = static_cast<R>(f.scale), inverse = static_cast<R>(1 / f.scale);
    R reach = 0;
    for (index j = begin + team.rank(); j < end; j += team.size()) {
      const R size = u[j] < 0 ? -u[j] : u[j], p = panel.mean[j];
      reach = size > reach ? size : reach;
      const R v = clipped(inverse * u[j]);
      const formula::ExpTails<R> tails =
          inverse * size <= 1 ? formula::exp_tails_near(v) : formula::exp_tails(v);
      u[j] = scale * panel.weight[j] *
             (third ? f.third(p, v, tails) : f.second(p, v, tails));
    }
    return team.max(reach);
  });
}

/// The same of a softmax, v = u - mean, then
/// s p_k [(1 + e1(v_k)) / (1 + S) - 1 - v_k], S = sum_k p_k (e1(v_k) - v_k).
template <class R>
__device__ R softmax_remainders(const Team& team, const Panel<R>& panel, index b,
                                index t) {
  const index K = panel.lists.K, end = panel.end(t);
  R reach = 0;
  for (index j = panel.begin(t) + team.rank(); j < end; j += team.size()) {
    R mean = 0, sum = 0, low = panel.row(0, b)[j], high = low;
    for (index k = 0; k < K; ++k) {
      const R u = panel.row(k, b)[j];
      mean += panel.mean[k * panel.mean_stride + j] * u;
      low = u < low ? u : low;
      high = u > high ? u : high;
    }
    reach = high - low > reach ? high - low : reach;
    for (index k = 0; k < K; ++k) {
      const R v = clipped(panel.row(k, b)[j] - mean);
      panel.row(k, b)[j] = v;
      sum += panel.mean[k * panel.mean_stride + j] * v * v * formula::exp_tails(v).g;
    }
    for (index k = 0; k < K; ++k) {
      const R v = panel.row(k, b)[j], tail = v * v * formula::exp_tails(v).g;
      panel.row(k, b)[j] = panel.weight[j] * panel.mean[k * panel.mean_stride + j] *
                           (tail - sum * (1 + v)) / (1 + sum);
    }
  }
  return team.max(reach);
}

/// G (batch x P) += the sums of a panel's remainders times z_j, formed in R a tile at a
/// time and added in double.
template <class R>
class Sums {
public:
  Sums(const Device& device, index sets, index P, index tiles)
      : device_(device), P_(P),
        parts_(device, std::is_same_v<R, double> ? 0 : tiles * sets * P) {}

  void add(const Panel<R>& panel, MatrixView<const R> Z, Matrix G) const {
    const index sets = panel.sets, K = panel.lists.K, q = Z.cols, span = Z.rows;
    const auto moves = [&](index k, index first, index count) {
      return MatrixView<const R>(panel.u.row(k * sets) + first, sets, count,
                                 panel.u.stride);
    };
    if constexpr (std::is_same_v<R, double>) {
      for (index k = 0; k < K; ++k)
        blas::gemm<double>(device_, 1, moves(k, 0, span), Z, false, 1,
                           G.columns(k * q, q));
      return;
    } else {
      const index tiles = ceil_div(span, panel.tile);
      const MatrixView<R> parts = parts_.view(tiles * sets, P_);
      for (index t = 0; t < tiles; ++t) {
        const index first = t * panel.tile, count = std::min(panel.tile, span - first);
        for (index k = 0; k < K; ++k)
          blas::gemm<R>(device_, 1, moves(k, first, count), Z.block(first, count),
                        false, 0,
                        MatrixView<R>(parts.row(t * sets) + k * q, sets, q, P_),
                        product_precision);
      }
      each(device_, "remainder_gradient", sets, P_, [=] __device__(index b, index j) {
        double sum = G(b, j);
        for (index t = 0; t < tiles; ++t)
          sum += static_cast<double>(parts(t * sets + b, j));
        G(b, j) = sum;
      });
    }
  }

private:
  const Device& device_;
  index P_;
  Scratch<R> parts_;
};

/// The deltas of a batch in R.
template <class R>
MatrixView<const R> in_precision(const Device& device, ConstMatrix delta,
                                 const Scratch<R>& memory) {
  if constexpr (std::is_same_v<R, double>) {
    return delta;
  } else {
    const MatrixView<R> moved = memory.view(delta.rows, delta.cols);
    each(device, "remainder_gradient", delta.rows, delta.cols,
         [=] __device__(index b, index j) {
           moved(b, j) = static_cast<R>(delta(b, j));
         });
    return moved;
  }
}

/// The remainders of a panel in place of its moves, and the reach of its sets so far.
template <class R>
void remainders(const Device& device, Family family, bool third, const Panel<R>& panel,
                const Scratch<double>& memory, Matrix reach) {
  const index tiles = ceil_div(panel.u.cols, panel.tile), sets = panel.sets;
  const Matrix farthest = memory.view(sets, tiles);
  const bool softmax = family == Family::multinomial;
  each_row(device, "remainder_gradient", sets * tiles,
           std::min(panel.tile, panel.u.cols),
           [=] __device__(const Team& team, index at) {
             const index b = at / tiles, t = at - b * tiles;
             panel.stop_own(team, b, t);
             const R found =
                 softmax ? softmax_remainders(team, panel, b, t)
                         : separable_remainders(team, family, third, panel, b, t);
             farthest(b, t) = static_cast<double>(found);
           });
  each(device, "remainder_gradient", sets, [=] __device__(index b) {
    double most = reach(b, 0);
    for (index t = 0; t < tiles; ++t)
      most = farthest(b, t) > most ? farthest(b, t) : most;
    reach(b, 0) = most;
  });
}

template <class R>
void gradients(const Device& device, const RemainderRows<R>& rows, index count,
               bool third, const RowSets& sets, const std::int64_t* own,
               ConstMatrix delta, Matrix G, Matrix reach) {
  const index q = rows.Z.cols, K = rows.outputs, P = K * q, all = delta.rows;
  each(device, "remainder_gradient", all, P + 1, [=] __device__(index b, index j) {
    if (j < P)
      G(b, j) = 0;
    else
      reach(b, 0) = 0;
  });
  if (all == 0 || count == 0)
    return;
  const UploadedSets uploaded(device, sets, K, false);
  const Uploaded<std::int64_t> places(device, own, sets.total());
  const Tiling at(all, K, index(sizeof(R)));
  const index span = std::min(at.span, count), tiles = ceil_div(span, at.tile);
  const Scratch<R> u(device, K * at.batch * span);
  const Scratch<R> in_R(device, std::is_same_v<R, double> ? 0 : at.batch * P);
  const Scratch<double> farthest(device, at.batch * tiles);
  const Sums<R> sums(device, at.batch, P, tiles);
  for (index begin = 0; begin < all; begin += at.batch) {
    const index size = std::min(at.batch, all - begin);
    const MatrixView<const R> moved =
        in_precision<R>(device, delta.block(begin, size), in_R);
    for (index first = 0; first < count; first += span) {
      device.pause_point();
      const index len = std::min(span, count - first);
      const MatrixView<const R> Z = rows.Z.block(first, len);
      const Panel<R> panel{u.view(K * size, len),
                           size,
                           begin,
                           first,
                           at.tile,
                           rows.weight.data + first,
                           rows.mean.data + first,
                           rows.mean.stride,
                           places.get(),
                           uploaded.lists()};
      for (index k = 0; k < K; ++k)
        blas::gemm<R>(device, 1, moved.columns(k * q, q), Z, true, 0,
                      panel.u.block(k * size, size), product_precision);
      remainders(device, rows.family, third, panel, farthest, reach.block(begin, size));
      sums.add(panel, Z, G.block(begin, size));
    }
  }
}

}  // namespace

template <class T>
void CudaBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                     ConstMatrix s, ConstMatrix eta,
                                     const std::int64_t* rows, MatrixView<float> weight,
                                     MatrixView<float> mean) const {
  fill_terms(device(), family, W, y, s, eta, rows, weight, mean);
}

template <class T>
void CudaBackend<T>::remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                                     ConstMatrix s, ConstMatrix eta,
                                     const std::int64_t* rows, Matrix weight,
                                     Matrix mean) const {
  fill_terms(device(), family, W, y, s, eta, rows, weight, mean);
}

template <class T>
void CudaBackend<T>::remainder_gradient(const RemainderRows<float>& rows, index count,
                                        bool third, const RowSets& sets,
                                        const std::int64_t* own, ConstMatrix delta,
                                        Matrix G, Matrix reach) const {
  gradients(device(), rows, count, third, sets, own, delta, G, reach);
}

template <class T>
void CudaBackend<T>::remainder_gradient(const RemainderRows<double>& rows, index count,
                                        bool third, const RowSets& sets,
                                        const std::int64_t* own, ConstMatrix delta,
                                        Matrix G, Matrix reach) const {
  gradients(device(), rows, count, third, sets, own, delta, G, reach);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
