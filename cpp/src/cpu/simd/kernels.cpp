// SPDX-License-Identifier: BSD-3-Clause
// Compiled once per instruction set, as namespace UPW_ISA. Includes nothing whose
// inline functions the linker could take from here into code meant for older
// processors.
#include "simd/kernels.hpp"

#include "formula.hpp"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

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
    for (int j = 0; j < narrow_width; j += lanes)
      *reinterpret_cast<Lane*>(out + i * narrow_width + j) =
          w[i] * *reinterpret_cast<const Lane*>(A + i * wide_width + j);
}

template <class T>
inline Lane load(const T* x) {
  typedef T Narrow
      __attribute__((vector_size(lanes * sizeof(T)), may_alias, aligned(alignof(T))));
  return __builtin_convertvector(*reinterpret_cast<const Narrow*>(x), Lane);
}

inline double sum_of(Lane x) {
  double total[lanes];
  *reinterpret_cast<Lane*>(total) = x;
  for (int half = lanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l)
      total[l] += total[l + half];
  return total[0];
}

/// x . t; `rest` holds t's last p % lanes entries at the end of a vector of zeros, so
/// that the last `lanes` numbers of x finish the sum.
template <class T>
inline double dot(index p, const T* x, const double* t, Lane rest) {
  Lane sum[4] = {};
  index j = 0;
  for (; j + 4 * lanes <= p; j += 4 * lanes)
    for (int l = 0; l < 4; ++l)
      sum[l] += load(x + j + l * lanes) * load(t + j + l * lanes);
  for (; j + lanes <= p; j += lanes)
    sum[0] += load(x + j) * load(t + j);
  if (j < p)
    sum[1] += load(x + p - lanes) * rest;
  return sum_of((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

template <class T>
void row_dots(index rows, index p, bool intercept, const T* X, index stride,
              const double* theta, index outputs, index theta_stride, double* out,
              index out_stride) {
  for (index k = 0; k < outputs; ++k) {
    const double* t = theta + k * theta_stride;
    double rest[lanes] = {};
    for (index j = p - p % lanes; j < p; ++j)
      rest[lanes - (p - j)] = t[j];
    for (index i = 0; i < rows; ++i) {
      const T* x = X + i * stride;
      double sum = intercept ? t[p] : 0.0;
      if (p >= lanes)
        sum += dot(p, x, t, load(rest));
      else
        for (index j = 0; j < p; ++j)
          sum += static_cast<double>(x[j]) * t[j];
      out[i * out_stride + k] = sum;
    }
  }
}

/// A group of rows at a time, so that `out` is loaded and stored once for all of them.
template <int group, class T>
inline void add_rows(index p, const T* X, index stride, const double* a, index a_stride,
                     double* out) {
  index j = 0;
  for (; j + lanes <= p; j += lanes) {
    Lane sum = load(out + j);
    for (int g = 0; g < group; ++g)
      sum += a[g * a_stride] * load(X + g * stride + j);
    *reinterpret_cast<Lane*>(out + j) = sum;
  }
  for (; j < p; ++j)
    for (int g = 0; g < group; ++g)
      out[j] += a[g * a_stride] * static_cast<double>(X[g * stride + j]);
}

template <class T>
void weighted_sum(index rows, index p, bool intercept, const T* X, index stride,
                  const double* a, index outputs, double* out) {
  constexpr int group = 8;
  const index q = p + (intercept ? 1 : 0);
  index i = 0;
  for (; i + group <= rows; i += group)
    for (index k = 0; k < outputs; ++k)
      add_rows<group>(p, X + i * stride, stride, a + i * outputs + k, outputs,
                      out + k * q);
  for (; i < rows; ++i)
    for (index k = 0; k < outputs; ++k)
      add_rows<1>(p, X + i * stride, stride, a + i * outputs + k, outputs, out + k * q);
  for (index r = 0; r < (intercept ? rows : 0); ++r)
    for (index k = 0; k < outputs; ++k)
      out[k * q + p] += a[r * outputs + k];
}

#include "simd/sparse.hpp"

void rbf(index count, double gamma, double norm2, const double* norms2, double* dots) {
  for (index i = 0; i < count; ++i) {
    const double square = norm2 + norms2[i] - 2 * dots[i];
    dots[i] = formula::fast_exp(-gamma * (square > 0 ? square : 0.0));
  }
}

template <class T>
void scale_row(index count, double scale, const T* x, float* out) {
  for (index j = 0; j < count; ++j)
    out[j] = static_cast<float>(scale * static_cast<double>(x[j]));
}

template <class T>
constexpr int product_width =
    2 * lanes * static_cast<int>(sizeof(double) / sizeof(T));  // numbers, two vectors

template <class T>
void product_tile(index depth, const T* A, const T* B, T* C, index c_stride,
                  [[maybe_unused]] bool stream) {
  constexpr int width = product_width<T> / 2;
  typedef T Row
      __attribute__((vector_size(width * sizeof(T)), may_alias, aligned(alignof(T))));
  Row left[narrow_width] = {}, right[narrow_width] = {};
  for (index k = 0; k < depth; ++k) {
    const Row a0 = *reinterpret_cast<const Row*>(A);
    const Row a1 = *reinterpret_cast<const Row*>(A + width);
#pragma GCC unroll 8
    for (int j = 0; j < narrow_width; ++j) {
      left[j] += B[j] * a0;
      right[j] += B[j] * a1;
    }
    A += 2 * width;
    B += narrow_width;
  }
#if defined(__AVX512F__)
  if (stream) {
#pragma GCC unroll 8
    for (int j = 0; j < narrow_width; ++j) {
      auto* to = reinterpret_cast<double*>(C + j * c_stride);
      _mm512_stream_pd(to, reinterpret_cast<__m512d>(left[j]));
      _mm512_stream_pd(to + 8, reinterpret_cast<__m512d>(right[j]));
    }
    return;
  }
#endif
#pragma GCC unroll 8
  for (int j = 0; j < narrow_width; ++j) {
    *reinterpret_cast<Row*>(C + j * c_stride) = left[j];
    *reinterpret_cast<Row*>(C + j * c_stride + width) = right[j];
  }
}

template <class F>
GlmSums separable_terms(const F f, index count, const double* y, const double* s,
                        const double* eta, const double* direction, double step,
                        double* eta_out, double* residual, double* weight) {
  // eight partial sums, so that the reduction vectorises in a fixed order
  constexpr int width = 8;
  double loss[width] = {}, worst[width] = {};
  const auto one = [&](index i, int lane) __attribute__((always_inline)) {
    const double e = direction ? eta[i] + step * direction[i] : eta[i];
    const double scale = s ? s[i] : 1.0;
    const formula::Terms t = f.terms(y[i], e);
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
    return separable_terms(f, count, y, s, eta, direction, step, eta_out, residual,
                           weight);
  });
}

template <class F, class R>
R separable_remainder(const F f, bool third, index count, const R* w, const R* p,
                      R* u) {
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
  const auto scale = static_cast<R>(f.scale), inverse = static_cast<R>(1 / f.scale);
  if (inverse * reach <= 1) {
    if (third)
      for (i = 0; i < count; ++i) {
        const R v = inverse * u[i];
        u[i] = scale * w[i] * f.third(p[i], v, formula::exp_tails_near(v));
      }
    else
      for (i = 0; i < count; ++i) {
        const R v = inverse * u[i];
        u[i] = scale * w[i] * f.second(p[i], v, formula::exp_tails_near(v));
      }
    return reach;
  }
  for (i = 0; i < count; ++i) {
    const R far = inverse * u[i], v = far > most ? most : far < -most ? -most : far;
    const formula::ExpTails<R> tails = formula::exp_tails(v);
    u[i] = scale * w[i] * (third ? f.third(p[i], v, tails) : f.second(p[i], v, tails));
  }
  return reach;
}

template <class R>
R remainder(Family family, bool third, index count, const R* w, const R* p, R* u) {
  return formula::with_separable(family, [&](auto f) __attribute__((always_inline)) {
    return separable_remainder(f, third, count, w, p, u);
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
  constexpr int width = lanes * static_cast<int>(sizeof(double) / sizeof(T));
  constexpr int chains = 4;
  typedef T Values
      __attribute__((vector_size(width * sizeof(T)), may_alias, aligned(alignof(T))));
  Values best[chains] = {};
  Values bad[chains] = {};  // x - x is 0 for finite x, NaN otherwise
  const auto one = [&](Values v, int chain) __attribute__((always_inline)) {
    const Values size = v < 0 ? -v : v;
    best[chain] = size > best[chain] ? size : best[chain];
    bad[chain] += v - v;
  };
  index i = 0;
  for (; i + chains * width <= count; i += chains * width)
#pragma GCC unroll 4
    for (int chain = 0; chain < chains; ++chain)
      one(*reinterpret_cast<const Values*>(x + i + chain * width), chain);
  for (; i < count; i += width) {
    T last[width] = {};
    const index left = count - i < width ? count - i : width;
    for (index j = 0; j < left; ++j)
      last[j] = x[i + j];
    one(*reinterpret_cast<const Values*>(last), 0);
  }
  T result = 0, wrong = 0;
  for (int chain = 0; chain < chains; ++chain)
    for (int lane = 0; lane < width; ++lane) {
      result = best[chain][lane] > result ? best[chain][lane] : result;
      wrong += bad[chain][lane];
    }
  return wrong == 0 ? result : std::numeric_limits<T>::infinity();
}

/// `side` is -1 for losses seen from the other side.
template <class F, class T>
void near_changes(const F f, index count, double y, double eta, double side, const T* u,
                  T* out) {
  const double p = f.mean(y, eta);
  for (index i = 0; i < count; ++i)
    out[i] = static_cast<T>(f.change_near(y, p, side * static_cast<double>(u[i])));
}

/// Entries are written once and not read again here: past the cache where that is
/// possible, a line at a time.
template <class T>
bool series_change(index count, const double* c, double reach, const T* u, T* out) {
  if (!(max_abs(count, u) <= T(reach)))
    return false;
  const auto change = [&](auto v) __attribute__((always_inline)) {
    auto sum = v * 0.0 + c[formula::series_terms - 1];
#pragma GCC unroll 16
    for (int n = formula::series_terms - 2; n >= 0; --n)
      sum = sum * v + c[n];
    return sum * v;
  };
  const auto one = [&](index i) __attribute__((always_inline)) {
    out[i] = static_cast<T>(change(static_cast<double>(u[i])));
  };
  index i = 0;
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == sizeof(double)) {
    for (; i < count && reinterpret_cast<std::uintptr_t>(out + i) % 64 != 0; ++i)
      one(i);
    for (; i + 8 <= count; i += 8)
      _mm512_stream_pd(out + i, change(_mm512_loadu_pd(u + i)));
  }
#endif
  for (; i < count; ++i)
    one(i);
  return true;
}

template <class T>
bool loss_change(Family family, index count, double y, double eta, const T* u, T* out) {
  if (!(max_abs(count, u) <= T(0.5 * formula::move_scale(family))) ||
      (family == Family::binomial && y != 0 && y != 1))
    return false;
  // a label of 1 is the other one seen from the other side: the loss keeps its
  // precision
  const bool binary = family == Family::binomial || family == Family::smooth_hinge;
  const double side = binary && y == 1 ? -1 : 1;
  if (side < 0)
    y = family == Family::binomial ? 0 : -1;
  formula::with_separable(family, [&](auto f) __attribute__((always_inline)) {
    near_changes(f, count, y, side * eta, side, u, out);
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
                       &weighted_sum<double>,
                       &weighted_sum<float>,
                       &scale_row<double>,
                       &scale_row<float>,
                       product_width<double>,
                       product_width<float>,
                       &product_tile<double>,
                       &product_tile<float>,
                       &sparse_dots<double>,
                       &sparse_dots<float>,
                       &sparse_scatter<double>,
                       &sparse_scatter<float>,
                       &rbf,
                       &glm_terms,
                       &outside,
                       &max_abs<double>,
                       &max_abs<float>,
                       &series_change<double>,
                       &series_change<float>,
                       &loss_change<double>,
                       &loss_change<float>,
                       &pair_panel,
                       &remainder<float>,
                       &remainder<double>,
                       &softmax_remainder<float>,
                       &softmax_remainder<double>};

}  // namespace upweight::cpu::UPW_ISA
