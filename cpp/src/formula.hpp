// SPDX-License-Identifier: BSD-3-Clause
// The per-row maths of every family, once, for host and device. Nothing else in the
// code knows a family: a new one is a struct here, an entry of `Family`, its twin in
// reference.py. All functions are forced inline, so that each instruction set's build
// of a kernel has a copy of its own.
#pragma once

#include "upweight/problem.hpp"

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

/// Terms of a loss's series in the move u of its linear predictor, and how far it is
/// used: the nearest pole of a sigmoid is at pi.
constexpr int series_terms = 11;
constexpr double series_reach = 1.0 / 16;

/// l, dl/deta and d2l/deta2 of one output of one row.
struct Terms {
  double loss, residual, weight;
};

/// l = (y - eta)^2 / 2
struct Gaussian {
  static constexpr double self_concordance = 0;  // M in |l'''| <= M l''
  static constexpr double scale = 1;             // unit of the moves v = u / scale
  /// What weight and remainders are functions of.
  UPW_HD double mean(double, double eta) { return eta; }
  UPW_HD Terms terms(double y, double eta) {
    const double r = eta - y;
    return {0.5 * r * r, r, 1.0};
  }
  /// l(y, eta + u) - l(y, eta), free of cancellation.
  UPW_HD double change(double y, double eta, double u) {
    return (eta - y) * u + 0.5 * u * u;
  }
  /// Coefficients of u, u^2, .. in the same, `series_terms` of them: enough for |v| <=
  /// `series_reach`, where what follows is under the last place.
  UPW_HD void change_series(double y, double eta, double* c) {
    c[0] = eta - y;
    c[1] = 0.5;
    for (int n = 2; n < series_terms; ++n)
      c[n] = 0;
  }
  /// The same for |v| <= 1/2, without a branch; `p` is the mean at eta.
  UPW_HD double change_near(double y, double mean, double u) {
    return change(y, mean, u);  // the mean is eta
  }
  /// What l'(eta + u) leaves of its Taylor polynomials, over scale l'': after the
  /// linear term (second) and after the quadratic one, skew u^2 (third), at the mean p
  /// of eta and for v = u / scale with its tails.
  template <class R>
  UPW_HD R second(R, R, const ExpTails<R>&) {
    return 0;
  }
  template <class R>
  UPW_HD R third(R, R, const ExpTails<R>&) {
    return 0;
  }
  template <class R>
  UPW_HD R skew(R) {
    return 0;
  }
};

/// l = log(1 + e^eta) - y eta, for y in [0, 1]
struct Binomial {
  static constexpr double self_concordance = 1;
  static constexpr double scale = 1;
  UPW_HD double sigmoid(double eta) {
    const double e = fast_exp(-std::fabs(eta));
    return (eta >= 0 ? 1.0 : e) / (1.0 + e);
  }
  UPW_HD double mean(double, double eta) { return sigmoid(eta); }
  UPW_HD Terms terms(double y, double eta) {
    const double e = fast_exp(-std::fabs(eta));
    const double large = 1.0 / (1.0 + e), small = e * large;  // of p and 1 - p
    const double p = eta >= 0 ? large : small, q = eta >= 0 ? small : large;
    const double above = eta > 0 ? eta : 0.0, below = eta < 0 ? -eta : 0.0;
    // (1 - y) log(1 + e^eta) + y log(1 + e^-eta), and p - y, without cancellation
    const double loss = log1p_unit(e) + (1.0 - y) * above + y * below;
    return {loss, (1.0 - y) * p - y * q, large * small};
  }
  /// log(1 + e^(eta + u)) - log(1 + e^eta) = log1p(p (e^u - 1)), which keeps small
  /// changes exact; large ones, where that cancels or overflows, are differences as
  /// they stand.
  UPW_HD double softplus_change(double eta, double u) {
    const double e = std::exp(-std::fabs(eta));
    const double away = (eta >= 0 ? 1.0 : e) / (1.0 + e) * std::expm1(u);
    if (std::fabs(away) < 0.5)
      return std::log1p(away);
    return softplus(eta + u) - softplus(eta);
  }
  UPW_HD double softplus(double eta) {
    return std::log1p(std::exp(-std::fabs(eta))) + (eta > 0 ? eta : 0.0);
  }
  UPW_HD double change(double y, double eta, double u) {
    return (1.0 - y) * softplus_change(eta, u) + y * softplus_change(-eta, -u);
  }
  /// Of a label 0: sigma's Taylor coefficients over 1, 2, ..., by sigma' = sigma (1 -
  /// sigma); of a label 1 the same seen from the other side.
  UPW_HD void change_series(double y, double eta, double* c) {
    const double side = y == 1 ? -eta : eta;
    const double p = sigmoid(side), q = sigmoid(-side);
    c[0] = p;
    c[1] = p * q;
    for (int n = 1; n + 1 < series_terms; ++n) {
      double next = c[n] * (q - p);
      for (int k = 1; k < n; ++k)
        next -= c[k] * c[n - k];
      c[n + 1] = next / (n + 1);
    }
    for (int n = 0; n < series_terms; ++n)
      c[n] /= y == 1 && n % 2 == 0 ? -(n + 1) : n + 1;
  }
  UPW_HD double change_near(double y, double p, double u) {
    return log1p_small(p * exp_tails_near(u).e1) - y * u;
  }
  /// p(eta + u) = p e^u / (1 + p (e^u - 1)), hence over w = p (1 - p):
  ///   second = (e1 - u - p u e1) / (1 + p e1), third = second - (1/2 - p) u^2.
  template <class R>
  UPW_HD R second(R p, R u, const ExpTails<R>& t) {
    return u * u * (t.g * (1 - p * u) - p) / (1 + p * t.e1);
  }
  template <class R>
  UPW_HD R third(R p, R u, const ExpTails<R>& t) {
    const R top = t.k - t.g * p - (R(0.5) - p) * p * (1 + u * t.g);
    return u * u * u * top / (1 + p * t.e1);
  }
  template <class R>
  UPW_HD R skew(R p) {
    return R(0.5) - p;
  }
  /// p(eta + u) - p(eta). Near: p q (e^u - 1) / (q + p e^u). Far: the difference of
  /// what is small on the side where both are, at least a factor e apart.
  UPW_HD double mean_change(double eta, double u) {
    if (std::fabs(u) < 1) {
      const double p = sigmoid(eta), q = sigmoid(-eta);
      return p * q * std::expm1(u) / (q + p * std::exp(u));
    }
    return eta + 0.5 * u > 0 ? sigmoid(-eta) - sigmoid(-eta - u)
                             : sigmoid(eta + u) - sigmoid(eta);
  }
};

