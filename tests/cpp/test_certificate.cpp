// SPDX-License-Identifier: BSD-3-Clause
#include "certificate.hpp"

#include <doctest/doctest.h>
#include <initializer_list>

namespace upweight::test {

using namespace certificate;

namespace {

using Wide = long double;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// sum_n>=from d^n / (n + 1)!: phi from 1, psi from 2.
Wide tail(Wide d, int from) {
  Wide sum = 0, term = 1;
  for (int n = 0; n < 2000 && (n <= from || term > sum * 1e-22L); ++n) {
    term = n == 0 ? 1 : term * d / (n + 1);
    if (n >= from)
      sum += term;
  }
  return sum;
}

constexpr double sizes[] = {1e-300, 1e-12, 1e-4, 9.99e-3, 1.01e-2, 0.1,
                            0.5,    1,     3,    10,      100,     700};

double relative(double actual, Wide expected) {
  return static_cast<double>(std::fabs(Wide(actual) - expected) / expected);
}

}  // namespace

TEST_CASE("phi and psi are the tails of the exponential series") {
  CHECK(phi(0) == 0);
  CHECK(psi(0) == 0);
  CHECK(phi(1) == doctest::Approx(std::exp(1.0) - 2).epsilon(1e-15));
  CHECK(psi(1) == doctest::Approx(std::exp(1.0) - 2.5).epsilon(1e-15));
  for (const double d : sizes) {
    CAPTURE(d);
    CHECK(relative(phi(d), tail(d, 1)) < 1e-12);
    if (d > 1e-150)  // its square underflows
      CHECK(relative(psi(d), tail(d, 2)) < 2e-10);
  }
}

TEST_CASE("phi and psi grow, and end at infinity or NaN, which no bound accepts") {
  double before = 0;
  for (const double d : sizes) {
    CHECK(phi(d) > before);
    before = phi(d);
  }
  CHECK(phi(720) == infinity);
  CHECK_FALSE(phi(infinity) < infinity);
  CHECK_FALSE(psi(infinity) < infinity);
}

TEST_CASE("inverses are under the root, by a tenth at most") {
  for (const double y : {1e-30, 1e-12, 1e-6, 1e-3, 0.1, 1.0, 50.0, 1e8, 1e100}) {
    CAPTURE(y);
    const double a = inverse_phi(y), b = inverse_psi(y);
    CHECK(phi(a) <= y);
    CHECK(psi(b) <= y);
    CHECK(phi(a / 0.89) > y);
    CHECK(psi(b / 0.89) > y);
  }
  CHECK(inverse_phi(0) == 0);
  CHECK(inverse_psi(0) == 0);
}

TEST_CASE("the distance is -log(1 - R nu e^D) / R, or infinite from R nu e^D = 1") {
  for (const double R : {1e-6, 0.3, 1.0, 40.0})
    for (const double nu : {1e-300, 1e-15, 1e-9, 1e-3, 0.02})
      for (const double D : {0.0, 1e-9, 0.2, 3.0, 40.0}) {
        const Wide x = Wide(R) * Wide(nu) * std::exp(Wide(D));
        CAPTURE(R);
        CAPTURE(nu);
        CAPTURE(D);
        if (x < 1 - 1e-12L)
          CHECK(relative(distance(nu, D, R), -std::log1p(-x) / Wide(R)) < 2e-8);
        else if (x > 1 + 1e-12L)
          CHECK(distance(nu, D, R) == infinity);
        // never under its first term
        CHECK(Wide(distance(nu, D, R)) >= x / Wide(R) * (1 - 1e-15L));
      }
}

TEST_CASE("without curvature that changes, the distance is the gradient's size") {
  CHECK(distance(0.25, 0, 0) == 0.25);
  CHECK(distance(0, 0, 3) == 0);
}

TEST_CASE("what overflows proves nothing") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(distance(1e-9, 800, 1) == infinity);
  CHECK(distance(0, infinity, 1) == infinity);  // 0 x infinity
  CHECK(distance(nan, 0, 1) == infinity);
  CHECK(distance(1, nan, 1) == infinity);
  CHECK(distance(1, 0, infinity) == infinity);
}

TEST_CASE("the distance is reached by an exponential loss") {
  // J(t) = e^t - t, optimum 0, M = 1; from z the norm is e^z/2 |.|, R = e^-z/2
  for (const double z : {0.1, 0.5, 2.0}) {
    const double nu = (std::exp(z) - 1) / std::exp(z / 2), R = std::exp(-z / 2);
    CHECK(distance(nu, 0, R) == doctest::Approx(z * std::exp(z / 2)).epsilon(1e-12));
  }
}

}  // namespace upweight::test
