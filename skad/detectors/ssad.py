"""SSAD: convex semi-supervised anomaly detection with kernels."""

import warnings
from numbers import Integral, Real
from typing import Annotated, Any, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning

from .._parameters import Count, NonNegative, Number, Positive, RandomState
from .._random import draw_seed
from ..base import BaseDetector
from ._ssad_solver import solve

CHUNK = 256  # rows scored at once: the block of the kernel matrix stays in the cache


class SSAD(BaseDetector):
    """Convex semi-supervised anomaly detection (SSAD).

    A one-class support vector machine that heeds labels: unlabelled rows should score above a
    threshold rho, labelled normals above rho + gamma and labelled anomalies below rho - gamma,
    where `kappa` says how much the margin gamma is worth. Without labels it is
    `sklearn.svm.OneClassSVM` of the same kernel and `nu`, up to the scale of its scores.

    Columns are not scaled inside; put a scaler in front, as for any kernel method.

    Parameters
    ----------
    kernel : {"rbf", "linear", "poly", "precomputed"} or callable, default="rbf"
        A callable takes two matrices of rows and returns their kernel matrix. With "precomputed",
        X is the kernel matrix: (n_samples, n_samples) in `fit`, (n_rows, n_samples) in scoring.
    gamma : {"columns", "scale", "auto"} or float, default="columns"
        Coefficient of "rbf" and "poly". "columns" is one over the sum of the columns' variances;
        "scale", scikit-learn's ``1 / (n_features * X.var())``, is the same when all columns have
        one mean and smaller when they do not; "auto" is ``1 / n_features``.
    degree : int, default=3
        Degree of "poly".
    coef0 : float, default=0.0
        Constant of "poly".
    nu : float in (0, 1], default=0.3
        About the share of unlabelled rows that may fall below the threshold, hidden anomalies
        for instance; sets ``C_unlabeled = 1 / (nu * n_unlabeled)``.
    kappa : float, default=1.0
        Total weight that the labelled rows get at least; plays no part without labels. 0 lets the
        solver ignore them.
    C_unlabeled : float, default=None
        Largest weight of an unlabelled row. None: set by `nu`. The paper's code has 1, a hard
        margin that trusts every unlabelled row.
    C_normal, C_anomaly : float, default=1.0
        Largest weight of a labelled normal and of a labelled anomaly. Lower them, to
        ``1 / (nu * n_labeled)`` say, when labels may be wrong.
    tol : float, default=1e-6
        The solver stops when no row violates the optimality conditions by more than tol times
        ||w||^2, the weighted mean of the training scores (weights add up to 1 here, not to
        nu * n as in libsvm).
    max_iter : int, default=1000
        Most Newton steps of the solver.
    max_samples : int, default=10000
        Most rows to solve for. From longer tables every labelled row and a random sample of the
        unlabelled ones are taken.
    contamination : float in (0, 0.5], default=0.1
        Expected share of anomalies among the unlabelled rows; sets `offset_`.
    random_state : int, RandomState instance or None, default=None
        Seed of the sample that `max_samples` asks for; nothing else is random.

    Attributes
    ----------
    offset_ : float
        Threshold on `score_samples`, from `contamination`.
    rho_, margin_ : float
        The rho and gamma of the optimum; ``rho_ - score_samples(X)`` is the paper's anomaly score.
    support_ : ndarray of shape (n_support,)
        Rows of the training set with a weight.
    support_vectors_ : ndarray of shape (n_support, n_features)
        These rows; (n_support, 0) with a precomputed kernel.
    dual_coef_ : ndarray of shape (1, n_support)
        Their weights, negative for labelled anomalies; the sum is 1.
    n_iter_ : int
        Newton steps over all rows solved for.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    Raises
    ------
    ValueError
        When `kappa` and the weights' bounds contradict each other.

    Notes
    -----
    Weights add up to 1 with the sign of the label, and those of labelled rows to `kappa` or more.
    So with `kappa` = 1 and labelled normals but no labelled anomaly, the unlabelled rows are left
    without weight: lower `kappa` when the labelled normals are few.

    References
    ----------
    N. Goernitz, M. Kloft, K. Rieck, U. Brefeld. Toward supervised anomaly detection. Journal of
    Artificial Intelligence Research 46 (2013), 235-262. https://arxiv.org/abs/1401.6424

    Examples
    --------
    >>> import numpy as np
    >>> from skad import SSAD
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> X[:10] += 4
    >>> y = np.zeros(200, dtype=int)
    >>> y[:3] = -1
    >>> detector = SSAD(contamination=0.05).fit(X, y)
    >>> detector.predict([[4.0, 4.0], [0.0, 0.0]])
    array([-1,  1])
    """

    kernel: Literal["rbf", "linear", "poly", "precomputed"] | Annotated[Any, callable] = "rbf"
    gamma: Literal["columns", "scale", "auto"] | Positive = "columns"
    degree: Count = 3
    coef0: Annotated[float, Number(Real, None, None, closed="neither")] = 0.0
    nu: Annotated[float, Number(Real, 0, 1, closed="right")] = 0.3
    kappa: NonNegative = 1.0
    C_unlabeled: Positive | None = None
    C_normal: Positive = 1.0
    C_anomaly: Positive = 1.0
    tol: Positive = 1e-6
    max_iter: Count = 1000
    max_samples: Annotated[int, Number(Integral, 2, None, closed="left")] = 10000
    random_state: RandomState = None

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.kernel == "precomputed"
        return tags

    def _fit(self, X, y):
        X = np.ascontiguousarray(X, dtype=np.float64)  # its layout must not change a digit
        if self.kernel == "precomputed" and X.shape[0] != X.shape[1]:
            raise ValueError(f"A precomputed kernel must be square to fit, got shape {X.shape}.")
        rows = self._sample(y)
        kernel = self._make_kernel(X)
        training = _TrainingKernel(kernel, X, rows)
        y = y[rows]
        solution = solve(training, y, self._box(y), self.kappa, self.tol, self.max_iter)
        if solution.violation > self.tol:
            warnings.warn(
                f"SSAD stopped after {solution.n_iter} steps at a violation of "
                f"{solution.violation:.1e}, above tol={self.tol:g}. Raise max_iter or tol, or "
                "scale the columns.",
                ConvergenceWarning,
                stacklevel=4,
            )
        used = solution.beta != 0
        self.support_ = rows[used]
        self.dual_coef_ = solution.beta[None, used]
        self.support_vectors_ = X[self.support_, : 0 if self.kernel == "precomputed" else None]
        self.rho_, self.margin_ = float(solution.rho), float(solution.gamma)
        self.n_iter_ = max(solution.n_iter, 1)
        self._kernel = kernel
        return self._score_samples(X)

    def _score_samples(self, X):
        X = np.ascontiguousarray(X, dtype=np.float64)
        if self.kernel == "precomputed":
            return _weighted_sums(lambda part: part[:, self.support_], X, self.dual_coef_[0])
        kernel = self._kernel
        columns = kernel.right(self.support_vectors_)
        return _weighted_sums(
            lambda part: kernel.product(kernel.left(part), columns), X, self.dual_coef_[0]
        )

    def _sample(self, y):
        """Rows to solve for: all, or the labelled ones and a sample of the unlabelled."""
        unlabeled = np.flatnonzero(y == 0)
        n_kept = max(self.max_samples - (len(y) - len(unlabeled)), min(2, len(unlabeled)))
        if n_kept >= len(unlabeled):
            return np.arange(len(y))
        rng = np.random.default_rng(draw_seed(self.random_state))
        kept = rng.choice(unlabeled, n_kept, replace=False)
        return np.sort(np.concatenate([np.flatnonzero(y), kept]))

    def _box(self, y):
        """Largest weight of each row."""
        n_unlabeled = max(np.sum(y == 0), 1)
        C_unlabeled = 1 / (self.nu * n_unlabeled) if self.C_unlabeled is None else self.C_unlabeled
        return np.where(y == 0, C_unlabeled, np.where(y > 0, self.C_normal, self.C_anomaly))

    def _make_kernel(self, X):
        gamma = self.gamma
        if gamma == "auto":
            gamma = 1.0 / X.shape[1]
        elif isinstance(gamma, str):
            spread = X.var(axis=0).sum() if gamma == "columns" else X.shape[1] * X.var()
            gamma = 1.0 / spread if spread > 0 else 1.0
        return _Kernel(self.kernel, gamma, self.degree, self.coef0, X.mean(axis=0))


