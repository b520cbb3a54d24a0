// SPDX-License-Identifier: BSD-3-Clause
// Compiled once per instruction set, as namespace UPW_ISA. Includes nothing whose
// inline functions the linker could take from here into code meant for older
// processors.
#include "simd/kernels.hpp"

#include "formula.hpp"

namespace upweight::cpu::UPW_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 8, narrow_width = 8;
#elif defined(__AVX2__)
constexpr int lanes = 4, narrow_width = 4;
#else
constexpr int lanes = 2, narrow_width = 4;
#endif
constexpr int wide_width = 2 * lanes;

typedef double Lane __attribute__((vector_size(lanes * sizeof(double)), may_alias,
                                   aligned(alignof(double))));

void gram_tile(index depth, const double* A, const double* B, double* C,
               index c_stride) {
  Lane left[narrow_width] = {}, right[narrow_width] = {};
  for (index k = 0; k < depth; ++k) {
    const Lane a0 = *reinterpret_cast<const Lane*>(A);
    const Lane a1 = *reinterpret_cast<const Lane*>(A + lanes);
#pragma GCC unroll 8
    for (int j = 0; j < narrow_width; ++j) {
      left[j] += B[j] * a0;
      right[j] += B[j] * a1;
    }
    A += wide_width;
    B += narrow_width;
  }
#pragma GCC unroll 8
  for (int j = 0; j < narrow_width; ++j) {
    *reinterpret_cast<Lane*>(C + j * c_stride) += left[j];
    *reinterpret_cast<Lane*>(C + j * c_stride + lanes) += right[j];
  }
}

template <class T>
void pack_panels(index rows, index p, bool intercept, const T* X, index stride,
                 double* out, index panel_stride) {
  constexpr index group =
      8;  // rows whose panels are written together: X is read in order
  const index full = p / wide_width, rest = p - full * wide_width;
  const bool tail = rest > 0 || intercept;
  for (index first = 0; first < rows; first += group) {
    const index last = first + group < rows ? first + group : rows;
    for (index panel = 0; panel < full; ++panel) {
      double* to = out + panel * panel_stride;
      for (index i = first; i < last; ++i)
        for (int j = 0; j < wide_width; ++j)
          to[i * wide_width + j] =
              static_cast<double>(X[i * stride + panel * wide_width + j]);
    }
    if (!tail)
      continue;
    double* to = out + full * panel_stride;
    for (index i = first; i < last; ++i) {
      for (index j = 0; j < wide_width; ++j)
        to[i * wide_width + j] = 0.0;
      for (index j = 0; j < rest; ++j)
        to[i * wide_width + j] =
            static_cast<double>(X[i * stride + full * wide_width + j]);
      if (intercept)
        to[i * wide_width + rest] = 1.0;
    }
  }
}

void scale_panel(index rows, const double* A, const double* w, double* out) {
  for (index i = 0; i < rows; ++i)
    for (int j = 0; j < narrow_width; ++j)
      out[i * narrow_width + j] = w[i] * A[i * wide_width + j];
}

template <class T>
void row_dots(index rows, index p, bool intercept, const T* X, index stride,
              const double* theta, index outputs, index theta_stride, double* out,
              index out_stride) {
  constexpr int width = 2 * wide_width;
  for (index i = 0; i < rows; ++i) {
    const T* x = X + i * stride;
    for (index k = 0; k < outputs; ++k) {
      const double* t = theta + k * theta_stride;
      double lane[width] = {};
      index j = 0;
      for (; j + width <= p; j += width)
        for (int l = 0; l < width; ++l)
          lane[l] += static_cast<double>(x[j + l]) * t[j + l];
      double sum = intercept ? t[p] : 0.0;
      for (; j < p; ++j)
        sum += static_cast<double>(x[j]) * t[j];
      for (int half = width / 2; half > 0; half /= 2)
        for (int l = 0; l < half; ++l)
          lane[l] += lane[l + half];
      out[i * out_stride + k] = sum + lane[0];
    }
  }
}

