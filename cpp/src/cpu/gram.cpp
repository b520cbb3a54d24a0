// SPDX-License-Identifier: BSD-3-Clause
// X' diag(w) X for one or many weight vectors, X packed once per chunk of rows.
//
// Rows are packed into panels of `wide` columns, and again, scaled, into panels of
// `narrow` columns; a register tile of wide x narrow then runs down a chunk. Only tiles
// that touch the upper triangle are computed: n q^2 flops a block instead of 2 n q^2.
//
// Two ways to share the work, chosen by shape alone so that the bits never depend on
// the threads: while all blocks are small, rows are cut into slots that each sum a copy
// of their own; when they are large, all threads sweep the same chunk, each over other
// tiles.
#include "cpu/backend.hpp"
#include "cpu/pack.hpp"
#include "cpu/sparse.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index chunk_rows = 256;  // depth of a panel: narrow x 256 doubles stay in L1
constexpr index max_slots = 32;
constexpr index slot_bytes = index(64) << 20;  // all slots together
constexpr index block_columns = 256;           // of a task's tile in the large case
constexpr index span_bytes = index(16) << 20;  // chunks that a tile takes in turn

struct Block {
  index k, l;  // outputs; k <= l
};

/// w_kl of row i.
double row_weight(const RowWeights& W, Block b, index i) {
  double w = 0;
  if (b.k == b.l && !W.diagonal.empty())
    w = W.diagonal(i, b.k);
  if (!W.factor.empty())
    w += W.sign * W.factor(i, b.k) * W.factor(i, b.l);
  return w;
}

std::vector<Block> blocks_of(const RowWeights& W, Coupling coupling) {
  const index K = W.diagonal.empty() ? W.factor.cols : W.diagonal.cols;
  std::vector<Block> blocks;
  if (coupling == Coupling::full) {
    // softmax: sum_l w_kl = 0, so the diagonal blocks are minus the sum of the others
    const bool skip_diagonal = W.rows_sum_to_zero && K > 1;
    for (index k = 0; k < K; ++k)
      for (index l = k + (skip_diagonal ? 1 : 0); l < K; ++l)
        blocks.push_back({k, l});
  } else {
    for (index k = 0; k < (coupling == Coupling::shared ? 1 : K); ++k)
      blocks.push_back({k, k});
  }
  return blocks;
}

/// Rows [first, first + count) of the design as wide panels of chunk_rows rows each.
template <class T>
void pack_chunk(const Design<T>& X, index first, index count, double* out) {
  if (X.is_sparse())
    return pack_sparse_chunk(X, first, count, kernels().wide, out,
                             chunk_rows * kernels().wide);
  const auto pack = [] {
    if constexpr (std::is_same_v<T, double>)
      return kernels().pack_panels;
    else
      return kernels().pack_panels_float;
  }();
  pack(count, X.features.cols, X.intercept, X.features.row(first), X.features.stride,
       out, chunk_rows * kernels().wide);
}

struct Tiling {
  index q, wide, narrow;
  [[nodiscard]] index wide_panels() const { return ceil_div(q, wide); }
  [[nodiscard]] index padded() const { return wide_panels() * wide; }
};

/// C += B'A over wide columns [i0, i1) and narrow rows [j0, j1) of one block, upper
/// triangle only. C has q valid columns; tiles past them go through a buffer.
void update_block(const Tiling& t, index count, const double* A, const double* w,
                  index i0, index i1, index j0, index j1, double* B, Matrix C) {
  const Kernels& kernel = kernels();
  Scratch<double> edge(t.wide * t.narrow);
  for (index j = j0; j < j1; j += t.narrow) {
    // a narrow panel lies within a wide one
    kernel.scale_panel(count, A + (j / t.wide) * chunk_rows * t.wide + j % t.wide, w,
                       B);
    for (index i = std::max(i0, (j / t.wide) * t.wide); i < i1; i += t.wide) {
      const double* a = A + (i / t.wide) * chunk_rows * t.wide;
      if (i + t.wide <= C.cols && j + t.narrow <= C.rows) {
        kernel.gram_tile(count, a, B, &C(j, i), C.stride);
        continue;
      }
      std::fill_n(edge.get(), t.wide * t.narrow, 0.0);
      kernel.gram_tile(count, a, B, edge.get(), t.wide);
      for (index jj = j; jj < std::min(j + t.narrow, C.rows); ++jj)
        for (index ii = i; ii < std::min(i + t.wide, C.cols); ++ii)
          C(jj, ii) += edge[(jj - j) * t.wide + ii - i];
    }
  }
}

