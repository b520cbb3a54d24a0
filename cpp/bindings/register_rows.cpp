// SPDX-License-Identifier: BSD-3-Clause
#include "arrays.hpp"
#include "registers.hpp"
#include "upweight/row_space.hpp"

#include <optional>
#include <pybind11/native_enum.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <stdexcept>
#include <vector>

namespace upweight::python {
namespace {

template <class T>
void register_rows_of(py::module_& module, const char* name) {
  py::class_<CsrRows<T>>(module, name)
      .def(py::init([](Input<T> values, Input<std::int32_t> columns,
                       Input<std::int64_t> starts, index width) {
             return CsrRows<T>{std::move(values), std::move(columns), std::move(starts),
                               width};
           }),
           py::arg("values").noconvert(), py::arg("columns").noconvert(),
           py::arg("starts").noconvert(), py::arg("width"));
}

/// A RowSpace with its backend.
class Space {
public:
  Space(const Input<double>& K, const Place& place) : backend_(backend<double>(place)) {
    const ConstMatrix given = view<double>(K, "K");
    released([&] {
      const Given there(*backend_, given);
      Array copy = backend_->zeros(given.rows, given.cols);
      backend_->copy(there, copy);
      space_.emplace(*backend_, std::move(copy));
    });
  }
  [[nodiscard]] const RowSpace& operator*() const { return *space_; }
  [[nodiscard]] const Backend<double>& words() const { return *backend_; }

