// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

/// H = R'R of `count` blocks, the lower triangles NaN: no word may read them.
Values random_positive(index P, index count, index gap = 0) {
  Values H(count * P, P, gap);
  for (index k = 0; k < count; ++k) {
    const Values A = random_grid(P, 20, static_cast<unsigned>(60 + k));
    for (index i = 0; i < P; ++i)
      for (index j = 0; j < P; ++j) {
        double sum = i == j ? 2.0 : 0.0;
        for (index l = 0; l < 20; ++l)
          sum += A(i, l) * A(j, l);
        H(k * P + i, j) = j >= i ? sum : nan;
      }
  }
  return H;
}

double symmetric(const Values& H, index k, index i, index j) {
  const index P = H.cols();
  return H(k * P + std::min(i, j), std::max(i, j));
}

/// Rows of V times each segment's H.
Values naive_product(const Values& H, index count, const Values& V) {
  const index P = H.cols();
  Values out(V.rows(), V.cols());
  for (index b = 0; b < V.rows(); ++b)
    for (index s = 0; s < V.cols() / P; ++s)
      for (index j = 0; j < P; ++j)
        for (index i = 0; i < P; ++i)
          out(b, s * P + j) +=
              V(b, s * P + i) * symmetric(H, std::min(s, count - 1), i, j);
  return out;
}

/// Orders about the panel of 256 columns and the one above which blocks are used.
constexpr index orders[] = {1, 2, 7, 255, 256, 257, 512, 513, 770};

}  // namespace

TEST_CASE("potrf of two by two is what one computes by hand") {
  Values H(2, 2, {4, 2, nan, 5}), B(1, 2, {2, 5}), half(1, 2, {2, 5});
  const auto cpu = words<double>(1);
  CHECK(cpu->potrf(H, 1, 1e-12) == -1);
  CHECK(H.same_bits(Values(2, 2, {2, 1, 0, 2})));
  cpu->solve({H, 1}, half, true);
  CHECK(half.same_bits(Values(1, 2, {1, 2})));
  cpu->solve({H, 1}, B, false);
  CHECK(B.same_bits(Values(1, 2, {0, 1})));
}

TEST_CASE("potrf's R gives H back, and the rest is zero") {
  for (const index P : orders)
    for (const index count : {1, 3}) {
      if (P > 257 && count > 1)
        continue;
      const Values H = random_positive(P, count, 2);
      Values R = H, product(count * P, P), expected(count * P, P);
      CAPTURE(P);
      CHECK(words<double>(2)->potrf(R, count, 1e-12) == -1);
      double below = 0;
      for (index k = 0; k < count; ++k)
        for (index i = 0; i < P; ++i) {
          const double* row = R.view().row(k * P + i);
          for (index j = 0; j < i; ++j)
            below += std::fabs(row[j]);
          for (index a = i; a < P; ++a)
            for (index b = a; b < P; ++b)
              product(k * P + a, b) += row[a] * row[b];
          for (index j = i; j < P; ++j)
            expected(k * P + i, j) = H(k * P + i, j);
        }
      CHECK(below == 0);
      CHECK(relative_error(product, expected) < 1e-13);
      CHECK(R.gaps_untouched());
    }
}

TEST_CASE("potrf names the first row whose pivot vanishes, in whichever block") {
  for (const index P : {3, 257, 600})
    for (const index count : {1, 3})
      for (const index bad : {index(1), P / 2, P - 1}) {
        if (P == 600 && count > 1)
          continue;
        Values H = random_positive(P, count);
        const index at = (count - 1) * P;  // column `bad` is the one before it again
        for (index j = 0; j < P; ++j) {
          const double same = symmetric(H, count - 1, bad - 1, j);
          H(at + std::min(bad, j), std::max(bad, j)) = same;
        }
        H(at + bad, bad) = H(at + bad - 1, bad - 1);
        CAPTURE(P);
        CHECK(words<double>(2)->potrf(H, count, 1e-12) == at + bad);
      }
}

