# SPDX-License-Identifier: BSD-3-Clause
"""What every number of this package means, in naive NumPy: to be read, not to be fast.

Rows x_i (a 1 appended for the intercept), K outputs, eta_i = theta x_i, weights s_i::

    J(theta) = sum_i s_i l(y_i, eta_i) + l2/2 |coef|^2 + intercept_l2/2 |intercept|^2

theta is (K, q), the intercept last; flat vectors of P = K q entries are theta.ravel().
A multinomial loss does not change when a column of theta moves by a constant. If that
column is unpenalised, H is singular; `solve` then leaves its sum over classes alone.
A smooth hinge, y = -1 or 1, is given as `SmoothHinge(t)`, a name with its temperature.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._family import SmoothHinge

Array = NDArray[Any]  # float64, or intp where it holds indices

FAMILIES = ("gaussian", "binomial", "multinomial", "poisson", "smooth_hinge")


def mean(family: str, eta: Array) -> Array:
    """Return E[y | eta] (n, K); class probabilities for the multinomial."""
    if family == "gaussian":
        return eta
    if family == "binomial":
        small = np.exp(-np.abs(eta))  # never overflows
        return np.asarray(np.where(eta >= 0, 1.0, small) / (1.0 + small))
    if family == "poisson":
        with np.errstate(over="ignore"):  # a line search may try a step to infinity
            return np.asarray(np.exp(eta))
    if family == "multinomial":
        e = np.exp(eta - eta.max(axis=1, keepdims=True))
        return np.asarray(e / e.sum(axis=1, keepdims=True))
    raise ValueError(f"family: expected one of {FAMILIES}, got {family!r}")


def loss(family: str, y: Array, eta: Array) -> Array:
    """Return l(y_i, eta_i) (n,) for y (n, K), or (n, 1) class numbers."""
    if family == "multinomial":  # logsumexp(eta) - eta_y, arranged so as not to cancel
        label = y[:, 0].astype(int)
        rest = [np.delete(e, k) - e[k] for e, k in zip(eta, label, strict=True)]
        return np.array([np.logaddexp.reduce(e, initial=0.0) for e in rest])
    if family == "gaussian":
        each = (y - eta) ** 2 / 2
    elif isinstance(family, SmoothHinge):  # t log(1 + e^((1 - y eta) / t))
        t = family.temperature
        each = t * np.logaddexp(0, (1 - y * eta) / t)
    elif family == "binomial":  # log(1 + e^eta) - y eta, likewise
        each = (1 - y) * np.logaddexp(0, eta) + y * np.logaddexp(0, -eta)
    else:
        each = mean(family, eta) - y * eta
    return np.asarray(each.sum(axis=1))


def residual(family: str, y: Array, eta: Array) -> Array:
    """Return dl/deta (n, K), mean - y but for the hinge, so as not to cancel."""
    if isinstance(family, SmoothHinge):
        return -y * mean("binomial", (1 - y * eta) / family.temperature)
    p = mean(family, eta)
    if family == "binomial":
        return np.asarray((1 - y) * p - y * mean(family, -eta))
    if family == "multinomial":
        for p_i, k in zip(p, y[:, 0].astype(int), strict=True):
            p_i[k] = -np.delete(p_i, k).sum()  # p_k - 1
        return p
    return p - y


def weight(family: str, y: Array, eta: Array) -> Array:
    """Return d2l/deta2 (n, K, K)."""
    if isinstance(family, SmoothHinge):
        z, t = (1 - y * eta) / family.temperature, family.temperature
        w = mean("binomial", z) * mean("binomial", -z) / t
        return np.asarray(w[:, :, None] * np.eye(eta.shape[1]))
    if family == "multinomial":
        W = np.stack([-np.outer(p, p) for p in mean(family, eta)])
        for W_i in W:  # diag(p) - p p': its rows sum to zero
            np.fill_diagonal(W_i, 0.0)
            np.fill_diagonal(W_i, -W_i.sum(axis=1))
        return W
    w = mean(family, eta)
    if family == "gaussian":
        w = np.ones_like(eta)
    elif family == "binomial":
        w = w * mean(family, -eta)
    return np.asarray(w[:, :, None] * np.eye(eta.shape[1]))


@dataclass(frozen=True, eq=False)
class Problem:
    """Training data and penalty; only the multinomial needs `n_outputs`."""

    X: Array
    y: Array
    family: str
    l2: float = 0.0
    fit_intercept: bool = True
    sample_weight: Array | None = None
    intercept_l2: float = 0.0
    n_outputs: int | None = None

    def design(self, X: Array | None = None) -> Array:
        """Return [X 1] (n, q), or X itself without an intercept."""
        X = self.X if X is None else X
        return np.column_stack([X, np.ones(len(X))]) if self.fit_intercept else X

    def outputs(self) -> int:
        """Return K."""
        if self.family != "multinomial":
            return int(self.y.shape[1])
        if self.n_outputs is None:  # a class may be missing from y
            raise ValueError("n_outputs: expected K for a multinomial, got None")
        return self.n_outputs

    def penalty(self) -> Array:
        """Return the penalty of each parameter (P,)."""
        intercept = [self.intercept_l2] if self.fit_intercept else []
        return np.tile([self.l2] * self.X.shape[1] + intercept, self.outputs())

    def weights(self) -> Array:
        """Return s (n,)."""
        s = self.sample_weight
        return np.ones(len(self.X)) if s is None else s


class RowSpace:
    """Coordinates Z (n, r) with Z Z' = K, from the eigenvectors U of K."""

    def __init__(self, K: Array) -> None:
        values, vectors = np.linalg.eigh(K)
        kept = values > len(K) * np.finfo(float).eps * values.max()
        self._to = vectors[:, kept] / np.sqrt(values[kept])
        self.Z: Array = vectors[:, kept] * np.sqrt(values[kept])

    def project(self, cross: Array) -> Array:
        """Coordinates of rows with kernels `cross` (m, n): Z'Z z = Z' k."""
        return np.asarray(cross @ self._to)

    def lift(self, beta: Array) -> Array:
        """Coefficients a (m, n) of the rows with Z' a = beta."""
        return np.asarray(beta @ self._to.T)


