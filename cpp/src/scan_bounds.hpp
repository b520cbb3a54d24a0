// SPDX-License-Identifier: BSD-3-Clause
// How far a product v . g, computed in low precision, may lie from the exact one: what
// both backends' scans for the largest of them rest on.
#pragma once

#include "upweight/backend.hpp"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <vector>

namespace upweight {

struct PairBounds {
  const ScanBounds& rows;
  const TestBounds& tests;
};

/// Bound on a scan's error over |D v| |D^-1 g|: conversion of both factors, products
/// and a sum of P terms in any order, in type U (Higham 2002, section 3.1; 1% for what
/// the first order leaves out).
template <class U>
[[nodiscard]] double scan_roundoff(index P) {
  const double u = 0.5 * static_cast<double>(std::numeric_limits<U>::epsilon());
  return 1.01 * static_cast<double>(P + 4) * u;
}

[[nodiscard]] inline double largest(const std::vector<double>& x) {
  return x.empty() ? 0.0 : *std::max_element(x.begin(), x.end());
}

/// Bounds on the entries of any g and any v, from |D^-1 g| and |D v|.
struct ScanRange {
  explicit ScanRange(const PairBounds& bounds)
      : g(largest(bounds.rows.scaled_norm) * largest(bounds.rows.scale)),
        v(largest(bounds.tests.scaled_norm) /
          *std::min_element(bounds.rows.scale.begin(), bounds.rows.scale.end())) {}
  double g, v;
};

/// What entries and products too small for a U can add up to.
template <class U>
[[nodiscard]] double scan_underflow(const PairBounds& bounds, index P) {
  const ScanRange range(bounds);
  return static_cast<double>(P) * (1 + range.g + range.v) *
         static_cast<double>(std::numeric_limits<U>::min());
}

/// Whether float32 can hold all products, and a scan with such a roundoff has bounds
/// that are tight enough: under 1% of the largest |z_t| |z_i| they are about, in the
/// middle of the test rows. Otherwise nearly all rows would survive.
[[nodiscard]] inline bool scan_is_sharp(const PairBounds& bounds, double roundoff) {
  const ScanRange range(bounds);
  if (!(range.g < 1e16 && range.v < 1e16))
    return false;
  if (bounds.rows.norm.empty())
    return true;
  std::vector<double> ratio;
  for (std::size_t t = 0; t < bounds.tests.norm.size(); ++t)
    ratio.push_back(bounds.tests.norm[t] > 0
                        ? bounds.tests.scaled_norm[t] / bounds.tests.norm[t]
                        : 0.0);
  const auto middle = ratio.begin() + static_cast<std::ptrdiff_t>(ratio.size() / 2);
  std::nth_element(ratio.begin(), middle, ratio.end());
  return roundoff * *middle * largest(bounds.rows.scaled_norm) <
         1e-2 * largest(bounds.rows.norm);
}

}  // namespace upweight
