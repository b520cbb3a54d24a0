// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "upweight/problem.hpp"
#include "upweight/view.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace upweight {

/// Second derivatives of the losses, row by row, in the form that never stores K x K:
///   W_i[k, l] = [k == l] diagonal(i, k) + sign * factor(i, k) factor(i, l).
struct RowWeights {
  ConstMatrix diagonal;  // n x K, or empty for zero
  ConstMatrix factor;    // n x K, or empty for zero
  double sign = 1;
  bool rows_sum_to_zero = false;  // softmax: sum_l W_i[k, l] = 0
};

/// What `glm_terms` tells the host.
struct GlmSummary {
  double loss = 0;  // sum_i s_i l_i
  double worst_residual =
      0;  // min over outputs of max_i |dl_i/deta| over rows of weight
};

/// A Hessian's Cholesky factor: `count` upper triangles R of order `order`, H = R'R,
/// one under the other. Segment k of a parameter vector uses block min(k, count - 1).
struct Factor {
  ConstMatrix blocks;  // (count * order) x order
  index count = 1;
  [[nodiscard]] index order() const { return blocks.cols; }
  [[nodiscard]] ConstMatrix block(index k) const {
    return blocks.block((k < count ? k : count - 1) * order(), order());
  }
};

/// An inner product of feature vectors in some Hilbert space (intercepts play no part).
struct Kernel {
  enum class Kind {
    linear,  // x . y
    rbf,     // exp(-gamma |x - y|^2)
    poly,    // (gamma x . y + coef0)^degree
  };
  Kind kind = Kind::linear;
  double gamma = 1, coef0 = 0;
  int degree = 1;
};

/// What bounds a training row's part in a scan: |g'H^-1 g|^(1/2), by whose fall rows
/// are read, and |D^-1 g|, which bounds rounding, for D^2 near diag H.
struct ScanBounds {
  std::vector<std::int64_t> order;  // rows by falling norm; empty: as they come
  std::vector<double> norm;         // n; empty when unknown
  std::vector<double> scaled_norm;  // n
  std::vector<double> scale;        // q: D
};

/// The same of test rows: |g'H^-1 g|^(1/2) and |D H^-1 g|.
struct TestBounds {
  std::vector<double> norm;         // m
  std::vector<double> scaled_norm;  // m
};

/// The k largest and k smallest scores of each test row, best first; ties go to the
/// lower row number.
struct TopK {
  std::vector<std::int64_t> helpful, harmful;          // m x k
  std::vector<double> helpful_scores, harmful_scores;  // m x k
  std::int64_t pairs_scanned = 0;                      // of the m n there are

  /// Adds the test rows of another result behind these.
  void append(const TopK& more) {
    helpful.insert(helpful.end(), more.helpful.begin(), more.helpful.end());
    harmful.insert(harmful.end(), more.harmful.begin(), more.harmful.end());
    helpful_scores.insert(helpful_scores.end(), more.helpful_scores.begin(),
                          more.helpful_scores.end());
    harmful_scores.insert(harmful_scores.end(), more.harmful_scores.begin(),
                          more.harmful_scores.end());
    pairs_scanned += more.pairs_scanned;
  }
};

/// Sets of training rows, each to be left out of the problem together: set b has the
/// rows members[offsets[b]] .. members[offsets[b + 1] - 1].
struct RowSets {
  std::vector<std::int64_t> members;
  std::vector<index> offsets{0};  // one more than there are sets

  [[nodiscard]] index count() const { return static_cast<index>(offsets.size()) - 1; }
  [[nodiscard]] index total() const { return static_cast<index>(members.size()); }
  [[nodiscard]] index size(index b) const {
    return offsets[static_cast<std::size_t>(b) + 1] -
           offsets[static_cast<std::size_t>(b)];
  }
  void add(const std::int64_t* rows, index count) {
    members.insert(members.end(), rows, rows + count);
    offsets.push_back(total());
  }
};

/// What the removal of each set does to the Hessian: A = H - sum_i W_i (x) x_i x_i'.
struct RemovalTerms {
  std::vector<double> norm;  // |A^-1 g|_A of the Newton step, g = sum_i r_i (x) x_i
  std::vector<double> kept;  // a lower bound on v'A v / v'H v; 0 when A is singular
  std::vector<double>
      reach;  // largest (x'A^-1 x)^(1/2) over the set's rows and outputs
};