/// g (K x q) += r' A, K narrow rows at a time.
void update_gradient(const Tiling& t, index count, const double* A, ConstMatrix r,
                     index first, double* B, Matrix g) {
  Scratch<double> tile(t.wide * t.narrow);
  for (index k = 0; k < r.cols; k += t.narrow) {
    const index valid = std::min(t.narrow, r.cols - k);
    for (index i = 0; i < count; ++i)
      for (index j = 0; j < t.narrow; ++j)
        B[i * t.narrow + j] = j < valid ? r(first + i, k + j) : 0.0;
    for (index panel = 0; panel < t.wide_panels(); ++panel) {
      std::fill_n(tile.get(), t.wide * t.narrow, 0.0);
      kernels().gram_tile(count, A + panel * chunk_rows * t.wide, B, tile.get(),
                          t.wide);
      for (index j = 0; j < valid; ++j)
        for (index i = panel * t.wide; i < std::min((panel + 1) * t.wide, t.q); ++i)
          g(k + j, i) += tile[j * t.wide + i - panel * t.wide];
    }
  }
}

void weights_of_chunk(const RowWeights& W, Block b, index first, index count,
                      double* w) {
  for (index i = 0; i < count; ++i)
    w[i] = row_weight(W, b, first + i);
}

/// Every slot sums its rows into a copy of all blocks; the copies are added in order.
template <class T>
void gram_by_slots(const Threads& threads, const Design<T>& X, const RowWeights& W,
                   const std::vector<Block>& blocks, index slots, ConstMatrix r,
                   const std::vector<Matrix>& out, Matrix g) {
  const Kernels& kernel = kernels();
  const Tiling t{X.columns(), kernel.wide, kernel.narrow};
  const index n = X.rows(), padded = t.padded(), size = padded * padded;
  const index count_blocks = static_cast<index>(blocks.size());
  const index stride = count_blocks * size + g.rows * t.q;
  Scratch<double> sums(slots * stride);
  threads.run(slots, [&](index slot) {
    double* mine = sums.get() + slot * stride;
    std::fill_n(mine, stride, 0.0);
    const Matrix my_g(mine + count_blocks * size, g.rows, t.q);
    Scratch<double> A(padded * chunk_rows), B(t.narrow * chunk_rows), w(chunk_rows);
    for (index first = n * slot / slots; first < n * (slot + 1) / slots;
         first += chunk_rows) {
      const index count = std::min(chunk_rows, n * (slot + 1) / slots - first);
      pack_chunk(X, first, count, A.get());
      for (index b = 0; b < count_blocks; ++b) {
        weights_of_chunk(W, blocks[static_cast<std::size_t>(b)], first, count, w.get());
        update_block(t, count, A.get(), w.get(), 0, padded, 0,
                     ceil_div(t.q, t.narrow) * t.narrow, B.get(),
                     Matrix(mine + b * size, padded, padded));
      }
      if (!g.empty())
        update_gradient(t, count, A.get(), r, first, B.get(), my_g);
    }
  });
  threads.ranges(t.q, 16, [&](index j0, index j1) {
    for (index b = 0; b < count_blocks; ++b)
      for (index j = j0; j < j1; ++j)
        for (index slot = 0; slot < slots; ++slot) {
          const double* from = sums.get() + slot * stride + b * size + j * padded;
          double* to = out[static_cast<std::size_t>(b)].row(j);
          for (index i = j; i < t.q; ++i)
            to[i] += from[i];
        }
  });
  for (index k = 0; k < g.rows; ++k)
    for (index slot = 0; slot < slots; ++slot)
      for (index i = 0; i < t.q; ++i)
        g(k, i) += sums[slot * stride + count_blocks * size + k * t.q + i];
}

/// All threads take tiles of the same few chunks, straight into the blocks: a tile of
/// the result stays in cache for all of them.
template <class T>
void gram_by_tiles(const Threads& threads, const Design<T>& X, const RowWeights& W,
                   const std::vector<Block>& blocks, ConstMatrix r,
                   const std::vector<Matrix>& out, Matrix g) {
  const Kernels& kernel = kernels();
  const Tiling t{X.columns(), kernel.wide, kernel.narrow};
  const index n = X.rows(), count_blocks = static_cast<index>(blocks.size());
  struct Tile {
    index i, j;
  };
  std::vector<Tile> tiles;
  for (index j = 0; j < t.q; j += block_columns)
    for (index i = j; i < t.q; i += block_columns)
      tiles.push_back({i, j});
  const index count_tiles = static_cast<index>(tiles.size());

  const index chunk_size = t.padded() * chunk_rows;
  const index span =
      std::clamp<index>(span_bytes / (chunk_size * index(sizeof(double))), 1, 4);
  const index span_rows = span * chunk_rows;
  Scratch<double> A(span * chunk_size);
  Scratch<double> weights(count_blocks * span_rows);
  for (index first = 0; first < n; first += span_rows) {
    const index rows = std::min(span_rows, n - first);
    threads.ranges(rows, 32, [&](index begin, index end) {  // 32 divides a chunk
      pack_chunk(X, first + begin, end - begin,
                 A.get() + begin / chunk_rows * chunk_size +
                     begin % chunk_rows * t.wide);
    });
    threads.ranges(count_blocks, 4, [&](index begin, index end) {
      for (index b = begin; b < end; ++b)
        weights_of_chunk(W, blocks[static_cast<std::size_t>(b)], first, rows,
                         weights.get() + b * span_rows);
    });
    threads.run(count_blocks * count_tiles + 1, [&](index task) {
      Scratch<double> B(t.narrow * chunk_rows);
      for (index begin = 0; begin < rows; begin += chunk_rows) {
        const index count = std::min(chunk_rows, rows - begin);
        const double* chunk = A.get() + begin / chunk_rows * chunk_size;
        if (task == count_blocks * count_tiles) {
          if (!g.empty())
            update_gradient(t, count, chunk, r, first + begin, B.get(), g);
          continue;
        }
        const index b = task / count_tiles;
        const Tile tile = tiles[static_cast<std::size_t>(task % count_tiles)];
        const index i1 = std::min(tile.i + block_columns, t.padded());
        const index j1 =
            std::min(tile.j + block_columns, ceil_div(t.q, t.narrow) * t.narrow);
        update_block(t, count, chunk, weights.get() + b * span_rows + begin, tile.i, i1,
                     tile.j, j1, B.get(), out[static_cast<std::size_t>(b)]);
      }
    });
  }
}

