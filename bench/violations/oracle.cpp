// SPDX-License-Identifier: BSD-3-Clause
// Optima without sets of rows, in floats of 113 or 226 bits: what error bounds are held
// to.
//
// Newton's method as textbooks have it, by plain loops; nothing of the library is used.
// T is the type of parameters, predictors and gradients; F that of the Hessian, whose
// errors only slow convergence.

#include "wide.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace oracle {

enum Family { gaussian, binomial, multinomial, poisson, smooth_hinge };
enum Kernel { none, linear, rbf, poly };
enum Status { converged = 0, no_optimum = 1, unresolved = 2, singular = 3 };

// What Python passes. Rows that are only predicted have weight 0.
struct Input {
  int32_t family, outputs, rows, columns, kernel, degree, max_steps, intercept;
  double temperature, l2, gamma, coef0;
  const double* X;        // (rows, columns), with its column of ones where there is one
  const double* y;        // (rows,), class numbers of a multinomial
  const double* s;        // (rows,)
  const double* penalty;  // (columns,); not read with a kernel
};

struct Output {
  double *eta, *loss, *mean;  // (sets, rows, outputs, 2), (.., rows, 2): value, rest
  double* theta;    // (sets, outputs, columns, 2), or with a kernel columns is
                    // rows + 1, the intercept last
  double* noise;    // (sets,): how far the last step moved a predictor
  double* pivot;    // (sets,): least pivot, of 1 for orthogonal columns
  int32_t* status;  // (sets,)
};

template <class T>
Quad size(T a) {
  Quad q = quad(a);
  return q < 0 ? -q : q;
}

template <class T>
void store(double* to, T value) {
  Quad q = quad(value);
  to[0] = static_cast<double>(q);
  to[1] = std::isfinite(to[0]) ? static_cast<double>(quad(value - T(to[0]))) : 0.0;
}

template <class T>
T sigmoid(T z) {
  if (z > T(0))
    return T(1) / (T(1) + exponential(-z));
  T e = exponential(z);
  return e / (T(1) + e);
}

Quad log1pexp(Quad z) {
  return z > 0 ? z + log1pq(expq(-z)) : log1pq(expq(z));
}

// r (K) and W (K, K) of a row, without its weight, and the mean (K).
template <class T>
void terms(const Input& in, double y, const T* eta, T* r, T* W, T* mean) {
  switch (in.family) {
  case gaussian:
    mean[0] = eta[0], r[0] = eta[0] - T(y), W[0] = T(1);
    return;
  case poisson:
    mean[0] = W[0] = exponential(eta[0]), r[0] = mean[0] - T(y);
    return;
  case binomial: {
    T p = sigmoid(eta[0]), rest = sigmoid(-eta[0]);
    mean[0] = p, W[0] = p * rest, r[0] = T(1.0 - y) * p - T(y) * rest;
    return;
  }
  case smooth_hinge: {
    T t(in.temperature), z = (T(1) - T(y) * eta[0]) / t, p = sigmoid(z);
    mean[0] = eta[0], r[0] = -(T(y) * p), W[0] = p * sigmoid(-z) / t;
    return;
  }
  default:
    break;
  }
  const int K = in.outputs, label = static_cast<int>(y);
  T top = eta[0], sum(0);
  for (int k = 1; k < K; ++k)
    top = eta[k] > top ? eta[k] : top;
  for (int k = 0; k < K; ++k)
    sum += mean[k] = exponential(eta[k] - top);
  for (int k = 0; k < K; ++k)
    mean[k] /= sum;
  T others(0);
  for (int k = 0; k < K; ++k)
    others += k == label ? T(0) : mean[k];
  for (int k = 0; k < K; ++k)
    r[k] = k == label ? -others : mean[k];
  for (int k = 0; k < K; ++k) {
    W[k * K + k] = T(0);
    for (int j = 0; j < K; ++j)
      if (j != k) {
        W[k * K + j] = -(mean[k] * mean[j]);
        W[k * K + k] -= W[k * K + j];
      }
  }
}