class _Kernel:
    """A kernel between two sets of rows, each prepared once: ``product(left(A), right(B))``."""

    def __init__(self, kernel, gamma, degree, coef0, center):
        self.kernel, self.gamma, self.degree, self.coef0 = kernel, gamma, degree, coef0
        self.center = center

    def _augment(self, A):
        # exp(-gamma |a - b|^2) from one matrix product: [a', |a|^2, 1] . [b', 1, |b|^2] is the
        # exponent, with a' = sqrt(2 gamma) a. Rows are centred first: far from the origin the
        # squares would drown the distance.
        A = (A - self.center) * np.sqrt(2 * self.gamma)
        return A, -0.5 * np.einsum("ij,ij->i", A, A)[:, None], np.ones((len(A), 1))

    def left(self, A):
        if self.kernel != "rbf":
            return A
        A, squares, ones = self._augment(A)
        return np.hstack([A, squares, ones])

    def right(self, B):
        if callable(self.kernel):
            return B
        if self.kernel != "rbf":
            return B.T
        B, squares, ones = self._augment(B)
        return np.ascontiguousarray(np.hstack([B, ones, squares]).T)

    def product(self, left, right):
        if callable(self.kernel):
            return np.asarray(self.kernel(left, right), dtype=np.float64)
        result = left @ right
        # torch's exp and pow use vector instructions, numpy's do not on many CPUs.
        if self.kernel == "rbf":
            torch.from_numpy(result).exp_()
        elif self.kernel == "poly":
            torch.from_numpy(result).mul_(self.gamma).add_(self.coef0).pow_(self.degree)
        return result


class _TrainingKernel:
    """The kernel matrix of some training rows, as the solver asks for it: in blocks."""

    def __init__(self, kernel, X, rows):
        self.kernel, self.X, self.rows = kernel, X, rows
        self.left = None if kernel.kernel == "precomputed" else kernel.left(X[rows])

    def block(self, rows, columns):
        if self.left is None:
            return self.X[np.ix_(self.rows[rows], self.rows[columns])]
        right = self.kernel.right(self.X[self.rows[columns]])
        return self.kernel.product(self.left[rows], right)

    def times(self, rows, columns, weights):
        if self.left is None:
            chosen = self.rows[columns]
            return _weighted_sums(
                lambda part: self.X[np.ix_(part, chosen)], self.rows[rows], weights
            )
        right = self.kernel.right(self.X[self.rows[columns]])
        return _weighted_sums(
            lambda part: self.kernel.product(part, right), self.left[rows], weights
        )


def _weighted_sums(kernel_rows, rows, weights):
    """Kernel matrix times weights, in chunks of one size so that a row's sum is its own.

    Matrix products of other shapes may add up in another order.
    """
    sums = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        n = len(part)
        if n < CHUNK:
            part = np.concatenate([part, np.repeat(part[:1], CHUNK - n, axis=0)])
        sums[start : start + n] = (kernel_rows(part) @ weights)[:n]
    return sums
