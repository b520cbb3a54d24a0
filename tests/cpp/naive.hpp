// SPDX-License-Identifier: BSD-3-Clause
// What the words are checked against: loops over the definition, and random data whose
// gaps between rows hold NaN, so that a word that strays is found out.
#pragma once

#include "upweight/cpu.hpp"
#include "upweight/cuda.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace upweight::test {

/// Whether the words of CUDA are tested: on the host, so that they may be given
/// matrices of its memory.
[[nodiscard]] inline bool testing_cuda() {
  const char* name = std::getenv("UPWEIGHT_TEST_BACKEND");
  return name != nullptr && std::strcmp(name, "cuda") == 0;
}

/// The backend under test.
template <class T>
[[nodiscard]] std::unique_ptr<Backend<T>> words(int n_threads,
                                                std::function<bool()> poll = {}) {
  return testing_cuda() ? cuda_backend<T>({}, std::move(poll))
                        : cpu_backend<T>(n_threads, std::move(poll));
}

/// A matrix that owns its numbers, with `gap` more (NaN) after each row.
template <class T>
class Grid {
public:
  Grid() = default;
  Grid(index rows, index cols, index gap = 0)
      : rows_(rows), cols_(cols), stride_(cols + gap),
        data_(static_cast<std::size_t>(rows * stride_),
              std::numeric_limits<T>::quiet_NaN()) {
    for (index i = 0; i < rows; ++i)
      for (index j = 0; j < cols; ++j)
        (*this)(i, j) = 0;
  }
  /// By rows, as on paper.
  Grid(index rows, index cols, std::initializer_list<double> values)
      : Grid(rows, cols) {
    index at = 0;
    for (const double value : values)
      data_[static_cast<std::size_t>(at++)] = static_cast<T>(value);
  }

  [[nodiscard]] T& operator()(index i, index j) {
    return data_[static_cast<std::size_t>(i * stride_ + j)];
  }
  [[nodiscard]] T operator()(index i, index j) const {
    return data_[static_cast<std::size_t>(i * stride_ + j)];
  }
  [[nodiscard]] index rows() const { return rows_; }
  [[nodiscard]] index cols() const { return cols_; }
  operator MatrixView<T>() { return {data_.data(), rows_, cols_, stride_}; }
  operator MatrixView<const T>() const { return {data_.data(), rows_, cols_, stride_}; }
  [[nodiscard]] MatrixView<const T> view() const { return *this; }

  /// Whether nobody wrote between the rows.
  [[nodiscard]] bool gaps_untouched() const {
    for (index i = 0; i < rows_; ++i)
      for (index j = cols_; j < stride_; ++j)
        if (!std::isnan((*this)(i, j)))
          return false;
    return true;
  }
  /// Equal to the last bit, zeros of either sign apart.
  [[nodiscard]] bool same_bits(const Grid& other) const {
    for (index i = 0; i < rows_; ++i)
      if (std::memcmp(view().row(i), other.view().row(i),
                      static_cast<std::size_t>(cols_) * sizeof(T)) != 0)
        return false;
    return rows_ == other.rows_ && cols_ == other.cols_;
  }

private:
  index rows_ = 0, cols_ = 0, stride_ = 0;
  std::vector<T> data_;
};

using Values = Grid<double>;

class Random {
public:
  explicit Random(unsigned seed) : engine_(seed) {}
  [[nodiscard]] double uniform(double low, double high) {
    return low + (high - low) * 0x1p-53 * static_cast<double>(engine_() >> 11);
  }

private:
  std::mt19937_64 engine_;
};

template <class T = double>
Grid<T> random_grid(index rows, index cols, unsigned seed, index gap = 0) {
  Grid<T> grid(rows, cols, gap);
  Random random(seed);
  for (index i = 0; i < rows; ++i)
    for (index j = 0; j < cols; ++j)
      grid(i, j) = static_cast<T>(random.uniform(-1, 1));
  return grid;
}

/// A random design of q columns; rows lie 3 numbers apart, and the column in the middle
/// is zero when there are enough.
template <class T>
struct RandomDesign {
  RandomDesign(index n, index q, bool with_intercept, unsigned seed = 1)
      : features(random_grid<T>(n, q - (with_intercept ? 1 : 0), seed, 3)),
        intercept(with_intercept) {
    if (features.cols() >= 3)
      for (index i = 0; i < n; ++i)
        features(i, zero_column()) = 0;
  }
  [[nodiscard]] index zero_column() const { return features.cols() / 2; }
  [[nodiscard]] Design<T> view() const { return {features, intercept}; }

  Grid<T> features;
  bool intercept;
};

/// x_ij, the intercept's 1 included.
template <class T>
double entry(const Design<T>& X, index i, index j) {
  return j < X.features.cols ? static_cast<double>(X.features(i, j)) : 1.0;
}