  /// What fill(in, out) makes of rows `in`, with `width` columns.
  template <class Fill>
  py::array_t<double> mapped(const Input<double>& in, index width, Fill fill) const {
    const Given from(*backend_, view<double>(in, "rows"));
    return filled(*backend_, from.rows(), width,
                  [&](Matrix to) { ((*space_).*fill)(from, to); });
  }

private:
  std::unique_ptr<Backend<double>> backend_;
  std::optional<RowSpace> space_;
};

void register_row_space(py::module_& module) {
  py::native_enum<Kernel::Kind>(module, "Kernel", "enum.Enum")
      .value("linear", Kernel::Kind::linear)
      .value("rbf", Kernel::Kind::rbf)
      .value("poly", Kernel::Kind::poly)
      .finalize();
  module.def(
      "kernel",
      [](const py::object& Y, const py::object& X, Kernel::Kind kind, double gamma,
         double coef0, int degree, const Place& place) {
        const Design<double> left = design_of<double>(Y, false, "Y");
        const Design<double> right = design_of<double>(X, false, "X");
        const bool same = Y.is(X);
        const auto words = backend<double>(place);
        return filled(*words, left.rows(), right.rows(), [&](Matrix to) {
          words->kernel({kind, gamma, coef0, degree}, left, right, same, to);
        });
      },
      "k(y_t, x_i) for the rows of Y (m, p) and X (n, p).", py::arg("Y"), py::arg("X"),
      py::arg("kind"), py::arg("gamma"), py::arg("coef0"), py::arg("degree"),
      py::arg("place"));
  module.def(
      "combine_rows",
      [](const py::object& X, const Input<double>& a, const Place& place) {
        const Design<double> design = design_of<double>(X, false, "X");
        const auto words = backend<double>(place);
        const Given coefficients(*words, view<double>(a, "a"));
        return filled(*words, coefficients.cols(), design.columns(),
                      [&](Matrix to) { words->gradient(design, coefficients, to); });
      },
      "a' X for a (n, K).", py::arg("X"), py::arg("a").noconvert(), py::arg("place"));
  module.def(
      "dual_factor",
      [](const Input<double>& K, const Input<double>& root,
         const Input<std::int64_t>& rows, double l2, const Place& place) {
        const auto words = backend<double>(place);
        const Given gram(*words, view<double>(K, "K"));
        const Given s(*words, view<double>(root, "root"));
        const std::int64_t* numbers = rows.data();
        return filled(*words, s.cols(), s.cols(), [&](Matrix factor) {
          words->dual_gram(gram, numbers, s, l2, factor);
          (void)words->potrf(factor, 1, 0.0);
        });
      },
      "R'R = l2 I + diag(s) K[rows][:, rows] diag(s), for s (1, rows): a bench's.",
      py::arg("K").noconvert(), py::arg("root").noconvert(),
      py::arg("rows").noconvert(), py::arg("l2"), py::arg("place"));
  py::class_<Space>(module, "RowSpace")
      .def(py::init<const Input<double>&, const Place&>(), py::arg("K").noconvert(),
           py::arg("place"))
      .def_property_readonly("rank", [](const Space& self) { return (*self).rank(); })
      .def_property_readonly("error", [](const Space& self) { return (*self).error(); })
      .def("coordinates",
           [](const Space& self) {
             return filled(self.words(), (*self).rows(), (*self).rank(),
                           [&](Matrix to) { (*self).coordinates(to); });
           })
      .def(
          "project",
          [](const Space& self, const Input<double>& cross) {
            return self.mapped(cross, (*self).rank(), &RowSpace::project);
          },
          py::arg("cross").noconvert())
      .def(
          "lift",
          [](const Space& self, const Input<double>& beta) {
            return self.mapped(beta, (*self).rows(), &RowSpace::lift);
          },
          py::arg("beta").noconvert());
}

}  // namespace

void register_rows(py::module_& module) {
  register_rows_of<double>(module, "Csr64");
  register_rows_of<float>(module, "Csr32");
  register_row_space(module);
  module.def(
      "check_csr",
      [](const Input<std::int64_t>& starts, const Input<std::int32_t>& columns,
         index width) {
        const index rows = starts.size() - 1;
        const std::int64_t* begin = starts.data();
        const std::int32_t* entries = columns.data();
        const CsrFaults faults = released(
            [&] { return check_csr(begin, rows, entries, columns.size(), width); });
        return py::make_tuple(faults.decreasing, faults.out_of_range, faults.unsorted);
      },
      "First rows with starts out of order, columns out of range, columns unsorted.",
      py::arg("starts").noconvert(), py::arg("columns").noconvert(), py::arg("width"));
  module.def(
      "linear_predictor",
      [](const py::object& X, bool intercept, const Input<double>& theta,
         const Place& place) {
        return by_type(X, [&]<class T>(T) {
          const Design<T> design = design_of<T>(X, intercept, "X");
          const auto words = backend<T>(place);
          const Given parameters(*words, view<double>(theta, "theta"));
          return filled(*words, design.rows(), parameters.rows(), [&](Matrix eta) {
            words->linear_predictor(design, parameters, eta);
          });
        });
      },
      "X theta' for theta (K, q).", py::arg("X"), py::arg("intercept"),
      py::arg("theta").noconvert(), py::arg("place"));
  module.def(
      "hessian_product",
      [](const py::object& X, bool intercept, const Input<double>& weights, double l2,
         const Input<double>& vectors, const Place& place) {
        return by_type(X, [&]<class T>(T) {
          const Design<T> design = design_of<T>(X, intercept, "X");
          const auto words = backend<T>(place);
          const Given w(*words, view<double>(weights, "weights"));
          const Given V(*words, view<double>(vectors, "V"));
          if (w.rows() != design.rows() || w.cols() != 1)
            throw std::invalid_argument("weights: expected shape (n, 1)");
          if (V.cols() != design.columns())
            throw std::invalid_argument("V: expected shape (B, q)");
          std::vector<double> penalty(static_cast<std::size_t>(V.cols()), l2);
          if (intercept)
            penalty.back() = 0;
          return filled(*words, V.rows(), V.cols(), [&](Matrix to) {
            words->hessian_product(design, {w, {}}, penalty, {}, V, to);
          });
        });
      },
      "V (X' diag(w) X + l2) for V (B, q), one output: a bench's.", py::arg("X"),
      py::arg("intercept"), py::arg("weights").noconvert(), py::arg("l2"),
      py::arg("V").noconvert(), py::arg("place"));
  module.def(
      "score",
      [](const py::object& X, bool intercept, const Input<double>& a,
         const Input<double>& vectors, const Place& place) {
        const Design<double> design = design_of<double>(X, intercept, "X");
        const auto words = backend<double>(place);
        const Given scale(*words, view<double>(a, "a"));
        const Given V(*words, view<double>(vectors, "V"));
        if (scale.rows() != design.rows())
          throw std::invalid_argument("a: expected shape (n, K)");
        if (V.cols() != scale.cols() * design.columns())
          throw std::invalid_argument("V: expected shape (m, K q)");
        return filled(*words, V.rows(), design.rows(),
                      [&](Matrix to) { words->score(design, scale, V, to); });
      },
      "v_t . (a_i (x) x_i) for a (n, K) and V (m, K q): a bench's.", py::arg("X"),
      py::arg("intercept"), py::arg("a").noconvert(), py::arg("V").noconvert(),
      py::arg("place"));
}

}  // namespace upweight::python
