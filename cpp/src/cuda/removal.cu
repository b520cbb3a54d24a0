// SPDX-License-Identifier: BSD-3-Clause
#include "cuda/backend.hpp"
#include "upweight/error.hpp"

namespace upweight::cuda {

template <class T>
void CudaBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                            Matrix out) const {
  throw CudaError("whiten: not written");
}

template <class T>
void CudaBackend<T>::whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                            MatrixView<float> out) const {
  throw CudaError("whiten: not written");
}

template <class T>
void CudaBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                   Matrix out) const {
  throw CudaError("gather_design: not written");
}

template <class T>
void CudaBackend<T>::gather_design(const Design<T>& X, const std::int64_t* rows,
                                   MatrixView<float> out) const {
  throw CudaError("gather_design: not written");
}

template <class T>
void CudaBackend<T>::unwhiten(ConstMatrix R, Matrix B) const {
  throw CudaError("unwhiten: not written");
}

template <class T>
void CudaBackend<T>::copy_rows(ConstMatrix from, const std::int64_t* from_rows,
                               Matrix to, const std::int64_t* to_rows,
                               index count) const {
  throw CudaError("copy_rows: not written");
}

template <class T>
void CudaBackend<T>::inner_blocks(const RowSets& sets, index outputs, ConstMatrix E,
                                  ConstMatrix V, Matrix C) const {
  throw CudaError("inner_blocks: not written");
}

template <class T>
RemovalTerms CudaBackend<T>::removal_terms(const RowWeights& W, ConstMatrix r,
                                           const RowSets& sets, ConstMatrix C, Matrix a,
                                           Matrix move, Matrix N) const {
  throw CudaError("removal_terms: not written");
}

template <class T>
void CudaBackend<T>::chord_step(const RowSets& sets, index outputs, ConstMatrix HX,
                                ConstMatrix a, ConstMatrix N, ConstMatrix G,
                                ConstMatrix V, Matrix delta, Matrix previous,
                                Matrix moved2) const {
  throw CudaError("chord_step: not written");
}

template <class T>
void CudaBackend<T>::newton_deltas(const RowSets& sets, index outputs, ConstMatrix HX,
                                   ConstMatrix a, Matrix delta) const {
  throw CudaError("newton_deltas: not written");
}

template <class T>
void CudaBackend<T>::own_moves(const Design<T>& X, const RowSets& sets,
                               ConstMatrix delta, Matrix out) const {
  throw CudaError("own_moves: not written");
}

template class CudaBackend<double>;
template class CudaBackend<float>;

}  // namespace upweight::cuda
