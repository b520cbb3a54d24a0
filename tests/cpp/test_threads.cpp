// SPDX-License-Identifier: BSD-3-Clause
#include "cpu/threads.hpp"
#include "naive.hpp"
#include "upweight/error.hpp"

#include <atomic>
#include <chrono>
#include <doctest/doctest.h>
#include <thread>

namespace upweight::test {

using cpu::Threads;

TEST_CASE("run does each task once, for any number of threads and tasks") {
  for (const int threads : {1, 2, 3, 8})
    for (const index tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> done(static_cast<std::size_t>(tasks));
      Threads(threads).run(tasks,
                           [&](index i) { ++done[static_cast<std::size_t>(i)]; });
      for (const std::atomic<int>& times : done)
        REQUIRE(times == 1);
    }
}

TEST_CASE("ranges cut [0, n) into pieces of the grain, the last one shorter") {
  for (const index n : {0, 1, 9, 10, 11, 100}) {
    std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
    Threads(3).ranges(n, 10, [&](index first, index last) {
      for (index i = first; i < last; ++i)
        ++seen[static_cast<std::size_t>(i)];
    });
    for (const std::atomic<int>& times : seen)
      REQUIRE(times == 1);
  }
}

TEST_CASE("an exception of a task ends the run and reaches the caller") {
  for (const int threads : {1, 2, 8}) {
    std::atomic<int> done{0};
    const auto fails = [&](index i) {
      if (i == 3)
        throw std::length_error("task 3");
      ++done;
    };
    CHECK_THROWS_WITH_AS(Threads(threads).run(1000000, fails), "task 3",
                         std::length_error);
    CHECK(done < 1000000);
  }
}

TEST_CASE("when all tasks throw, one of the exceptions reaches the caller") {
  const auto fails = [](index) { throw std::runtime_error("any"); };
  CHECK_THROWS_WITH(Threads(8).run(100, fails), "any");
}

TEST_CASE("poll ends a run with Interrupted, and is asked by the caller's thread") {
  for (const int threads : {1, 2, 8}) {
    const std::thread::id caller = std::this_thread::get_id();
    int asked = 0;
    bool elsewhere = false;
    const Threads pool(threads, [&] {
      elsewhere = elsewhere || std::this_thread::get_id() != caller;
      return ++asked > 3;
    });
    std::atomic<bool> go_on{true};  // no other thread may finish all tasks first
    const auto slow = [&](index) {
      if (std::this_thread::get_id() != caller)
        while (go_on)
          Threads::pause_point();
    };
    CHECK_THROWS_AS(pool.run(1000, slow), Interrupted);
    CHECK(asked == 4);
    CHECK_FALSE(elsewhere);
  }
}

TEST_CASE("a long task ends at its pause point once another has failed") {
  std::atomic<bool> started{false};
  const auto work = [&](index i) {
    if (i == 0) {
      started = true;
      for (;;)
        Threads::pause_point();
    }
    while (!started)
      std::this_thread::yield();
    throw std::runtime_error("the other");
  };
  CHECK_THROWS_WITH(Threads(2).run(2, work), "the other");
}

TEST_CASE("a pause point outside of a run does nothing") {
  CHECK_NOTHROW(Threads::pause_point());
}

TEST_CASE("a run within a task is a run of its own") {
  std::atomic<int> done{0};
  Threads(2).run(4, [&](index) {
    Threads(2).run(5, [&](index) { ++done; });
    Threads::pause_point();
  });
  CHECK(done == 20);
}

TEST_CASE("every word on rows ends with Interrupted once poll says so") {
  const RandomDesign<double> X(5000, 5, true);
  const Values a = random_grid(5000, 1, 2), V = random_grid(700, 5, 3);
  const RandomWeights W(RandomWeights::separable, 5000, 1);
  Values H(5, 5), g(1, 5), eta(5000, 1), scores(700, 5000);
  const auto cpu = words<double>(2, [] { return true; });
  CHECK_THROWS_AS(cpu->linear_predictor(X.view(), g, eta), Interrupted);
  CHECK_THROWS_AS(cpu->gradient(X.view(), a, g), Interrupted);
  CHECK_THROWS_AS(
      cpu->gram(X.view(), W.view(), Coupling::separate, random_penalty(5), a, H, g),
      Interrupted);
  CHECK_THROWS_AS(cpu->score(X.view(), a, V, scores), Interrupted);
}

TEST_CASE("one backend serves many threads at once, each with the same bits") {
  const RandomDesign<float> X(3000, 9, true);
  const RandomWeights W(RandomWeights::softmax, 3000, 3);
  const auto cpu = words<float>(2);
  const auto gram = [&] {
    Values H(27, 27), g(3, 9);
    cpu->gram(X.view(), W.view(), Coupling::full, random_penalty(9), W.factor, H, g);
    return H;
  };
  const Values alone = gram();
  std::vector<Values> results(4);
  std::vector<std::thread> callers;
  for (Values& result : results)
    callers.emplace_back([&] { result = gram(); });
  for (std::thread& caller : callers)
    caller.join();
  for (const Values& result : results)
    CHECK(result.same_bits(alone));
}

}  // namespace upweight::test
