// SPDX-License-Identifier: BSD-3-Clause
// scores = V (a (x) X)', a tile of test rows by a tile of training rows at a time.
#include "cpu/backend.hpp"
#include "cpu/blas.hpp"
#include "cpu/pack.hpp"
#include "cpu/sparse.hpp"
#include "formula.hpp"
#include "row_targets.hpp"
#include "simd/kernels.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <type_traits>
#include <vector>

namespace upweight::cpu {
namespace {

constexpr index test_rows = 512;

/// out (test rows x training rows [first, first + count)) = V . (a_i (x) x_i), output
/// by output, so that the packed tile has q columns whatever K is.
template <class D, class T>
void score_tile(const Design<D>& X, ConstMatrix a, MatrixView<const T> V, index first,
                index count, T* packed, MatrixView<T> out) {
  const index q = X.columns();
  for (index k = 0; k < a.cols; ++k) {
    for (index c = 0; c < count; ++c)
      pack_row(X, first + c, a(first + c, k), packed + c * q);
    blas::gemm<T>(1, V.columns(k * q, q), MatrixView<const T>(packed, count, q), true,
                  k > 0 ? T(1) : T(0), out);
  }
}

/// Largest depth of a product that is summed in registers from end to end.
constexpr index most_depth = 512;
constexpr index least_test_rows = 16;

/// scores of one output through our own tiles: V is packed once, a tile of training
/// rows once for all test rows, and each entry is written once, past the cache. BLAS
/// writes a product of this little depth twice and reads it once.
template <class T>
class Products {
public:
  Products(const Design<T>& X, ConstMatrix a, ConstMatrix V)
      : X_(X), a_(a), depth_(X.columns()), narrow_(kernels().narrow), rows_(V.rows),
        left_(ceil_div(V.rows, narrow_) * narrow_ * depth_) {
    if constexpr (std::is_same_v<T, double>) {
      wide_ = kernels().product_wide;
      multiply_ = kernels().product_tile;
    } else {
      wide_ = kernels().product_wide_float;
      multiply_ = kernels().product_tile_float;
    }
    for (index t = 0; t < ceil_div(rows_, narrow_) * narrow_; ++t)
      for (index j = 0; j < depth_; ++j)
        left_[(t / narrow_ * depth_ + j) * narrow_ + t % narrow_] =
            t < rows_ ? static_cast<T>(V(t, j)) : T(0);
  }

  /// Training rows of a task: with their panels in half of a second-level cache.
  [[nodiscard]] index tile() const {
    return ceil_div(tile_rows(2 * depth_ * index(sizeof(T))), wide_) * wide_;
  }

  /// Columns [first, first + count) of out.
  void compute(index first, index count, MatrixView<T> out) const {
    const index panels = ceil_div(count, wide_);
    Scratch<T> right(panels * wide_ * depth_), edge(narrow_ * wide_);
    for (index p = 0; p < panels; ++p)
      pack(first + p * wide_, std::min(wide_, count - p * wide_),
           right.get() + p * wide_ * depth_);
    const auto aligned = [](auto value) { return value % 64 == 0; };
    const bool stream = aligned(reinterpret_cast<std::uintptr_t>(out.data + first)) &&
                        aligned(static_cast<std::uintptr_t>(out.stride) * sizeof(T));
    for (index t = 0; t < rows_; t += narrow_) {
      const T* v = left_.get() + t * depth_;
      for (index p = 0; p < panels; ++p) {
        const T* g = right.get() + p * wide_ * depth_;
        const index i = first + p * wide_, columns = std::min(wide_, count - p * wide_);
        const index lines = std::min(narrow_, rows_ - t);
        if (columns == wide_ && lines == narrow_) {
          multiply_(depth_, g, v, out.row(t) + i, out.stride, stream);
          continue;
        }
        multiply_(depth_, g, v, edge.get(), wide_, false);
        for (index j = 0; j < lines; ++j)
          std::copy_n(edge.get() + j * wide_, columns, out.row(t + j) + i);
      }
    }
  }

  /// sink(t, u) for every row t of V, u holding columns [first, first + count) of its
  /// products while they are in cache.
  template <class Sink>
  void each_row(index first, index count, const Sink& sink) const {
    const index panels = ceil_div(count, wide_), width = panels * wide_;
    Scratch<T> right(width * depth_), lines(narrow_ * width);
    for (index p = 0; p < panels; ++p)
      pack(first + p * wide_, std::min(wide_, count - p * wide_),
           right.get() + p * wide_ * depth_);
    for (index t = 0; t < rows_; t += narrow_) {
      for (index p = 0; p < panels; ++p)
        multiply_(depth_, right.get() + p * wide_ * depth_, left_.get() + t * depth_,
                  lines.get() + p * wide_, width, false);
      for (index j = 0; j < std::min(narrow_, rows_ - t); ++j)
        sink(t + j, lines.get() + j * width);
    }
  }

private:
  /// a_i x_i of up to `wide` rows, column after column.
  void pack(index first, index count, T* out) const {
    const index p = X_.features.cols;
    for (index c = 0; c < wide_; ++c) {
      if (c >= count) {
        for (index j = 0; j < depth_; ++j)
          out[j * wide_ + c] = T(0);
        continue;
      }
      const T* x = X_.features.row(first + c);
      const double scale = a_(first + c, 0);
      for (index j = 0; j < p; ++j)
        out[j * wide_ + c] = static_cast<T>(scale * static_cast<double>(x[j]));
      if (X_.intercept)
        out[p * wide_ + c] = static_cast<T>(scale);
    }
  }

