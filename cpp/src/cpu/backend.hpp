// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "cpu/threads.hpp"
#include "upweight/backend.hpp"

namespace upweight::cpu {

/// The words on the host's processor. Each file defines some of them and instantiates
/// the members that it defines.
template <class T>
class CpuBackend final : public Backend<T> {
public:
  explicit CpuBackend(Threads threads) : threads_(std::move(threads)) {}

  bool in_host_memory() const override { return true; }
  Resident<T> resident(const Design<T>& X) const override { return {X, nullptr, 0}; }
  void finish() const override {}
  Array zeros(index rows, index cols) const override;
  SingleArray zeros_single(index rows, index cols) const override;
  void copy(ConstMatrix from, Matrix to) const override;
  void fill(Matrix to, double value) const override;
  void upload(const double* from, Matrix to) const override;
  void download(ConstMatrix from, double* to) const override;

  void linear_predictor(const Design<T>& X, ConstMatrix theta,
                        Matrix eta) const override;
  void gram(const Design<T>& X, const RowWeights& W, Coupling coupling,
            const std::vector<double>& penalty, ConstMatrix r, Matrix H,
            Matrix g) const override;
  void hessian_product(const Design<T>& X, const RowWeights& W,
                       const std::vector<double>& penalty,
                       const std::vector<double>& tie, ConstMatrix V,
                       Matrix out) const override;
  void hessian_diagonal(const Design<T>& X, const RowWeights& W,
                        const std::vector<double>& penalty, Matrix out) const override;
  void gradient(const Design<T>& X, ConstMatrix a, Matrix out) const override;
  index gradient_tile(const Design<T>& X) const override;
  void gradient_rows(const Design<T>& X, ConstMatrix a, Matrix out) const override;
  void score(const Design<T>& X, ConstMatrix a, ConstMatrix V,
             MatrixView<T> out) const override;
  void change(const Design<T>& X, ConstMatrix a, ConstMatrix V, Family family,
              Target target, ConstMatrix y, ConstMatrix eta,
              MatrixView<T> out) const override;
  void change_by(ConstMatrix deltas, ConstMatrix V, Family family, Target target,
                 ConstMatrix y, ConstMatrix eta, MatrixView<T> out) const override;
  void quadratic_form(const Design<T>& X, const Factor& factor, ConstMatrix a,
                      Matrix out) const override;
  void leverage_blocks(const Design<T>& X, const Factor& factor, index outputs,
                       Matrix out) const override;
  void scaled_norm(const Design<T>& X, ConstMatrix a, ConstMatrix scale,
                   Matrix out) const override;
  TopK top_k(const Design<T>& X, ConstMatrix a, ConstMatrix V, const ScanBounds& rows,
             const TestBounds& tests, index k) const override;

  void kernel(const Kernel& kernel, const Design<T>& Y, const Design<T>& X, bool same,
              Matrix out) const override;
  void dual_gram(ConstMatrix K, const std::int64_t* rows, ConstMatrix s, double l2,
                 Matrix out) const override;
  void dual_update(ConstMatrix C, ConstMatrix pull, double l2, double curvature,
                   bool intercept, Matrix V) const override;

  void whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
              Matrix out) const override;
  void whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
              MatrixView<float> out) const override;
  void gather_design(const Design<T>& X, const std::int64_t* rows,
                     Matrix out) const override;
  void gather_design(const Design<T>& X, const std::int64_t* rows,
                     MatrixView<float> out) const override;
  void unwhiten(ConstMatrix R, Matrix B) const override;
  void copy_rows(ConstMatrix from, const std::int64_t* from_rows, Matrix to,
                 const std::int64_t* to_rows, index count) const override;
  void inner_blocks(const RowSets& sets, index outputs, ConstMatrix E, ConstMatrix V,
                    Matrix C) const override;
  RemovalTerms removal_terms(const RowWeights& W, ConstMatrix r, const RowSets& sets,
                             ConstMatrix C, Matrix a, Matrix move,
                             Matrix N) const override;
  void remainder_terms(Family family, const RowWeights& W, ConstMatrix y, ConstMatrix s,
                       ConstMatrix eta, const std::int64_t* rows,
                       MatrixView<float> weight, MatrixView<float> mean) const override;
  void remainder_terms(Family family, const RowWeights& W, ConstMatrix y, ConstMatrix s,
                       ConstMatrix eta, const std::int64_t* rows, Matrix weight,
                       Matrix mean) const override;
  void remainder_gradient(const RemainderRows<float>& rows, index count, bool third,
                          const RowSets& sets, const std::int64_t* own,
                          ConstMatrix delta, Matrix G, Matrix reach) const override;
  void remainder_gradient(const RemainderRows<double>& rows, index count, bool third,
                          const RowSets& sets, const std::int64_t* own,
                          ConstMatrix delta, Matrix G, Matrix reach) const override;
  void cubic_tensor(const RemainderRows<float>& rows,
                    MatrixView<float> cubic) const override;
  void cubic_contract(MatrixView<const float> cubic, const RowSets& sets,
                      const RemainderRows<float>& own, ConstMatrix Z, ConstMatrix delta,
                      Matrix G) const override;
  void chord_step(const RowSets& sets, index outputs, ConstMatrix HX, ConstMatrix a,
                  ConstMatrix N, ConstMatrix G, ConstMatrix V, Matrix delta,
                  Matrix previous, Matrix moved2) const override;
  void newton_deltas(const RowSets& sets, index outputs, ConstMatrix HX, ConstMatrix a,
                     Matrix delta) const override;
  void own_moves(const Design<T>& X, const RowSets& sets, ConstMatrix delta,
                 Matrix out) const override;

  GlmSummary glm_terms(Family family, ConstMatrix y, ConstMatrix s, ConstMatrix eta,
                       ConstMatrix direction, double step, Matrix eta_out, Matrix r,
                       Matrix diagonal, Matrix factor) const override;
  void target_gradient(Family family, Target target, ConstMatrix y, ConstMatrix eta,
                       Matrix a) const override;
  index removal_coefficients(const RowWeights& W, ConstMatrix C, ConstMatrix r,
                             Matrix a) const override;
  double max_abs(ConstMatrix x) const override;

  index potrf(Matrix H, index count, double tolerance) const override;
  index potrf_pivoted(Matrix K, double tolerance,
                      std::vector<std::int64_t>& order) const override;
  void solve(const Factor& factor, Matrix B, bool half) const override;

  std::vector<double> eigenvalues(Matrix S) const override;
  void multiply(double alpha, ConstMatrix A, ConstMatrix B, bool transposed,
                double beta, Matrix C) const override;
  void transpose(ConstMatrix A, Matrix out) const override;
  void forward_rows(ConstMatrix R, Matrix B) const override;

  index potrf_single(ConstMatrix H, double shift, MatrixView<float> R,
                     Matrix D) const override;
  void solve_single(MatrixView<const float> R, ConstMatrix D, ConstMatrix B,
                    Matrix out) const override;
  void symmetric_product(ConstMatrix H, ConstMatrix V, Matrix out) const override;

  void divide_rows(ConstMatrix X, ConstMatrix d, Matrix out) const override;
  void cg_dots(ConstMatrix R, ConstMatrix Z, Matrix rho, Matrix norm2) const override;
  void cg_direction(ConstMatrix Z, ConstMatrix rho, ConstMatrix rho_old,
                    Matrix P) const override;
  void cg_advance(ConstMatrix P, ConstMatrix Q, ConstMatrix rho, Matrix X,
                  Matrix R) const override;

private:
  Threads threads_;
};

}  // namespace upweight::cpu
