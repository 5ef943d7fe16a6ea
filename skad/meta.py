"""Meta-estimators: another detector's scores with a threshold that means something.

All of them hand X to the inner detector as it comes, so that missing values, text columns and
data frames are the inner pipeline's business, and give a seed to whatever the inner detector
leaves unseeded.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy.stats import false_discovery_control
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_curve
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import _num_samples, check_is_fitted

from ._labels import check_labels, check_training_labels, stands_for_normal
from ._random import draw_seed, preserve_global_generators, seed_everything
from .base import BaseDetector, DetectorMixin, unchanged_on_error
from .exceptions import LabelConventionWarning, ThresholdWarning
from .model_selection import SemiSupervisedKFold

__all__ = ["ConformalDetector", "NormalOnlyDetector", "TunedThresholdDetector"]


class _MetaDetector(MetaEstimatorMixin, DetectorMixin, BaseEstimator):
    """Template: a subclass's ``_fit(X, y, seed)`` sets `offset_` and returns a fitted detector."""

    _parameter_constraints: dict = {
        "detector": [HasMethods(["fit", "score_samples"])],
        "unlabeled": [StrOptions({"as_normal", "ignore"})],
        "random_state": ["random_state"],
    }

    @_fit_context(prefer_skip_nested_validation=False)  # the inner detector is not validated yet
    def fit(self, X, y=None):
        """Fit the detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, as the inner detector takes them.
        y : array-like of shape (n_samples,), default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None: all unlabelled.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For X or y that cannot be used; the detector is then left as it was.
        """
        with unchanged_on_error(self):
            (X,) = indexable(X)
            y = check_training_labels(y, _num_samples(X))
            inner = self._fit(X, y, draw_seed(self.random_state))
            for name in ("n_features_in_", "feature_names_in_"):
                vars(self).pop(name, None)
                if hasattr(inner, name):
                    setattr(self, name, getattr(inner, name))
        return self

    def score_samples(self, X):
        """Score each row as the inner detector does: the higher, the more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        check_is_fitted(self)
        return _scores(self.detector_, X)

    def decision_function(self, X):
        """Score each row relative to the threshold: negative means anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.detector).input_tags
        return tags