template <class T>
Quad loss(const Input& in, double y, const T* eta) {
  Quad e = quad(eta[0]);
  switch (in.family) {
  case gaussian: {
    Quad d = quad(eta[0] - T(y));
    return d * d / 2;
  }
  case poisson:
    return expq(e) - y * e;
  case binomial:
    return (1 - y) * log1pexp(e) + y * log1pexp(-e);
  case smooth_hinge:
    return in.temperature * log1pexp(quad((T(1) - T(y) * eta[0]) / T(in.temperature)));
  default:
    break;
  }
  const int label = static_cast<int>(y);
  Quad top = 0, sum = 0;
  for (int k = 0; k < in.outputs; ++k)
    top = std::max(top, quad(eta[k] - eta[label]));
  for (int k = 0; k < in.outputs; ++k)
    if (k != label)
      sum += expq(quad(eta[k] - eta[label]) - top);
  return top > 0 ? top + logq(sum + expq(-top)) : log1pq(sum);
}

// A = L L', in the lower triangle; returns the least pivot over A's diagonal.
template <class F>
Quad cholesky(std::vector<F>& A, int P) {
  Quad least = 1;
  for (int j = 0; j < P; ++j) {
    F d = A[j * P + j], whole = d;
    for (int k = 0; k < j; ++k)
      d -= A[j * P + k] * A[j * P + k];
    Quad share = quad(whole) > 0 ? quad(d) / quad(whole) : 0;
    least = std::min(least, share);
    if (!(share > 0))
      return 0;
    F pivot = root(d);
    A[j * P + j] = pivot;
    for (int i = j + 1; i < P; ++i) {
      F sum = A[i * P + j];
      for (int k = 0; k < j; ++k)
        sum -= A[i * P + k] * A[j * P + k];
      A[i * P + j] = sum / pivot;
    }
  }
  return least;
}

template <class F>
void cholesky_solve(const std::vector<F>& L, int P, std::vector<F>& b) {
  for (int i = 0; i < P; ++i) {
    for (int k = 0; k < i; ++k)
      b[i] -= L[i * P + k] * b[k];
    b[i] /= L[i * P + i];
  }
  for (int i = P - 1; i >= 0; --i) {
    for (int k = i + 1; k < P; ++k)
      b[i] -= L[k * P + i] * b[k];
    b[i] /= L[i * P + i];
  }
}

// P A = L U with the largest of each column as its pivot; false where that is zero.
template <class F>
bool lu(std::vector<F>& A, int P, std::vector<int>& order) {
  order.resize(P);
  for (int j = 0; j < P; ++j) {
    int best = j;
    for (int i = j + 1; i < P; ++i)
      if (size(A[i * P + j]) > size(A[best * P + j]))
        best = i;
    order[j] = best;
    if (!(size(A[best * P + j]) > 0))
      return false;
    for (int k = 0; k < P && best != j; ++k)
      std::swap(A[j * P + k], A[best * P + k]);
    for (int i = j + 1; i < P; ++i) {
      F m = A[i * P + j] / A[j * P + j];
      A[i * P + j] = m;
      for (int k = j + 1; k < P; ++k)
        A[i * P + k] -= m * A[j * P + k];
    }
  }
  return true;
}

template <class F>
void lu_solve(const std::vector<F>& A, int P, const std::vector<int>& order,
              std::vector<F>& b) {
  for (int j = 0; j < P; ++j)
    std::swap(b[j], b[order[j]]);
  for (int i = 0; i < P; ++i)
    for (int k = 0; k < i; ++k)
      b[i] -= A[i * P + k] * b[k];
  for (int i = P - 1; i >= 0; --i) {
    for (int k = i + 1; k < P; ++k)
      b[i] -= A[i * P + k] * b[k];
    b[i] /= A[i * P + i];
  }
}

// What differs between features and kernels: predictors, Newton's step and the penalty.
template <class T, class F>
struct Features {
  const Input& in;
  int n, q, K, P;
  std::vector<F> H, b;
  Quad pivot = 1;

  explicit Features(const Input& input)
      : in(input), n(in.rows), q(in.columns), K(in.outputs), P(K * q) {}

  int parameters() const { return P; }
  void use(const std::vector<int>&) {}

  void predict(const std::vector<T>& theta, std::vector<T>& eta) const {
    for (int i = 0; i < n; ++i)
      for (int k = 0; k < K; ++k) {
        T sum(0);
        for (int j = 0; j < q; ++j)
          sum += T(in.X[i * q + j]) * theta[k * q + j];
        eta[i * K + k] = sum;
      }
  }

