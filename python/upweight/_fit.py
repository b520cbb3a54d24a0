# SPDX-License-Identifier: BSD-3-Clause
"""Fit a model by Newton's method, to the rounding level of its own objective."""

from __future__ import annotations

from typing import Any

from ._config import check_backend
from ._model import LinearModel
from ._place import place_of, resolve_backend
from ._training import prepare, with_kernel
from ._validate import check_count, check_number, resolve_threads


def fit(
    X: Any,
    y: Any,
    *,
    family: str = "gaussian",
    l2: float = 0.0,
    fit_intercept: bool = True,
    sample_weight: Any = None,
    temperature: float | None = None,
    kernel: Any = None,
    gamma: Any = None,
    coef0: float = 1.0,
    degree: int = 3,
    max_iter: int = 100,
    backend: str = "auto",
    n_threads: int | None = None,
) -> LinearModel:
    """Fit a model that is linear in its parameters.

    Minimises ``sum_i s_i l(y_i, x_i' theta) + 1/2 l2 |coef|^2`` (a sum, not a mean; the
    intercept is not penalised) by Newton's method with a line search. Convergence is
    quadratic, and the steps end when one moves no linear predictor by more than 1e-6,
    which leaves the optimum about 1e-12 away. A smooth hinge is cooled: fitted at a
    temperature of 1 first, then at lower ones, each from the optimum before.

    Parameters
    ----------
    X : array-like or scipy.sparse matrix of shape (n, p)
        Training rows; float32 stays float32 (sums are in float64), all else becomes
        float64. Sparse rows stay sparse: CSR is taken as it is, other formats (and
        pandas frames whose columns are all Sparse) become CSR once.
    y : array-like of shape (n,), or (n, K) for several gaussian targets
        Numbers, or labels of any sortable type for ``"binomial"`` and
        ``"smooth_hinge"`` (two classes) and ``"multinomial"`` (two or more).
    family : {"gaussian", "binomial", "multinomial", "poisson", "smooth_hinge"}
        The loss: squares / 2, logistic, softmax, Poisson with a log link, or the hinge
        of a support vector machine made smooth, ``t log(1 + exp((1 - y eta) / t))``
        for y = -1 or 1 and the temperature t (Koh and Liang 2017, section 4.3).
    l2 : float, default 0
        Penalty. scikit-learn's ``C`` is ``1 / l2``, its Ridge ``alpha`` is `l2`.
    fit_intercept : bool, default True
        Whether to append a column of ones.
    sample_weight : array-like of shape (n,), optional
        Row weights s_i >= 0.
    temperature : float, optional
        The t of ``"smooth_hinge"``, in units of the linear predictor: 0.001 by default.
        The loss is within t log 2 of the hinge. An error with another family.
    kernel : {None, "linear", "rbf", "poly", "precomputed"} or callable, optional
        Fit f(x) = sum_i a_i k(x, x_i) + intercept with the penalty 1/2 l2 a'Ka instead
        (needs ``l2 > 0``). ``"rbf"`` is ``exp(-gamma |x - y|^2)``, ``"poly"`` is
        ``(gamma x . y + coef0)^degree``. ``"precomputed"``: X is the (n, n) matrix of
        kernels, and test rows are their kernels with the n training rows. A callable
        takes two matrices of rows and returns the matrix of their kernels.
    gamma : float, "scale" or "auto", optional
        Of ``"rbf"`` and ``"poly"``: 1 / (p Var X) for None and ``"scale"``, 1 / p for
        ``"auto"``.
    coef0, degree : float, int
        Of ``"poly"``.
    max_iter : int, default 100
        Newton steps after which NotConvergedError is raised; of each temperature on
        the way, for a smooth hinge.
    backend : {"auto", "cpu", "cuda"}
        ``"auto"`` is ``"cuda"`` for an `X` that lies in a GPU's memory (CuPy, PyTorch,
        anything with DLPack), else ``"cpu"``.
    n_threads : int, optional
        Threads; all usable cores by default. The result does not depend on it.

    Returns
    -------
    LinearModel

    Raises
    ------
    ValueError
        For arguments that do not fit together, collinear columns or separable classes
        with ``l2=0``.
    NotConvergedError
        If `max_iter` steps were not enough.

    Examples
    --------
    >>> import upweight as uw
    >>> model = uw.fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], family="gaussian")
    >>> round(float(model.coef_[0]), 6), round(model.intercept_, 6)
    (2.0, 1.0)
    """
    training = prepare(X, y, family, fit_intercept, sample_weight, temperature)
    check_backend(backend, ("cpu", "cuda"))
    given = training.X
    penalty = check_number(l2, "l2")
    if kernel is not None:
        if penalty == 0:
            raise ValueError("l2: expected a number > 0 for a kernel model, got 0")
        training = with_kernel(training, kernel, gamma, coef0, degree)
    elif gamma is not None:
        raise ValueError("gamma: expected kernel='rbf' or 'poly' with it, got none")
    return training.fit(
        penalty,
        training.start(),
        check_count(max_iter, "max_iter", most=2**31 - 1, what="Newton steps"),
        place_of(resolve_backend(backend, given), given, resolve_threads(n_threads)),
    )
