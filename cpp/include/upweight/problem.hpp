// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/view.hpp"

#include <vector>

namespace upweight {

/// A loss: which one, and its temperature where it has one. Formulas are in
/// formula.hpp.
struct Family {
  enum Kind { gaussian, binomial, multinomial, poisson, smooth_hinge };
  Kind kind = gaussian;
  double temperature = 1;  // of the smooth hinge

  constexpr Family() = default;
  /// Both conversions are meant: Family::gaussian is a Family, and a Family compares
  /// and switches by its kind.
  constexpr Family(Kind kind_, double temperature_ = 1)
      : kind(kind_), temperature(temperature_) {}
  constexpr operator Kind() const { return kind; }
};

/// Which scalar f of a row's outputs an influence is about.
enum class Target {
  loss,         // l(y, eta)
  margin,       // eta, or eta of the row's own class
  probability,  // of the second class, or of the row's own class
};

/// How the outputs of a model share its Hessian of order P = K q.
enum class Coupling {
  shared,    // I_K (x) H_1: one q x q block serves all outputs (gaussian)
  separate,  // K blocks of q x q, one for each output (binomial, poisson, hinge)
  full,      // one P x P block (multinomial)
};

[[nodiscard]] constexpr Coupling coupling_of(Family family) {
  return family == Family::gaussian      ? Coupling::shared
         : family == Family::multinomial ? Coupling::full
                                         : Coupling::separate;
}

/// The rows x_i of a data matrix, dense or sparse, each with a 1 appended when there is
/// an intercept. Words read it through blocks of rows only, so that a source of blocks
/// on disk can stand in its place.
template <class T>
struct Design {
  MatrixView<const T> features;  // n x p; of a sparse matrix the shape, without data
  bool intercept = false;
  SparseView<T> sparse{};
  /// The same entries by columns (CSC: a row of this view is a column), where a backend
  /// is helped by them; empty otherwise, and in blocks of rows.
  SparseView<T> by_columns{};

  [[nodiscard]] bool is_sparse() const { return sparse.starts != nullptr; }
  [[nodiscard]] index rows() const { return features.rows; }
  [[nodiscard]] index columns() const { return features.cols + (intercept ? 1 : 0); }
  /// Entries that are stored.
  [[nodiscard]] index entries() const {
    return is_sparse() ? sparse.end(rows() - 1) - sparse.begin(0)
                       : rows() * features.cols;
  }
  [[nodiscard]] Design block(index first, index count) const {
    if (!is_sparse())
      return {features.block(first, count), intercept, {}, {}};
    return {MatrixView<const T>(nullptr, count, features.cols, 0),
            intercept,
            {sparse.values, sparse.columns, sparse.starts + first},
            {}};
  }
};

/// A design over a sparse matrix of p columns.
template <class T>
[[nodiscard]] Design<T> sparse_design(SparseView<T> X, index rows, index p,
                                      bool intercept) {
  return {MatrixView<const T>(nullptr, rows, p, 0), intercept, X, {}};
}

/// J(theta) = sum_i s_i l(y_i, eta_i) + 1/2 sum_j penalty_j |theta_j|^2.
template <class T>
struct Problem {
  Design<T> design;
  Family family = Family::gaussian;
  index outputs = 1;            // K
  ConstMatrix y;                // n x K; multinomial: n x 1 class numbers
  ConstMatrix weights;          // n x 1 row weights s, or empty for all ones
  std::vector<double> penalty;  // q, the same for every output
  ConstMatrix row_gram{};       // x_i . x_j (n x n) where the dual solves; else empty
  /// What rows that were computed are off by: |dx_i| over |x_i|, and their inner
  /// products d(x_i . x_j) over |x_i| |x_j|. 0 of rows that were given.
  double row_error = 0, product_error = 0;

  [[nodiscard]] index parameters() const { return outputs * design.columns(); }
};

}  // namespace upweight
