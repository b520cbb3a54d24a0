// SPDX-License-Identifier: BSD-3-Clause
#include "engine.hpp"
#include "registers.hpp"
#include "results.hpp"

#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace upweight::python {
namespace {

/// A Python callable, or None, as the core calls it: without the GIL. The caller's
/// reference outlives the call.
Progress progress_of(const py::object& callable) {
  if (callable.is_none())
    return {};
  return [callable = py::handle(callable)](index solved) {
    const py::gil_scoped_acquire gil;
    callable(solved);
  };
}

template <class T>
void register_engine(py::module_& module, const char* name) {
  using E = Engine<T>;
  py::class_<E>(module, name)
      .def(py::init([](py::object X, bool intercept, Family family, index outputs,
                       Input<double> y, py::object weights, std::vector<double> penalty,
                       py::object row_gram, double row_error, double product_error,
                       std::vector<double> theta, Solver solver, bool polish,
                       bool hard_labels, double cg_rtol, Preconditioner preconditioner,
                       bool streamed, const Place& place) {
             InfluenceOptions options;
             options.solver = solver;
             options.polish = polish;
             options.hard_labels = hard_labels;
             options.cg.rtol = cg_rtol;
             options.preconditioner = preconditioner;
             const auto make = [&](const Backend<T>& words) {
               return std::make_unique<HeldProblem<T>>(
                   words, std::move(X), intercept, family, outputs, std::move(y),
                   std::move(weights), std::move(penalty), std::move(row_gram),
                   row_error, product_error, streamed);
             };
             return std::make_unique<E>(place, make, std::move(theta), options);
           }),
           py::arg("X"), py::arg("intercept"), py::arg("family"), py::arg("outputs"),
           py::arg("y").noconvert(), py::arg("weights"), py::arg("penalty"),
           py::arg("row_gram"), py::arg("row_error"), py::arg("product_error"),
           py::arg("theta"), py::arg("solver"), py::arg("polish"),
           py::arg("hard_labels"), py::arg("cg_rtol"), py::arg("preconditioner"),
           py::arg("streamed"), py::arg("place"))
      .def(
          "scores",
          [](const E& self, const py::object& test, const Input<double>& y,
             Target target, Method method, const py::object& out,
             const py::object& progress) {
            const Design<T> X =
                design_of<T>(test, self->problem().design.intercept, "X_test");
            const Given labels = self.given(view<double>(y, "y_test"));
            const MatrixView<T> to = destination<T>(out);
            const Progress tell = progress_of(progress);
            released([&] {
              self->scores(X, labels, target, method, to, tell);
              self->backend().finish();
            });
          },
          py::arg("test"), py::arg("y").noconvert(), py::arg("target"),
          py::arg("method"), py::arg("out").noconvert(), py::arg("progress"))
      .def(
          "mean_scores",
          [](const E& self, const py::object& test, const Input<double>& y,
             Target target, const py::object& out) {
            const Design<T> X =
                design_of<T>(test, self->problem().design.intercept, "X_test");
            const Given labels = self.given(view<double>(y, "y_test"));
            const MatrixView<T> to = destination<T>(out);
            released([&] {
              self->mean_scores(X, labels, target, to);
              self->backend().finish();
            });
          },
          py::arg("test"), py::arg("y").noconvert(), py::arg("target"),
          py::arg("out").noconvert())
      .def(
          "gradient_scores",
          [](const E& self, const Input<double>& gradients, const py::object& out,
             const py::object& progress) {
            const Given G = self.given(view<double>(gradients, "gradients"));
            const MatrixView<T> to = destination<T>(out);
            const Progress tell = progress_of(progress);
            released([&] {
              self->gradient_scores(G, to, tell);
              self->backend().finish();
            });
          },
          py::arg("gradients").noconvert(), py::arg("out").noconvert(),
          py::arg("progress"))
      .def(
          "products",
          [](const E& self, const Input<double>& directions,
             const std::optional<Input<double>>& slopes, const py::object& out) {
            const Given V = self.given(view<double>(directions, "directions"));
            const Given others =
                slopes ? self.given(view<double>(*slopes, "slopes")) : Given();
            const ConstMatrix a = slopes ? ConstMatrix(others) : self->residual();
            const MatrixView<T> to = destination<T>(out);
            released([&] {
              self->products(V, a, to);
              self->backend().finish();
            });
          },
          py::arg("directions").noconvert(), py::arg("slopes").noconvert(),
          py::arg("out").noconvert())
      .def(
          "target_gradients",
          [](const E& self, const py::object& test, const Input<double>& y,
             Target target) {
            const Design<T> X =
                design_of<T>(test, self->problem().design.intercept, "X_test");
            const Given labels = self.given(view<double>(y, "y_test"));
            return filled(
                self->backend(), X.rows(), self->problem().parameters(),
                [&](Matrix out) { self->target_gradients(X, labels, target, out); });
          },
          py::arg("test"), py::arg("y").noconvert(), py::arg("target"))
      .def(
          "sampled_solve",
          [](const E& self, const Input<double>& right,
             const Input<std::int64_t>& sample, double scale) {
            const Given B = self.given(view<double>(right, "right"));
            const auto rows = matrix<const std::int64_t>(sample, "sample");
            double largest = 0;
            py::array_t<double> v =
                filled(self->backend(), B.rows(), B.cols(), [&](Matrix out) {
                  largest = self->sampled_solve(B, rows.data, rows.rows, rows.cols,
                                                scale, out);
                });
            return py::make_tuple(v, largest);
          },
          py::arg("right").noconvert(), py::arg("sample").noconvert(), py::arg("scale"))
      .def(
          "solve",
          [](const E& self, const Input<double>& right, const py::object& progress) {
            const Given B = self.given(view<double>(right, "right"));
            const Progress tell = progress_of(progress);
            return filled(self->backend(), B.rows(), B.cols(), [&](Matrix out) {
              self->backend().copy(B, out);
              self->solve(out, tell);
            });
          },
          py::arg("right").noconvert(), py::arg("progress"))
      .def(
          "gradient",
          [](const E& self, const Input<double>& slopes) {
            const Given a = self.given(view<double>(slopes, "slopes"));
            const Problem<T>& problem = self->problem();
            return filled(
                self->backend(), problem.outputs, problem.design.columns(),
                [&](Matrix out) { self->backend().gradient(problem.design, a, out); });
          },
          py::arg("slopes").noconvert())
      .def(
          "moves",
          [](const E& self, const Input<double>& theta) {
            const Given step = self.given(view<double>(theta, "theta"));
            const Problem<T>& problem = self->problem();
            return filled(self->backend(), problem.design.rows(), problem.outputs,
                          [&](Matrix out) {
                            self->backend().linear_predictor(problem.design, step, out);
                          });
          },
          py::arg("theta").noconvert())
      .def(
          "top",
          [](const E& self, const py::object& test, const Input<double>& y,
             Target target, index k) {
            const Design<T> X =
                design_of<T>(test, self->problem().design.intercept, "X_test");
            const Given labels = self.given(view<double>(y, "y_test"));
            return top_tuple(released([&] { return self->top(X, labels, target, k); }),
                             X.rows());
          },
          py::arg("test"), py::arg("y").noconvert(), py::arg("target"), py::arg("k"))
      .def(
          "gradient_top",
          [](const E& self, const Input<double>& gradients, index k) {
            const Given G = self.given(view<double>(gradients, "gradients"));
            return top_tuple(released([&] { return self->gradient_top(G, k); }),
                             G.rows());
          },
          py::arg("gradients").noconvert(), py::arg("k"))
      .def(
          "self_influence",
          [](const E& self, const py::object& progress) {
            const Progress tell = progress_of(progress);
            return filled(self->backend(), self->problem().design.rows(), 1,
                          [&](Matrix out) { self->self_influence(out, tell); });
          },
          py::arg("progress"))
      .def(
          "leverage",
          [](const E& self, const py::object& progress) {
            const Problem<T>& problem = self->problem();
            const bool each = coupling_of(problem.family) == Coupling::separate;
            const Progress tell = progress_of(progress);
            return filled(self->backend(), problem.design.rows(),
                          each ? problem.outputs : 1,
                          [&](Matrix out) { self->leverage(out, tell); });
          },
          py::arg("progress"))
      .def("gradient_outer_product",
           [](const E& self) {
             const index P = self->problem().parameters();
             return filled(self->backend(), P, P,
                           [&](Matrix out) { self->gradient_outer_product(out); });
           })
      .def("inverse_hessian",
           [](const E& self) {
             const index P = self->problem().parameters();
             return filled(self->backend(), P, P,
                           [&](Matrix out) { self->inverse_hessian(out); });
           })
      .def("inverse_blocks",
           [](const E& self) {
             const Problem<T>& problem = self->problem();
             return filled(self->backend(), problem.design.columns(),
                           problem.parameters(),
                           [&](Matrix out) { self->inverse_blocks(out); });
           })
      .def("one_step_coefficients",
           [](const E& self) {
             return filled(self->backend(), self->problem().design.rows(),
                           self->problem().parameters(),
                           [&](Matrix out) { self->one_step_coefficients(out); });
           })
      .def(
          "leave_out",
          [](const E& self, const Input<std::int64_t>& members,
             const Input<std::int64_t>& offsets, double tol, bool refine) {
            return released([&] {
              RowSets sets;
              sets.members.assign(members.data(), members.data() + members.size());
              sets.offsets.assign(offsets.data(), offsets.data() + offsets.size());
              LeaveOutOptions options;
              options.tol = tol;
              options.refine = refine;
              return std::make_unique<LeaveOut>(
                  leave_out(*self, std::move(sets), options));
            });
          },
          py::arg("members").noconvert(), py::arg("offsets").noconvert(),
          py::arg("tol"), py::arg("refine"))
      .def(
          "leave_out_deltas",
          [](const E& self, const LeaveOut& left, index first, index count) {
            return filled(
                self->backend(), count, self->problem().parameters(),
                [&](Matrix out) { leave_out_deltas(*self, left, first, out); });
          },
          py::arg("left"), py::arg("first"), py::arg("count"))
      .def(
          "leave_out_scores",
          [](const E& self, const LeaveOut& left, const py::object& test,
             const Input<double>& y, Target target, const py::object& out) {
            const Design<T> X =
                design_of<T>(test, self->problem().design.intercept, "X_test");
            const Given labels = self.given(view<double>(y, "y_test"));
            const MatrixView<T> to = destination<T>(out);
            std::vector<double> bound;
            released([&] {
              leave_out_scores(*self, left, X, labels, target, to, bound);
              self->backend().finish();
            });
            return vector_of(bound);
          },
          py::arg("left"), py::arg("test"), py::arg("y").noconvert(), py::arg("target"),
          py::arg("out").noconvert())
      .def("one_step_sqnorm",
           [](const E& self) {
             const Problem<T>& problem = self->problem();
             const bool whole = coupling_of(problem.family) == Coupling::full;
             return filled(self->backend(), problem.design.rows(),
                           whole ? 1 : problem.outputs,
                           [&](Matrix out) { self->one_step_sqnorm(out); });
           })
      .def_property_readonly("theta",
                             [](const E& self) {
                               return py::array_t<double>(
                                   static_cast<py::ssize_t>(self->theta().size()),
                                   self->theta().data());
                             })
      .def_property_readonly(
          "residual",
          [](const E& self) { return copy_of(self->backend(), self->residual()); })
      .def_property_readonly("linear_predictor",
                             [](const E& self) {
                               return copy_of(self->backend(),
                                              self->linear_predictor());
                             })
      .def_property_readonly("polish",
                             [](const E& self) {
                               const Polish& polish = self->polish();
                               return py::make_tuple(polish.steps, polish.move,
                                                     polish.left, polish.gradient_norm);
                             })
      .def_property_readonly(
          "solves",
          [](const E& self) {
            const SolveTotals totals = self->state().hessian.totals();
            return py::make_tuple(self->state().hessian.rank(), totals.runs,
                                  totals.right_hand_sides, totals.iterations,
                                  totals.column_steps, totals.most_iterations,
                                  totals.worst_residual, totals.block_bytes);
          })
      .def_property_readonly(
          "nbytes",
          [](const E& self) { return self->bytes() + self.problem().bytes(); })
      .def_property_readonly("streamed",
                             [](const E& self) { return self.problem().streamed(); });
}

}  // namespace