  bool factor(const std::vector<int>& kept, const std::vector<T>& W) {
    H.assign(static_cast<std::size_t>(P) * P, F(0));
    for (int k = 0; k < K; ++k)
      for (int l = 0; l <= k; ++l)
        for (int i : kept) {
          F w = F(quad(W[(i * K + k) * K + l])) * F(in.s[i]);
          for (int a = 0; a < q; ++a) {
            F wx = w * F(in.X[i * q + a]);
            F* row = &H[(k * q + a) * P + l * q];
            for (int c = 0; c < (k == l ? a + 1 : q); ++c)
              row[c] += wx * F(in.X[i * q + c]);
          }
        }
    for (int k = 0; k < K; ++k)
      for (int a = 0; a < q; ++a)
        H[(k * q + a) * P + k * q + a] += F(in.penalty[a]);
    if (in.family == multinomial)  // a constant in all classes changes nothing
      for (int a = 0; a < q; ++a) {
        if (in.penalty[a] > 0)
          continue;
        F tau(0);
        for (int k = 0; k < K; ++k)
          tau += H[(k * q + a) * P + k * q + a];
        tau /= F(K * K);
        for (int k = 0; k < K; ++k)
          for (int l = 0; l <= k; ++l)
            H[(k * q + a) * P + l * q + a] += tau;
      }
    pivot = cholesky(H, P);
    return pivot > 0;
  }

  void step(const std::vector<int>& kept, const std::vector<T>& theta,
            const std::vector<T>& eta, const std::vector<T>& r, std::vector<T>& out) {
    b.resize(P);
    for (int k = 0; k < K; ++k)
      for (int a = 0; a < q; ++a) {
        T g = T(in.penalty[a]) * theta[k * q + a];
        for (int i : kept)
          g += r[i * K + k] * T(in.X[i * q + a]);
        b[k * q + a] = F(quad(-g));
      }
    (void)eta;
    cholesky_solve(H, P, b);
    for (int c = 0; c < P; ++c)
      out[c] = T(b[c]);
  }

  Quad ridge(const std::vector<T>& theta) const {
    Quad sum = 0;
    for (int c = 0; c < P; ++c)
      sum += in.penalty[c % q] * quad(theta[c]) * quad(theta[c]) / 2;
    return sum;
  }
};

// f = sum_i a_i k(x, x_i) + b over the rows that are kept: r + l2 a = 0, sum of r = 0.
template <class T, class F>
struct InKernel {
  const Input& in;
  int n, K, m = 0;
  std::vector<T> k;  // (n, n)
  std::vector<int> active, order;
  std::vector<F> A, b;
  Quad pivot = 1;

  explicit InKernel(const Input& input) : in(input), n(in.rows), K(in.outputs) {
    const int p = in.columns;
    k.resize(static_cast<std::size_t>(n) * n);
    for (int i = 0; i < n; ++i)
      for (int j = 0; j <= i; ++j) {
        T sum(0);
        for (int c = 0; c < p; ++c) {
          T u(in.X[i * p + c]), v(in.X[j * p + c]);
          sum += in.kernel == rbf ? (u - v) * (u - v) : u * v;
        }
        if (in.kernel == rbf)
          sum = exponential(-(T(in.gamma) * sum));
        if (in.kernel == poly) {
          T base = T(in.gamma) * sum + T(in.coef0);
          sum = T(1);
          for (int d = 0; d < in.degree; ++d)
            sum *= base;
        }
        k[i * n + j] = k[j * n + i] = sum;
      }
  }

  int parameters() const { return K * (n + 1); }
  void use(const std::vector<int>& kept) {
    active = kept, m = static_cast<int>(kept.size());
  }

  void predict(const std::vector<T>& a, std::vector<T>& eta) const {
    for (int i = 0; i < n; ++i)
      for (int o = 0; o < K; ++o) {
        T sum = a[o * (n + 1) + n];
        for (int j : active)
          sum += k[i * n + j] * a[o * (n + 1) + j];
        eta[i * K + o] = sum;
      }
  }

  int unknowns() const { return K * (m + 1); }

