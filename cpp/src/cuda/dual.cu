// SPDX-License-Identifier: BSD-3-Clause
// What Newton's method in the dual does to inner products of rows.
#include "cuda/backend.hpp"
#include "cuda/launch.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::dual_gram(ConstMatrix K, const std::int64_t* rows, ConstMatrix s,
                               double l2, Matrix out) const {
  const Uploaded<std::int64_t> numbers(device(), rows, out.rows);
  const std::int64_t* i = numbers.get();
  each(device(), "dual_gram", out.rows, out.cols, [=] __device__(index a, index b) {
    if (a <= b)
      out(a, b) =
          s(0, a) * K(static_cast<index>(i[a]), static_cast<index>(i[b])) * s(0, b) +
          (a == b ? l2 : 0.0);
  });
}

template <class T>
void CudaBackend<T>::dual_update(ConstMatrix C, ConstMatrix pull, double l2,
                                 double curvature, bool intercept, Matrix V) const {
  const index r = V.cols - (intercept ? 1 : 0);
  each_row(device(), "dual_update", V.rows, r,
           [=] __device__(const Team& team, index t) {
             double b = 0;
             if (intercept) {
               for (index j = team.rank(); j < r; j += team.size())
                 b += pull(0, j) * V(t, j);
               b = (V(t, r) - team.sum(b)) / curvature;
               team.sync();  // all have read what is overwritten next
               if (team.rank() == 0)
                 V(t, r) = b;
             }
             for (index j = team.rank(); j < r; j += team.size())
               V(t, j) = (V(t, j) - (C.empty() ? 0.0 : C(t, j))) / l2 - b * pull(0, j);
           });
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
