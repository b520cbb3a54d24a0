// SPDX-License-Identifier: BSD-3-Clause
// Inner loops compiled once for each instruction set, chosen when the library is
// loaded.
#pragma once

#include "upweight/problem.hpp"

namespace upweight::cpu {

/// Sums that `glm_terms` of a run of rows returns.
struct GlmSums {
  double loss = 0;
  double worst_residual = 0;
};

/// Right-hand sides in a panel of the sparse kernels.
constexpr index sparse_width = 16;

struct Kernels {
  const char* name;

  /// Width of the two kinds of panels of the Gram kernel: `wide` columns by `narrow`.
  index wide, narrow;

  /// C[j][i] += sum_k B[k][j] A[k][i] for i < wide, j < narrow; A and B are packed
  /// panels, row k after row k - 1. 2 depth wide narrow flops.
  void (*gram_tile)(index depth, const double* A, const double* B, double* C,
                    index c_stride);

  /// Rows of X (stride apart, p numbers, then a 1 when `intercept`) as wide panels of
  /// doubles, zero-padded: out[panel * panel_stride + row * wide + column].
  void (*pack_panels)(index rows, index p, bool intercept, const double* X,
                      index stride, double* out, index panel_stride);
  void (*pack_panels_float)(index rows, index p, bool intercept, const float* X,
                            index stride, double* out, index panel_stride);

  /// One narrow panel out of a wide one: out[row * narrow + j] = w[row] A[row * wide +
  /// j].
  void (*scale_panel)(index rows, const double* A, const double* w, double* out);

  /// out[i * out_stride + k] = x_i . theta_k (+ its last entry when `intercept`), theta
  /// with `outputs` rows of p (+ 1), theta_stride apart. 2 rows p outputs flops, X read
  /// once.
  void (*row_dots)(index rows, index p, bool intercept, const double* X, index stride,
                   const double* theta, index outputs, index theta_stride, double* out,
                   index out_stride);
  void (*row_dots_float)(index rows, index p, bool intercept, const float* X,
                         index stride, const double* theta, index outputs,
                         index theta_stride, double* out, index out_stride);

  /// out[k * q + j] += sum_i a[i * outputs + k] x_ij, q = p (+ 1 when `intercept`). 2
  /// rows p outputs flops, X read once.
  void (*weighted_sum)(index rows, index p, bool intercept, const double* X,
                       index stride, const double* a, index outputs, double* out);
  void (*weighted_sum_float)(index rows, index p, bool intercept, const float* X,
                             index stride, const double* a, index outputs, double* out);

  /// out[j] = scale x_j, rounded to float once.
  void (*scale_row)(index count, double scale, const double* x, float* out);
  void (*scale_row_float)(index count, double scale, const float* x, float* out);

  /// C[j][i] = sum_k B[k][j] A[k][i] for i < product_wide, j < narrow; panels as those
  /// of `gram_tile`. `stream`: past the cache; C and its rows are then aligned to 64
  /// bytes. 2 depth product_wide narrow flops.
  index product_wide, product_wide_float;
  void (*product_tile)(index depth, const double* A, const double* B, double* C,
                       index c_stride, bool stream);
  void (*product_tile_float)(index depth, const float* A, const float* B, float* C,
                             index c_stride, bool stream);

  /// U_i += sum_e x_e panel[column_e] for the entries e of each row from cursor_i on
  /// whose columns are under `limit`; cursor_i moves past them. U (rows x sparse_width)
  /// and the panel's rows are sparse_width wide. 2 sparse_width flops an entry.
  void (*sparse_dots)(index rows, const double* values, const std::int32_t* columns,
                      std::int64_t* cursor, const std::int64_t* ends,
                      std::int32_t limit, const double* panel, double* U);
  void (*sparse_dots_float)(index rows, const float* values,
                            const std::int32_t* columns, std::int64_t* cursor,
                            const std::int64_t* ends, std::int32_t limit,
                            const double* panel, double* U);
  /// panel[column_e] += x_e U_i for the same entries.
  void (*sparse_scatter)(index rows, const double* values, const std::int32_t* columns,
                         std::int64_t* cursor, const std::int64_t* ends,
                         std::int32_t limit, const double* U, double* panel);
  void (*sparse_scatter_float)(index rows, const float* values,
                               const std::int32_t* columns, std::int64_t* cursor,
                               const std::int64_t* ends, std::int32_t limit,
                               const double* U, double* panel);

  /// dots_i becomes exp(-gamma |x - y_i|^2) from x . y_i, |x|^2 and all |y_i|^2.
  void (*rbf)(index count, double gamma, double norm2, const double* norms2,
              double* dots);

  /// Terms of `count` entries of a separable family: eta += step * direction first.
  /// y, s, eta, direction, outputs are contiguous; s may be null (ones), direction too.
  GlmSums (*glm_terms)(Family family, index count, const double* y, const double* s,
                       const double* eta, const double* direction, double step,
                       double* eta_out, double* residual, double* weight);

  /// Numbers of the entries of values[0, count) that are >= high or <= low, in order,
  /// to `found`; returns how many.
  index (*outside)(index count, const float* values, float low, float high,
                   std::int32_t* found);

  /// max |x|, NaN counted as infinite.
  double (*max_abs)(index count, const double* x);
  float (*max_abs_float)(index count, const float* x);

  /// out[i] = sum_n c_n u_i^(n + 1) over formula::series_terms coefficients; false, and
  /// nothing done, when some |u_i| is over `reach`.
  bool (*series_change)(index count, const double* c, double reach, const double* u,
                        double* out);
  bool (*series_change_float)(index count, const double* c, double reach,
                              const float* u, float* out);

  /// out[i] = l(y, eta + u_i) - l(y, eta) for one y and eta of a separable family;
  /// false, and nothing done, when some |u_i| is over 1/2 of the family's scale.
  bool (*loss_change)(Family family, index count, double y, double eta, const double* u,
                      double* out);
  bool (*loss_change_float)(Family family, index count, double y, double eta,
                            const float* u, float* out);

  /// Pairs of columns: out[i][k2 (k2 + 1) / 2 + k1 - first (first + 1) / 2] = a_i x_ik1
  /// x_ik2 for k1 <= k2, first <= k2 < last.
  void (*pair_panel)(index rows, const float* X, index stride, const float* a,
                     index first, index last, float* out, index out_stride);

  /// u becomes w (l'(eta + u) - l'(eta) - l'' u) / l'' of a separable family, less
  /// skew u^2 when `third`, at the means p; returns max |u|.
  float (*remainder)(Family family, bool third, index count, const float* w,
                     const float* p, float* u);
  double (*remainder_double)(Family family, bool third, index count, const double* w,
                             const double* p, double* u);
  /// The same of the softmax, output k of row i at u[k * u_stride + i]; returns the
  /// largest spread of u over the outputs of a row.
  float (*softmax_remainder)(index count, index K, const float* s, const float* p,
                             index p_stride, float* u, index u_stride);
  double (*softmax_remainder_double)(index count, index K, const double* s,
                                     const double* p, index p_stride, double* u,
                                     index u_stride);
};

/// The kernels of the widest instruction set this processor has.
[[nodiscard]] const Kernels& kernels();

}  // namespace upweight::cpu