void register_influence(py::module_& module) {
  py::native_enum<Solver>(module, "Solver", "enum.Enum")
      .value("cholesky", Solver::cholesky)
      .value("mixed", Solver::mixed)
      .value("cg", Solver::cg)
      .value("dual", Solver::dual)
      .finalize();
  py::native_enum<Preconditioner>(module, "Preconditioner", "enum.Enum")
      .value("auto", Preconditioner::automatic)
      .value("nystroem", Preconditioner::nystroem)
      .value("jacobi", Preconditioner::jacobi)
      .finalize();
  module.def(
      "nystroem_limits",
      [](index order, index count) {
        return py::make_tuple(nystroem_rank_limit(order, count),
                              nystroem_workspace(order, count));
      },
      py::arg("order"), py::arg("count"));
  py::native_enum<Target>(module, "Target", "enum.Enum")
      .value("loss", Target::loss)
      .value("margin", Target::margin)
      .value("probability", Target::probability)
      .finalize();
  py::native_enum<Method>(module, "Method", "enum.Enum")
      .value("influence", Method::influence)
      .value("one_step", Method::one_step)
      .finalize();
  py::native_enum<Route>(module, "Route", "enum.Enum")
      .value("one_step", Route::one_step)
      .value("cubic", Route::cubic)
      .value("passes", Route::passes)
      .value("refit", Route::refit)
      .value("beyond_precision", Route::beyond_precision)
      .value("no_optimum", Route::no_optimum)
      .finalize();
  py::class_<LeaveOut>(module, "LeaveOut")
      .def_property_readonly(
          "move",
          [](const LeaveOut& left) { return table(left.move, left.sets.total()); })
      .def_property_readonly("bound",
                             [](const LeaveOut& left) { return vector_of(left.bound); })
      .def_property_readonly("error",
                             [](const LeaveOut& left) { return vector_of(left.error); })
      .def_property_readonly(
          "passes", [](const LeaveOut& left) { return vector_of(left.passes); })
      .def_property_readonly("route",
                             [](const LeaveOut& left) {
                               std::vector<std::int8_t> codes;
                               for (const Route route : left.route)
                                 codes.push_back(static_cast<std::int8_t>(route));
                               return vector_of(codes);
                             })
      .def_readonly("gradient_norm", &LeaveOut::gradient_norm)
      .def_readonly("fit_error", &LeaveOut::fit_error);
  register_engine<double>(module, "Influence64");
  register_engine<float>(module, "Influence32");
}

}  // namespace upweight::python