  bool factor(const std::vector<int>&, const std::vector<T>& W) {
    const int P = unknowns();
    A.assign(static_cast<std::size_t>(P) * P, F(0));
    for (int o = 0; o < K; ++o)
      for (int l = 0; l < K; ++l)
        for (int i = 0; i < m; ++i) {
          F w = F(quad(W[(active[i] * K + o) * K + l])) * F(in.s[active[i]]);
          F* row = &A[(o * (m + 1) + i) * P + l * (m + 1)];
          F* last = &A[(o * (m + 1) + m) * P + l * (m + 1)];
          for (int j = 0; j < m; ++j) {
            F wk = w * F(quad(k[active[i] * n + active[j]]));
            row[j] += wk;
            if (in.intercept)
              last[j] += wk;
          }
          if (o == l)
            row[i] += F(in.l2);
          if (in.intercept)
            row[m] += w, last[m] += w;
        }
    for (int o = 0; o < K; ++o) {
      F* last = &A[(o * (m + 1) + m) * P];
      if (!in.intercept)
        last[o * (m + 1) + m] = F(1);
      else if (in.family == multinomial)  // intercepts that sum to zero
        for (int l = 0; l < K; ++l)
          last[l * (m + 1) + m] += F(1);
    }
    return lu(A, P, order);
  }

  void step(const std::vector<int>&, const std::vector<T>& a, const std::vector<T>&,
            const std::vector<T>& r, std::vector<T>& out) {
    const int P = unknowns();
    b.assign(P, F(0));
    T intercepts(0);
    for (int o = 0; o < K; ++o)
      intercepts += a[o * (n + 1) + n];
    for (int o = 0; o < K; ++o) {
      T sum(0);
      for (int i = 0; i < m; ++i) {
        T residual = r[active[i] * K + o];
        b[o * (m + 1) + i] =
            F(quad(-(residual + T(in.l2) * a[o * (n + 1) + active[i]])));
        sum += residual;
      }
      if (in.family == multinomial)
        sum += intercepts;
      if (in.intercept)
        b[o * (m + 1) + m] = F(quad(-sum));
    }
    lu_solve(A, P, order, b);
    std::fill(out.begin(), out.end(), T(0));
    for (int o = 0; o < K; ++o) {
      for (int i = 0; i < m; ++i)
        out[o * (n + 1) + active[i]] = T(b[o * (m + 1) + i]);
      out[o * (n + 1) + n] = T(b[o * (m + 1) + m]);
    }
  }

  Quad ridge(const std::vector<T>& a) const {
    Quad sum = 0;
    for (int o = 0; o < K; ++o)
      for (int i : active)
        for (int j : active)
          sum +=
              quad(a[o * (n + 1) + i]) * quad(k[i * n + j]) * quad(a[o * (n + 1) + j]);
    return in.l2 * sum / 2;
  }
};

template <class T, class F, class Space>
class Refit {
public:
  explicit Refit(const Input& input)
      : in(input), space(input), n(in.rows), K(in.outputs),
        eta(static_cast<std::size_t>(n) * K), change(eta.size()), r(eta.size()),
        W(eta.size() * K), mean(eta.size()), theta(space.parameters()),
        step(theta.size()), trial(theta.size()) {}

  void without(const int32_t* rows, int count, const double* start, Output out,
               int set) {
    kept.clear();
    for (int i = 0; i < n; ++i)
      if (in.s[i] > 0 && std::find(rows, rows + count, i) == rows + count)
        kept.push_back(i);
    space.use(kept);
    for (std::size_t c = 0; c < theta.size(); ++c)
      theta[c] = T(start[c]);
    Quad noise = 0;
    out.status[set] = newton(noise);
    space.predict(theta, eta);
    out.noise[set] = static_cast<double>(noise);
    out.pivot[set] = static_cast<double>(space.pivot);
    for (int i = 0; i < n; ++i) {
      const std::size_t at = static_cast<std::size_t>(set) * n + i;
      terms(in, in.y[i], &eta[i * K], &r[i * K], &W[i * K * K], &mean[i * K]);
      for (int k = 0; k < K; ++k) {
        store(out.eta + 2 * (at * K + k), eta[i * K + k]);
        store(out.mean + 2 * (at * K + k), mean[i * K + k]);
      }
      store(out.loss + 2 * at, loss(in, in.y[i], &eta[i * K]));
    }
    for (std::size_t c = 0; c < theta.size(); ++c)
      store(out.theta + 2 * (set * theta.size() + c), theta[c]);
  }

private:
  Quad objective(const std::vector<T>& at, const std::vector<T>& predictors) const {
    Quad sum = space.ridge(at);
    for (int i : kept)
      sum += in.s[i] * loss(in, in.y[i], &predictors[i * K]);
    return sum;
  }