/// Training rows in the order in which remainders read them, in the coordinates z in
/// which deltas are given (x itself, or R^-T x), with what their remainders need. R is
/// the precision that products are made in.
template <class R>
struct RemainderRows {
  Family family = Family::gaussian;
  index outputs = 1;
  MatrixView<const R> Z;       // m x q
  MatrixView<const R> weight;  // 1 x m: s l'', or s for softmax
  MatrixView<const R> mean;    // K x m: E y; of a hinge sigma((eta - y) / t)
};

/// A design where a backend's words read it fastest, and what keeps it there.
template <class T>
struct Resident {
  Design<T> design;
  std::shared_ptr<const void> memory;  // null where the caller's own arrays serve
  index bytes = 0;                     // of that memory
};

/// The words that algorithms are written in. T is the type of the data matrix;
/// everything derived from it is double. n rows, q columns (intercept included), K
/// outputs, P = K q parameters ordered output by output. Outputs never alias inputs
/// unless said. A word may be called from many threads at once; all results are the
/// same bits for any number of threads.
template <class T>
class Backend {
public:
  virtual ~Backend() = default;

  // --- memory ---------------------------------------------------------------------
  /// Whether matrices lie in the host's memory, so that the caller's arrays serve as
  /// they are.
  [[nodiscard]] virtual bool in_host_memory() const = 0;
  /// A copy, in this backend's memory, of a design that lies elsewhere.
  [[nodiscard]] virtual Resident<T> resident(const Design<T>& X) const = 0;
  /// Waits until all results are there.
  virtual void finish() const = 0;
  /// A matrix of zeros in this backend's memory.
  [[nodiscard]] virtual Array zeros(index rows, index cols) const = 0;
  [[nodiscard]] virtual SingleArray zeros_single(index rows, index cols) const = 0;
  virtual void copy(ConstMatrix from, Matrix to) const = 0;
  virtual void fill(Matrix to, double value) const = 0;
  /// Copies between this backend's memory and the host's (there without gaps).
  virtual void upload(const double* from, Matrix to) const = 0;
  virtual void download(ConstMatrix from, double* to) const = 0;

  // --- one pass over the rows of X ------------------------------------------------
  /// eta = X theta' for theta (K x q).                              2 n q K flops
  virtual void linear_predictor(const Design<T>& X, ConstMatrix theta,
                                Matrix eta) const = 0;
  /// H_kl = X' diag(w_kl) X + [k == l] diag(penalty), upper triangles of the blocks
  /// that `coupling` names, mirrored; and, when r is not empty, g_k = X' r_k (K x q),
  /// in the same pass. Columns that softmax leaves unpenalised get tau vv' (v constant
  /// over outputs), which moves nothing that is orthogonal to v.
  ///                  n q^2 flops a block: 1, K or K(K+1)/2 (softmax: K(K-1)/2)
  virtual void gram(const Design<T>& X, const RowWeights& W, Coupling coupling,
                    const std::vector<double>& penalty, ConstMatrix r, Matrix H,
                    Matrix g) const = 0;
  /// out_b = X'(W(X v_b)) + penalty v_b for the rows v_b of V (B x P), X read once;
  /// plus tie_j times the mean over outputs of column j (tie may be empty): gram's tau
  /// vv'.
  ///                                                                4 n P B flops
  virtual void hessian_product(const Design<T>& X, const RowWeights& W,
                               const std::vector<double>& penalty,
                               const std::vector<double>& tie, ConstMatrix V,
                               Matrix out) const = 0;
  /// diag X'WX + penalty (1 x P).                                    2 n P flops
  virtual void hessian_diagonal(const Design<T>& X, const RowWeights& W,
                                const std::vector<double>& penalty,
                                Matrix out) const = 0;
  /// sum_i a_i (x) x_i for a (n x K): out (K x q).                  2 n P flops
  virtual void gradient(const Design<T>& X, ConstMatrix a, Matrix out) const = 0;
  /// The most rows whose products that sum adds up as they come; its sums over so many
  /// are added without loss.
  [[nodiscard]] virtual index gradient_tile(const Design<T>& X) const = 0;
  /// Row i of out (n x P) is a_i (x) x_i: the per-example gradients. n P
  virtual void gradient_rows(const Design<T>& X, ConstMatrix a, Matrix out) const = 0;
  /// out[t, i] = v_t . (a_i (x) x_i) for the rows v_t of V (m x P).  2 m n P flops
  virtual void score(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                     MatrixView<T> out) const = 0;
  /// out[t, i] = f(y_t, eta_t + u_ti) - f(y_t, eta_t), where u_ti (K) holds the
  /// products of rows t K .. t K + K - 1 of V (m K x P) with a_i (x) x_i.    2 m K n P
  /// flops
  virtual void change(const Design<T>& X, ConstMatrix a, ConstMatrix V, Family family,
                      Target target, ConstMatrix y, ConstMatrix eta,
                      MatrixView<T> out) const = 0;
  /// The same for changes of the parameters themselves: u_tb holds the products of rows
  /// t K .. t K + K - 1 of V (m K x P) with row b of `deltas`.
  virtual void change_by(ConstMatrix deltas, ConstMatrix V, Family family,
                         Target target, ConstMatrix y, ConstMatrix eta,
                         MatrixView<T> out) const = 0;
  /// out[i] = |R^-T (a_i (x) x_i)|^2 (n x 1).                       n P q, or n P^2
  /// (full)
  virtual void quadratic_form(const Design<T>& X, const Factor& factor, ConstMatrix a,
                              Matrix out) const = 0;
  /// C_i[k, l] = (e_k (x) x_i)' H^-1 (e_l (x) x_i): diagonals (n x K) unless the factor
  /// couples the outputs, then whole blocks (n x K^2).         n q^2 a block; full: n K
  /// P^2
  virtual void leverage_blocks(const Design<T>& X, const Factor& factor, index outputs,
                               Matrix out) const = 0;
  /// out[i] = |a_i| |x_i / scale| (n x 1), scale (q).               3 n q
  virtual void scaled_norm(const Design<T>& X, ConstMatrix a, ConstMatrix scale,
                           Matrix out) const = 0;
  /// The k best of both ends of every row of `score`, never forming it: tiles are
  /// scanned in float32, in the order of the bounds, until no later row can enter; all
  /// that the rounding bound cannot exclude is recomputed in float64.        at most 2
  /// m n P flops
  virtual TopK top_k(const Design<T>& X, ConstMatrix a, ConstMatrix V,
                     const ScanBounds& rows, const TestBounds& tests,
                     index k) const = 0;