/// Weights of n rows and K outputs, every third row 0.
struct RandomWeights {
  enum Kind { separable, softmax, outer };

  RandomWeights(Kind kind_, index n, index K) : kind(kind_) {
    const Values raw = random_grid(n, K, 11);
    if (kind != outer)
      diagonal = Values(n, K);
    if (kind != separable)
      factor = Values(n, K);
    for (index i = 0; i < n; ++i) {
      const double s = i % 3 == 1 ? 0.0 : 1.0 + 0.5 * raw(i, 0);
      double total = 0;
      for (index k = 0; k < K; ++k)
        total += std::exp(raw(i, k));
      for (index k = 0; k < K; ++k) {
        const double p = std::exp(raw(i, k)) / total;
        if (kind != outer)
          diagonal(i, k) = s * (kind == softmax ? p : 1.0 + 0.5 * raw(i, k));
        if (kind != separable)
          factor(i, k) = kind == softmax ? std::sqrt(s) * p : s * raw(i, k);
      }
    }
  }
  [[nodiscard]] RowWeights view() const {
    return {diagonal, factor, kind == softmax ? -1.0 : 1.0, kind == softmax};
  }

  Kind kind;
  Values diagonal, factor;
};

/// W_i[k, l].
inline double weight(const RowWeights& W, index i, index k, index l) {
  const double own = k == l && !W.diagonal.empty() ? W.diagonal(i, k) : 0.0;
  return own + (W.factor.empty() ? 0.0 : W.sign * W.factor(i, k) * W.factor(i, l));
}

/// sum_i W_i (x) x_i x_i' + penalty, all of it (P x P).
template <class T>
Values naive_hessian(const Design<T>& X, const RowWeights& W, index K,
                     const std::vector<double>& penalty) {
  const index q = X.columns(), n = X.rows();
  std::vector<double> x(static_cast<std::size_t>(n * q));
  for (index i = 0; i < n; ++i)
    for (index j = 0; j < q; ++j)
      x[static_cast<std::size_t>(j * n + i)] = entry(X, i, j);
  std::vector<double> w(static_cast<std::size_t>(n));
  Values H(K * q, K * q);
  for (index k = 0; k < K; ++k)
    for (index l = k; l < K; ++l) {
      for (index i = 0; i < n; ++i)
        w[static_cast<std::size_t>(i)] = weight(W, i, k, l);
      for (index a = 0; a < q; ++a)
        for (index b = 0; b <= a; ++b) {
          const double *xa = &x[static_cast<std::size_t>(a * n)],
                       *xb = &x[static_cast<std::size_t>(b * n)];
          double sum = k == l && a == b ? penalty[static_cast<std::size_t>(a)] : 0.0;
          for (index i = 0; i < n; ++i)
            sum += w[static_cast<std::size_t>(i)] * xa[i] * xb[i];
          for (const auto& [c, d] : {std::pair(a, b), std::pair(b, a)})
            H(k * q + c, l * q + d) = H(l * q + c, k * q + d) = sum;
        }
    }
  return H;
}

/// max |actual - expected| over max |expected|; infinite for NaN or another shape.
template <class T>
double relative_error(MatrixView<const T> actual, ConstMatrix expected) {
  double worst = 0, scale = 0;
  if (actual.rows != expected.rows || actual.cols != expected.cols)
    return std::numeric_limits<double>::infinity();
  for (index i = 0; i < expected.rows; ++i)
    for (index j = 0; j < expected.cols; ++j) {
      const double error =
          std::fabs(static_cast<double>(actual(i, j)) - expected(i, j));
      if (!(error <= std::numeric_limits<double>::max()))
        return std::numeric_limits<double>::infinity();
      worst = std::max(worst, error);
      scale = std::max(scale, std::fabs(expected(i, j)));
    }
  return scale > 0 ? worst / scale : worst;
}
template <class T>
double relative_error(const Grid<T>& actual, const Values& expected) {
  return relative_error(actual.view(), expected.view());
}

/// Whether result(threads) is the same to the last bit for 1, 2, 3 and 8 threads.
template <class Result>
bool same_for_any_threads(const Result& result) {
  const auto one = result(1);
  for (const int threads : {2, 3, 8})
    if (!result(threads).same_bits(one))
      return false;
  return true;
}

/// Sizes about the depth of a chunk of rows, and one over four of them.
inline const std::vector<index> row_counts = {1, 7, 255, 256, 257, 1025};

inline std::vector<double> random_penalty(index q) {
  std::vector<double> penalty(static_cast<std::size_t>(q));
  for (index j = 0; j < q; ++j)
    penalty[static_cast<std::size_t>(j)] = j + 1 == q ? 0.0 : 0.5 + 0.1 * double(j % 7);
  return penalty;
}

}  // namespace upweight::test