def objective(problem: Problem, theta: Array) -> float:
    """Return J(theta)."""
    losses = loss(problem.family, problem.y, problem.design() @ theta.T)
    ridge = problem.penalty() @ theta.ravel() ** 2 / 2
    return float(problem.weights() @ losses + ridge)


def gradients(problem: Problem, theta: Array) -> Array:
    """Return g_i = s_i dl_i/dtheta (n, P), a row for each training row."""
    X, s = problem.design(), problem.weights()
    R = residual(problem.family, problem.y, X @ theta.T)
    return np.stack([s[i] * np.kron(R[i], X[i]) for i in range(len(X))])


def gradient(problem: Problem, theta: Array) -> Array:
    """Return dJ/dtheta (P,)."""
    ridge = problem.penalty() * theta.ravel()
    return np.asarray(gradients(problem, theta).sum(axis=0) + ridge)


def hessian(problem: Problem, theta: Array) -> Array:
    """Return H = d2J/dtheta2 (P, P) = sum_i s_i W_i (x) x_i x_i' + diag(penalty)."""
    X, s = problem.design(), problem.weights()
    W = weight(problem.family, problem.y, X @ theta.T)
    data = np.einsum("i,ikl,ia,ib->kalb", s, W, X, X).reshape(theta.size, theta.size)
    return np.asarray(data + np.diag(problem.penalty()))


def solve(problem: Problem, H: Array, B: Array) -> Array:
    """Return H^-1 B for B (P,) or (P, m); the pseudo-inverse where H is singular.

    Multinomial: a constant added to all classes of one column is an eigenvector v of H,
    with that column's penalty for its eigenvalue. So (v'b) / penalty is the solution
    along v, 0 without a penalty; H + tau v v', tau of H's size there, gives the rest.
    """
    if problem.family != "multinomial":
        return np.linalg.solve(H, B)
    K = problem.outputs()
    q = len(H) // K
    V = np.tile(np.eye(q), (K, 1)) / np.sqrt(K)  # (P, q): v of each column
    tau = H.diagonal().reshape(K, -1).mean(axis=0)
    penalty = problem.penalty()[:q]
    inverse = np.divide(1, penalty, out=np.zeros_like(penalty), where=penalty > 0)
    x = np.linalg.solve(H + V * tau @ V.T, B)
    return np.asarray(x + V @ (inverse * (V.T @ B).T - (V.T @ x).T).T)