/// l = t log(1 + e^((1 - y eta) / t)) for y = -1 or 1: t times the binomial loss of the
/// label (y + 1) / 2 at z = (eta - y) / t, so that all is the binomial's in units of t.
struct SmoothHinge {
  double scale, inverse, self_concordance;
  UPW_HD_MEMBER explicit SmoothHinge(double t)
      : scale(t), inverse(1 / t), self_concordance(1 / t) {}
  UPW_HD double label(double y) { return 0.5 * (y + 1); }
  UPW_HD_MEMBER double place(double y, double eta) const { return (eta - y) * inverse; }

  UPW_HD_MEMBER double mean(double y, double eta) const {
    return Binomial::sigmoid(place(y, eta));
  }
  UPW_HD_MEMBER Terms terms(double y, double eta) const {
    const Terms b = Binomial::terms(label(y), place(y, eta));
    return {scale * b.loss, b.residual, inverse * b.weight};
  }
  UPW_HD_MEMBER double change(double y, double eta, double u) const {
    return scale * Binomial::change(label(y), place(y, eta), inverse * u);
  }
  UPW_HD_MEMBER void change_series(double y, double eta, double* c) const {
    Binomial::change_series(label(y), place(y, eta), c);
    double power = 1;  // t of t b, over t^n of (u / t)^n
    for (int n = 1; n < series_terms; ++n) {
      power *= inverse;
      c[n] *= power;
    }
  }
  UPW_HD_MEMBER double change_near(double y, double p, double u) const {
    return scale * Binomial::change_near(label(y), p, inverse * u);
  }
  template <class R>
  UPW_HD R second(R p, R v, const ExpTails<R>& t) {
    return Binomial::second(p, v, t);
  }
  template <class R>
  UPW_HD R third(R p, R v, const ExpTails<R>& t) {
    return Binomial::third(p, v, t);
  }
  UPW_HD_MEMBER double skew(double p) const { return inverse * Binomial::skew(p); }
};

/// l = e^eta - y eta
struct Poisson {
  static constexpr double self_concordance = 1;
  static constexpr double scale = 1;
  UPW_HD double mean(double, double eta) { return fast_exp(eta); }
  UPW_HD Terms terms(double y, double eta) {
    const double mu = fast_exp(eta);
    return {mu - y * eta, mu - y, mu};
  }
  UPW_HD double change(double y, double eta, double u) {
    const double mu = fast_exp(eta);
    // far: a factor e apart, where mu or e^u alone may under- or overflow
    if (std::fabs(u) >= 1)
      return fast_exp(eta + u) - mu - y * u;
    // e^u - 1 - u: its series where the difference would cancel
    const double tail =
        std::fabs(u) < 1e-2
            ? u * u * (0.5 + u * (1.0 / 6 + u * (1.0 / 24 + u * (1.0 / 120 + u / 720))))
            : std::expm1(u) - u;
    return (mu - y) * u + mu * tail;
  }
  UPW_HD void change_series(double y, double eta, double* c) {
    const double mu = fast_exp(eta);
    c[0] = mu;
    for (int n = 1; n < series_terms; ++n)
      c[n] = c[n - 1] / (n + 1);
    c[0] -= y;
  }
  UPW_HD double change_near(double y, double p, double u) {
    return (p - y) * u + p * u * u * exp_tails_near(u).g;
  }
  template <class R>
  UPW_HD R second(R, R u, const ExpTails<R>& t) {
    return u * u * t.g;
  }
  template <class R>
  UPW_HD R third(R, R u, const ExpTails<R>& t) {
    return u * u * u * t.k;
  }
  template <class R>
  UPW_HD R skew(R) {
    return R(0.5);
  }
};

