// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"
#include "upweight/error.hpp"
#include "upweight/nystroem.hpp"

#include <doctest/doctest.h>

namespace upweight::test {

namespace {

/// `count` dense Hessians G + penalty, side by side: G = sum_l e^-l/2 u_l u_l' of
/// `rank` terms, columns scaled from 1 to 1e-3.
struct Given {
  Given(index order_, index count_, index rank, double pull)
      : order(order_), count(count_), G(count_ * order_, order_),
        penalty(static_cast<std::size_t>(order_), pull) {
    const Values U = random_grid(count * rank, order, 101);
    const auto scale = [&](index j) {
      return std::pow(10.0, -3.0 * double(j) / double(order));
    };
    for (index k = 0; k < count; ++k)
      for (index l = 0; l < rank; ++l)
        for (index i = 0; i < order; ++i)
          for (index j = 0; j < order; ++j)
            G(k * order + i, j) += std::exp(-0.5 * double(l)) * U(k * rank + l, i) *
                                   U(k * rank + l, j) * scale(i) * scale(j);
  }
  [[nodiscard]] RowOperator product(bool with_penalty) const {
    return [this, with_penalty](ConstMatrix in, Matrix out) {
      for (index b = 0; b < in.rows; ++b)
        for (index k = 0; k < count; ++k)
          for (index i = 0; i < order; ++i) {
            double sum = 0;
            for (index j = 0; j < order; ++j)
              sum += G(k * order + i, j) * in(b, k * order + j);
            if (with_penalty)
              sum += penalty[std::size_t(i)] * in(b, k * order + i);
            out(b, k * order + i) = sum;
          }
    };
  }
  [[nodiscard]] std::vector<double> diagonal() const {
    std::vector<double> d;
    for (index k = 0; k < count; ++k)
      for (index j = 0; j < order; ++j)
        d.push_back(G(k * order + j, j) + penalty[std::size_t(j)]);
    return d;
  }

  index order, count;
  Values G;
  std::vector<double> penalty;
};

int iterations(const Backend<double>& cpu, const Given& given,
               const RowOperator& precondition) {
  Values B = random_grid(3, given.count * given.order, 102);
  CgOptions options;
  options.rtol = 1e-8;
  options.max_iter = 5000;
  try {
    return conjugate_gradients<double>(cpu, given.product(true), precondition, B,
                                       options)
        .iterations;
  } catch (const NotConvergedError&) {
    return options.max_iter;
  }
}

}  // namespace

TEST_CASE("a sketch beyond the rank of the data leaves almost nothing to iterate") {
  const auto cpu = words<double>(2);
  for (const index count : {1, 3}) {
    const Given given(100, count, 20, 1e-7);
    Nystroem<double> sketch;
    REQUIRE(sketch.make(*cpu, given.product(false), given.diagonal(), given.penalty,
                        count, {}));
    CHECK(sketch.rank() == 32);  // the first doubling that holds all of it
    CHECK(sketch.bytes() == 8 * 33 * 100 * count);
    Values diagonal(1, 100 * count);
    cpu->upload(given.diagonal().data(), diagonal);
    const int with = iterations(
        *cpu, given, [&](ConstMatrix in, Matrix out) { sketch.apply(*cpu, in, out); });
    const int jacobi = iterations(*cpu, given, [&](ConstMatrix in, Matrix out) {
      cpu->divide_rows(in, diagonal, out);
    });
    CAPTURE(jacobi);
    CHECK(with <= 10);
    CHECK(jacobi >= 3 * with);
  }
}

TEST_CASE("a preconditioner is symmetric and positive, and the same for any threads") {
  const Given given(90, 2, 60, 1e-6);
  const index P = 180;
  NystroemOptions options;
  options.always = true;
  const auto inverse = [&](int threads) {
    const auto cpu = words<double>(threads);
    Nystroem<double> sketch;
    sketch.make(*cpu, given.product(false), given.diagonal(), given.penalty, 2,
                options);
    Values identity(P, P), out(P, P);
    for (index j = 0; j < P; ++j)
      identity(j, j) = 1;
    sketch.apply(*cpu, identity, out);
    return out;
  };
  CHECK(same_for_any_threads(inverse));
  Values M = inverse(1), mirrored(P, P);
  for (index i = 0; i < P; ++i)
    for (index j = 0; j < P; ++j)
      mirrored(i, j) = M(j, i);
  CHECK(relative_error(mirrored, M) < 1e-10);
  CHECK(words<double>(1)->potrf(M, 1, 0.0) == -1);
}

TEST_CASE("a flat spectrum does not pay, and rank 0 is not a preconditioner") {
  const auto cpu = words<double>(1);
  const index order = 60;
  Given given(order, 1, 1, 1e-3);
  for (index i = 0; i < order; ++i)
    for (index j = 0; j < order; ++j)
      given.G(i, j) = i == j ? 1 + double(i) : 0;
  Nystroem<double> sketch;
  CHECK(
      !sketch.make(*cpu, given.product(false), given.diagonal(), given.penalty, 1, {}));
  CHECK(sketch.rank() == 0);
  NystroemOptions always;
  always.always = true;
  CHECK(sketch.make(*cpu, given.product(false), given.diagonal(), given.penalty, 1,
                    always));
  CHECK(sketch.rank() == nystroem_rank_limit(order, 1));
}

TEST_CASE("columns without curvature, and no columns to speak of, are no trouble") {
  const auto cpu = words<double>(1);
  for (const index order : {1, 2, 40}) {
    Given given(order, 1, 5, 0.0);
    for (index j = 0; j < order; ++j)
      given.G(0, j) = given.G(j, 0) = 0;
    NystroemOptions always;
    always.always = true;
    Nystroem<double> sketch;
    REQUIRE(sketch.make(*cpu, given.product(false), given.diagonal(), given.penalty, 1,
                        always));
    Values B = random_grid(2, order, 103), out(2, order);
    sketch.apply(*cpu, B, out);
    CHECK(out(0, 0) == doctest::Approx(B(0, 0)));
    CHECK(std::isfinite(cpu->max_abs(out)));
  }
}

TEST_CASE("the rank limit is half the order, 512, or what 256 MB hold") {
  CHECK(nystroem_rank_limit(1, 1) == 1);
  CHECK(nystroem_rank_limit(101, 3) == 50);
  CHECK(nystroem_rank_limit(5000, 2) == 512);
  CHECK(nystroem_rank_limit(1 << 20, 1) == 32);
}

}  // namespace upweight::test