def fit(
    problem: Problem,
    start: Array | None = None,
    tol: float = 1e-12,
    max_iter: int = 200,
) -> Array:
    """Return the minimiser theta (K, q) of J, by Newton's method from zero or `start`.

    Done when a step moves no eta by more than `tol` of the largest, or small steps no
    longer shrink: only rounding is left. RuntimeError if not (separable classes).
    A smooth hinge, of which few rows have curvature at a low temperature, is cooled
    from 1, unless it can be had from `start` as it is.
    """
    problem = delete(problem, np.flatnonzero(problem.weights() == 0))
    if isinstance(problem.family, SmoothHinge) and problem.family.temperature < 1:
        if start is not None:
            try:
                return _newton(problem, start, tol, max_iter)
            except (RuntimeError, np.linalg.LinAlgError):
                pass
        warmer = SmoothHinge(min(3 * problem.family.temperature, 1.0))
        start = fit(replace(problem, family=warmer), start, tol, max_iter)
    return _newton(problem, start, tol, max_iter)


def _newton(problem: Problem, start: Array | None, tol: float, max_iter: int) -> Array:
    X = problem.design()
    K, q, move = problem.outputs(), X.shape[1], np.inf
    theta = np.zeros((K, q)) if start is None else start
    softmax = problem.family == "multinomial"
    safe = 1e-6 * getattr(problem.family, "temperature", 1.0)
    if softmax:  # a penalised column of the minimiser sums to zero, and steps keep it
        theta = theta - theta.mean(axis=0) * (problem.penalty()[:q] > 0)
    for _ in range(max_iter):
        J, g = objective(problem, theta), gradient(problem, theta)
        step = -solve(problem, hessian(problem, theta), g).reshape(K, q)
        if not np.abs(step).max() < 1e100:
            raise RuntimeError("fit: H has no curvature left along some step")
        step -= softmax * step.mean(axis=0)  # rounding, which 1 / l2 may have enlarged
        last, move = move, np.abs(X @ step.T).max() / (1 + np.abs(X @ theta.T).max())
        if move > safe:  # the objective cannot see smaller steps, which are safe
            while objective(problem, theta + step) > J + 1e-12 * abs(J):
                step = step / 2
        theta = theta + step
        if move <= tol or last <= move <= 1e-7:
            return theta
    raise RuntimeError(f"fit: not converged in {max_iter} steps, the last one {move}")


def delete(problem: Problem, rows: list[int] | Array) -> Problem:
    """Return the problem without the training rows numbered `rows`."""
    X, y = (np.delete(a, rows, axis=0) for a in (problem.X, problem.y))
    return replace(problem, X=X, y=y, sample_weight=np.delete(problem.weights(), rows))


def leave_out(problem: Problem, theta: Array, rows: list[int] | Array) -> Array:
    """Return the minimiser (K, q) without the rows numbered, started from `theta`."""
    return fit(delete(problem, rows), start=theta)


def leave_one_out(problem: Problem, theta: Array, i: int) -> Array:
    """Return theta_i (K, q), the minimiser without row i, started from `theta`."""
    return leave_out(problem, theta, [i])


def target(of: str, family: str, y: Array, eta: Array) -> Array:
    """Return f (m,): "loss", or "margin" or "probability" of the row's class.

    With one output that class is class 1, whatever y says.
    """
    if of == "loss":
        return loss(family, y, eta)
    label = _label_indicator(of, family, y, eta)
    values = mean(family, eta) if of == "probability" else eta
    return np.asarray((values * label).sum(axis=1))


def _label_indicator(of: str, family: str, y: Array, eta: Array) -> Array:
    """Return 1 at the output that "margin" or "probability" is about, else 0 (m, K)."""
    K = eta.shape[1]
    one_margin = K == 1 or family in ("binomial", "multinomial", "smooth_hinge")
    one_probability = family == "multinomial" or (family == "binomial" and K == 1)
    if not {"margin": one_margin, "probability": one_probability}.get(of, False):
        raise ValueError(f"of: {of!r} is not defined for {family} with {K} outputs")
    if K == 1:
        return np.ones(eta.shape)
    label = y[:, 0].astype(int) if family == "multinomial" else y.argmax(axis=1)
    return np.asarray(np.eye(K)[label])


