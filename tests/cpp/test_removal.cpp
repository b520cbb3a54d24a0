// SPDX-License-Identifier: BSD-3-Clause
// removal_coefficients, a word of terms.cpp.
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

TEST_CASE("a row of leverage h is removed by r / (1 - h)") {
  const Values w(3, 1, {1, 2, 0}), C(3, 1, {0.5, 0.25, 0.9}), r(3, 1, {1, -3, 7});
  Values a(3, 1);
  CHECK(cpu_backend<double>(1)->removal_coefficients({w, {}}, C, r, a) == -1);
  CHECK(a.same_bits(Values(3, 1, {2, -6, 7})));
}

TEST_CASE("coupled outputs are removed by (I - W C)^-1 r") {
  for (const index n : {1, 7, 4097}) {
    constexpr index K = 3;
    const RandomWeights W(RandomWeights::softmax, n, K);
    const Values root = random_grid(n, K * K, 31), r = random_grid(n, K, 32);
    Values C(n, K * K), a(n, K, 2), back(n, K);
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K; ++k)
        for (index l = 0; l < K; ++l)
          for (index j = 0; j < K; ++j)
            C(i, k * K + l) += 0.2 * root(i, k * K + j) * root(i, l * K + j);
    CHECK(cpu_backend<double>(2)->removal_coefficients(W.view(), C, r, a) == -1);
    for (index i = 0; i < n; ++i)
      for (index k = 0; k < K; ++k) {
        back(i, k) = a(i, k);
        for (index j = 0; j < K; ++j)
          for (index l = 0; l < K; ++l)
            back(i, k) -= weight(W.view(), i, k, j) * C(i, j * K + l) * a(i, l);
      }
    CHECK(relative_error(back, r) < 1e-14);
    CHECK(a.gaps_untouched());
  }
}

TEST_CASE("the first row whose removal leaves a singular Hessian is named") {
  const index n = 9000;
  Values w(n, 1), C(n, 1), r(n, 1), a(n, 1);
  for (index i = 0; i < n; ++i) {
    w(i, 0) = 2;
    C(i, 0) = i == 4711 || i == 8888 ? 0.5 : 0.1;
  }
  CHECK(cpu_backend<double>(8)->removal_coefficients({w, {}}, C, r, a) == 4711);

  // two outputs, W = diag(1, 1), C = I in the last row only
  Values w2(3, 2, {1, 1, 1, 1, 1, 1}), f(3, 2), C2(3, 4), r2(3, 2), a2(3, 2);
  C2(2, 0) = C2(2, 3) = 1;
  CHECK(cpu_backend<double>(1)->removal_coefficients({w2, f, -1, true}, C2, r2, a2) ==
        2);
}

TEST_CASE("a row of weight zero is removed by nothing but its residual") {
  const Values w(1, 2, {0, 0}), f(1, 2, {0, 0}), C(1, 4, {5, 1, 1, 5});
  const Values r(1, 2, {0, 0});
  Values a(1, 2, {1, 1});
  CHECK(cpu_backend<double>(1)->removal_coefficients({w, f, -1, true}, C, r, a) == -1);
  CHECK(a.same_bits(r));
}

}  // namespace upweight::test
