# SPDX-License-Identifier: BSD-3-Clause
"""Optima without sets of rows, many at once, where `reference.fit` would take hours.

Newton's method as `reference` has it, for a batch of problems that differ only in the
rows that they lack.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from upweight import reference as ref

Array = ref.Array

_MOST_STEPS = 150
_BATCH = 3_000_000  # numbers in the largest temporary


def refit(
    problem: ref.Problem, theta: Array, sets: Sequence[Array]
) -> tuple[Array, Array]:
    """Return minimisers (B, K, q) without each set, and their last moves (B,).

    NaN where Newton's method does not end: no finite minimum.
    """
    K, q = theta.shape
    per_set = len(problem.X) * q * (K if problem.family == "multinomial" else 1)
    batch = max(1, _BATCH // per_set)
    found = [
        _refit(problem, theta, sets[first : first + batch])
        for first in range(0, len(sets), batch)
    ]
    theta_b = np.concatenate([f[0] for f in found])
    moves = np.concatenate([f[1] for f in found])
    if problem.family == "smooth_hinge":  # what needs higher temperatures on the way
        for b in np.flatnonzero(~np.isfinite(theta_b).all(axis=(1, 2))):
            with suppress(RuntimeError, np.linalg.LinAlgError):
                theta_b[b], moves[b] = ref.leave_out(problem, theta, sets[b]), 0.0
    return theta_b, moves


def _refit(
    problem: ref.Problem, theta: Array, sets: Sequence[Array]
) -> tuple[Array, Array]:
    S = np.tile(problem.weights(), (len(sets), 1))
    for s, rows in zip(S, sets, strict=True):
        s[rows] = 0.0
    if problem.family == "multinomial":
        return _newton(problem, problem.y, S, theta)
    parts = [
        _newton(problem, problem.y[:, [k]], S, theta[[k]]) for k in range(len(theta))
    ]
    moves = np.max([move for _, move in parts], axis=0)
    return np.concatenate([part for part, _ in parts], axis=1), moves


def _newton(
    problem: ref.Problem, y: Array, S: Array, start: Array
) -> tuple[Array, Array]:
    X, softmax = problem.design(), problem.family == "multinomial"
    theta, last = np.tile(start, (len(S), 1, 1)), np.full(len(S), np.inf)
    penalty = problem.penalty()[: X.shape[1]]
    if softmax:  # as reference.fit does
        theta -= theta.mean(axis=1, keepdims=True) * (penalty > 0)
    open_ = np.arange(len(S))
    for _ in range(_MOST_STEPS):
        s, now = S[open_], theta[open_]
        eta = now @ X.T * (s > 0)[:, None]  # (B, K, n); where it counts
        r, H = _terms(problem.family, X, y, s, eta, penalty)
        g = r @ X + penalty * now
        step = -_solve(H, g.reshape(len(g), -1)).reshape(g.shape)
        if softmax:
            step -= step.mean(axis=1, keepdims=True)
        u = step @ X.T
        size = np.ptp(u, axis=1) if softmax else np.abs(u).max(axis=1)
        move = (size * (s > 0)).max(axis=1)
        length = np.ones(len(open_))
        unit = getattr(problem.family, "temperature", 1.0)  # in which losses bend
        far = np.flatnonzero(move > unit) if problem.family != "gaussian" else open_[:0]
        slope = (g * step).sum(axis=(1, 2))
        while len(far):  # halve the steps that do not lower the objective enough
            t = length[far, None, None]
            pull = (penalty * (now[far] + t / 2 * step[far]) * t * step[far]).sum(
                axis=(1, 2)
            )
            rise = pull + _rise(problem.family, y, s[far], eta[far], t * u[far])
            far = far[~(rise <= 1e-4 * length[far] * slope[far]) & (length[far] > 1e-9)]
            length[far] /= 2
        theta[open_] += length[:, None, None] * step
        scale = 1 + np.abs(eta).max(axis=(1, 2))
        small = move <= 1e-9 * scale
        done = (move <= 1e-15 * scale) | (small & (move >= 0.5 * last[open_]))
        last[open_] = move
        open_ = open_[~done & np.isfinite(move)]
        if not len(open_):
            break
    unfinished = np.concatenate([open_, np.flatnonzero(~np.isfinite(last))])
    theta[unfinished] = np.nan
    return theta, last


def _terms(
    family: str, X: Array, y: Array, s: Array, eta: Array, penalty: Array
) -> tuple[Array, Array]:
    """Return residuals (B, K, n) and Hessians (B, K q, K q)."""
    B, K, _ = eta.shape
    q = X.shape[1]
    if family == "multinomial":
        e = np.exp(eta - eta.max(axis=1, keepdims=True))
        p = e / e.sum(axis=1, keepdims=True)
        own = np.eye(K)[y[:, 0].astype(int)].T
        others = np.where(own, 0.0, p).sum(axis=1, keepdims=True)
        H = np.empty((B, K, q, K, q))
        for k in range(K):
            for j in range(k + 1):
                w = p[:, k] * ((1.0 - p[:, k]) if j == k else -p[:, j])
                H[:, k, :, j, :] = H[:, j, :, k, :] = _gram(X, s * w)
            H[:, k, :, k, :] += np.diag(penalty)
        free = np.flatnonzero(penalty == 0)
        tau = np.einsum("bkjkj->bj", H)[:, free] / K**2
        H[:, :, free, :, free] += np.moveaxis(tau, 0, 1)[:, :, None, None]
        r = s[:, None] * np.where(own, -others, p)
        return r, H.reshape(B, K * q, K * q)
    flat, target = eta[:, 0], y[:, 0]
    if isinstance(family, ref.SmoothHinge):
        z, t = (1 - target * flat) / family.temperature, family.temperature
        p = ref.mean("binomial", z)
        H = _gram(X, s * p * ref.mean("binomial", -z) / t) + np.diag(penalty)
        return (-s * target * p)[:, None], H
    mean = ref.mean(family, flat)
    if family == "binomial":
        r = (1 - target) * mean - target * ref.mean(family, -flat)
        w = mean * ref.mean(family, -flat)
    else:
        r, w = mean - target, np.ones_like(flat) if family == "gaussian" else mean
    return (s * r)[:, None], _gram(X, s * w) + np.diag(penalty)


def _rise(family: str, y: Array, s: Array, eta: Array, u: Array) -> Array:
    """Return the rise of the summed losses (B,) from eta to eta + u (B, K, n)."""
    totals = []
    for at in (eta, eta + u):
        with np.errstate(over="ignore", invalid="ignore"):
            if family == "multinomial":
                top = at.max(axis=1, keepdims=True)
                own = np.take_along_axis(at, y.T[None].astype(int), axis=1)
                losses = np.log(np.exp(at - top).sum(axis=1)) + (top - own)[:, 0]
            elif isinstance(family, ref.SmoothHinge):
                t = family.temperature
                losses = t * np.logaddexp(0, (1 - y[:, 0] * at[:, 0]) / t)
            elif family == "binomial":
                losses = np.logaddexp(0, at[:, 0]) - y[:, 0] * at[:, 0]
            else:
                losses = np.exp(at[:, 0]) - y[:, 0] * at[:, 0]
            totals.append(np.where(s > 0, s * losses, 0.0).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray(totals[1] - totals[0])


def _gram(X: Array, w: Array) -> Array:
    """Return X' diag(w_b) X (B, q, q)."""
    return np.asarray((X.T * w[:, None, :]) @ X)


def _solve(H: Array, g: Array) -> Array:
    """Return H^-1 g of each, NaN where H is singular."""
    try:
        return np.asarray(np.linalg.solve(H, g[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        out = np.full_like(g, np.nan)
        for b in range(len(g)):
            try:
                out[b] = np.linalg.solve(H[b], g[b])
            except np.linalg.LinAlgError:
                continue
        return out