def target_slope(of: str, family: str, y: Array, eta: Array) -> Array:
    """Return df/deta (m, K)."""
    if of == "loss":
        return residual(family, y, eta)
    slope = _label_indicator(of, family, y, eta)
    if of == "probability":  # dmean/deta is d2l/deta2 for these families
        slope = np.einsum("tk,tkl->tl", slope, weight(family, y, eta))
    return slope


def target_gradient(
    of: str, problem: Problem, theta: Array, X_test: Array, y_test: Array
) -> Array:
    """Return df/dtheta (m, P)."""
    X = problem.design(X_test)
    slope = target_slope(of, problem.family, y_test, X @ theta.T)
    return np.stack([np.kron(slope[t], X[t]) for t in range(len(X))])


def scores(problem: Problem, theta: Array, G: Array) -> Array:
    """Return S = G H^-1 [g_1 ... g_n] (m, n), for targets with the gradients G (m, P).

    S[t, i] is the predicted rise of target t when row i is removed.
    """
    g = gradients(problem, theta)
    return np.asarray(G @ solve(problem, hessian(problem, theta), g.T))


def perturbation(problem: Problem, theta: Array, rows: list[int], G: Array) -> Array:
    """Return the gradient of the sum of targets at the optimum, by features (rows, p).

    When x_i moves by d, the gradient of J moves by r_i (x) d + W_i theta d (x) x_i, and
    theta by -H^-1 times that; the targets' gradients are G (m, P). Koh and Liang
    (2017), equation 5.
    """
    X, p = problem.design(), problem.X.shape[1]
    S = solve(problem, hessian(problem, theta), G.sum(axis=0)).reshape(theta.shape)
    out = []
    for i in rows:
        y, eta = problem.y[[i]], X[[i]] @ theta.T
        r = residual(problem.family, y, eta)[0]
        W = weight(problem.family, y, eta)[0]
        slope = r @ S[:, :p] + (W @ S @ X[i]) @ theta[:, :p]
        out.append(-problem.weights()[i] * slope)
    return np.array(out)


def relabel_scores(problem: Problem, theta: Array, y_new: Array, G: Array) -> Array:
    """Return G H^-1 [.. g_i(y_i) - g_i(y_new[i]) ..] (m, n), for gradients G (m, P).

    Entry [t, i] is the predicted change of target t when row i alone bears y_new[i].
    """
    change = gradients(problem, theta) - gradients(replace(problem, y=y_new), theta)
    return np.asarray(G @ solve(problem, hessian(problem, theta), change.T))


def one_step_deltas(problem: Problem, theta: Array) -> Array:
    """Return (H - H_i)^-1 g_i (n, P): a Newton step from the optimum, without row i."""
    X, s = problem.design(), problem.weights()
    H, g = hessian(problem, theta), gradients(problem, theta)
    W = weight(problem.family, problem.y, X @ theta.T)
    H_rows = (s[i] * np.kron(W[i], np.outer(X[i], X[i])) for i in range(len(X)))
    return np.stack([solve(problem, H - H_i, g[i]) for i, H_i in enumerate(H_rows)])


def changes(
    problem: Problem, old: Array, new: list[Array], X_test: Array, y: Array, of: str
) -> Array:
    """Return the changes of a target between parameters (m, len(new))."""
    X, family = problem.design(X_test), problem.family
    before = target(of, family, y, X @ old.T)
    return np.stack([target(of, family, y, X @ t.T) - before for t in new], axis=1)


def one_step_scores(
    problem: Problem, theta: Array, X_test: Array, y_test: Array, of: str = "loss"
) -> Array:
    """Return f(theta + delta_i) - f(theta) (m, n), delta_i of `one_step_deltas`."""
    deltas = one_step_deltas(problem, theta)
    moved = [theta + delta.reshape(theta.shape) for delta in deltas]
    return changes(problem, theta, moved, X_test, y_test, of)


def exact_scores(
    problem: Problem,
    theta: Array,
    X_test: Array,
    y_test: Array,
    of: str = "loss",
    rows: list[int] | None = None,
) -> Array:
    """Return f(theta_i) - f(theta) (m, rows), theta_i refitted without row i."""
    chosen = range(len(problem.X)) if rows is None else rows
    moved = [leave_one_out(problem, theta, i) for i in chosen]
    return changes(problem, theta, moved, X_test, y_test, of)


