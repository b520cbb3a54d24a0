// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "arrays.hpp"

#include <optional>
#include <pybind11/pybind11.h>
#include <utility>
#include <vector>

namespace upweight::python {

/// A problem over Python's arrays, which it keeps alive, as a backend's words read it.
template <class T>
class HeldProblem {
public:
  /// With `streamed`, rows of the host stay there, and words bring them block by block;
  /// else they go to the backend's memory whole, unless that has no room for them.
  HeldProblem(const Backend<T>& backend, py::object X, bool intercept, Family family,
              index outputs, Input<double> y, py::object weights,
              std::vector<double> penalty, py::object row_gram, double row_error,
              double product_error, bool streamed)
      : X_(std::move(X)), y_(std::move(y)), weights_(std::move(weights)),
        row_gram_(std::move(row_gram)), backend_(backend),
        given_(design_of<T>(X_, intercept, "X")), streamed_(streamed) {
    problem_.design = given_;
    problem_.family = family;
    problem_.outputs = outputs;
    problem_.penalty = std::move(penalty);
    problem_.row_error = row_error;
    problem_.product_error = product_error;
    problem_.y = view<double>(y_, "y");
    if (!weights_.is_none())
      problem_.weights = view<double>(weights_.cast<Input<double>>(), "sample_weight");
    if (!row_gram_.is_none())
      problem_.row_gram = view<double>(row_gram_.cast<Input<double>>(), "row_gram");
  }

  /// Brings the arrays to where the backend reads them; called without the GIL.
  void bring() {
    for (const auto& [matrix, held] : {std::pair{&problem_.y, &labels_},
                                       {&problem_.weights, &row_weights_},
                                       {&problem_.row_gram, &gram_}}) {
      *held = Given(backend_, *matrix);
      *matrix = *held;
    }
    if (backend_.in_host_memory() || streamed_)
      return;
    try {
      resident_ = backend_.resident(given_);
      problem_.design = resident_.design;
    } catch (const DeviceMemoryError&) {
      streamed_ = true;
    }
  }

  [[nodiscard]] const Problem<T>& operator*() const { return problem_; }
  /// Whether rows come from the host block by block.
  [[nodiscard]] bool streamed() const { return streamed_; }
  [[nodiscard]] index bytes() const { return resident_.bytes; }

private:
  py::object X_;
  Input<double> y_;
  py::object weights_, row_gram_;
  const Backend<T>& backend_;
  Design<T> given_;
  bool streamed_;
  Problem<T> problem_;
  Given labels_, row_weights_, gram_;
  Resident<T> resident_;
};

}  // namespace upweight::python
