// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "problem.hpp"
#include "upweight/influence.hpp"
#include "upweight/leave_out.hpp"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

namespace upweight::python {

/// An Influence with the backend and the arrays that it stands on.
template <class T>
class Engine {
public:
  /// `make` gives the problem on the backend.
  template <class Make>
  Engine(const Place& place, const Make& make, std::vector<double> theta,
         const InfluenceOptions& options)
      : backend_(backend<T>(place)), held_(make(*backend_)) {
    released([&] {
      held_->bring();
      influence_.emplace(*backend_, **held_, std::move(theta), options);
    });
  }
  [[nodiscard]] const Influence<T>& operator*() const { return *influence_; }
  [[nodiscard]] const Influence<T>* operator->() const { return &*influence_; }
  [[nodiscard]] const HeldProblem<T>& problem() const { return *held_; }

  /// Labels of test rows, or other numbers of the host, as words read them.
  [[nodiscard]] Given given(ConstMatrix host) const { return {*backend_, host}; }

private:
  std::unique_ptr<Backend<T>> backend_;
  std::unique_ptr<HeldProblem<T>> held_;
  std::optional<Influence<T>> influence_;
};

}  // namespace upweight::python