  const Design<T>& X_;
  ConstMatrix a_;
  index depth_, narrow_, wide_ = 0, rows_;
  Scratch<T> left_;
  void (*multiply_)(index, const T*, const T*, T*, index, bool) = nullptr;
};

/// Has the system provide the pages of new memory, each to one thread: tiles of all
/// threads lie on the same pages, and two that fault on one would both clear it.
template <class T>
void touch(const Threads& threads, MatrixView<T> out) {
  constexpr index page = 4096 / index(sizeof(T));
  threads.ranges(out.rows, 16, [&](index first, index last) {
    for (index t = first; t < last; ++t)
      for (index i = 0; i < out.cols; i += page)
        *const_cast<volatile T*>(out.row(t) + i) = T(0);
  });
}

/// V in the type of the products.
template <class T>
class Converted {
public:
  Converted(const Threads& threads, ConstMatrix V) : data_(V.rows * V.cols), V_(V) {
    threads.ranges(V.rows, 64, [&](index first, index last) {
      for (index i = first; i < last; ++i)
        for (index j = 0; j < V.cols; ++j)
          data_[i * V.cols + j] = static_cast<T>(V(i, j));
    });
  }
  [[nodiscard]] MatrixView<const T> view() const {
    return {data_.get(), V_.rows, V_.cols};
  }

private:
  Scratch<T> data_;
  ConstMatrix V_;
};

template <>
class Converted<double> {
public:
  Converted(const Threads&, ConstMatrix V) : V_(V) {}
  [[nodiscard]] ConstMatrix view() const { return V_; }

private:
  ConstMatrix V_;
};

}  // namespace

template <class T>
void CpuBackend<T>::score(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                          MatrixView<T> out) const {
  const index q = X.columns(), n = X.rows(), m = V.rows;
  if (X.is_sparse()) {
    sparse_blocks(threads_, X, a, V, sparse_width,
                  [&](index t0, index, index first, index count, auto& products) {
                    products.compute(first, count, out.row(t0) + first, out.stride);
                  });
    return;
  }
  if (a.cols == 1 && q <= most_depth && m >= least_test_rows) {
    touch(threads_, out);
    const Products<T> products(X, a, V);
    threads_.ranges(n, products.tile(), [&](index first, index last) {
      products.compute(first, last - first, out);
    });
    return;
  }
  const index tile = 2 * tile_rows(2 * q * index(sizeof(T)));
  const Converted<T> left(threads_, V);
  const index test_tiles = ceil_div(m, test_rows), tiles = ceil_div(n, tile);
  threads_.run(test_tiles * tiles, [&](index task) {
    const index t0 = (task % test_tiles) * m / test_tiles;
    const index t1 = (task % test_tiles + 1) * m / test_tiles;
    const index first = (task / test_tiles) * tile, count = std::min(tile, n - first);
    Scratch<T> packed(tile * q);
    score_tile(X, a, left.view().block(t0, t1 - t0), first, count, packed.get(),
               MatrixView<T>(out.row(t0) + first, t1 - t0, count, out.stride));
  });
}

namespace {

bool series_change(index count, const double* c, double reach, const double* u,
                   double* out) {
  return kernels().series_change(count, c, reach, u, out);
}
bool series_change(index count, const double* c, double reach, const float* u,
                   float* out) {
  return kernels().series_change_float(count, c, reach, u, out);
}
bool loss_change(Family family, index count, double y, double eta, const double* u,
                 double* out) {
  return kernels().loss_change(family, count, y, eta, u, out);
}
bool loss_change(Family family, index count, double y, double eta, const float* u,
                 float* out) {
  return kernels().loss_change_float(family, count, y, eta, u, out);
}

/// What a word `change` writes: results of type T from moves of type D.
template <class D, class T>
class Changes {
public:
  Changes(Family family, Target target, ConstMatrix y, ConstMatrix eta,
          MatrixView<T> out)
      : family_(family), target_(target), y_(y), eta_(eta), out_(out),
        one_loss_(eta.cols == 1 && target == Target::loss &&
                  family != Family::multinomial) {
    if (!one_loss_)
      return;
    reach_ = formula::series_reach * formula::move_scale(family);
    series_.resize(static_cast<std::size_t>(eta.rows * formula::series_terms));
    for (index t = 0; t < eta.rows; ++t)
      formula::with_separable(family, [&](auto f) {
        f.change_series(y(t, 0), eta(t, 0), coefficients(t));
        return 0;
      });
  }
  [[nodiscard]] index outputs() const { return eta_.cols; }
  [[nodiscard]] index rows() const { return eta_.rows; }

