// SPDX-License-Identifier: BSD-3-Clause
// Floats of 226 bits: the unevaluated sum of two of 113, |lo| at most half a unit of
// hi. Dekker (1971), Knuth (TAOCP 2, section 4.2.2).
#pragma once

#include <quadmath.h>

namespace oracle {

using Quad = __float128;

struct Wide {
  Quad hi = 0, lo = 0;
  Wide() = default;
  Wide(Quad value) : hi(value) {}
  Wide(double value) : hi(value) {}
  Wide(int value) : hi(value) {}
  Wide(Quad high, Quad low) : hi(high), lo(low) {}
};

inline Wide two_sum(Quad a, Quad b) {
  Quad s = a + b, part = s - a;
  return {s, (a - (s - part)) + (b - part)};
}

inline Wide quick_two_sum(Quad a, Quad b) {  // |a| >= |b|
  Quad s = a + b;
  return {s, b - (s - a)};
}

inline Wide operator-(Wide a) {
  return {-a.hi, -a.lo};
}

inline Wide operator+(Wide a, Wide b) {
  Wide s = two_sum(a.hi, b.hi), t = two_sum(a.lo, b.lo);
  s = quick_two_sum(s.hi, s.lo + t.hi);
  return quick_two_sum(s.hi, s.lo + t.lo);
}

inline Wide operator-(Wide a, Wide b) {
  return a + -b;
}

inline Wide operator*(Wide a, Wide b) {
  Quad p = a.hi * b.hi;
  return quick_two_sum(p, fmaq(a.hi, b.hi, -p) + (a.hi * b.lo + a.lo * b.hi));
}

inline Wide operator/(Wide a, Wide b) {
  Quad first = a.hi / b.hi;
  Wide rest = a - Wide(first) * b;
  Quad second = rest.hi / b.hi;
  rest = rest - Wide(second) * b;
  return quick_two_sum(first, second) + Wide(rest.hi / b.hi);
}

inline Wide& operator+=(Wide& a, Wide b) {
  return a = a + b;
}
inline Wide& operator-=(Wide& a, Wide b) {
  return a = a - b;
}
inline Wide& operator*=(Wide& a, Wide b) {
  return a = a * b;
}
inline Wide& operator/=(Wide& a, Wide b) {
  return a = a / b;
}
inline bool operator<(Wide a, Wide b) {
  return a.hi < b.hi || (a.hi == b.hi && a.lo < b.lo);
}
inline bool operator>(Wide a, Wide b) {
  return b < a;
}

inline Quad quad(Wide a) {
  return a.hi + a.lo;
}
inline Quad quad(Quad a) {
  return a;
}

inline Quad root(Quad a) {
  return sqrtq(a);
}
inline Wide root(Wide a) {
  if (!(a.hi > 0))
    return Wide(sqrtq(a.hi));
  Wide x(sqrtq(a.hi));
  return x + (a - x * x) / (Wide(2) * x);
}

inline Wide log_2() {  // sum of 1 / (k 2^k)
  Wide sum, power(1);
  for (int k = 1; k <= 232; ++k) {
    power = power / Wide(2);
    sum += power / Wide(k);
  }
  return sum;
}

inline Quad exponential(Quad a) {
  return expq(a);
}
inline Wide exponential(Wide a) {  // a = k log 2 + 4096 r; Taylor's series at r
  if (!(a.hi > -11000 && a.hi < 11000))
    return Wide(expq(a.hi));
  static const Wide unit = log_2();
  const int halvings = 12;
  Quad k = rintq(a.hi / unit.hi);
  Wide r = a - Wide(k) * unit;
  r = {scalbnq(r.hi, -halvings), scalbnq(r.lo, -halvings)};
  Wide sum, term(1);
  for (int i = 1; i <= 18; ++i) {
    term = term * r / Wide(i);
    sum += term;
  }
  for (int i = 0; i < halvings; ++i)
    sum = sum * sum + sum + sum;  // of e^r - 1
  sum += Wide(1);
  return {scalbnq(sum.hi, static_cast<int>(k)), scalbnq(sum.lo, static_cast<int>(k))};
}

}  // namespace oracle