def loo_path(problem: Problem, l2s: list[float]) -> tuple[Array, Array]:
    """Return optima (L, K, q) and held-out losses (L, n): n refits a penalty."""
    thetas, losses, X = [], [], problem.design()
    for l2 in l2s:
        each = replace(problem, l2=l2)
        thetas.append(fit(each))
        held_out = [leave_one_out(each, thetas[-1], i) for i in range(len(X))]
        eta = np.stack([theta @ x for theta, x in zip(held_out, X, strict=True)])
        losses.append(loss(problem.family, problem.y, eta))
    return np.stack(thetas), np.stack(losses)


def jackknife_plus(
    problem: Problem, X_test: Array, alpha: float, groups: Array | None = None
) -> Array:
    """Return the ends (m, 2) of jackknife+ intervals; CV+ with a label a row.

    Barber et al. (2021), equations 6 and 11: with mu_i the refit without row i (or its
    group) and R_i = ``|y_i - mu_i(x_i)|``, the floor(alpha (n + 1))-th smallest
    mu_i(x) - R_i and the ceil((1 - alpha) (n + 1))-th smallest mu_i(x) + R_i.
    """
    X, theta, n = problem.design(), fit(problem), len(problem.X)
    labels = np.arange(n) if groups is None else groups
    refits = [leave_out(problem, theta, np.flatnonzero(labels == g)) for g in labels]
    R = [abs(problem.y[i, 0] - X[i] @ refits[i][0]) for i in range(n)]
    rank = Fraction(str(alpha)) * (n + 1)  # alpha as it is written, not as it is stored
    low, high = floor(rank), ceil(n + 1 - rank)
    ends = []
    for x in problem.design(X_test):
        mu = [float(x @ refit[0]) for refit in refits]
        lower = sorted(mu[i] - R[i] for i in range(n))
        upper = sorted(mu[i] + R[i] for i in range(n))
        ends.append(
            (
                lower[low - 1] if low >= 1 else -np.inf,
                upper[high - 1] if high <= n else np.inf,
            )
        )
    return np.array(ends)


def one_step_without(problem: Problem, theta: Array, rows: list[int] | Array) -> Array:
    """Return the parameters (K, q) one Newton step from the optimum, without `rows`."""
    H = hessian(delete(problem, rows), theta)
    step = solve(problem, H, gradients(problem, theta)[rows].sum(axis=0))
    return np.asarray(theta + step.reshape(theta.shape))


def group_scores(
    problem: Problem,
    theta: Array,
    groups: list[Array],
    X_test: Array,
    y_test: Array,
    of: str = "loss",
    method: str = "influence",
) -> Array:
    """Return the change of a target without each group of rows (m, groups).

    "influence" is the sum of the rows' scores, "one_step" the target one Newton step
    from the optimum, "exact" the target at the optimum without the group.
    """
    if method == "influence":
        G = target_gradient(of, problem, theta, X_test, y_test)
        S = scores(problem, theta, G)
        return np.stack([S[:, rows].sum(axis=1) for rows in groups], axis=1)
    without = one_step_without if method == "one_step" else leave_out
    moved = [without(problem, theta, rows) for rows in groups]
    return changes(problem, theta, moved, X_test, y_test, of)


def predicted_class(eta: Array) -> int:
    """Return the class of one row's linear predictors (K,): 0 or 1 when K is 1."""
    return int(eta[0] > 0) if len(eta) == 1 else int(eta.argmax())


def flipping_prefix(
    problem: Problem, theta: Array, x: Array, order: Array
) -> int | None:
    """Return how many rows of `order` to leave out for a refit to change x's class."""
    x = problem.design(x[None, :])[0]
    before = predicted_class(theta @ x)
    for k in range(1, len(order) + 1):
        if predicted_class(leave_out(problem, theta, order[:k]) @ x) != before:
            return k
    return None


def self_influence(problem: Problem, theta: Array) -> Array:
    """Return g_i' H^-1 g_i (n,), with the row's weight in both g_i."""
    return scores(problem, theta, gradients(problem, theta)).diagonal()