  /// Columns [first, first + count) of row t, from the moves of its K outputs, `stride`
  /// apart.
  void write(index t, index first, index count, const D* move, index stride) const {
    if constexpr (std::is_same_v<D, T>) {
      compute(t, count, move, stride, out_.row(t) + first);
    } else {
      Scratch<D> changed(count);
      compute(t, count, move, stride, changed.get());
      std::transform(changed.get(), changed.get() + count, out_.row(t) + first,
                     [](D value) { return static_cast<T>(value); });
    }
  }

private:
  [[nodiscard]] double* coefficients(index t) const {
    return const_cast<double*>(series_.data()) + t * formula::series_terms;
  }

  void compute(index t, index count, const D* move, index stride, D* to) const {
    if (one_loss_ && whole_binomial(y_(t, 0)) &&
        (series_change(count, coefficients(t), reach_, move, to) ||
         loss_change(family_, count, y_(t, 0), eta_(t, 0), move, to)))
      return;
    const index K = eta_.cols;
    Scratch<double> u(K);
    for (index i = 0; i < count; ++i) {
      for (index k = 0; k < K; ++k)
        u[k] = static_cast<double>(move[k * stride + i]);
      to[i] = static_cast<D>(
          target_change(family_, target_, K, y_.row(t), eta_.row(t), u.get()));
    }
  }

  /// Labels between 0 and 1 mix two series.
  [[nodiscard]] bool whole_binomial(double y) const {
    return family_ != Family::binomial || y == 0 || y == 1;
  }

  Family family_;
  Target target_;
  ConstMatrix y_, eta_;
  MatrixView<T> out_;
  bool one_loss_;
  double reach_ = 0;            // of the series
  std::vector<double> series_;  // a row for each test row
};

/// The word `change` with products in the type D of the rows, results of type T.
template <class D, class T>
void changes(const Threads& threads, const Design<D>& X, ConstMatrix a, ConstMatrix V,
             const Changes<D, T>& to) {
  const index q = X.columns(), n = X.rows(), K = to.outputs(), m = to.rows();
  if (K == 1 && q <= most_depth && m >= least_test_rows) {
    const Products<D> products(X, a, V);
    threads.ranges(n, products.tile(), [&](index first, index last) {
      products.each_row(first, last - first, [&](index t, const D* move) {
        to.write(t, first, last - first, move, 0);
      });
    });
    return;
  }
  const index rows = std::max<index>(1, test_rows / K);
  const index tile = tile_rows(2 * q * index(sizeof(D)));
  const Converted<D> left(threads, V);
  const index test_tiles = ceil_div(m, rows), tiles = ceil_div(n, tile);
  threads.run(test_tiles * tiles, [&](index task) {
    const index t0 = (task % test_tiles) * m / test_tiles;
    const index t1 = (task % test_tiles + 1) * m / test_tiles;
    const index first = (task / test_tiles) * tile, count = std::min(tile, n - first);
    Scratch<D> packed(tile * q), moves((t1 - t0) * K * count);
    score_tile(X, a, left.view().block(t0 * K, (t1 - t0) * K), first, count,
               packed.get(), MatrixView<D>(moves.get(), (t1 - t0) * K, count));
    for (index t = t0; t < t1; ++t)
      to.write(t, first, count, moves.get() + (t - t0) * K * count, count);
  });
}

}  // namespace

template <class T>
void CpuBackend<T>::change(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                           Family family, Target target, ConstMatrix y, ConstMatrix eta,
                           MatrixView<T> out) const {
  if (X.is_sparse()) {
    const Changes<double, T> to(family, target, y, eta, out);
    const index K = to.outputs(), step = std::max<index>(1, sparse_width / K) * K;
    sparse_blocks(threads_, X, a, V, step,
                  [&](index t0, index t1, index first, index count, auto& products) {
                    Scratch<double> moves((t1 - t0) * count);
                    products.compute(first, count, moves.get(), count);
                    for (index t = t0 / K; t < t1 / K; ++t)
                      to.write(t, first, count, moves.get() + (t * K - t0) * count,
                               count);
                  });
    return;
  }
  changes(threads_, X, a, V, Changes<T, T>(family, target, y, eta, out));
}

template <class T>
void CpuBackend<T>::change_by(ConstMatrix deltas, ConstMatrix V, Family family,
                              Target target, ConstMatrix y, ConstMatrix eta,
                              MatrixView<T> out) const {
  const Array ones = zeros(deltas.rows, 1);
  fill(ones, 1.0);
  changes(threads_, Design<double>{deltas, false}, ones, V,
          Changes<double, T>(family, target, y, eta, out));
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
