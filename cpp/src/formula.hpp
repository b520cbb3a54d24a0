// SPDX-License-Identifier: BSD-3-Clause
// The per-row maths of every family, once, for host and device. Nothing else in the
// code knows a family: a new one is a struct here, an entry of `Family`, its twin in
// reference.py. All functions are forced inline (elementary.hpp).
#pragma once

#include "elementary.hpp"
#include "upweight/problem.hpp"

#include <cmath>

namespace upweight::formula {

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
  /// What the residual is the difference of: it rounds relative to their sizes' sum.
  UPW_HD double residual_terms(double y, double eta) {
    return std::fabs(eta) + std::fabs(y);
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
  UPW_HD double residual_terms(double y, double eta) {
    return (1.0 - y) * sigmoid(eta) + y * sigmoid(-eta);
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
  UPW_HD_MEMBER double residual_terms(double y, double eta) const {
    return Binomial::residual_terms(label(y), place(y, eta));
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
  UPW_HD double residual_terms(double y, double eta) { return fast_exp(eta) + y; }
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
  /// 1 - p_y without cancellation.
  UPW_HD double others(const double* p, std::ptrdiff_t K, std::ptrdiff_t y) {
    double sum = 0;
    for (std::ptrdiff_t k = 0; k < K; ++k)
      sum += k == y ? 0.0 : p[k];
    return sum;
  }
  /// Of a row of weight s: residuals r = s l', and W in the form of RowWeights.
  struct Weighted {
    double loss, worst;  // l, and its largest slope; not weighted
  };
  UPW_HD Weighted terms(const double* eta, std::ptrdiff_t K, std::ptrdiff_t y, double s,
                        double* r, double* diagonal, double* factor) {
    double* p = diagonal;
    const double loss = softmax(eta, K, p) - eta[y], rest = others(p, K, y);
    const double root = std::sqrt(s);
    for (std::ptrdiff_t k = 0; k < K; ++k) {
      r[k] = s * (k == y ? -rest : p[k]);
      factor[k] = root * p[k];
      p[k] *= s;
    }
    return {loss, rest};
  }
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