  Status newton(Quad& noise) {
    const Quad unit = in.family == smooth_hinge ? in.temperature : 1.0;
    Quad last = -1;  // how far predictors moved
    bool fresh = false;
    int far = 0;
    for (int at = 0; at < in.max_steps; ++at) {
      space.predict(theta, eta);
      Quad scale = unit;
      for (int i = 0; i < n; ++i) {
        terms(in, in.y[i], &eta[i * K], &r[i * K], &W[i * K * K], &mean[i * K]);
        for (int k = 0; k < K; ++k) {
          r[i * K + k] *= T(in.s[i]);
          scale = std::max(scale, size(eta[i * K + k]));
        }
      }
      // near the end the factor stays as it is
      if (!fresh || !(last >= 0 && last < 1e-8 * unit)) {
        if (!space.factor(kept, W))
          return singular;
        fresh = true;
      }
      space.step(kept, theta, eta, r, step);
      space.predict(step, change);
      Quad move = 0;
      for (T c : change) {
        if (!(size(c) < 1e4000Q))
          return unresolved;
        move = std::max(move, size(c));
      }
      if (in.family != gaussian && move > 1e-9 * unit) {
        Quad length = shorten();
        for (T& c : step)
          c *= T(length);
        far = length * move > 0.05 * unit ? far + 1 : 0;
      }
      for (std::size_t c = 0; c < theta.size(); ++c)
        theta[c] += step[c];
      const Quad before = last;
      last = move;
      if (!(move > 1e-32 * scale) && sizeof(T) == sizeof(Quad)) {
        noise = move;
        return converged;
      }
      if (!(move > 1e-42 * scale)) {
        noise = move;
        return converged;
      }
      const Quad near = 1e-6 * (in.family == gaussian ? scale : unit);
      if (before >= 0 && before < near && move < near && move > before / 8) {
        noise = std::max(move, before);
        return converged;  // to what the last steps moved
      }
    }
    return far >= 20 ? no_optimum : unresolved;
  }

  // Halves until the objective falls enough; steps that move nothing far are safe.
  Quad shorten() {
    const Quad now = objective(theta, eta);
    std::vector<T> there(eta.size());
    Quad length = 1;
    for (int halvings = 0; halvings < 60; ++halvings, length /= 2) {
      for (std::size_t c = 0; c < theta.size(); ++c)
        trial[c] = theta[c] + T(length) * step[c];
      for (std::size_t c = 0; c < eta.size(); ++c)
        there[c] = eta[c] + T(length) * change[c];
      Quad rise = objective(trial, there) - now;
      if (rise <= 1e-30Q * (now < 0 ? -now : now))
        return length;
    }
    return length;
  }

  const Input& in;
  Space space;
  int n, K;
  std::vector<int> kept;
  std::vector<T> eta, change, r, W, mean, theta, step, trial;
};

template <class T, class F, class Space>
void refit(const Input& in, int sets, const int32_t* offsets, const int32_t* members,
           const double* start, Output out) {
  Refit<T, F, Space> solver(in);
  const int P = Space(in).parameters();
  for (int set = 0; set < sets; ++set)
    solver.without(members + offsets[set], offsets[set + 1] - offsets[set],
                   start + static_cast<std::size_t>(set) * P, out, set);
}

template <class T, class F>
void either(const Input& in, int sets, const int32_t* offsets, const int32_t* members,
            const double* start, Output out) {
  if (in.kernel == none)
    refit<T, F, Features<T, F>>(in, sets, offsets, members, start, out);
  else
    refit<T, F, InKernel<T, F>>(in, sets, offsets, members, start, out);
}

}  // namespace oracle

// level 0: all in 113 bits; 1: gradients in 226; 2: all in 226.
extern "C" void upweight_oracle(const oracle::Input* in, int32_t level, int32_t sets,
                                const int32_t* offsets, const int32_t* members,
                                const double* start, const oracle::Output* out) {
  using oracle::Quad;
  using oracle::Wide;
  if (level == 0)
    oracle::either<Quad, Quad>(*in, sets, offsets, members, start, *out);
  if (level == 1)
    oracle::either<Wide, Quad>(*in, sets, offsets, members, start, *out);
  if (level == 2)
    oracle::either<Wide, Wide>(*in, sets, offsets, members, start, *out);
}

// e^x in 226 bits, as four doubles that sum to it: for the test of `exponential`.
extern "C" void upweight_oracle_exp(double x, double* parts) {
  oracle::Wide e = oracle::exponential(oracle::Wide(x));
  for (int i = 0; i < 4; ++i) {
    parts[i] = static_cast<double>(e.hi);
    e = e - oracle::Wide(parts[i]);
  }
}
