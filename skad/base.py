"""The detector contract: labels, threshold, predict, score."""

from contextlib import contextmanager

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.utils.validation import check_is_fitted, validate_data

from ._labels import check_training_labels
from ._parameters import Contamination, DeclaredParameters, check_value
from .metrics import roc_auc_score

# With fewer unlabelled rows a quantile of their scores says nothing.
MIN_UNLABELED_FOR_THRESHOLD = 20


@contextmanager
def unchanged_on_error(estimator):
    """Put an estimator's attributes back as they were when the block raises anything."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        # scikit-learn needs these to tear down its callbacks, and removes them itself.
        for name in ("_callback_fit_ctx", "_skl_callbacks_to_teardown"):
            if name in vars(estimator):
                before[name] = vars(estimator)[name]
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def refuse_times(X):
    """Raise TypeError for dates and durations, which would be read as numbers of some unit."""
    if isinstance(X, (list, tuple)):
        X = np.asarray(X)
    kinds = getattr(X, "dtypes", None)  # of the columns of a data frame
    for kind in [getattr(X, "dtype", None)] if kinds is None else kinds:
        temporal = getattr(kind, "is_temporal", lambda: False)  # polars's
        if getattr(kind, "kind", "") in ("M", "m") or temporal():
            raise TypeError(
                f"X holds times ({kind}), and scores would depend on their unit: convert them to "
                "numbers of a unit of your choice, such as (t - t.min()) / np.timedelta64(1, 'h')."
            )


def threshold(scores, y, contamination):
    """Quantile of the scores of the unlabelled rows, or, if few, of all but the anomalies.

    Rows whose score is NaN were left out of a sample, and do not count.
    """
    rows = y == 0 if np.sum(y == 0) >= MIN_UNLABELED_FOR_THRESHOLD else y != -1
    rows = rows & ~np.isnan(scores)
    return float(np.percentile(scores[rows], 100 * contamination, overwrite_input=True))  # a copy


class DetectorMixin(OutlierMixin):
    """`predict`, `fit_predict` and `score` on top of `fit` and `decision_function`."""

    def predict(self, X):
        """Predict +1 (normal) or -1 (anomaly) for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int
            -1 where `decision_function` is negative, else +1.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X, y=None):
        """Fit on X and y, and predict the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels, as in `fit`; they are used.

        Returns
        -------
        ndarray of shape (n_samples,), int
            +1 normal, -1 anomaly.
        """
        return self.fit(X, y).predict(X)

    def score(self, X, y, sample_weight=None):
        """ROC AUC of the labelled anomalies against all other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            -1 labelled anomaly, 0 unlabelled (stands for normal), +1 labelled normal.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        float
            NaN, with an `UndefinedMetricWarning`, when y holds no anomaly.
        """
        return roc_auc_score(y, self.decision_function(X), sample_weight=sample_weight)


class BaseDetector(DetectorMixin, DeclaredParameters, BaseEstimator):
    """Template of a detector that learns from X and labels in {-1, 0, +1}.

    A subclass writes two hooks over validated input: ``_fit(X, y)``, which returns the training
    rows' scores, and ``_score_samples(X)``; in both, higher means more normal, float64. NaN stands
    for training rows that it took no notice of, because those of a sample are enough.

    Parameters
    ----------
    contamination : float in (0, 0.5]
        Share of the unlabelled rows to flag: it sets `offset_`. With fewer than 20 unlabelled
        rows it is the share of all rows but the labelled anomalies.

    Attributes
    ----------
    offset_ : float
        Threshold on `score_samples`.
    n_features_in_ : int
        Number of columns seen in fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns seen in fit, where X had any.
    """

    contamination: Contamination = 0.1

    _drops_anomalies = False  # True for a method that learns from the other rows only

    @_fit_context(prefer_skip_nested_validation=False)  # of the parts of a meta-estimator
    def fit(self, X, y=None):
        """Fit the detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, without NaN.
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
            refuse_times(X)
            with np.errstate(invalid="ignore"):  # of scikit-learn's sum of huge values
                X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            y = check_training_labels(y, len(X))
            if self._drops_anomalies:
                X, y = X[y != -1], y[y != -1]
            self.offset_ = self._offset(self._fit(X, y), y, self.contamination)
        return self

    def score_samples(self, X):
        """Score each row: the higher, the more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            A row's score depends on that row alone.
        """
        return self._score_samples(self._validate(X))

    def _validate(self, X):
        """Rows to score, as a float array."""
        check_is_fitted(self)
        if self._is_plain(X):
            return X
        refuse_times(X)
        with np.errstate(invalid="ignore"):  # of scikit-learn's sum of huge values
            return validate_data(self, X, dtype=[np.float64, np.float32], reset=False)

    def _is_plain(self, X):
        """Whether a few rows need no more checks: those take longer than a score does."""
        return (
            type(X) is np.ndarray
            and X.dtype in (np.float64, np.float32)
            and X.ndim == 2
            and 0 < X.size < 1000
            and X.shape[1] == self.n_features_in_
            and not hasattr(self, "feature_names_in_")
            and bool(np.isfinite(X).all())
        )

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

    def fit_threshold(self, X, y=None, *, contamination=None):
        """Move the threshold of the fitted detector, without fitting it again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to take the threshold from: the training rows or fresh ones.
        y : array-like of shape (n_samples,), default=None
            Their labels, as in `fit`.
        contamination : float in (0, 0.5], default=None
            Share of the unlabelled rows of X to flag. None: the parameter `contamination`.

        Returns
        -------
        self : object
            With a new `offset_`.
        """
        if contamination is None:
            contamination = self.contamination
        check_value("contamination", contamination, Contamination)
        scores = self.score_samples(X)
        self.offset_ = self._offset(scores, check_training_labels(y, len(scores)), contamination)
        return self

    _offset = staticmethod(threshold)
