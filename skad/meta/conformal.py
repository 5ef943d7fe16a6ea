"""Any detector's score with a promised false-alarm rate."""

import warnings
from numbers import Integral
from typing import Annotated, Literal

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.frozen import FrozenEstimator
from sklearn.utils import _safe_indexing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from .._clones import HUGE, fit_clone, scores_of
from .._labels import Unlabeled, check_training_labels, stands_for_normal
from .._parameters import Fraction, NJobs, Number, check_value
from ..base import unchanged_on_error
from ..exceptions import ThresholdWarning
from ._base import MetaDetector


class ConformalDetector(MetaDetector):
    """Turn any detector's score into an alarm with a promised false-alarm rate.

    The detector is fitted on one part of the rows and calibrated on another. A new row's conformal
    p-value is the share of calibration rows, itself included, that look no more normal than it
    does::

        p(x) = (1 + number of calibration rows with a score of at most s(x)) / (n + 1),

    and the row is flagged where p <= `alpha`, ties included.

    Parameters
    ----------
    estimator : estimator
        Anything with `fit` and `score_samples`, higher meaning more normal. A
        `sklearn.frozen.FrozenEstimator` is not fitted again, so that all rows calibrate it.
    alpha : float in (0, 1), default=0.05
        The false-alarm rate to keep to.
    method : {"split", "cross"}, default="split"
        "split": one detector; the rows held out calibrate it. "cross": every row calibrates the
        detector of the fold that it was left out of; better for few rows, `cv` times the cost.
    calibration_size : float in (0, 1), default=0.25
        Share of the normal and unlabelled rows that "split" holds out.
    cv : int, default=5
        Number of folds of "cross".
    n_jobs : int, default=None
        Fits at the same time, as in scikit-learn; results do not depend on it, up to rounding.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Calibrate on unlabelled rows and labelled normals, or on labelled normals alone.
    random_state : int, RandomState instance or None, default=None
        Seed of the split; also seeds what `estimator` leaves unseeded.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted clones of `estimator`: one for "split", one per fold for "cross".
    calibration_scores_ : list of ndarrays
        The sorted scores of the rows that calibrate each of them.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``; 0 for "cross".
    n_features_in_ : int
        Number of features seen by the detectors, if they tell.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by the detectors, if they tell.

    See Also
    --------
    TunedThresholdDetector : A threshold from labelled anomalies, with no promise.

    Notes
    -----
    *What is promised.* Let a new normal row be exchangeable with the calibration rows. Then
    "split" flags it with a probability of at most `alpha`, whatever the detector and the data;
    "cross" with at most 2 `alpha` (plus a term of the order of folds / rows), in practice about
    `alpha`. The probability is over the draw of the calibration rows as well: the rate of one
    fitted "split" detector varies around its mean as a Beta(r, n + 1 - r) variable, where r is
    the number of p-values that are at most `alpha`.

    *Hidden anomalies* among the calibration rows score low and push p-values up: false alarms
    become rarer than promised, and so do true ones. When their share exceeds `alpha`, the
    threshold lies among them: raise `alpha`, or calibrate on labelled normals alone.

    *Too few rows.* No p-value is below 1 / (n + 1). With fewer than 1 / alpha - 1 calibration rows
    nothing is flagged, and a `ThresholdWarning` says how many are needed.

    *A new* `alpha` needs no new fit: ``detector.set_params(alpha=0.01).fit_threshold()``.

    References
    ----------
    Laxhammar and Falkman, "Conformal prediction for distribution-independent anomaly detection in
    streaming vessel data", StreamKDD 2010. Bates, Candes, Lei, Romano and Sesia, "Testing for
    outliers with conformal p-values", Annals of Statistics 51 (2023). Vovk, "Cross-conformal
    predictors", Annals of Mathematics and Artificial Intelligence 74 (2015).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad import ConformalDetector
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> detector = ConformalDetector(IsolationForest(), alpha=0.02, random_state=0).fit(X)
    >>> detector.predict([[0.0, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    >>> detector.p_values([[6.0, 6.0]])
    array([0.0099...])
    """

    unlabeled: Unlabeled = "as_normal"
    alpha: Fraction = 0.05
    method: Literal["split", "cross"] = "split"
    calibration_size: Fraction = 0.25
    cv: Annotated[int, Number(Integral, 2, None, closed="left")] = 5
    n_jobs: NJobs = None

    def _fit(self, X, y, seed):
        parts = self._calibration_parts(y, np.random.default_rng(seed))
        rests = [np.setdiff1d(np.arange(len(y)), part) for part in parts]
        self.estimators_ = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_clone)(self.estimator, X, y, rest, seed) for rest in rests
        )
        self.calibration_scores_ = [
            np.sort(scores_of(estimator, _safe_indexing(X, part)))
            for estimator, part in zip(self.estimators_, parts, strict=True)
        ]
        self._set_offset()
        return self.estimators_[0]

    def _calibration_parts(self, y, rng):
        """Row numbers that calibrate each detector; it is fitted on all the others."""
        rows = rng.permutation(np.flatnonzero(stands_for_normal(y, self.unlabeled)))
        if isinstance(self.estimator, FrozenEstimator) and len(rows):
            return [rows]
        if len(rows) < 2:
            raise ValueError(
                f"ConformalDetector needs at least 2 rows that stand for normals, got {len(rows)} "
                f"(n_samples={len(y)}, unlabeled={self.unlabeled!r}): pass or label more."
            )
        if self.method == "cross":
            return np.array_split(rows, min(self.cv, len(rows)))
        return [rows[: min(int(np.ceil(self.calibration_size * len(rows))), len(rows) - 1)]]

    def fit_threshold(self, X=None, y=None):
        """Move the threshold to the present `alpha`, without fitting the detector again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Fresh rows to calibrate on, for "split" only. None: keep the calibration scores.
        y : array-like of shape (n_samples,), default=None
            Their labels, as in `fit`.

        Returns
        -------
        self : object
            With a new `offset_`.

        Raises
        ------
        ValueError
            When there are fresh rows for several detectors, or none that stands for a normal.
        """
        check_is_fitted(self)
        self._validate_params()
        with unchanged_on_error(self):
            if X is not None:
                if len(self.estimators_) > 1:
                    raise ValueError(
                        "method='cross' calibrates on the rows it was fitted on: call "
                        "fit_threshold without X, or fit with method='split'."
                    )
                scores = scores_of(self.estimators_[0], X)
                normal = stands_for_normal(check_training_labels(y, len(scores)), self.unlabeled)
                if not normal.any():
                    raise ValueError(
                        "No row of X stands for a normal: label some (+1), or set "
                        "unlabeled='as_normal'."
                    )
                self.calibration_scores_ = [np.sort(scores[normal])]
            self._set_offset()
        return self

    def _set_offset(self):
        scores = np.sort(np.concatenate(self.calibration_scores_))
        n = len(scores)
        # Compared as p-values are, so that rounding cannot make the two differ.
        self._rank = int(np.sum(np.arange(1, n + 2) / (n + 1) <= self.alpha))
        self._lowest = -HUGE
        if self._rank and scores[self._rank - 1] > -HUGE:
            self.offset_ = float(scores[self._rank - 1]) if len(self.estimators_) == 1 else 0.0
            return
        needed = np.ceil(1 / max(self.alpha, 1e-300)) - 1
        cause = f"alpha={self.alpha} needs at least {needed:.15g} calibration rows, got {n}"
        if self._rank:
            cause = f"more than a share of alpha={self.alpha} of {n} rows scores minus infinity"
        self._rank = 0
        # Far below every score, yet near enough to leave decision_function its digits.
        finite = scores[np.abs(scores) < HUGE]
        self._lowest, highest = finite[[0, -1]] if len(finite) else (0.0, 0.0)
        self.offset_ = -1e6 * float(highest - self._lowest + abs(self._lowest))
        if len(self.estimators_) == 1:
            self.offset_ += float(self._lowest)
        warnings.warn(
            f"Nothing will be flagged: {cause}. Pass more rows, raise alpha or calibration_size, "
            "or set method='cross'.",
            ThresholdWarning,
            stacklevel=2,
        )

    def score_samples(self, X):
        """Score each row: the higher, the more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            "split": the inner score. "cross": the r-th largest of the gaps between the row's score
            and each calibration row's, both by the detector of that row's fold, where r is the
            number of p-values that are at most `alpha`. With one fold that is the inner score
            minus the threshold of "split".
        """
        check_is_fitted(self)
        scores = [scores_of(estimator, X) for estimator in self.estimators_]
        if len(scores) == 1:
            return scores[0]
        rank = max(self._rank, 1)
        lowest = [np.maximum(c[:rank], self._lowest) for c in self.calibration_scores_]
        gap = np.empty(len(scores[0]))
        chunk = 1 + 2**22 // sum(map(len, lowest))
        for start in range(0, len(gap), chunk):
            rows = slice(start, start + chunk)
            # Negated, so that the rank-th largest is the rank-th smallest.
            gaps = [np.subtract.outer(c, s[rows]) for s, c in zip(scores, lowest, strict=True)]
            gap[rows] = -np.partition(np.concatenate(gaps), rank - 1, axis=0)[rank - 1]
        return gap

    def decision_function(self, X):
        """Score each row relative to the threshold: negative exactly where p <= `alpha`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        decision = super().decision_function(X)
        return decision if self._rank else np.maximum(decision, 0)

    def p_values(self, X):
        """Conformal p-value of each row: small means anomalous.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            In [1 / (n + 1), 1] for n calibration rows.
        """
        check_is_fitted(self)
        n_lower = sum(
            np.searchsorted(calibration, scores_of(estimator, X), side="right")
            for estimator, calibration in zip(
                self.estimators_, self.calibration_scores_, strict=True
            )
        )
        return (1 + n_lower) / (1 + sum(map(len, self.calibration_scores_)))

    def predict_batch(self, X, *, fdr=0.05, method="bh"):
        """Predict a whole batch such that few of its alarms are expected to be false.

        `predict` keeps the share of normals flagged below `alpha`; where anomalies are rare, most
        alarms can be false all the same. This bounds the false-discovery rate: the expected share
        of false alarms among the alarms.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The batch. Unlike anywhere else, the answer for a row depends on the other rows.
        fdr : float in (0, 1), default=0.05
            The false-discovery rate to keep to. With n calibration rows no alarm is possible
            unless some k of the m rows have p <= fdr k / m, so at best when
            1 / (n + 1) <= fdr (share of anomalies): calibrate on many rows.
        method : {"bh", "by"}, default="bh"
            Benjamini-Hochberg, valid for "split" (its p-values are positively dependent), or
            Benjamini-Yekutieli, valid for any dependence and less powerful.

        Returns
        -------
        ndarray of shape (n_samples,), int
            +1 normal, -1 anomaly.
        """
        check_value("fdr", fdr, Fraction)
        check_value("method", method, Literal["bh", "by"])
        return np.where(false_discovery_control(self.p_values(X), method=method) <= fdr, -1, 1)
