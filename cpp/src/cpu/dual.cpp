// SPDX-License-Identifier: BSD-3-Clause
// What Newton's method in the dual does to inner products of rows.
#include "cpu/backend.hpp"

namespace upweight::cpu {

template <class T>
void CpuBackend<T>::dual_gram(ConstMatrix K, const std::int64_t* rows, ConstMatrix s,
                              double l2, Matrix out) const {
  threads_.ranges(out.rows, 16, [&](index first, index last) {
    for (index a = first; a < last; ++a) {
      const double* k = K.row(static_cast<index>(rows[a]));
      for (index b = a; b < out.cols; ++b)
        out(a, b) = s(0, a) * k[rows[b]] * s(0, b);
      out(a, a) += l2;
    }
  });
}

template <class T>
void CpuBackend<T>::dual_update(ConstMatrix C, ConstMatrix pull, double l2,
                                double curvature, bool intercept, Matrix V) const {
  const index r = V.cols - (intercept ? 1 : 0);
  threads_.ranges(V.rows, 16, [&](index first, index last) {
    for (index t = first; t < last; ++t) {
      double* v = V.row(t);
      double b = 0;
      if (intercept) {
        for (index j = 0; j < r; ++j)
          b += pull(0, j) * v[j];
        b = (v[r] - b) / curvature;
        v[r] = b;
      }
      for (index j = 0; j < r; ++j)
        v[j] = (v[j] - (C.empty() ? 0.0 : C(t, j))) / l2 - b * pull(0, j);
    }
  });
}

template class CpuBackend<double>;
template class CpuBackend<float>;

}  // namespace upweight::cpu
