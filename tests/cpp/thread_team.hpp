// SPDX-License-Identifier: BSD-3-Clause
// A team of a GPU's threads by threads of the host: every wait that is missing is a
// race that ThreadSanitizer sees.
#pragma once

#include "upweight/view.hpp"

#include <barrier>
#include <thread>
#include <vector>

namespace upweight::test {

/// One member, with the collectives of cuda/launch.hpp.
class ThreadTeam {
public:
  struct Shared {
    explicit Shared(index size) : slots(static_cast<std::size_t>(size)), wait(size) {}
    std::vector<double> slots;
    std::barrier<> wait;
  };
  ThreadTeam(Shared& shared, index rank) : shared_(&shared), rank_(rank) {}

  [[nodiscard]] index rank() const { return rank_; }
  [[nodiscard]] index size() const { return static_cast<index>(shared_->slots.size()); }
  void sync() const { shared_->wait.arrive_and_wait(); }
  template <class U>
  [[nodiscard]] U sum(U x) const {
    return reduce(x, [](U a, U b) { return a + b; });
  }
  template <class U>
  [[nodiscard]] U max(U x) const {
    return reduce(x, [](U a, U b) { return a > b ? a : b; });
  }
  struct Count {
    index before, total;
  };
  [[nodiscard]] Count count(bool yes) const {
    Count places{0, 0};
    share(yes ? 1.0 : 0.0, [&](index member, double said) {
      places.before += member < rank_ ? static_cast<index>(said) : 0;
      places.total += static_cast<index>(said);
    });
    return places;
  }

private:
  template <class Visit>
  void share(double x, const Visit& visit) const {
    shared_->slots[static_cast<std::size_t>(rank_)] = x;
    sync();
    for (index member = 0; member < size(); ++member)
      visit(member, shared_->slots[static_cast<std::size_t>(member)]);
    sync();
  }
  template <class U, class Join>
  [[nodiscard]] U reduce(U x, const Join& join) const {
    share(static_cast<double>(x), [&](index member, double other) {
      x = member == 0 ? static_cast<U>(other) : join(x, static_cast<U>(other));
    });
    return x;
  }

  Shared* shared_;
  index rank_;
};

/// work(member) by a team of so many.
template <class Work>
void by_team(index size, const Work& work) {
  ThreadTeam::Shared shared(size);
  std::vector<std::thread> threads;
  for (index rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] { work(ThreadTeam(shared, rank)); });
  for (std::thread& thread : threads)
    thread.join();
}

}  // namespace upweight::test
