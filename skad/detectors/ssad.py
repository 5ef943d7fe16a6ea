"""SSAD: convex semi-supervised anomaly detection with kernels."""

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Annotated, Any, Literal

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning

from .._parameters import Count, NonNegative, Number, Positive, RandomState
from .._random import draw_seed
from .._scoring import VECTOR
from ..base import BaseDetector
from ._ssad_solver import solve

BLOCK = 32  # rows scored at once; few, because one row costs as much, and more are hardly faster
PREPARED = 4096  # rows that are scaled and centred at once
LARGEST = 1e150  # of a number that is squared, so that the square is finite
HUGE = 1e300  # of a number that is weighted and added
FAR = 1e7  # squared distance to the center, in widths, from which on differences are squared
SOME_ROWS = 250  # by which the magnitude of the kernel's values is known


class SSAD(BaseDetector):
    """Convex semi-supervised anomaly detection (SSAD).

    A one-class support vector machine with labels: unlabelled rows should score above a
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
        Least total weight of the labelled rows; without effect where there are none. 0 lets the
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

    With few labels it is ahead of a classifier with the same kernel (logistic regression on
    Nystroem features, unlabelled rows taken as normals), with many behind it: average precision
    over 24 tables, seed 0, .571 against .519 with 1 % of the anomalies labelled, .651 against .647
    with 5 %, .651 against .702 with 10 %. With more than some ten labelled anomalies take
    `ClassifierDetector` with such a classifier.

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
        X = np.ascontiguousarray(X, dtype=np.float64)  # scores must not depend on its layout
        if self.kernel == "precomputed" and X.shape[0] != X.shape[1]:
            raise ValueError(f"A precomputed kernel must be square to fit, got shape {X.shape}.")
        rows = self._sample(y)
        kernel = _Kernel(self.kernel, self.gamma, self.degree, self.coef0, X)
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
        self.rho_ = float(solution.rho) * training.unit
        self.margin_ = float(solution.gamma) * training.unit
        self.n_iter_ = max(solution.n_iter, 1)
        self._kernel, self._columns = kernel, kernel.right(self.support_vectors_, full=True)
        return self._score_samples(X)

    def _score_samples(self, X):
        X = np.ascontiguousarray(X, dtype=np.float64)
        kernel, weights = self._kernel, self.dual_coef_[0]
        if kernel.kernel == "precomputed":
            return _weighted_sums(lambda part: _tame(part[:, self.support_]), X, weights)
        if isinstance(self._columns, torch.Tensor):
            weights = np.pad(weights, (0, self._columns.shape[1] - len(weights)))
        product = partial(kernel.product, right=self._columns)
        parts = (kernel.left(X[i : i + PREPARED]) for i in range(0, len(X), PREPARED))
        return np.concatenate([_weighted_sums(product, part, weights) for part in parts])

    def __getstate__(self):
        # Tensors are made anew on loading, for skops refuses them.
        return {name: value for name, value in super().__getstate__().items() if name != "_columns"}

    def __setstate__(self, state):
        super().__setstate__(state)
        if "_kernel" in state:
            self._columns = self._kernel.right(self.support_vectors_, full=True)

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


class _Kernel:
    """A kernel between two sets of rows, each prepared once: ``product(left(A), right(B))``.

    "rbf" and "poly" see rows in units of the width ``1 / sqrt(gamma)``: what is squared is a
    ratio, however large or small the numbers of a column are.
    """

    def __init__(self, kernel, gamma, degree, coef0, X):
        self.kernel, self.degree, self.coef0 = kernel, degree, coef0
        if kernel not in ("rbf", "poly"):
            return
        self.unit, self.center, spread = _describe(X)
        spread = spread * self.unit
        if gamma == "scale":
            unit, _, one = _describe(X.reshape(-1, 1))
            spread = np.full(X.shape[1], one * unit)
        elif gamma == "auto":
            spread = np.ones(X.shape[1])
        elif gamma != "columns":
            spread = np.array([1 / np.sqrt(gamma)])
        top = spread.max() if spread.max() > 0 else 1.0
        with np.errstate(over="ignore"):
            self.scale = self.unit / top / max(np.sqrt(np.sum((spread / top) ** 2)), 1.0)
        self.scale = np.minimum(self.scale * (np.sqrt(2) if kernel == "rbf" else 1), LARGEST)
        if kernel == "poly":
            self.center = 0.0

    def _in_widths(self, A):
        with np.errstate(over="ignore"):
            A = np.clip(A / self.unit, -LARGEST, LARGEST)
        return np.clip((A - self.center) * self.scale, -LARGEST, LARGEST)

    def _augment(self, A):
        # exp(-gamma |a - b|^2) from one matrix product: [a', |a'|^2, 1] . [b', 1, |b'|^2] is the
        # exponent, with a' = sqrt(2 gamma) a. Rows are centred first: far from the origin the
        # squares would swamp the distance.
        A = self._in_widths(A)
        return A, -0.5 * np.einsum("ij,ij->i", A, A)[:, None], np.ones((len(A), 1))

    def left(self, A):
        if self.kernel == "rbf":
            A, squares, ones = self._augment(A)
            return np.hstack([A, squares, ones])
        if self.kernel == "poly":
            return self._in_widths(A)
        return np.clip(A, -LARGEST, LARGEST) if self.kernel == "linear" else A

    def right(self, B, full=False):
        """Prepare rows for the right side; `full` adds columns of 0, for `product` to round alike.

        How a matrix product rounds columns that do not fill a vector register may depend on the
        row's place.
        """
        if self.kernel == "rbf":
            B, squares, ones = self._augment(B)
            B = np.hstack([B, ones, squares])
        elif self.kernel in ("linear", "poly"):
            B = self.left(B)
        else:
            return B
        columns = np.pad(B.T, ((0, 0), (0, -len(B) % VECTOR if full else 0)))
        return torch.from_numpy(np.ascontiguousarray(columns))

    def product(self, left, right):
        """Kernel matrix, as a tensor.

        torch's exp is faster than numpy's; small blocks must stay in its pool of threads, for two
        pools in turn wait for each other. Large ones multiply faster in numpy on some CPUs.
        """
        if callable(self.kernel):
            return _tame(np.array(self.kernel(left, right), dtype=np.float64))
        small = len(left) <= BLOCK
        result = torch.from_numpy(left) @ right if small else torch.from_numpy(left @ right.numpy())
        if self.kernel == "rbf":
            far = left[:, -2] < -FAR / 2
            if np.count_nonzero(far):  # rounding would swamp distances between such rows
                squares = cdist(left[far, :-2], right[:-2].numpy().T, "sqeuclidean")
                result[torch.from_numpy(far)] = torch.from_numpy(-0.5 * squares)
            return result.exp_()
        if self.kernel == "poly":
            result.add_(self.coef0).pow_(self.degree)
        return result.clamp_(-HUGE, HUGE)


def _describe(X):
    """Find a power of two near each column's largest value; in that unit its mean and spread."""
    unit = np.ldexp(1.0, np.frexp(np.abs(X).max(axis=0))[1] - 1)
    X = X / unit
    center = np.clip(X.mean(axis=0), X.min(axis=0), X.max(axis=0))  # exact for constant columns
    return unit, center, np.sqrt(np.mean((X - center) ** 2, axis=0))


