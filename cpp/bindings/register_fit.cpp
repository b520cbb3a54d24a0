// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"
#include "upweight/newton.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace upweight::python {

namespace {

template <class T>
py::dict fit(const HeldProblem<T>& held, std::vector<double> start,
             const NewtonOptions& options, int n_threads) {
  const NewtonResult<T> result = released([&] {
    return newton(*backend<T>(n_threads), held.problem, std::move(start), options);
  });
  py::dict out;
  out["theta"] = py::array_t<double>(
      static_cast<py::ssize_t>(result.state.theta.size()), result.state.theta.data());
  out["iterations"] = result.iterations;
  out["gradient_norm"] = result.gradient_norm;
  out["last_move"] = result.last_move;
  out["objective"] = result.objective;
  out["converged"] = result.converged;
  return out;
}

}  // namespace

void register_fit(py::module_& module) {
  const py::class_<Family> family(module, "Family");
  family.attr("gaussian") = Family(Family::gaussian);
  family.attr("binomial") = Family(Family::binomial);
  family.attr("multinomial") = Family(Family::multinomial);
  family.attr("poisson") = Family(Family::poisson);
  module.def(
      "smooth_hinge",
      [](double temperature) { return Family(Family::smooth_hinge, temperature); },
      py::arg("temperature"));
  module.def(
      "gram",
      [](const Input<double>& X, bool intercept, const Input<double>& weights,
         int n_threads) {
        const Design<double> design{view<double>(X, "X"), intercept, {}};
        const RowWeights W{view<double>(weights, "weights"), {}, 1.0, false};
        const index q = design.columns();
        py::array_t<double> out({q, q});
        const Matrix H(out.mutable_data(), q, q);
        const std::vector<double> none(static_cast<std::size_t>(q), 0.0);
        released([&] {
          backend<double>(n_threads)->gram(design, W, Coupling::shared, none, {}, H,
                                           {});
        });
        return out;
      },
      "X' diag(w) X, upper triangle, for weights (n, 1).", py::arg("X").noconvert(),
      py::arg("intercept"), py::arg("weights").noconvert(), py::arg("n_threads"));
  module.def(
      "fit",
      [](const py::object& X, bool intercept, Family family, index outputs,
         const Input<double>& y, const py::object& weights,
         const std::vector<double>& penalty, const py::object& row_gram,
         const std::vector<double>& start, Solver solver, double cg_rtol, int max_iter,
         bool hard_labels, int n_threads) {
        NewtonOptions options;
        options.solver = solver;
        options.cg.rtol = cg_rtol;
        options.max_iter = max_iter;
        options.hard_labels = hard_labels;
        return by_type(X, [&]<class T>(T) {
          return fit<T>(
              hold<T>(X, intercept, family, outputs, y, weights, penalty, row_gram),
              start, options, n_threads);
        });
      },
      py::arg("X"), py::arg("intercept"), py::arg("family"), py::arg("outputs"),
      py::arg("y").noconvert(), py::arg("weights"), py::arg("penalty"),
      py::arg("row_gram"), py::arg("start"), py::arg("solver"), py::arg("cg_rtol"),
      py::arg("max_iter"), py::arg("hard_labels"), py::arg("n_threads"));
}

}  // namespace upweight::python
