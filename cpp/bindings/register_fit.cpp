// SPDX-License-Identifier: BSD-3-Clause
#include "problem.hpp"
#include "registers.hpp"
#include "upweight/newton.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace upweight::python {

namespace {

template <class T>
py::dict fit(const Backend<T>& backend, HeldProblem<T>& held, std::vector<double> start,
             const NewtonOptions& options) {
  const NewtonResult<T> result = released([&] {
    held.bring();
    return newton(backend, *held, std::move(start), options);
  });
  py::dict out;
  out["theta"] = py::array_t<double>(
      static_cast<py::ssize_t>(result.state.theta.size()), result.state.theta.data());
  out["iterations"] = result.iterations;
  out["gradient_norm"] = result.gradient_norm;
  out["last_move"] = result.last_move;
  out["objective"] = result.objective;
  out["converged"] = result.converged;
  out["streamed"] = held.streamed();
  return out;
}

}  // namespace

void register_fit(py::module_& module) {
  const py::class_<Family> type(module, "Family");
  type.attr("gaussian") = Family(Family::gaussian);
  type.attr("binomial") = Family(Family::binomial);
  type.attr("multinomial") = Family(Family::multinomial);
  type.attr("poisson") = Family(Family::poisson);
  module.def(
      "smooth_hinge",
      [](double temperature) { return Family(Family::smooth_hinge, temperature); },
      py::arg("temperature"));
  module.def(
      "gram",
      [](const Input<double>& X, bool intercept, const Input<double>& weights,
         const Place& place) {
        const Design<double> design{view<double>(X, "X"), intercept, {}};
        const auto words = backend<double>(place);
        const Given w(*words, view<double>(weights, "weights"));
        const index q = design.columns();
        const std::vector<double> none(static_cast<std::size_t>(q), 0.0);
        return filled(*words, q, q, [&](Matrix H) {
          words->gram(design, {w, {}, 1.0, false}, Coupling::shared, none, {}, H, {});
        });
      },
      "X' diag(w) X, upper triangle, for weights (n, 1).", py::arg("X").noconvert(),
      py::arg("intercept"), py::arg("weights").noconvert(), py::arg("place"));
  module.def(
      "fit",
      [](const py::object& X, bool intercept, Family family, index outputs,
         const Input<double>& y, const py::object& weights,
         const std::vector<double>& penalty, const py::object& row_gram,
         const std::vector<double>& start, Solver solver, double cg_rtol, int max_iter,
         bool hard_labels, bool streamed, const Place& place) {
        NewtonOptions options;
        options.solver = solver;
        options.cg.rtol = cg_rtol;
        options.max_iter = max_iter;
        options.hard_labels = hard_labels;
        return by_type(X, [&]<class T>(T) {
          const auto words = backend<T>(place);
          HeldProblem<T> held(*words, X, intercept, family, outputs, y, weights,
                              penalty, row_gram, 0, 0, streamed);
          return fit<T>(*words, held, start, options);
        });
      },
      py::arg("X"), py::arg("intercept"), py::arg("family"), py::arg("outputs"),
      py::arg("y").noconvert(), py::arg("weights"), py::arg("penalty"),
      py::arg("row_gram"), py::arg("start"), py::arg("solver"), py::arg("cg_rtol"),
      py::arg("max_iter"), py::arg("hard_labels"), py::arg("streamed"),
      py::arg("place"));
}

}  // namespace upweight::python
