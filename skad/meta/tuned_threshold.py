"""Any detector's threshold, from labelled anomalies by cross-validation."""

import warnings
from numbers import Integral, Real
from typing import Annotated, Any, Literal

import numpy as np
from sklearn.metrics import roc_curve
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from .._clones import fit_clone, scores_of
from .._labels import Unlabeled, check_labels, stands_for_normal
from .._parameters import NJobs, Number, Positive
from ..base import threshold
from ..exceptions import ThresholdWarning
from ..model_selection import SemiSupervisedKFold
from ._base import MetaDetector, finite_offset


class TunedThresholdDetector(MetaDetector):
    """Take any detector's threshold from labelled anomalies, by cross-validation.

    Scores of rows that their detector has not seen decide on the threshold; then the detector is
    fitted on all rows.

    Parameters
    ----------
    estimator : estimator
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
    n_jobs : int, default=None
        Fits at the same time, as in scikit-learn; results do not depend on it, up to rounding.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals in the objective or are left out. Hidden
        anomalies that are found then count as false alarms, so that the threshold flags too few
        rows rather than too many.
    random_state : int, RandomState instance or None, default=None
        Seed of the folds; also seeds what `estimator` leaves unseeded.

    Attributes
    ----------
    estimator_ : estimator
        The clone of `estimator` fitted on all rows.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``.
    cv_scores_ : ndarray of shape (n_scores,)
        Scores of the rows of all test parts, each by a detector that has not seen it.
    cv_labels_ : ndarray of shape (n_scores,)
        Their labels.
    n_features_in_ : int
        Number of features seen by `estimator_`, if it tells.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by `estimator_`, if it tells.

    See Also
    --------
    ConformalDetector : A promised false-alarm rate, without any labelled anomaly.
    sklearn.model_selection.TunedThresholdClassifierCV : The same for classifiers.

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

    unlabeled: Unlabeled = "as_normal"
    objective: Literal["f_beta", "fpr", "recall"] = "f_beta"
    beta: Positive = 1.0
    target: Annotated[float, Number(Real, 0, 1, closed="both")] | None = None
    cv: Annotated[Any, Number(Integral, 2, None, closed="left"), HasMethods("split"), list] = 5
    n_jobs: NJobs = None

    def _fit(self, X, y, seed):
        self._check_target()
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
            self.estimator_ = fit_clone(self.estimator, X, y, np.arange(len(y)), seed)
            scores = scores_of(self.estimator_, X)
            self.offset_ = finite_offset(threshold(scores, y, contamination=0.1), scores)
            return self.estimator_
        if isinstance(self.cv, Integral):
            cv = SemiSupervisedKFold(min(self.cv, n_anomalies), random_state=seed % 2**32)
        else:
            cv = check_cv(self.cv)
        splits = list(cv.split(X, y))
        if not splits:
            raise ValueError(f"cv={self.cv!r} gives no split into training and test rows.")
        trains, tests = zip(*splits, strict=True)
        *folds, self.estimator_ = Parallel(n_jobs=self.n_jobs)(
            delayed(fit_clone)(self.estimator, X, y, rows, seed)
            for rows in (*trains, np.arange(len(y)))
        )
        self.cv_scores_ = np.concatenate(
            [
                scores_of(estimator, _safe_indexing(X, test))
                for estimator, test in zip(folds, tests, strict=True)
            ]
        )
        self.cv_labels_ = y[np.concatenate(tests)]
        self.offset_ = self._best_offset(self.cv_scores_, self.cv_labels_)
        return self.estimator_

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
        return finite_offset(self._best_cut(anomaly[rows], scores[rows]), scores[rows])

    def _best_cut(self, anomaly, scores):
        """Offset halfway between two neighbouring scores, for the best objective."""
        n_anomalies, n_normals = np.sum(anomaly), np.sum(~anomaly)
        # One candidate per distinct score, from no alarm to alarms only.
        fpr, recall, cuts = roc_curve(anomaly, -scores, drop_intermediate=False)
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
