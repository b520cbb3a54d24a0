// SPDX-License-Identifier: BSD-3-Clause
// scores = V (a (x) X)', and changes of a target by such moves, a tile of test rows by
// a block of training rows at a time.
#include "cuda/backend.hpp"
#include "cuda/give.hpp"
#include "cuda/launch.hpp"
#include "cuda/products.hpp"
#include "row_targets.hpp"

#include <algorithm>

namespace upweight::cuda {
namespace {

/// How a result of m test rows is cut up.
struct Cut {
  index rows;   // of X in a block
  index tests;  // in a tile

  /// With `moves` numbers of an intermediate tile for an entry of the result, which
  /// stays in the second-level cache, or none when that is 0.
  template <class T>
  Cut(MatrixView<T> out, index row_bytes, index moves) {
    constexpr index tile_bytes = index(32) << 20, least_rows = 4096;
    const index entry = std::max<index>(moves, 1) * index(sizeof(double));
    rows = std::min({tile_rows(row_bytes),
                     std::max(least_rows, tile_rows(out.rows * entry)), out.cols});
    tests = out.rows;
    if (moves > 0)
      tests = std::min(tests, tile_bytes / (rows * entry));
    if (!is_device_memory(out.data))
      tests = std::min(tests, Tiles<T>::host_bytes / (rows * index(sizeof(T))));
    tests = std::max<index>(tests, 1);
  }
};

/// Runs write(t0, tile) for all tiles of `out`, whose rows of X `products` has taken.
template <class D, class T, class Products, class Write>
void each_tile(const Device& device, const Design<D>& X, const Cut& cut,
               MatrixView<T> out, Products& products, const Write& write) {
  Tiles<T> tiles(device, out, cut.tests, cut.rows);
  each_block(device, X, cut.rows, [&](const Design<D>& block, index first) {
    products.load(block, first);
    for (index t0 = 0; t0 < out.rows; t0 += cut.tests) {
      write(t0,
            tiles.take(t0, std::min(cut.tests, out.rows - t0), first, block.rows()));
      tiles.give();
    }
  });
  tiles.finish();
}

/// The moves of the outputs of a test row, which lie a row of their tile apart.
template <class D>
struct Apart {
  const D* first;
  index stride;
  __device__ double operator[](index k) const {
    return static_cast<double>(first[k * stride]);
  }
};

/// Whose moves a word `change` tells of.
struct TestRows {
  Family family;
  Target target;
  ConstMatrix y, eta;

  template <class D, class T>
  void write(const Device& device, index t0, MatrixView<const D> moves,
             MatrixView<T> out) const {
    const index K = eta.cols;
    const Family of_family = family;
    const Target of_target = target;
    const ConstMatrix labels = y.block(t0, out.rows), at = eta.block(t0, out.rows);
    each(device, "change", out.rows, out.cols, [=] __device__(index t, index c) {
      out(t, c) = static_cast<T>(
          target_change(of_family, of_target, K, labels.row(t), at.row(t),
                        Apart<D>{moves.row(t * K) + c, moves.stride}));
    });
  }
};

/// The word `change` with moves of type D, for rows of type R.
template <class D, class R, class T, class Products>
void changes(const Device& device, const Design<R>& X, const Cut& cut,
             const TestRows& tests, MatrixView<T> out, Products& products) {
  const index K = tests.eta.cols;
  const Scratch<D> memory(device, cut.tests * K * cut.rows);
  each_tile(device, X, cut, out, products, [&](index t0, MatrixView<T> tile) {
    const MatrixView<D> moves = memory.view(tile.rows * K, tile.cols);
    products.write(t0 * K, moves);
    tests.write<D>(device, t0, moves, tile);
  });
}

template <class D, class T>
void dense_changes(const Device& device, const Design<D>& X, ConstMatrix a,
                   ConstMatrix V, const TestRows& tests, MatrixView<T> out) {
  const Cut cut(out, V.cols * index(sizeof(D)), tests.eta.cols);
  DenseProducts<D> products(device, X, a, V, cut.rows);
  changes<D>(device, X, cut, tests, out, products);
}

}  // namespace

template <class T>
void CudaBackend<T>::score(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                           MatrixView<T> out) const {
  if (out.empty())
    return;
  const auto run = [&](const Cut& cut, auto& products) {
    each_tile(device(), X, cut, out, products,
              [&](index t0, MatrixView<T> tile) { products.write(t0, tile); });
  };
  if (X.is_sparse()) {
    SparseProducts<T> products(device(), X, a, V);
    run(Cut(out, 1, 0), products);
    return;
  }
  const Cut cut(out, V.cols * index(sizeof(T)), 0);
  DenseProducts<T> products(device(), X, a, V, cut.rows);
  run(cut, products);
}

template <class T>
void CudaBackend<T>::change(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                            Family family, Target target, ConstMatrix y,
                            ConstMatrix eta, MatrixView<T> out) const {
  if (out.empty())
    return;
  const TestRows tests{family, target, y, eta};
  if (X.is_sparse()) {
    SparseProducts<T> products(device(), X, a, V);
    changes<double>(device(), X, Cut(out, 1, eta.cols), tests, out, products);
    return;
  }
  dense_changes(device(), X, a, V, tests, out);
}

template <class T>
void CudaBackend<T>::change_by(ConstMatrix deltas, ConstMatrix V, Family family,
                               Target target, ConstMatrix y, ConstMatrix eta,
                               MatrixView<T> out) const {
  if (out.empty())
    return;
  dense_changes(device(), Design<double>{deltas, false}, {}, V,
                TestRows{family, target, y, eta}, out);
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