/// Copies the upper triangle of a block below its diagonal.
void mirror_row(Matrix block, index j) {
  for (index i = 0; i < j; ++i)
    block(j, i) = block(i, j);
}

}  // namespace

template <class T>
void CpuBackend<T>::gram(const Design<T>& X, const RowWeights& W, Coupling coupling,
                         const std::vector<double>& penalty, ConstMatrix r, Matrix H,
                         Matrix g) const {
  const index q = X.columns();
  const std::vector<Block> blocks = blocks_of(W, coupling);
  const index at_once = std::max<index>(64, (index(1) << 18) / H.cols);
  threads_.ranges(H.rows, at_once, [&](index first, index last) {
    for (index i = first; i < last; ++i)
      std::fill_n(H.row(i), H.cols, 0.0);
  });
  for (index k = 0; k < g.rows; ++k)
    std::fill_n(g.row(k), q, 0.0);

  const auto block_at = [&](index k, index l) {
    const index column = coupling == Coupling::full ? l * q : 0;
    return Matrix(H.row(k * q) + column, q, q, H.stride);
  };
  std::vector<Matrix> out;
  for (const Block b : blocks)
    out.push_back(block_at(b.k, b.l));

  const index copy = static_cast<index>(blocks.size()) * q * q * index(sizeof(double));
  const index slots = std::min({max_slots, ceil_div(X.rows(), 4 * chunk_rows),
                                slot_bytes / std::max<index>(copy, 1)});
  if (X.is_sparse() && sparse_gram_pays(X)) {
    Scratch<double> w(X.rows());
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      weights_of_chunk(W, blocks[b], 0, X.rows(), w.get());
      sparse_gram(threads_, X, w.get(), out[b]);
    }
    if (!g.empty())
      sparse_gradient(threads_, X, r, g);
  } else if (slots >= 8 || copy < (index(1) << 20))
    gram_by_slots(threads_, X, W, blocks, std::max<index>(slots, 1), r, out, g);
  else
    gram_by_tiles(threads_, X, W, blocks, r, out, g);

  const index K = coupling == Coupling::full ? H.rows / q : 1;
  if (K > 1) {
    // blocks off the diagonal are whole; their mirror images below it are not wanted
    threads_.run(static_cast<index>(blocks.size()), [&](index b) {
      const Block block = blocks[static_cast<std::size_t>(b)];
      if (block.k == block.l)
        return;
      for (index j = 0; j < q; ++j)
        mirror_row(out[static_cast<std::size_t>(b)], j);
    });
    if (W.rows_sum_to_zero)
      threads_.run(K, [&](index k) {
        const Matrix diagonal = block_at(k, k);
        for (index l = 0; l < K; ++l) {
          if (l == k)
            continue;
          const Matrix other = block_at(std::min(k, l), std::max(k, l));
          for (index j = 0; j < q; ++j)
            for (index i = j; i < q; ++i)
              diagonal(j, i) -= other(j, i);
        }
      });
  }
  const index diagonal_blocks = H.rows / q;
  for (index j = 0; j < q; ++j) {
    const double pull = penalty[static_cast<std::size_t>(j)];
    double tau = 0;
    for (index k = 0; k < diagonal_blocks; ++k) {
      double& entry = block_at(k, coupling == Coupling::full ? k : 0)(j, j);
      tau += entry / static_cast<double>(diagonal_blocks);
      entry += pull;
    }
    if (K > 1 && W.rows_sum_to_zero && pull == 0)  // + tau v v', v = 1/sqrt(K)
      for (index k = 0; k < K; ++k)
        for (index l = k; l < K; ++l)
          block_at(k, l)(j, j) += tau / static_cast<double>(K);
  }
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