/// l = logsumexp(eta) - eta_y over K outputs; a row at a time.
struct Multinomial {
  static constexpr double self_concordance = 1;
  /// p = softmax(eta); returns logsumexp(eta).
  UPW_HD double softmax(const double* eta, std::ptrdiff_t K, double* p) {
    double top = eta[0];
    for (std::ptrdiff_t k = 1; k < K; ++k)
      top = eta[k] > top ? eta[k] : top;
    double sum = 0;
    for (std::ptrdiff_t k = 0; k < K; ++k)
      p[k] = fast_exp(eta[k] - top);
    for (std::ptrdiff_t k = 0; k < K; ++k)
      sum += p[k];
    for (std::ptrdiff_t k = 0; k < K; ++k)
      p[k] /= sum;
    return top + std::log(sum);
  }
  /// No move at all, where a move is indexed.
  struct Unmoved {
    UPW_HD_MEMBER double operator[](std::ptrdiff_t) const { return 0; }
  };
  /// l = logsumexp_k(eta_k + u_k) - (eta_y + u_y). Moves u are what u[k] reads: a
  /// pointer, or what finds them further apart.
  template <class Moves>
  UPW_HD double loss(const double* eta, std::ptrdiff_t K, std::ptrdiff_t y,
                     const Moves& u) {
    const auto gap = [&](std::ptrdiff_t k) { return eta[k] - eta[y] + (u[k] - u[y]); };
    double top = 0, sum = 0;
    for (std::ptrdiff_t k = 0; k < K; ++k)
      top = gap(k) > top ? gap(k) : top;
    for (std::ptrdiff_t k = 0; k < K; ++k)
      sum += k == y && top == 0 ? 0.0 : std::exp(gap(k) - top);
    return top == 0 ? std::log1p(sum) : top + std::log(sum);
  }
  /// l(y, eta + u) - l(y, eta) = log1p sum_k p_k (e^(u_k - u_y) - 1), or, where that
  /// cancels or overflows, the difference as it stands.
  template <class Moves>
  UPW_HD double change(const double* eta, std::ptrdiff_t K, std::ptrdiff_t y,
                       const Moves& u) {
    double top = eta[0], total = 0, away = 0;
    for (std::ptrdiff_t k = 1; k < K; ++k)
      top = eta[k] > top ? eta[k] : top;
    for (std::ptrdiff_t k = 0; k < K; ++k)
      total += std::exp(eta[k] - top);
    for (std::ptrdiff_t k = 0; k < K; ++k)
      away += std::exp(eta[k] - top) / total * std::expm1(u[k] - u[y]);
    if (std::fabs(away) < 0.5)
      return std::log1p(away);
    return loss(eta, K, y, u) - loss(eta, K, y, Unmoved());
  }
  /// p_y(eta + u) - p_y(eta), p = e^-loss.
  template <class Moves>
  UPW_HD double probability_change(const double* eta, std::ptrdiff_t K,
                                   std::ptrdiff_t y, const Moves& u) {
    const double before = loss(eta, K, y, Unmoved()), up = change(eta, K, y, u);
    return std::fabs(up) < 1 ? std::exp(-before) * std::expm1(-up)
                             : std::exp(-before - up) - std::exp(-before);
  }
};

/// visit(f) with the struct f of a family whose outputs are apart; the softmax, whose
/// outputs are not, is its caller's to treat first.
UPW_ANY_VISITOR
template <class Visit>
UPW_HD auto with_separable(Family family, const Visit& visit) {
  switch (family.kind) {
  case Family::binomial:
    return visit(Binomial());
  case Family::smooth_hinge:
    return visit(SmoothHinge(family.temperature));
  case Family::poisson:
    return visit(Poisson());
  case Family::gaussian:
  case Family::multinomial:
    break;
  }
  return visit(Gaussian());
}

/// The unit of moves of a linear predictor in which a separable loss is smooth: near
/// forms and series are good for so many of it.
UPW_HD double move_scale(Family family) {
  return with_separable(family, [](auto f) -> double { return f.scale; });
}

/// M in |l'''| <= M l'' along a move whose size is that of its output or, of a softmax,
/// the spread of it over the outputs.
UPW_HD double move_concordance(Family family) {
  if (family == Family::multinomial)
    return Multinomial::self_concordance;
  return with_separable(family, [](auto f) -> double { return f.self_concordance; });
}

/// M in |l'''| <= M l'' along a move of size max_k |u_k|.
UPW_HD double self_concordance(Family family) {
  if (family == Family::multinomial)
    return 2 * Multinomial::self_concordance;  // the spread over outputs is <= 2 max
  return with_separable(family, [](auto f) -> double { return f.self_concordance; });
}

}  // namespace upweight::formula