TEST_CASE("potrf names rows of zeros, of negative curvature and of NaN") {
  for (const index P : {3, 600})
    for (const double wrong : {0.0, -1.0, nan}) {
      Values H = random_positive(P, 1);
      for (index j = 0; j < P; ++j)
        H(std::min(j, P - 2), std::max(j, P - 2)) = 0;
      H(P - 2, P - 2) = wrong;
      CAPTURE(P);
      CAPTURE(wrong);
      CHECK(words<double>(2)->potrf(H, 1, 1e-12) == P - 2);
    }
}

TEST_CASE("a pivot may be small, but not under the tolerance times its diagonal") {
  const double small = 1e-6;
  const auto failing = [&](double tolerance) {
    Values H(2, 2, {1, 1, 0, 1 + small});
    return words<double>(1)->potrf(H, 1, tolerance);
  };
  CHECK(failing(1e-7) == -1);
  CHECK(failing(1e-5) == 1);
}

TEST_CASE("solve undoes the product with H, for rows about a task's") {
  for (const index P : {1, 7, 257, 513})
    for (const auto& [count, segments] :
         {std::pair(1, 1), std::pair(1, 3), std::pair(3, 3)})
      for (const index m : {1, 15, 16, 17, 130}) {
        if (P > 257 && (count > 1 || m > 17))
          continue;
        const Values H = random_positive(P, count, 1);
        Values R = H;
        const auto cpu = words<double>(2);
        REQUIRE(cpu->potrf(R, count, 1e-12) == -1);
        const Values B = random_grid(m, P * segments, 71);
        Values x(m, P * segments, 2);
        cpu->copy(B, x);
        cpu->solve({R, count}, x, false);
        CAPTURE(P);
        CAPTURE(m);
        CHECK(relative_error(naive_product(H, count, x), B) < 1e-11);
        CHECK(x.gaps_untouched());
      }
}

TEST_CASE("half a solve is R^-T: its squared length is the quadratic form") {
  const Values H = random_positive(257, 1);
  Values R = H, half = random_grid(5, 257, 72), whole = half;
  const Values B = half;
  const auto cpu = words<double>(2);
  cpu->potrf(R, 1, 1e-12);
  cpu->solve({R, 1}, half, true);
  cpu->solve({R, 1}, whole, false);
  for (index b = 0; b < 5; ++b) {
    double length = 0, form = 0;
    for (index j = 0; j < 257; ++j) {
      length += half(b, j) * half(b, j);
      form += B(b, j) * whole(b, j);
    }
    CHECK(length == doctest::Approx(form).epsilon(1e-12));
  }
}

TEST_CASE("the float32 factor is of D^-1 H D^-1 + shift, and solves to its precision") {
  for (const index P : {1, 7, 257, 513, 770}) {
    const Values H = random_positive(P, 1);
    Grid<float> R(P, P, 1);
    Values D(1, P), out(3, P, 1);
    const auto cpu = words<double>(2);
    CHECK(cpu->potrf_single(H, 0.0, R, D) == -1);
    for (index j = 0; j < P; ++j)
      REQUIRE(D(0, j) == std::sqrt(H(j, j)));
    const Values B = random_grid(3, P, 73);
    cpu->solve_single(MatrixView<const float>(R), D, B, out);
    CAPTURE(P);
    CHECK(relative_error(naive_product(H, 1, out), B) < 1e-3);
    CHECK(out.gaps_untouched());
    CHECK(R.gaps_untouched());
  }
  // one by one: (1 + shift) D^2
  Grid<float> R(1, 1);
  Values D(1, 1), out(1, 1);
  words<double>(1)->potrf_single(Values(1, 1, {4}), 3.0, R, D);
  words<double>(1)->solve_single(MatrixView<const float>(R), D, Values(1, 1, {32}),
                                 out);
  CHECK(out(0, 0) == 2);
}