template <class F>
GlmSums separable_terms(index count, const double* y, const double* s,
                        const double* eta, const double* direction, double step,
                        double* eta_out, double* residual, double* weight) {
  // eight partial sums, so that the reduction vectorises in a fixed order
  constexpr int width = 8;
  double loss[width] = {}, worst[width] = {};
  const auto one = [&](index i, int lane) __attribute__((always_inline)) {
    const double e = direction ? eta[i] + step * direction[i] : eta[i];
    const double scale = s ? s[i] : 1.0;
    const formula::Terms t = F::terms(y[i], e);
    eta_out[i] = e;
    // a row of weight 0 counts for nothing, even where its loss is infinite
    const bool counts = scale > 0;
    residual[i] = counts ? scale * t.residual : 0.0;
    weight[i] = counts ? scale * t.weight : 0.0;
    loss[lane] += counts ? scale * t.loss : 0.0;
    const double size = counts ? std::fabs(t.residual) : 0.0;
    worst[lane] = size > worst[lane] ? size : worst[lane];
  };
  index i = 0;
  for (; i + width <= count; i += width)
    for (int lane = 0; lane < width; ++lane)
      one(i + lane, lane);
  for (; i < count; ++i)
    one(i, 0);
  GlmSums sums;
  for (int lane = 0; lane < width; ++lane) {
    sums.loss += loss[lane];
    if (worst[lane] > sums.worst_residual)
      sums.worst_residual = worst[lane];
  }
  return sums;
}

GlmSums glm_terms(Family family, index count, const double* y, const double* s,
                  const double* eta, const double* direction, double step,
                  double* eta_out, double* residual, double* weight) {
  return formula::with_separable(family, [&](auto f) __attribute__((always_inline)) {
    return separable_terms<decltype(f)>(count, y, s, eta, direction, step, eta_out,
                                        residual, weight);
  });
}

index outside(index count, const float* values, float low, float high,
              std::int32_t* found) {
  constexpr index run = 64;
  index n = 0, i = 0;
  for (; i + run <= count; i += run) {
    int any = 0;
    for (index j = 0; j < run; ++j)
      any |= (values[i + j] >= high) | (values[i + j] <= low);
    if (!any)
      continue;
    for (index j = i; j < i + run; ++j) {
      found[n] = static_cast<std::int32_t>(j);
      n += (values[j] >= high) | (values[j] <= low);
    }
  }
  for (; i < count; ++i) {
    found[n] = static_cast<std::int32_t>(i);
    n += (values[i] >= high) | (values[i] <= low);
  }
  return n;
}

template <class T>
T max_abs(index count, const T* x) {
  constexpr int width = 16;
  T best[width] = {};
  T bad[width] = {};  // x - x is 0 for finite x, NaN otherwise
  const auto one = [&](index i, int lane) __attribute__((always_inline)) {
    const T size = x[i] < 0 ? -x[i] : x[i];
    best[lane] = size > best[lane] ? size : best[lane];
    bad[lane] += x[i] - x[i];
  };
  index i = 0;
  for (; i + width <= count; i += width)
    for (int lane = 0; lane < width; ++lane)
      one(i + lane, lane);
  for (; i < count; ++i)
    one(i, 0);
  T result = 0, wrong = 0;
  for (int lane = 0; lane < width; ++lane) {
    result = best[lane] > result ? best[lane] : result;
    wrong += bad[lane];
  }
  return wrong == 0 ? result : std::numeric_limits<T>::infinity();
}

}  // namespace

extern const Kernels table;
const Kernels table = {
    UPW_ISA_NAME,         wide_width,          narrow_width, &gram_tile,
    &pack_panels<double>, &pack_panels<float>, &scale_panel, &row_dots<double>,
    &row_dots<float>,     &glm_terms,          &outside,     &max_abs<double>,
    &max_abs<float>};

}  // namespace upweight::cpu::UPW_ISA