def leverage(problem: Problem, theta: Array) -> Array:
    """Return tr(W_i C_i), with C_i[k,l] = (e_k (x) x_i)' H^-1 (e_l (x) x_i).

    For one output (n,) that is h_i = s_i l''_i x_i' H^-1 x_i; of several gaussian ones
    any (they are equal); of one against the rest each (n, K); of softmax the sum (n,).
    """
    X, K = problem.design(), problem.outputs()
    W = weight(problem.family, problem.y, X @ theta.T)
    H, h = hessian(problem, theta), []
    for x, W_i, s in zip(X, W, problem.weights(), strict=True):
        E = np.kron(np.eye(K), x[:, None])  # (P, K)
        h.append((s * W_i @ E.T @ solve(problem, H, E)).diagonal())
    if problem.family == "multinomial":
        return np.asarray(np.sum(h, axis=1))
    apart = K > 1 and problem.family in ("binomial", "smooth_hinge")
    return np.array(h) if apart else np.array(h)[:, 0]


def leverage_estimates(problem: Problem, theta: Array, Z: Array) -> Array:
    """Return one estimate of each leverage by each of the probes Z (probes, n, K).

    With A_i A_i' = W_i and the blocks A_i (x) x_i stacked in B (n K, P), it is the sum
    over outputs of z_ik (B H^-1 B' z)_ik: for signs z of mean zero, of expectation
    tr(A_i' C_i A_i) = tr(W_i C_i). Several gaussian outputs each estimate the same, of
    which the mean is taken; one against the rest keeps each.
    """
    X, K = problem.design(), problem.outputs()
    W = weight(problem.family, problem.y, X @ theta.T)
    blocks = []
    for x, W_i, s in zip(X, W, problem.weights(), strict=True):
        p = W_i.diagonal()
        A = np.diag(np.sqrt(p))
        if problem.family == "multinomial":
            p = mean(problem.family, (theta @ x)[None, :])[0]
            A = np.diag(np.sqrt(p)) - np.outer(p, np.sqrt(p))
        blocks.append(np.sqrt(s) * A.T @ np.kron(np.eye(K), x))
    B = np.concatenate(blocks)  # (n K, P)
    hat = B @ solve(problem, hessian(problem, theta), B.T)
    out = np.stack([z * (hat @ z.ravel()).reshape(z.shape) for z in Z])
    if problem.family == "multinomial":
        return np.asarray(out.sum(axis=2))
    if problem.family == "binomial" and K > 1:
        return out
    return np.asarray(out.mean(axis=2))


def lissa(
    problem: Problem, theta: Array, B: Array, sample: Array, scale: float
) -> Array:
    """Return estimates v / scale of H^-1 b for the rows b of B (m, P).

    v is b, then b + v - H_s v / scale for each row of `sample` (steps, batch): H_s is
    n / batch times the sum over those rows of s W (x) x x', plus the penalty. Koh and
    Liang (2017), section 3.
    """
    X, s, n = problem.design(), problem.weights(), len(problem.X)
    W = weight(problem.family, problem.y, X @ theta.T)
    v = B
    for rows in sample:
        H = np.diag(problem.penalty())
        for i in rows:
            H = H + n / len(rows) * s[i] * np.kron(W[i], np.outer(X[i], X[i]))
        v = B + v - v @ H / scale
    return np.asarray(v / scale)


def gradient_outer_product(problem: Problem, theta: Array) -> Array:
    """Return sum_i g_i g_i' (P, P)."""
    g = gradients(problem, theta)
    return np.asarray(g.T @ g)


def covariance(problem: Problem, theta: Array, kind: str) -> Array:
    """Return the "model", "sandwich" or "jackknife" covariance of theta.ravel() (P, P).

    Where H is singular: of the theta whose flat directions do not vary, see `solve`.
    """
    X, s = problem.design(), problem.weights()
    n, q = np.count_nonzero(s), X.shape[1]
    inverse = solve(problem, hessian(problem, theta), np.eye(theta.size))
    if kind == "model" and problem.family == "gaussian":
        dispersion = s @ (problem.y - X @ theta.T) ** 2 / (n - q)
        return np.asarray(np.repeat(dispersion, q)[:, None] * inverse)
    if kind == "model":
        return inverse
    if kind == "sandwich":
        return np.asarray(inverse @ gradient_outer_product(problem, theta) @ inverse)
    if kind == "jackknife":
        d = one_step_deltas(problem, theta)[s > 0]
        return np.asarray((n - 1) / n * (d - d.mean(axis=0)).T @ (d - d.mean(axis=0)))
    raise ValueError(f"kind: expected model, sandwich or jackknife, got {kind!r}")


