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

template <class F, class R>
R separable_remainder(bool third, index count, const R* w, const R* p, R* u) {
  constexpr int width = 16;
  R best[width] = {};
  index i = 0;
  for (; i + width <= count; i += width)
    for (int lane = 0; lane < width; ++lane) {
      const R size = u[i + lane] < 0 ? -u[i + lane] : u[i + lane];
      best[lane] = size > best[lane] ? size : best[lane];
    }
  for (; i < count; ++i) {
    const R size = u[i] < 0 ? -u[i] : u[i];
    best[0] = size > best[0] ? size : best[0];
  }
  R reach = 0;
  for (int lane = 0; lane < width; ++lane)
    reach = best[lane] > reach ? best[lane] : reach;
  constexpr R most = 40;  // no certificate reaches so far: only finiteness counts
  if (reach <= 1) {
    if (third)
      for (i = 0; i < count; ++i)
        u[i] = w[i] * F::third(p[i], u[i], formula::exp_tails_near(u[i]));
    else
      for (i = 0; i < count; ++i)
        u[i] = w[i] * F::second(p[i], u[i], formula::exp_tails_near(u[i]));
    return reach;
  }
  for (i = 0; i < count; ++i) {
    const R v = u[i] > most ? most : u[i] < -most ? -most : u[i];
    const formula::ExpTails<R> tails = formula::exp_tails(v);
    u[i] = w[i] * (third ? F::third(p[i], v, tails) : F::second(p[i], v, tails));
  }
  return reach;
}

template <class R>
R remainder(Family family, bool third, index count, const R* w, const R* p, R* u) {
  return formula::with_separable(family, [&](auto f) __attribute__((always_inline)) {
    return separable_remainder<decltype(f), R>(third, count, w, p, u);
  });
}

/// One output at a time, so that rows vectorise: v = u - mean, then
/// s p_k [(1 + e1(v_k)) / (1 + S) - 1 - v_k], S = sum_k p_k (e1(v_k) - v_k).
template <class R>
R softmax_remainder(index count, index K, const R* s, const R* p, index p_stride, R* u,
                    index u_stride) {
  constexpr index run = 64;
  constexpr R most = 40;
  R reach = 0, mean[run], sum[run], low[run], high[run];
  for (index first = 0; first < count; first += run) {
    const index len = count - first < run ? count - first : run;
    for (index i = 0; i < len; ++i) {
      mean[i] = sum[i] = 0;
      low[i] = high[i] = u[first + i];
    }
    for (index k = 0; k < K; ++k) {
      const R* uk = u + k * u_stride + first;
      const R* pk = p + k * p_stride + first;
      for (index i = 0; i < len; ++i) {
        mean[i] += pk[i] * uk[i];
        low[i] = uk[i] < low[i] ? uk[i] : low[i];
        high[i] = uk[i] > high[i] ? uk[i] : high[i];
      }
    }
    for (index i = 0; i < len; ++i)
      reach = high[i] - low[i] > reach ? high[i] - low[i] : reach;
    for (index k = 0; k < K; ++k) {
      R* uk = u + k * u_stride + first;
      const R* pk = p + k * p_stride + first;
      for (index i = 0; i < len; ++i) {
        const R v = uk[i] - mean[i];
        uk[i] = v > most ? most : v < -most ? -most : v;
        sum[i] += pk[i] * uk[i] * uk[i] * formula::exp_tails(uk[i]).g;
      }
    }
    for (index k = 0; k < K; ++k) {
      R* uk = u + k * u_stride + first;
      const R* pk = p + k * p_stride + first;
      const R* sk = s + first;
      for (index i = 0; i < len; ++i) {
        const R v = uk[i], tail = v * v * formula::exp_tails(v).g;
        uk[i] = sk[i] * pk[i] * (tail - sum[i] * (1 + v)) / (1 + sum[i]);
      }
    }
  }
  return reach;
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

template <class F, class T>
void near_changes(index count, double y, double eta, const T* u, T* out) {
  const double p = F::mean(eta);
  for (index i = 0; i < count; ++i)
    out[i] = static_cast<T>(F::change_near(y, p, static_cast<double>(u[i])));
}

/// A label of 1 is one of 0 seen from the other side: the loss keeps its precision.
template <class T>
void near_changes_mirrored(index count, double eta, const T* u, T* out) {
  const double p = formula::Binomial::mean(-eta);
  for (index i = 0; i < count; ++i)
    out[i] = static_cast<T>(
        formula::Binomial::change_near(0, p, -static_cast<double>(u[i])));
}

template <class T>
bool loss_change(Family family, index count, double y, double eta, const T* u, T* out) {
  if (!(max_abs(count, u) <= T(0.5)))
    return false;
  if (family == Family::binomial && y == 1) {
    near_changes_mirrored(count, eta, u, out);
    return true;
  }
  if (family == Family::binomial && y != 0)
    return false;
  formula::with_separable(family, [&](auto f) __attribute__((always_inline)) {
    using F = decltype(f);
    near_changes<F>(count, y, eta, u, out);
    return 0;
  });
  return true;
}

void pair_panel(index rows, const float* X, index stride, const float* a, index first,
                index last, float* out, index out_stride) {
  for (index i = 0; i < rows; ++i) {
    const float* x = X + i * stride;
    float* to = out + i * out_stride;
    for (index k2 = first; k2 < last; ++k2) {
      const float scale = a[i] * x[k2];
      for (index k1 = 0; k1 <= k2; ++k1)
        to[k1] = scale * x[k1];
      to += k2 + 1;
    }
  }
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

}  // namespace

extern const Kernels table;
const Kernels table = {UPW_ISA_NAME,
                       wide_width,
                       narrow_width,
                       &gram_tile,
                       &pack_panels<double>,
                       &pack_panels<float>,
                       &scale_panel,
                       &row_dots<double>,
                       &row_dots<float>,
                       &glm_terms,
                       &outside,
                       &max_abs<double>,
                       &max_abs<float>,
                       &loss_change<double>,
                       &loss_change<float>,
                       &pair_panel,
                       &remainder<float>,
                       &remainder<double>,
                       &softmax_remainder<float>,
                       &softmax_remainder<double>};

}  // namespace upweight::cpu::UPW_ISA
