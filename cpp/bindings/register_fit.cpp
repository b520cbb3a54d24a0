// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"
#include "upweight/newton.hpp"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace upweight::python {

template <class T>
static void register_fit_for(py::module_& module, const char* name) {
  module.def(
      name,
      [](py::object X, bool intercept, Family family, index outputs, Input<double> y,
         py::object weights, std::vector<double> penalty, py::object row_gram,
         std::vector<double> start, Solver solver, double cg_rtol, int max_iter,
         bool hard_labels, int n_threads) {
        const HeldProblem<T> held =
            hold<T>(std::move(X), intercept, family, outputs, std::move(y),
                    std::move(weights), std::move(penalty), std::move(row_gram));
        NewtonOptions options;
        options.solver = solver;
        options.cg.rtol = cg_rtol;
        options.max_iter = max_iter;
        options.hard_labels = hard_labels;
        const NewtonResult<T> result = released([&] {
          return newton(*backend<T>(n_threads), held.problem, std::move(start),
                        options);
        });
        py::dict out;
        out["theta"] =
            py::array_t<double>(static_cast<py::ssize_t>(result.state.theta.size()),
                                result.state.theta.data());
        out["iterations"] = result.iterations;
        out["gradient_norm"] = result.gradient_norm;
        out["last_move"] = result.last_move;
        out["objective"] = result.objective;
        out["converged"] = result.converged;
        return out;
      },
      py::arg("X"), py::arg("intercept"), py::arg("family"), py::arg("outputs"),
      py::arg("y").noconvert(), py::arg("weights"), py::arg("penalty"),
      py::arg("row_gram"), py::arg("start"), py::arg("solver"), py::arg("cg_rtol"),
      py::arg("max_iter"), py::arg("hard_labels"), py::arg("n_threads"));
}

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
  register_fit_for<double>(module, "fit64");
  register_fit_for<float>(module, "fit32");
}

}  // namespace upweight::python