  // --- inner products of rows --------------------------------------------------------
  /// out[t, i] = k(y_t, x_i) for the rows of Y (m) and X (n); `same`: Y is X, of which
  /// half is computed.                                   2 m n p flops, half when same
  virtual void kernel(const Kernel& kernel, const Design<T>& Y, const Design<T>& X,
                      bool same, Matrix out) const = 0;
  /// out[a, b] = l2 [a == b] + s_a K[i_a, i_b] s_b (upper triangle) for the numbers i
  /// of some rows, s (1 x rows).                                    rows^2
  virtual void dual_gram(ConstMatrix K, const std::int64_t* rows, ConstMatrix s,
                         double l2, Matrix out) const = 0;
  /// The end of a solve through the dual: with v the first columns of a row of V and b
  /// its last one when `intercept`, b becomes (b - pull . v) / curvature, then v
  /// becomes (v - c) / l2 - b pull, c being the row of C (empty for zero). 4 m r
  virtual void dual_update(ConstMatrix C, ConstMatrix pull, double l2, double curvature,
                           bool intercept, Matrix V) const = 0;

  // --- leaving rows out -------------------------------------------------------------
  /// Rows of out are R^-T x_i for i in rows (one block R of order q), in float64 and in
  /// float32.                                                       m q^2 flops
  virtual void whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                      Matrix out) const = 0;
  virtual void whiten(const Design<T>& X, ConstMatrix R, const std::int64_t* rows,
                      MatrixView<float> out) const = 0;
  /// Rows of out are x_i for i in rows.                             m q
  virtual void gather_design(const Design<T>& X, const std::int64_t* rows,
                             Matrix out) const = 0;
  virtual void gather_design(const Design<T>& X, const std::int64_t* rows,
                             MatrixView<float> out) const = 0;
  /// Rows of B (m x q) become R^-1 b: from whitened coordinates to parameters. m q^2
  virtual void unwhiten(ConstMatrix R, Matrix B) const = 0;
  /// Row to_rows[b] of `to` becomes row from_rows[b] of `from`, for b < count; null for
  /// rows in order.                                                  count P
  virtual void copy_rows(ConstMatrix from, const std::int64_t* from_rows, Matrix to,
                         const std::int64_t* to_rows, index count) const = 0;
  /// C_b = E_b V_b' (g K x g K, flat, one after the other in the single row of C),
  /// where set b owns g K rows of E and V (each M K x P).                 2 (g K)^2 P a
  /// set
  virtual void inner_blocks(const RowSets& sets, index outputs, ConstMatrix E,
                            ConstMatrix V, Matrix C) const = 0;
  /// From C_b, the products (e_k (x) x_i)'H^-1(e_l (x) x_j) of a set's rows:
  /// a_b = (I - W C)^-1 r, the coefficients of the Newton step, and move = C a, what it
  /// does to the set's own linear predictors (both M x K); N_b = (I - W C)^-1 W (flat
  /// as C; may be empty); and the norms above. `move` may be empty; all without gaps.
  /// (g K)^3 a set
  virtual RemovalTerms removal_terms(const RowWeights& W, ConstMatrix r,
                                     const RowSets& sets, ConstMatrix C, Matrix a,
                                     Matrix move, Matrix N) const = 0;
  /// w and mean of the rows in the form of RemainderRows.             m K
  virtual void remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                               ConstMatrix s, ConstMatrix eta, const std::int64_t* rows,
                               MatrixView<float> weight,
                               MatrixView<float> mean) const = 0;
  virtual void remainder_terms(Family family, const RowWeights& W, ConstMatrix y,
                               ConstMatrix s, ConstMatrix eta, const std::int64_t* rows,
                               Matrix weight, Matrix mean) const = 0;
  /// G_b = sum_j rho_j(delta_b) (x) z_j over the first `count` rows j, without those
  /// at own[..] (places in Z, laid out as sets.members; any other number means not
  /// there). rho is what l' leaves of its linear term at the moved linear predictor,
  /// or, with `third`, of its quadratic one. reach_b (m x 1) = largest move of a row
  /// that is not own (softmax: spread of it). Products in the precision of the rows,
  /// their sums over tiles in float64. Not of softmax when `third`. 4 m count P flops
  virtual void remainder_gradient(const RemainderRows<float>& rows, index count,
                                  bool third, const RowSets& sets,
                                  const std::int64_t* own, ConstMatrix delta, Matrix G,
                                  Matrix reach) const = 0;
  virtual void remainder_gradient(const RemainderRows<double>& rows, index count,
                                  bool third, const RowSets& sets,
                                  const std::int64_t* own, ConstMatrix delta, Matrix G,
                                  Matrix reach) const = 0;
  /// cubic[(k1 <= k2), k] = sum_j w_j skew_j z_jk1 z_jk2 z_jk in row k2 (k2 + 1) / 2 +
  /// k1 (q (q + 1) / 2 x q): half the third derivative of the loss.  n q^3 / 3 flops
  virtual void cubic_tensor(const RemainderRows<float>& rows,
                            MatrixView<float> cubic) const = 0;
  /// G_b += cubic(delta_b, delta_b, .) - sum_m w_m skew_m (z_m . delta_b)^2 z_m over
  /// the rows z_m (`Z`, M x q) of set b, their weight and mean in `own`. m q^3 flops
  virtual void cubic_contract(MatrixView<const float> cubic, const RowSets& sets,
                              const RemainderRows<float>& own, ConstMatrix Z,
                              ConstMatrix delta, Matrix G) const = 0;
  /// The next iterate of the removal of each set, from the remainder's gradient G and V
  /// = H^-1 G: next_b = sum_m V_m (a_m - c_m) - V_b, c = N_b (V_m . G_b), where m runs
  /// over the g K rows of HX (M K x P) of set b. moved2_b = (delta_b - next_b) . (G_b -
  /// previous_b) = |delta_b - next_b|_A^2 when delta came from `previous`. Then delta
  /// becomes next, and previous becomes G.                           4 m g K P
  virtual void chord_step(const RowSets& sets, index outputs, ConstMatrix HX,
                          ConstMatrix a, ConstMatrix N, ConstMatrix G, ConstMatrix V,
                          Matrix delta, Matrix previous, Matrix moved2) const = 0;
  /// delta_b = sum_m a_m HX_m over the rows of set b: the Newton step. 2 m g K P
  virtual void newton_deltas(const RowSets& sets, index outputs, ConstMatrix HX,
                             ConstMatrix a, Matrix delta) const = 0;
  /// out(m, k) = x_m . delta_b,k for the rows m of each set (M x K).    2 M P
  virtual void own_moves(const Design<T>& X, const RowSets& sets, ConstMatrix delta,
                         Matrix out) const = 0;

  // --- elementwise, on n x K ------------------------------------------------------
  /// eta_out = eta + step * direction (direction may be empty, eta_out may be eta),
  /// then residual r = s l', and weights W = s l'' in the form of RowWeights (factor is
  /// written for softmax only). Row weights may be empty for ones.
  virtual GlmSummary glm_terms(Family family, ConstMatrix y, ConstMatrix s,
                               ConstMatrix eta, ConstMatrix direction, double step,
                               Matrix eta_out, Matrix r, Matrix diagonal,
                               Matrix factor) const = 0;
  /// a = df/deta (m x K) of the target at eta.
  virtual void target_gradient(Family family, Target target, ConstMatrix y,
                               ConstMatrix eta, Matrix a) const = 0;
  /// a_i = (I - W_i C_i)^-1 r_i: the coefficients of the Newton step that removes row
  /// i, delta_i = H^-1 (a_i (x) x_i). C as `leverage_blocks` leaves it; where rows of W
  /// sum to zero, so must r_i. Returns the number of the first row whose removal leaves
  /// a singular Hessian, or -1.
  virtual index removal_coefficients(const RowWeights& W, ConstMatrix C, ConstMatrix r,
                                     Matrix a) const = 0;
  /// max |x_ij|; infinite when any entry is not finite.
  [[nodiscard]] virtual double max_abs(ConstMatrix x) const = 0;

  // --- dense matrices of order P ---------------------------------------------------
  /// H = R'R, upper triangle of each of the blocks in place (the rest is zeroed).
  /// Returns the first row whose pivot is under `tolerance` times its diagonal, or -1.
  /// P^3 / 3
  virtual index potrf(Matrix H, index count, double tolerance) const = 0;
  /// K = R'R of a semidefinite K (n x n) after its rows and columns were put in
  /// `order`, largest pivots first, until none is over `tolerance`: R (rank x n) in the
  /// upper part of K's first rows. Returns the rank.                      n^3 / 3
  virtual index potrf_pivoted(Matrix K, double tolerance,
                              std::vector<std::int64_t>& order) const = 0;
  /// Rows b of B (m x P) become H^-1 b; with `half`, R^-T b.         2 m P^2
  virtual void solve(const Factor& factor, Matrix B, bool half) const = 0;

  /// The eigenvalues, ascending, of a symmetric S, whose upper triangle is read and
  /// overwritten.                                                    4/3 n^3
  [[nodiscard]] virtual std::vector<double> eigenvalues(Matrix S) const = 0;

  /// C = alpha A op(B) + beta C; op transposes B with `transposed`.  2 m n k
  virtual void multiply(double alpha, ConstMatrix A, ConstMatrix B, bool transposed,
                        double beta, Matrix C) const = 0;
  /// out = A'.
  virtual void transpose(ConstMatrix A, Matrix out) const = 0;
  /// B (r x m) becomes R^-T B for an upper triangle R.               m r^2
  virtual void forward_rows(ConstMatrix R, Matrix B) const = 0;

  /// The same in float32 for a preconditioner: R'R = D^-1 H D^-1 + shift, D^2 = diag H
  /// (1 x P), reading the upper triangle of one block H. Returns the failing row, or
  /// -1.
  virtual index potrf_single(ConstMatrix H, double shift, MatrixView<float> R,
                             Matrix D) const = 0;
  /// Rows b of out (m x P) are D^-1 (R'R)^-1 D^-1 b, in float32.      2 m P^2
  virtual void solve_single(MatrixView<const float> R, ConstMatrix D, ConstMatrix B,
                            Matrix out) const = 0;
  /// out = V H for the upper triangle of a symmetric H.              2 m P^2
  virtual void symmetric_product(ConstMatrix H, ConstMatrix V, Matrix out) const = 0;

  // --- conjugate gradients, a right-hand side a row, scalars (m x 1) kept where they
  // are
  /// out_b = x_b / d for d (1 x P); out may be X.                    m P
  virtual void divide_rows(ConstMatrix X, ConstMatrix d, Matrix out) const = 0;
  /// rho_b = r_b . z_b and norm2_b = |r_b|^2.                         2 m P
  virtual void cg_dots(ConstMatrix R, ConstMatrix Z, Matrix rho,
                       Matrix norm2) const = 0;
  /// p_b = z_b + (rho_b / rho_old_b) p_b; rho_old 0 means none.       3 m P
  virtual void cg_direction(ConstMatrix Z, ConstMatrix rho, ConstMatrix rho_old,
                            Matrix P) const = 0;
  /// a = rho_b / (p_b . q_b); x_b += a p_b; r_b -= a q_b; nothing where rho_b is 0. 8 m
  /// P
  virtual void cg_advance(ConstMatrix P, ConstMatrix Q, ConstMatrix rho, Matrix X,
                          Matrix R) const = 0;
};

}  // namespace upweight
