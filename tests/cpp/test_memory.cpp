// SPDX-License-Identifier: BSD-3-Clause
#include "naive.hpp"

#include <cstdlib>
#include <doctest/doctest.h>
#include <string>

namespace upweight::test {

TEST_CASE("zeros are zero, whatever their size") {
  const auto cpu = words<double>(3);
  for (const auto& [rows, cols] :
       {std::pair(0, 3), std::pair(1, 1), std::pair(7, 3), std::pair(1025, 2049)}) {
    const Array zeros = cpu->zeros(rows, cols);
    const SingleArray single = cpu->zeros_single(rows, cols);
    CHECK(zeros.rows() == rows);
    CHECK(zeros.cols() == cols);
    CHECK(zeros.empty() == (rows == 0));
    CHECK(zeros.bytes() == 8 * index(rows) * cols);
    CHECK(single.bytes() == 4 * index(rows) * cols);
    if (rows > 0) {
      CHECK(cpu->max_abs(zeros) == 0);
      CHECK(first_nonfinite<float>(single.view(), 1) == -1);
    }
  }
}

TEST_CASE("copy, fill, upload and download leave the gaps between rows alone") {
  const auto cpu = words<double>(2);
  const Values from = random_grid(5, 3, 1, 2);
  Values to(5, 3, 4), dense(5, 3);
  cpu->copy(from, to);
  CHECK(to.same_bits(from));
  CHECK(to.gaps_untouched());
  Matrix host = dense;
  cpu->download(from, host.data);
  CHECK(dense.same_bits(from));
  cpu->fill(to, 2.5);
  CHECK(to(4, 2) == 2.5);
  CHECK(to.gaps_untouched());
  cpu->upload(host.data, to);
  CHECK(to.same_bits(from));
  CHECK(to.gaps_untouched());
}

TEST_CASE("max_abs is the largest size, and infinite for what is not finite") {
  const auto cpu = words<double>(2);
  for (const index n : {1, 15, 16, 17, 1000})
    for (const index gap : {0, 2})
      for (const index at : {index(0), n / 2, n - 1}) {
        Values x = random_grid(n, 3, 1, gap);
        x(at, 1) = -3;
        CHECK(cpu->max_abs(x) == 3);
        for (const double bad : {std::numeric_limits<double>::quiet_NaN(),
                                 -std::numeric_limits<double>::infinity()}) {
          x(at, 1) = bad;
          CHECK(cpu->max_abs(x) == std::numeric_limits<double>::infinity());
        }
      }
}

TEST_CASE_TEMPLATE("first_nonfinite names the first entry, counted by rows", T, double,
                   float) {
  for (const index n : {1, 100, 40000})
    for (const index gap : {0, 2}) {
      Grid<T> x = random_grid<T>(n, 3, 1, gap);
      CHECK(first_nonfinite<T>(x.view(), 3) == -1);
      x(n - 1, 2) = std::numeric_limits<T>::infinity();
      CHECK(first_nonfinite<T>(x.view(), 3) == 3 * n - 1);
      x(n / 2, 1) = std::numeric_limits<T>::quiet_NaN();
      CHECK(first_nonfinite<T>(x.view(), 3) == 3 * (n / 2) + 1);
    }
}

TEST_CASE("UPWEIGHT_ISA narrows the instruction set, and cpu_config says which") {
  const char* asked = std::getenv("UPWEIGHT_ISA");
  const CpuConfig config = cpu_config();
  CHECK_FALSE(config.blas.empty());
  CHECK_FALSE(config.compiler.empty());
  MESSAGE("kernels: " << config.instruction_set);
  if (asked && std::string(asked) == "baseline")
    CHECK(config.instruction_set == "baseline");
  if (asked && std::string(asked) == "avx2")
    CHECK(config.instruction_set != "avx512");
}

}  // namespace upweight::test
