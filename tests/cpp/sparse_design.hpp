// SPDX-License-Identifier: BSD-3-Clause
// Designs that are there twice, sparse and dense, and what compares a word on the two.
#pragma once

#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

/// The same numbers in both forms. Every fifth row and every seventh column are empty,
/// some entries are stored zeros, and the arrays go on before and after with NaN.
template <class T>
struct SparseDesign {
  SparseDesign(index n, index p, double density, bool with_intercept,
               unsigned seed = 71)
      : grid(n, p), intercept(with_intercept) {
    Random random(seed);
    stray();
    starts.push_back(entries());
    for (index i = 0; i < n; ++i) {
      for (index j = 0; j < p; ++j) {
        if (i % 5 == 1 || j % 7 == 3 || random.uniform(0, 1) >= density)
          continue;
        grid(i, j) = entries() % 9 == 0 ? T(0) : static_cast<T>(random.uniform(-1, 1));
        values.push_back(grid(i, j));
        columns.push_back(static_cast<std::int32_t>(j));
      }
      starts.push_back(entries());
    }
    stray();
  }

  [[nodiscard]] Design<T> sparse() const {
    return sparse_design(SparseView<T>{values.data(), columns.data(), starts.data()},
                         grid.rows(), grid.cols(), intercept);
  }
  [[nodiscard]] Design<T> dense() const { return {grid, intercept}; }

  Grid<T> grid;
  bool intercept;
  std::vector<T> values;
  std::vector<std::int32_t> columns;
  std::vector<std::int64_t> starts;

private:
  [[nodiscard]] std::int64_t entries() const {
    return static_cast<std::int64_t>(values.size());
  }
  void stray() {
    for (int k = 0; k < 3; ++k) {
      values.push_back(std::numeric_limits<T>::quiet_NaN());
      columns.push_back(0);
    }
  }
};

struct Shape {
  index n, p;
  double density;
};

/// About the rows of a run and the widths of panels; dense enough or not for columns
/// to be taken in blocks, from 16,384 on; one row, one column, nothing at all.
inline const Shape shapes[] = {{1, 1, 1},       {7, 3, 0.7},        {1025, 40, 0.1},
                               {300, 130, 0.5}, {60, 20000, 0.002}, {60, 20000, 2e-4},
                               {9, 5, 0}};

/// Runs `check` over shapes, with and without an intercept.
template <class T>
void each(const auto& some_shapes, const auto& check) {
  for (const Shape& s : some_shapes)
    for (const bool intercept : {false, true}) {
      CAPTURE(s.n);
      CAPTURE(s.p);
      CAPTURE(s.density);
      CAPTURE(intercept);
      check(SparseDesign<T>(s.n, s.p, s.density, intercept));
    }
}

/// Whether word(backend, design, out) leaves the same in a sparse and a dense case.
template <class T>
void check_word(const SparseDesign<T>& X, index rows, index cols, double tolerance,
                const auto& word) {
  Values sparse = random_grid(rows, cols, 90, 2), dense(rows, cols);
  word(*words<T>(2), X.sparse(), Matrix(sparse));
  word(*words<T>(2), X.dense(), Matrix(dense));
  CHECK(relative_error(sparse, dense) < tolerance);
  CHECK(sparse.gaps_untouched());
}

}  // namespace upweight::test
