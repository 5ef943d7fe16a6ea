"""A committee: the mean of several detectors' standardised scores."""

from dataclasses import field
from typing import Annotated, Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.parallel import Parallel, delayed

from .._clones import HUGE, fit_clone, median_and_spread, scores_of
from .._parameters import NJobs, RandomState
from .._random import draw_seed, member_seeds
from ..base import BaseDetector
from ..detectors.deep_sad import DeepSAD
from ..detectors.esad import ESAD
from .classifier import ClassifierDetector

MANY = 30  # labelled anomalies from which gradient boosting is worth its vote


class VotingDetector(_BaseComposition, BaseDetector):
    """Combine detectors of different kinds: the mean of their standardised scores.

    Each part's scores, minus their median and divided by their standard deviation over the
    training rows not labelled as anomalies, are averaged. Parts that err on different rows make a
    committee that is better than each of them.

    Parameters
    ----------
    estimators : list of (str, estimator) tuples, default=None
        Names and detectors: anything with `fit` and `score_samples`, higher meaning more normal,
        or "drop". None: `DeepSAD` and `ClassifierDetector` as they come, `ESAD` of four
        networks, a logistic regression on 300 Nystroem features of an RBF kernel and, from 30
        labelled anomalies on, gradient boosting.
    weights : array-like of shape (n_estimators,), default=None
        Weights of the parts, dropped ones included. None: all the same; with ``estimators=None``
        trees and boosting weigh twice as much as each of the other parts.
    limits : array-like of shape (n_estimators,), default=None
        Higher standardised scores of a part count as its limit, dropped parts included: a part
        with a limit may accuse a row, but not acquit it. None: no limits (inf); with
        ``estimators=None`` -0.5 for the classifiers, half a standard deviation below the median,
        since what is unlike the labelled anomalies may be an anomaly of another kind.
    n_jobs : int, default=None
        Fits at the same time, as in scikit-learn; results do not depend on it, up to rounding.
    random_state : int, RandomState instance or None, default=None
        Seeds what the parts leave unseeded, each by its own seed; the first part's is this one.
    {parameters}

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted parts, without the dropped ones.
    named_estimators_ : Bunch
        The fitted parts by name.
    locations_, spreads_ : ndarray of shape (n_estimators,)
        Median and standard deviation of each part's scores.
    weights_ : ndarray of shape (n_estimators,)
        Weights of the fitted parts, which sum to 1.
    limits_ : ndarray of shape (n_estimators,)
        Limits of the fitted parts.
    {attributes}

    See Also
    --------
    sklearn.ensemble.VotingClassifier : The same for classifiers.

    References
    ----------
    .. [1] Aggarwal, C. C., and Sathe, S. (2017). Outlier Ensembles: An Introduction. Springer.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad import ClassifierDetector, NormalOnlyDetector, VotingDetector
    >>> X = np.r_[np.random.default_rng(0).normal(size=(200, 2)), [[5, 5], [6, 5], [5, 6]]]
    >>> y = np.r_[np.zeros(200, dtype=int), [-1, -1, -1]]
    >>> detector = VotingDetector(
    ...     [("trees", ClassifierDetector()), ("forest", NormalOnlyDetector(IsolationForest()))],
    ...     random_state=0,
    ... )
    >>> detector.fit(X, y).predict([[0.0, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    """

    estimators: list | None = field(default=None, kw_only=False)
    weights: Annotated[Any, "array-like", None] = None
    limits: Annotated[Any, "array-like", None] = None
    n_jobs: NJobs = None
    random_state: RandomState = None

    def get_params(self, deep=True):
        """Get the parameters, and with `deep` the parts by name and their parameters.

        Parameters
        ----------
        deep : bool, default=True

        Returns
        -------
        dict
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params):
        """Set parameters, parts by name, and parameters of parts as ``name__parameter``.

        Parameters
        ----------
        **params : keyword arguments
            A part of "drop" is left out.

        Returns
        -------
        self : object
        """
        return self._set_params("estimators", **params)

    def _fit(self, X, y):
        parts, weights, limits = self._checked_parts(y)
        seeds = member_seeds(draw_seed(self.random_state), len(parts))
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_clone)(part, X, y, np.arange(len(y)), seed)
            for (_, part), seed in zip(parts, seeds, strict=True)
            if part != "drop"
        )
        fitted = [k for k, (_, part) in enumerate(parts) if part != "drop"]
        self.named_estimators_ = Bunch(
            **{parts[k][0]: part for k, part in zip(fitted, self.estimators_, strict=True)}
        )
        self.weights_ = weights[fitted] / weights[fitted].sum()
        self.limits_ = limits[fitted]
        scores = np.array([scores_of(part, X) for part in self.estimators_])
        usual = [median_and_spread(part) for part in scores[:, y != -1]]
        self.locations_, self.spreads_ = np.transpose(usual)
        return self._combined(scores)

    def _score_samples(self, X):
        return self._combined(scores_of(part, X) for part in self.estimators_)

    def _combined(self, scores):
        """Weighted mean of the parts' scores, standardised and limited."""
        total = 0.0
        scales = zip(self.locations_, self.spreads_, self.weights_, self.limits_, strict=True)
        for part, (location, spread, weight, limit) in zip(scores, scales, strict=True):
            total = total + weight * np.minimum((part - location) / spread, limit)
        return np.clip(total, -HUGE, HUGE)

    def _checked_parts(self, y):
        """Return the named parts, their weights and limits, once they make a committee."""
        parts, weights, limits = self.estimators, self.weights, self.limits
        if parts is None:
            kernel = Nystroem(n_components=min(300, len(y)))
            classifier = make_pipeline(StandardScaler(), kernel, LogisticRegression(max_iter=1000))
            boosting = HistGradientBoostingClassifier(max_leaf_nodes=8, early_stopping=False)
            many = np.sum(y == -1) >= MANY
            parts = [
                ("deep_sad", DeepSAD()),
                ("esad", ESAD(n_estimators=4)),
                ("trees", ClassifierDetector()),
                ("kernel", ClassifierDetector(classifier)),
                ("boosting", ClassifierDetector(boosting) if many else "drop"),
            ]
            weights = [1, 1, 2, 1, 2] if weights is None else weights
            limits = [np.inf, np.inf, -0.5, -0.5, -0.5] if limits is None else limits
        pairs = all(isinstance(p, (tuple, list)) and len(p) == 2 for p in parts)
        if not parts or not pairs or not all(isinstance(name, str) for name, _ in parts):
            raise ValueError(f"estimators must be a list of (name, detector) pairs, got {parts!r}.")
        try:
            self._validate_names([name for name, _ in parts])
        except ValueError as error:
            raise ValueError(f"estimators have names that cannot be used: {error}") from error
        for name, part in parts:
            if part != "drop" and not (hasattr(part, "fit") and hasattr(part, "score_samples")):
                raise ValueError(
                    f"estimators must be detectors with fit and score_samples, or 'drop'; "
                    f"{name!r} is {part!r}."
                )
        weights = np.asarray([1] * len(parts) if weights is None else weights)
        limits = np.asarray([np.inf] * len(parts) if limits is None else limits)
        used = np.array([part != "drop" for _, part in parts])
        if not _are_numbers(weights, len(parts)) or np.isinf(weights).any() or weights.min() < 0:
            raise ValueError(
                f"weights must be {len(parts)} numbers, none of them negative, got "
                f"{self.weights!r}."
            )
        if not _are_numbers(limits, len(parts)):
            raise ValueError(f"limits must be {len(parts)} numbers, got {self.limits!r}.")
        if not weights[used].sum() > 0:
            raise ValueError("estimators and weights leave no part to vote.")
        return parts, weights.astype(np.float64), limits.astype(np.float64)


def _are_numbers(values, n):
    return values.dtype.kind in "iuf" and values.shape == (n,) and not np.isnan(values).any()
