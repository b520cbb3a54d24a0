// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "arrays.hpp"
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
  Engine(HeldProblem<T> held, std::vector<double> theta,
         const InfluenceOptions& options, int n_threads)
      : held_(std::move(held)), backend_(backend<T>(n_threads)) {
    released([&] {
      influence_.emplace(*backend_, held_.problem, std::move(theta), options);
    });
  }
  [[nodiscard]] const Influence<T>& operator*() const { return *influence_; }
  [[nodiscard]] const Influence<T>* operator->() const { return &*influence_; }

private:
  HeldProblem<T> held_;
  std::unique_ptr<Backend<T>> backend_;
  std::optional<Influence<T>> influence_;
};

}  // namespace upweight::python