def residuals(problem: Problem, theta: Array) -> dict[str, Array]:
    """Return the response, pearson and deviance residuals (n,) of one output.

    A smooth hinge has none: it is no likelihood.
    """
    family, y, s = problem.family, problem.y, problem.weights()
    eta = problem.design() @ theta.T
    mu, response = mean(family, eta), -residual(family, y, eta)

    def log_ratio(y: Array, mu: Array) -> Array:  # y log(y / mu)
        return y * np.log(np.divide(y, mu, out=np.ones_like(mu), where=y > 0))

    if family == "gaussian":  # l(y, eta) - min l(y, .)
        excess = response**2 / 2
    elif family == "poisson":
        excess = log_ratio(y, mu) - response
    else:
        excess = log_ratio(y, mu) + log_ratio(1 - y, mean(family, -eta))
    root = np.sqrt(s / weight(family, y, eta)[:, 0, 0])
    distance = np.sqrt(2 * s[:, None] * np.maximum(excess, 0))
    return {
        "response": response[:, 0],
        "pearson": root * response[:, 0],
        "deviance": (np.sign(response) * distance)[:, 0],
    }


def _spread(problem: Problem, theta: Array) -> tuple[Array, float, float]:
    """Return H, the effective number of parameters and the dispersion."""
    H = hessian(problem, theta)
    parameters = float(np.trace(solve(problem, H, H - np.diag(problem.penalty()))))
    if problem.family != "gaussian":
        return H, parameters, 1.0
    squares = problem.weights() @ (problem.y - problem.design() @ theta.T) ** 2
    rows = np.count_nonzero(problem.weights())
    return H, parameters, float(squares[0] / (rows - parameters))


def diagnostics(problem: Problem, theta: Array) -> dict[str, Array]:
    """Return what the fit with one output is with each row minus without it.

    Gaussian: without it is the refit. Others: one Newton step from `theta`, the other
    rows' weights W held. A multinomial has only the first three, a smooth hinge no
    residuals.
    """
    X, gaussian = problem.design(), problem.family == "gaussian"
    H, parameters, dispersion = _spread(problem, theta)
    error = np.sqrt(solve(problem, H, np.eye(len(H))).diagonal())
    steps = one_step_deltas(problem, theta)
    rows: dict[str, list[Any]] = {}
    for i, x in enumerate(X):
        without = delete(problem, [i])
        theta_i = theta + steps[i].reshape(theta.shape)
        H_i, _, dispersion_i = _spread(without, theta)
        if gaussian:
            theta_i = fit(without, theta)
            H_i, _, dispersion_i = _spread(without, theta_i)
        change = (theta - theta_i).ravel()
        row = {
            "cooks_distance": change @ H @ change / (parameters * dispersion),
            "dfbeta": change,
            "dfbetas": change / (error * np.sqrt(dispersion_i)),
        }
        if problem.family != "multinomial":
            fit_error = np.sqrt(dispersion_i * (x @ solve(problem, H, x)))
            growth = np.linalg.det(solve(problem, H_i, H))
            row |= {
                "dispersion_deleted": dispersion_i,
                "dffits": x @ change / fit_error,
                "cov_ratio": (dispersion_i / dispersion) ** len(H) * growth,
            }
        for key, value in row.items():
            rows.setdefault(key, []).append(value)
    out = {key: np.array(values) for key, values in rows.items()}
    if problem.family in ("multinomial", "smooth_hinge"):
        return out
    plain, h = residuals(problem, theta), leverage(problem, theta)
    p, d = plain["pearson"], plain["deviance"]
    size = np.sqrt(d**2 + p**2 * h / (1 - h))
    out["resid_studentized_internal"] = p / np.sqrt(dispersion * (1 - h))
    external = np.sign(p) * size / np.sqrt(out["dispersion_deleted"])
    out["resid_studentized_external"] = external
    return out | {f"resid_{key}": value for key, value in plain.items()}


def top(scores: Array, k: int) -> tuple[Array, Array, Array, Array]:
    """Return indices and values of the k largest, then of the k smallest of each row.

    Best first; of equal scores the lower index comes first at both ends.
    """
    helpful = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    harmful = np.argsort(scores, axis=-1, kind="stable")[..., :k]
    values = (np.take_along_axis(scores, i, axis=-1) for i in (helpful, harmful))
    return helpful, next(values), harmful, next(values)