TEST_CASE("potrf_single names the failing row, and bears a column of zeros") {
  Grid<float> R(3, 3);
  Values D(1, 3);
  const auto cpu = words<double>(1);
  CHECK(cpu->potrf_single(Values(3, 3, {1, 0, 0, 0, 1, 2, 0, 0, 1}), 0.0, R, D) == 2);
  CHECK(cpu->potrf_single(Values(3, 3, {1, 0, 0, 0, 0, 0, 0, 0, 1}), 0.0, R, D) == -1);
  CHECK(D(0, 1) == 1);
}

TEST_CASE("symmetric_product reads the upper triangle alone") {
  for (const index P : orders)
    for (const index m : {1, 7}) {
      const Values H = random_positive(P, 1, 2), V = random_grid(m, P, 74, 1);
      Values out = random_grid(m, P, 75, 3);
      words<double>(2)->symmetric_product(H, V, out);
      CAPTURE(P);
      CHECK(relative_error(out, naive_product(H, 1, V)) < 1e-13);
      CHECK(out.gaps_untouched());
    }
}

TEST_CASE("dense words give the same bits for any number of threads") {
  const Values H = random_positive(770, 1);
  const auto factored = [&](int threads) {
    Values R = H;
    words<double>(threads)->potrf(R, 1, 1e-12);
    return R;
  };
  CHECK(same_for_any_threads(factored));
  const Values R = factored(1);
  CHECK(same_for_any_threads([&](int threads) {
    Values B = random_grid(130, 770, 76);
    words<double>(threads)->solve({R, 1}, B, false);
    return B;
  }));
  CHECK(same_for_any_threads([&](int threads) {
    Values out(5, 770);
    words<double>(threads)->symmetric_product(H, random_grid(5, 770, 77), out);
    return out;
  }));
}

TEST_CASE("multiply is alpha A op(B) + beta C for any shapes") {
  for (const index m : {1, 33, 70})
    for (const index n : {1, 31, 1030})
      for (const index k : {1, 9, 300})
        for (const bool transposed : {false, true}) {
          const Values A = random_grid(m, k, 91, 1);
          const Values B =
              transposed ? random_grid(n, k, 92, 2) : random_grid(k, n, 92, 2);
          Values C = random_grid(m, n, 93, 1), expected(m, n);
          for (index i = 0; i < m; ++i)
            for (index j = 0; j < n; ++j) {
              double sum = 0;
              for (index l = 0; l < k; ++l)
                sum += A(i, l) * (transposed ? B(j, l) : B(l, j));
              expected(i, j) = 2 * sum - C(i, j);
            }
          const Values before = C;
          words<double>(3)->multiply(2, A, B, transposed, -1, C);
          CHECK(relative_error(C, expected) < 1e-13);
          CHECK(C.gaps_untouched());
          CHECK(same_for_any_threads([&](int threads) {
            Values again = before;
            words<double>(threads)->multiply(2, A, B, transposed, -1, again);
            return again;
          }));
        }
}

TEST_CASE("forward_rows undoes R', across rows") {
  const index r = 7;
  for (const index m : {1, 255, 600}) {
    Values R(r, r), B = random_grid(r, m, 94, 1), X(r, m), back(r, m);
    const Values random = random_grid(r, r, 95);
    for (index i = 0; i < r; ++i)
      for (index j = i; j < r; ++j)
        R(i, j) = i == j ? 2 + random(i, j) : random(i, j);
    const Values given = B;
    words<double>(2)->forward_rows(R, B);
    for (index i = 0; i < r; ++i)
      for (index j = 0; j < m; ++j)
        for (index l = 0; l <= i; ++l)
          back(i, j) += R(l, i) * B(l, j);
    CHECK(relative_error(back, given) < 1e-13);
    CHECK(B.gaps_untouched());
  }
}

TEST_CASE("eigenvalues come in rising order") {
  // 3 and 1 of [2 1; 1 2], and 7
  Values S(3, 3, {2, 1, 0, 0, 2, 0, 0, 0, 7});
  const std::vector<double> values = words<double>(1)->eigenvalues(S);
  REQUIRE(values.size() == 3);
  CHECK(values[0] == doctest::Approx(1));
  CHECK(values[1] == doctest::Approx(3));
  CHECK(values[2] == doctest::Approx(7));
}

}  // namespace upweight::test
