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
  Space(const Input<double>& K, int n_threads) : backend_(backend<double>(n_threads)) {
    const ConstMatrix given = view<double>(K, "K");
    released([&] {
      Array copy = backend_->zeros(given.rows, given.cols);
      backend_->copy(given, copy);
      space_.emplace(*backend_, std::move(copy));
    });
  }
  [[nodiscard]] const RowSpace& operator*() const { return *space_; }

  /// What fill(in, out) makes of rows `in`, with `width` columns.
  template <class Fill>
  py::array_t<double> mapped(const Input<double>& in, index width, Fill fill) const {
    const ConstMatrix from = view<double>(in, "rows");
    py::array_t<double> out({from.rows, width});
    const Matrix to(out.mutable_data(), from.rows, width);
    released([&] { ((*space_).*fill)(from, to); });
    return out;
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
         double coef0, int degree, int n_threads) {
        const Design<double> left = design_of<double>(Y, false, "Y");
        const Design<double> right = design_of<double>(X, false, "X");
        py::array_t<double> out({left.rows(), right.rows()});
        const Matrix to(out.mutable_data(), left.rows(), right.rows());
        const bool same = Y.is(X);
        released([&] {
          backend<double>(n_threads)->kernel({kind, gamma, coef0, degree}, left, right,
                                             same, to);
        });
        return out;
      },
      "k(y_t, x_i) for the rows of Y (m, p) and X (n, p).", py::arg("Y"), py::arg("X"),
      py::arg("kind"), py::arg("gamma"), py::arg("coef0"), py::arg("degree"),
      py::arg("n_threads"));
  module.def(
      "combine_rows",
      [](const py::object& X, const Input<double>& a, int n_threads) {
        const Design<double> design = design_of<double>(X, false, "X");
        const ConstMatrix coefficients = view<double>(a, "a");
        py::array_t<double> out({coefficients.cols, design.columns()});
        const Matrix to(out.mutable_data(), coefficients.cols, design.columns());
        released(
            [&] { backend<double>(n_threads)->gradient(design, coefficients, to); });
        return out;
      },
      "a' X for a (n, K).", py::arg("X"), py::arg("a").noconvert(),
      py::arg("n_threads"));
  module.def(
      "dual_factor",
      [](const Input<double>& K, const Input<double>& root,
         const Input<std::int64_t>& rows, double l2, int n_threads) {
        const ConstMatrix gram = view<double>(K, "K"), s = view<double>(root, "root");
        const std::int64_t* numbers = rows.data();
        py::array_t<double> out({s.cols, s.cols});
        const Matrix factor(out.mutable_data(), s.cols, s.cols);
        released([&] {
          const auto words = backend<double>(n_threads);
          words->dual_gram(gram, numbers, s, l2, factor);
          (void)words->potrf(factor, 1, 0.0);
        });
        return out;
      },
      "R'R = l2 I + diag(s) K[rows][:, rows] diag(s), for s (1, rows): a bench's.",
      py::arg("K").noconvert(), py::arg("root").noconvert(),
      py::arg("rows").noconvert(), py::arg("l2"), py::arg("n_threads"));
  py::class_<Space>(module, "RowSpace")
      .def(py::init<const Input<double>&, int>(), py::arg("K").noconvert(),
           py::arg("n_threads"))
      .def_property_readonly("rank", [](const Space& self) { return (*self).rank(); })
      .def("coordinates",
           [](const Space& self) {
             py::array_t<double> out({(*self).rows(), (*self).rank()});
             const Matrix to(out.mutable_data(), (*self).rows(), (*self).rank());
             released([&] { (*self).coordinates(to); });
             return out;
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
         int n_threads) {
        const ConstMatrix parameters = view<double>(theta, "theta");
        return by_type(X, [&]<class T>(T) {
          const Design<T> design = design_of<T>(X, intercept, "X");
          py::array_t<double> out({design.rows(), parameters.rows});
          const Matrix eta(out.mutable_data(), design.rows(), parameters.rows);
          released([&] {
            backend<T>(n_threads)->linear_predictor(design, parameters, eta);
          });
          return out;
        });
      },
      "X theta' for theta (K, q).", py::arg("X"), py::arg("intercept"),
      py::arg("theta").noconvert(), py::arg("n_threads"));
  module.def(
      "hessian_product",
      [](const py::object& X, bool intercept, const Input<double>& weights, double l2,
         const Input<double>& vectors, int n_threads) {
        const RowWeights W{view<double>(weights, "weights"), {}};
        const ConstMatrix V = view<double>(vectors, "V");
        return by_type(X, [&]<class T>(T) {
          const Design<T> design = design_of<T>(X, intercept, "X");
          if (W.diagonal.rows != design.rows() || W.diagonal.cols != 1)
            throw std::invalid_argument("weights: expected shape (n, 1)");
          if (V.cols != design.columns())
            throw std::invalid_argument("V: expected shape (B, q)");
          std::vector<double> penalty(static_cast<std::size_t>(V.cols), l2);
          if (intercept)
            penalty.back() = 0;
          py::array_t<double> out({V.rows, V.cols});
          const Matrix to(out.mutable_data(), V.rows, V.cols);
          released([&] {
            backend<T>(n_threads)->hessian_product(design, W, penalty, {}, V, to);
          });
          return out;
        });
      },
      "V (X' diag(w) X + l2) for V (B, q), one output: a bench's.", py::arg("X"),
      py::arg("intercept"), py::arg("weights").noconvert(), py::arg("l2"),
      py::arg("V").noconvert(), py::arg("n_threads"));
  module.def(
      "score",
      [](const py::object& X, bool intercept, const Input<double>& a,
         const Input<double>& vectors, int n_threads) {
        const Design<double> design = design_of<double>(X, intercept, "X");
        const ConstMatrix scale = view<double>(a, "a"), V = view<double>(vectors, "V");
        if (scale.rows != design.rows())
          throw std::invalid_argument("a: expected shape (n, K)");
        if (V.cols != scale.cols * design.columns())
          throw std::invalid_argument("V: expected shape (m, K q)");
        py::array_t<double> out({V.rows, design.rows()});
        const Matrix to(out.mutable_data(), V.rows, design.rows());
        released([&] { backend<double>(n_threads)->score(design, scale, V, to); });
        return out;
      },
      "v_t . (a_i (x) x_i) for a (n, K) and V (m, K q): a bench's.", py::arg("X"),
      py::arg("intercept"), py::arg("a").noconvert(), py::arg("V").noconvert(),
      py::arg("n_threads"));
}

}  // namespace upweight::python