class NormalOnlyDetector(_MetaDetector):
    """Fit any detector without the labelled anomalies.

    An unsupervised detector takes every training row for normal, the labelled anomalies too. This
    drops them, which makes `OneClassSVM`, `IsolationForest`, ``LocalOutlierFactor(novelty=True)``
    and `KernelDensity` fair baselines on partly labelled data.

    Parameters
    ----------
    detector : estimator
        Anything with `fit` and `score_samples`, higher meaning more normal.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Fit on unlabelled rows and labelled normals, or on labelled normals alone.
    contamination : float in (0, 0.5], default=0.1
        Expected share of anomalies among the unlabelled rows; `offset_` is that quantile of their
        training scores, or, with fewer than 20 unlabelled rows, of all but the anomalies' scores.
    random_state : int, RandomState instance or None, default=None
        Seeds what `detector` leaves unseeded.

    Attributes
    ----------
    detector_ : estimator
        The fitted clone of `detector`.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of features seen by `detector_`, if it tells.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by `detector_`, if it tells.

    Notes
    -----
    `LocalOutlierFactor` finds a training row among its own neighbours and so scores it too well:
    set its threshold on fresh rows, by `fit_threshold`.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from skad import NormalOnlyDetector
    >>> X, y = [[0.0], [0.1], [0.2], [0.3], [9.0]], [0, 0, 0, 0, -1]
    >>> NormalOnlyDetector(KernelDensity()).fit(X, y).predict([[0.15], [9.0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **_MetaDetector._parameter_constraints,
        **BaseDetector._parameter_constraints,
    }

    def __init__(self, detector, *, unlabeled="as_normal", contamination=0.1, random_state=None):
        self.detector = detector
        self.unlabeled = unlabeled
        self.contamination = contamination
        self.random_state = random_state

    def _fit(self, X, y, seed):
        rows = np.flatnonzero(stands_for_normal(y, self.unlabeled))
        if len(rows) == 0:
            raise ValueError(
                "unlabeled='ignore' leaves no row to fit on, because y holds no labelled normal "
                "(+1): label some, or pass unlabeled='as_normal'."
            )
        self.detector_ = _fit_clone(self.detector, X, y, rows, seed)
        self.offset_ = self._offset(_scores(self.detector_, X), y, self.contamination)
        return self.detector_

    fit_threshold = BaseDetector.fit_threshold
    _offset = staticmethod(BaseDetector._offset)


class ConformalDetector(_MetaDetector):
    r"""Turn any detector's score into an alarm with a promised false-alarm rate.

    The detector is fitted on one part of the rows and calibrated on another. A new row's conformal
    p-value is the share of calibration rows, itself included, that look no more normal than it
    does:

    .. math:: p(x) = \frac{1 + \#\{i : s(x_i) \le s(x)\}}{n + 1},

    and the row is flagged where p <= `alpha`, ties included.

    Parameters
    ----------
    detector : estimator
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
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Calibrate on unlabelled rows and labelled normals, or on labelled normals alone.
    random_state : int, RandomState instance or None, default=None
        Seed of the split; also seeds what `detector` leaves unseeded.

    Attributes
    ----------
    detectors_ : list of estimators
        The fitted clones of `detector`: one for "split", one a fold for "cross".
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

    _parameter_constraints: dict = {
        **_MetaDetector._parameter_constraints,
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "method": [StrOptions({"split", "cross"})],
        "calibration_size": [Interval(Real, 0, 1, closed="neither")],
        "cv": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        detector,
        *,
        alpha=0.05,
        method="split",
        calibration_size=0.25,
        cv=5,
        unlabeled="as_normal",
        random_state=None,
    ):
        self.detector = detector
        self.alpha = alpha
        self.method = method
        self.calibration_size = calibration_size
        self.cv = cv
        self.unlabeled = unlabeled
        self.random_state = random_state

    def _fit(self, X, y, seed):
        parts = self._calibration_parts(y, np.random.default_rng(seed))
        self.detectors_, self.calibration_scores_ = [], []
        for part in parts:
            rest = np.setdiff1d(np.arange(len(y)), part)
            detector = _fit_clone(self.detector, X, y, rest, seed)
            self.detectors_.append(detector)
            self.calibration_scores_.append(np.sort(_scores(detector, _safe_indexing(X, part))))
        self._set_offset()
        return self.detectors_[0]

    def _calibration_parts(self, y, rng):
        """Row numbers that calibrate each detector; it is fitted on all the others."""
        rows = rng.permutation(np.flatnonzero(stands_for_normal(y, self.unlabeled)))
        if isinstance(self.detector, FrozenEstimator) and len(rows):
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
                if len(self.detectors_) > 1:
                    raise ValueError(
                        "method='cross' calibrates on the rows it was fitted on: call "
                        "fit_threshold without X, or fit with method='split'."
                    )
                scores = _scores(self.detectors_[0], X)
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
        # Compared as p-values are, so that rounding cannot part the two.
        self._rank = int(np.sum(np.arange(1, n + 2) / (n + 1) <= self.alpha))
        self.offset_ = float(scores[max(self._rank, 1) - 1]) if len(self.detectors_) == 1 else 0.0
        if self._rank == 0:
            # Far below every score, yet near enough to leave decision_function its digits.
            self.offset_ -= 1e6 * float(scores[-1] - scores[0] + abs(scores[0]))
            warnings.warn(
                f"Nothing will be flagged: alpha={self.alpha} needs at least "
                f"{int(np.ceil(1 / self.alpha)) - 1} calibration rows, got {n}. Pass more rows, "
                "raise alpha or calibration_size, or set method='cross'.",
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
        scores = [_scores(detector, X) for detector in self.detectors_]
        if len(scores) == 1:
            return scores[0]
        rank = max(self._rank, 1)
        lowest = [calibration[:rank] for calibration in self.calibration_scores_]
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
            np.searchsorted(calibration, _scores(detector, X), side="right")
            for detector, calibration in zip(self.detectors_, self.calibration_scores_, strict=True)
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
            unless some k of the m rows have p <= fdr k / m, hence at best when
            1 / (n + 1) <= fdr (share of anomalies): calibrate on many rows.
        method : {"bh", "by"}, default="bh"
            Benjamini-Hochberg, valid for "split" (its p-values are positively dependent), or
            Benjamini-Yekutieli, valid for any dependence and less powerful.

        Returns
        -------
        ndarray of shape (n_samples,), int
            +1 normal, -1 anomaly.
        """
        if not 0 < fdr < 1:
            raise ValueError(f"fdr must be in (0, 1), got {fdr}.")
        return np.where(false_discovery_control(self.p_values(X), method=method) <= fdr, -1, 1)


class TunedThresholdDetector(_MetaDetector):
    """Take any detector's threshold from labelled anomalies, by cross-validation.

    Scores of rows that their detector has not seen decide on the threshold; then the detector is
    fitted on all rows.

    Parameters
    ----------
    detector : estimator
        Anything with `fit` and `score_samples`, higher meaning more normal.
    objective : {"f_beta", "fpr", "recall"}, default="f_beta"
        "f_beta": the best F-beta. "fpr": the highest recall at a false-positive rate of at most
        `target`. "recall": the fewest alarms with a recall of at least `target`.
    beta : float, default=1.0
        Weight of recall against precision in F-beta.
    target : float in [0, 1], default=None
        The rate that "fpr" and "recall" need.
    cv : int or splitter, default=5
        An int: as many folds of a `SemiSupervisedKFold`, or as there are labelled anomalies, if
        they are fewer.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals in the objective or are left out. Hidden
        anomalies that are found then count as false alarms, so that the threshold flags too few
        rows rather than too many.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds; also seeds what `detector` leaves unseeded.

    Attributes
    ----------
    detector_ : estimator
        The clone of `detector` fitted on all rows.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``.
    cv_scores_ : ndarray of shape (n_scores,)
        Scores of the rows of all test parts, each by a detector that has not seen it.
    cv_labels_ : ndarray of shape (n_scores,)
        Their labels.
    n_features_in_ : int
        Number of features seen by `detector_`, if it tells.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by `detector_`, if it tells.

    See Also
    --------
    ConformalDetector : A promised false-alarm rate, without any labelled anomaly.
    sklearn.model_selection.TunedThresholdClassifierCV : The like for classifiers.

    Notes
    -----
    With fewer than two labelled anomalies there is nothing to tune on: a `ThresholdWarning` says
    so, and the threshold flags a tenth of the unlabelled training rows.

    A new objective needs no new fit: ``detector.set_params(beta=2).fit_threshold()``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad import TunedThresholdDetector
    >>> X = np.r_[np.random.default_rng(0).normal(size=(200, 2)), [[5, 5], [6, 5], [5, 6]]]
    >>> y = np.r_[np.zeros(200, dtype=int), [-1, -1, -1]]
    >>> detector = TunedThresholdDetector(IsolationForest(), random_state=0).fit(X, y)
    >>> int(np.sum(detector.predict(X) == -1))
    3
    """

    _parameter_constraints: dict = {
        **_MetaDetector._parameter_constraints,
        "objective": [StrOptions({"f_beta", "fpr", "recall"})],
        "beta": [Interval(Real, 0, None, closed="neither")],
        "target": [Interval(Real, 0, 1, closed="both"), None],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), "array-like"],
    }

    def __init__(
        self,
        detector,
        *,
        objective="f_beta",
        beta=1.0,
        target=None,
        cv=5,
        unlabeled="as_normal",
        random_state=None,
    ):
        self.detector = detector
        self.objective = objective
        self.beta = beta
        self.target = target
        self.cv = cv
        self.unlabeled = unlabeled
        self.random_state = random_state

    def _fit(self, X, y, seed):
        self._check_target()
        self.detector_ = _fit_clone(self.detector, X, y, np.arange(len(y)), seed)
        n_anomalies = int(np.sum(y == -1))
        if n_anomalies < 2 or not stands_for_normal(y, self.unlabeled).any():
            warnings.warn(
                f"The threshold is not tuned but flags a tenth of the unlabelled rows: y holds "
                f"{n_anomalies} labelled anomalies (-1), of which two are needed, and "
                f"{np.sum(stands_for_normal(y, self.unlabeled))} rows that stand for normals. "
                "Label more, or use ConformalDetector, which needs no anomaly.",
                ThresholdWarning,
                stacklevel=2,
            )
            self.cv_scores_, self.cv_labels_ = np.empty(0), np.empty(0, dtype=np.int8)
            self.offset_ = BaseDetector._offset(_scores(self.detector_, X), y, contamination=0.1)
            return self.detector_
        if isinstance(self.cv, Integral):
            cv = SemiSupervisedKFold(min(self.cv, n_anomalies), random_state=seed % 2**32)
        else:
            cv = check_cv(self.cv)
        scores, tested = [], []
        for train, test in cv.split(X, y):
            detector = _fit_clone(self.detector, X, y, train, seed)
            scores.append(_scores(detector, _safe_indexing(X, test)))
            tested.append(test)
        self.cv_scores_, self.cv_labels_ = np.concatenate(scores), y[np.concatenate(tested)]
        self.offset_ = self._best_offset(self.cv_scores_, self.cv_labels_)
        return self.detector_

    def fit_threshold(self, X=None, y=None):
        """Move the threshold to the present objective, without fitting the detector again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), default=None
            Fresh rows to tune on. None: the scores from the cross-validation in `fit`.
        y : array-like of shape (n_samples,), default=None
            Their labels, as in `fit`.

        Returns
        -------
        self : object
            With a new `offset_`.

        Raises
        ------
        ValueError
            When there are no labelled anomalies, or no rows that stand for normals, to tune on.
        """
        check_is_fitted(self)
        self._validate_params()
        self._check_target()
        scores = self.cv_scores_ if X is None else self.score_samples(X)
        labels = self.cv_labels_ if X is None else check_labels(y, len(scores))
        self.offset_ = self._best_offset(scores, labels)
        return self

    def _check_target(self):
        if self.objective != "f_beta" and self.target is None:
            raise ValueError(f"objective={self.objective!r} needs a target in [0, 1], got None.")

    def _best_offset(self, scores, y):
        anomaly, normal = y == -1, stands_for_normal(y, self.unlabeled)
        n_anomalies, n_normals = np.sum(anomaly), np.sum(normal)
        if not n_anomalies or not n_normals:
            raise ValueError(
                f"A threshold needs labelled anomalies (-1), got {n_anomalies}, and rows that "
                f"stand for normals, got {n_normals}: pass such rows in X and y."
            )
        rows = anomaly | normal
        # One candidate a distinct score, from no alarm to alarms only.
        fpr, recall, cuts = roc_curve(anomaly[rows], -scores[rows], drop_intermediate=False)
        if self.objective == "fpr":
            best = np.flatnonzero(fpr <= self.target)[-1]
        elif self.objective == "recall":
            best = np.flatnonzero(recall >= self.target)[0]
        else:
            found, false, b2 = recall * n_anomalies, fpr * n_normals, self.beta**2
            best = np.argmax((1 + b2) * found / (b2 * n_anomalies + found + false))
        if best == 0:
            return float(-cuts[1])
        flagged = -cuts[best]
        if best == len(cuts) - 1:
            return float(np.nextafter(flagged, np.inf))
        return float(max((flagged - cuts[best + 1]) / 2, np.nextafter(flagged, np.inf)))


def _scores(detector, X):
    return np.asarray(detector.score_samples(X), dtype=np.float64)


def _fit_clone(detector, X, y, rows, seed):
    """Fit a clone on some rows; whatever the user left unseeded gets the seed."""
    detector = clone(detector)
    unseeded = [
        name
        for name, value in detector.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    detector.set_params(**dict.fromkeys(unseeded, seed % 2**32))
    with warnings.catch_warnings(), preserve_global_generators():
        # The labels as a whole were judged before; a part may well hold 0 and +1 alone.
        warnings.simplefilter("ignore", LabelConventionWarning)
        # OneClassSVM, for one, draws from numpy's global generator and has no random_state.
        seed_everything(seed)
        return detector.fit(_safe_indexing(X, rows), y[rows])
