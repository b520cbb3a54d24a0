// SPDX-License-Identifier: BSD-3-Clause
// e^x, log(1 + x) and what is left of e^x after its first terms, for host and device,
// without branches or calls. All functions are forced inline, so that each instruction
// set's build of a kernel has a copy of its own.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#if defined(__CUDACC__)
#define UPW_HD_MEMBER __host__ __device__ __forceinline__
// a visitor may be the host's or the device's: who calls knows
#define UPW_ANY_VISITOR _Pragma("nv_exec_check_disable")
#else
#define UPW_HD_MEMBER inline __attribute__((always_inline))
#define UPW_ANY_VISITOR
#endif
#define UPW_HD static UPW_HD_MEMBER

namespace upweight::formula {

/// e^x within 2 ulp, without a branch or a call, so that loops over it vectorise.
/// Cody-Waite reduction x = n log 2 + f, |f| <= log(2)/2, then a Taylor polynomial of
/// degree 13 (remainder under 5e-18). 0 under -708, infinity above 709.78.
UPW_HD double fast_exp(double x) {
  constexpr double log2e = 1.4426950408889634074, shifter = 0x1.8p52;
  constexpr double ln2_hi = 6.93147180369123816490e-01;
  constexpr double ln2_lo = 1.90821492927058770002e-10;
  const double shifted = x * log2e + shifter;  // the integer n sits in the low bits
  const double n = shifted - shifter;
  const double f = (x - n * ln2_hi) - n * ln2_lo;
  double e = 1.0 / 6227020800.0;
  e = e * f + 1.0 / 479001600.0;
  e = e * f + 1.0 / 39916800.0;
  e = e * f + 1.0 / 3628800.0;
  e = e * f + 1.0 / 362880.0;
  e = e * f + 1.0 / 40320.0;
  e = e * f + 1.0 / 5040.0;
  e = e * f + 1.0 / 720.0;
  e = e * f + 1.0 / 120.0;
  e = e * f + 1.0 / 24.0;
  e = e * f + 1.0 / 6.0;
  e = e * f + 0.5;
  e = e * f + 1.0;
  e = e * f + 1.0;
  // 2^n by its exponent bits; n = 1024 is reached just under 709.78, so half of it
  // twice
  const auto bits = std::bit_cast<std::uint64_t>(shifted);
  const double half = std::bit_cast<double>((bits + 1022) << 52);  // 2^(n - 1)
  const double y = (e * half) * 2.0;
  const double finite = x < -708.0 ? 0.0 : y;
  return x > 709.78 ? std::numeric_limits<double>::infinity() : finite;
}

/// log(1 + e) for 0 <= e <= 1 within 2 ulp, branch-free: 2 atanh(t), t = e / (2 + e),
/// with 1 + e halved first for e above 1/2 (e - 1 is exact there), so that t^2 <= 0.04
/// and eleven terms leave under 1e-18.
UPW_HD double log1p_unit(double e) {
  const bool large = e > 0.5;
  // (1 + e) / 2 = 1 + (e - 1) / 2 for the large ones
  const double u = large ? 0.5 * (e - 1.0) : e;
  const double t = u / (2.0 + u), t2 = t * t;
  double s = 1.0 / 23.0;
  s = s * t2 + 1.0 / 21.0;
  s = s * t2 + 1.0 / 19.0;
  s = s * t2 + 1.0 / 17.0;
  s = s * t2 + 1.0 / 15.0;
  s = s * t2 + 1.0 / 13.0;
  s = s * t2 + 1.0 / 11.0;
  s = s * t2 + 1.0 / 9.0;
  s = s * t2 + 1.0 / 7.0;
  s = s * t2 + 1.0 / 5.0;
  s = s * t2 + 1.0 / 3.0;
  const double log1p_u = 2.0 * (t + t * t2 * s);
  return large ? log1p_u + 0.69314718055994530942 : log1p_u;
}

/// e^x for floats within 3 ulp, |x| <= 80; as fast_exp, with a polynomial of degree 6.
UPW_HD float fast_exp(float x) {
  constexpr float log2e = 1.44269504f, shifter = 0x1.8p23f;
  constexpr float ln2_hi = 0.693359375f, ln2_lo = -2.12194440e-4f;
  const float shifted = x * log2e + shifter;
  const float n = shifted - shifter;
  const float f = (x - n * ln2_hi) - n * ln2_lo;
  float e = 1.0f / 720;
  e = e * f + 1.0f / 120;
  e = e * f + 1.0f / 24;
  e = e * f + 1.0f / 6;
  e = e * f + 0.5f;
  e = e * f + 1.0f;
  e = e * f + 1.0f;
  const auto bits = std::bit_cast<std::uint32_t>(shifted);
  return e * std::bit_cast<float>((bits + 127u) << 23);
}

/// log(1 + a) for -0.4 <= a <= 0.66 within 2 ulp: 2 atanh(a / (2 + a)).
UPW_HD double log1p_small(double a) {
  const double t = a / (2.0 + a), t2 = t * t;
  double s = 1.0 / 29.0;
  s = s * t2 + 1.0 / 27.0;
  s = s * t2 + 1.0 / 25.0;
  s = s * t2 + 1.0 / 23.0;
  s = s * t2 + 1.0 / 21.0;
  s = s * t2 + 1.0 / 19.0;
  s = s * t2 + 1.0 / 17.0;
  s = s * t2 + 1.0 / 15.0;
  s = s * t2 + 1.0 / 13.0;
  s = s * t2 + 1.0 / 11.0;
  s = s * t2 + 1.0 / 9.0;
  s = s * t2 + 1.0 / 7.0;
  s = s * t2 + 1.0 / 5.0;
  s = s * t2 + 1.0 / 3.0;
  return 2.0 * (t + t * t2 * s);
}

/// What is left of e^u after its first terms, each over its leading power of u, so that
/// remainders of any order are formed without cancellation:
///   e1 = e^u - 1,  g = (e^u - 1 - u) / u^2,  k = (e^u - 1 - u - u^2/2) / u^3.
template <class R>
struct ExpTails {
  R e1, g, k;
};

/// For |u| <= 1, by Taylor's series of k: error under an ulp of g.
template <class R>
UPW_HD ExpTails<R> exp_tails_near(R u) {
  R k = 0;
  if constexpr (sizeof(R) == sizeof(double)) {
    k = 1.0 / 121645100408832000.0;         // 1 / 19!
    k = k * u + R(1.0 / 6402373705728000);  // 1 / 18!
    k = k * u + R(1.0 / 355687428096000);
    k = k * u + R(1.0 / 20922789888000);
    k = k * u + R(1.0 / 1307674368000);
    k = k * u + R(1.0 / 87178291200);
    k = k * u + R(1.0 / 6227020800);
    k = k * u + R(1.0 / 479001600);
  }
  k = k * u + R(1.0 / 39916800);
  k = k * u + R(1.0 / 3628800);
  k = k * u + R(1.0 / 362880);
  k = k * u + R(1.0 / 40320);
  k = k * u + R(1.0 / 5040);
  k = k * u + R(1.0 / 720);
  k = k * u + R(1.0 / 120);
  k = k * u + R(1.0 / 24);
  k = k * u + R(1.0 / 6);
  const R g = R(0.5) + u * k;
  return {u + u * u * g, g, k};
}

/// For any |u| <= 80: outside the series' reach the differences no longer cancel.
template <class R>
UPW_HD ExpTails<R> exp_tails(R u) {
  const bool far = u > 1 || u < -1;
  const ExpTails<R> near = exp_tails_near(far ? R(0) : u);
  const R v = far ? u : R(1), e1 = fast_exp(v) - R(1);
  const R g = (e1 - v) / (v * v), k = (g - R(0.5)) / v;
  return {far ? e1 : near.e1, far ? g : near.g, far ? k : near.k};
}

}  // namespace upweight::formula