def _tame(values):
    """Make a tensor of finite numbers of kernel values that the user computed."""
    if np.isnan(values).any():
        raise ValueError("The kernel gave NaN: scale the columns, or correct the kernel.")
    return torch.from_numpy(np.clip(values, -HUGE, HUGE))


class _TrainingKernel:
    """The kernel matrix of some training rows, as the solver asks for it: in blocks.

    Its unit is a power of two near the largest value of some rows, so that the solver need not
    fear numbers that are huge or tiny.
    """

    def __init__(self, kernel, X, rows):
        self.kernel, self.X, self.rows, self.unit = kernel, X, rows, 1.0
        self.left = None if kernel.kernel == "precomputed" else kernel.left(X[rows])
        some = np.unique(np.linspace(0, len(rows) - 1, SOME_ROWS).astype(int))
        largest = np.abs(self.block(some, some)).max()
        self.unit = np.ldexp(1.0, np.frexp(largest)[1] - 1) if largest > 0 else 1.0

    def block(self, rows, columns):
        if self.left is None:
            return self._in_unit(self.X[np.ix_(self.rows[rows], self.rows[columns])])
        right = self.kernel.right(self.X[self.rows[columns]])
        return self._in_unit(self.kernel.product(self.left[rows], right).numpy())

    def times(self, rows, columns, weights):
        chosen = self.rows[columns]
        if self.left is None:
            return self._in_unit(
                _weighted_sums(
                    lambda part: _tame(self.X[np.ix_(part, chosen)]), self.rows[rows], weights
                )
            )
        right = self.kernel.right(self.X[chosen])
        return self._in_unit(
            _weighted_sums(lambda part: self.kernel.product(part, right), self.left[rows], weights)
        )

    def _in_unit(self, values):
        if self.kernel.kernel == "rbf":
            return values
        values = values / self.unit
        if not np.abs(values).max(initial=0) <= LARGEST:
            raise ValueError(
                "The kernel's values are too large to solve for: scale the columns, or lower "
                "gamma or degree."
            )
        return values


def _weighted_sums(kernel_rows, rows, weights):
    """Kernel matrix times weights, in blocks of one shape so that a row's sum is its own.

    Matrix products of other shapes may add up in another order.
    """
    sums, weights = np.empty(len(rows)), torch.from_numpy(weights.copy())
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        n = len(part)
        if n < BLOCK:
            part = np.concatenate([part, np.repeat(part[:1], BLOCK - n, axis=0)])
        sums[start : start + n] = (kernel_rows(part) @ weights).numpy()[:n]
    return sums
