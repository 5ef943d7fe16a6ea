"""What the meta-estimators share: the template, fitting clones, and scores that are finite."""

from dataclasses import field
from typing import Annotated, Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context, clone
from sklearn.utils import _safe_indexing, get_tags, indexable
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._labels import check_training_labels, labels_judged_before
from .._parameters import DeclaredParameters, RandomState
from .._random import draw_seed, preserve_global_generators, seed_everything
from ..base import DetectorMixin, unchanged_on_error

# Stands for an infinite score. Larger than any density's logarithm, and differences stay finite.
HUGE = 1e100


class MetaDetector(MetaEstimatorMixin, DetectorMixin, DeclaredParameters, BaseEstimator):
    """Template: a subclass's ``_fit(X, y, seed)`` sets `offset_` and returns a fitted estimator."""

    estimator: Annotated[Any, HasMethods(["fit", "score_samples"])] = field(kw_only=False)
    unlabeled: Literal["as_normal", "ignore"] = "as_normal"
    random_state: RandomState = None

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
        return scores_of(self.estimator_, X)

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
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags


def scores_of(estimator, X):
    """Scores of an estimator, finite: kernel densities, for one, can be minus infinity."""
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{type(estimator).__name__}.score_samples gives NaN for some rows.")
    return np.clip(scores, -HUGE, HUGE)


def finite_offset(offset, scores):
    """Move an offset to the nearest finite score: far from them finite scores would all tie."""
    finite = scores[np.abs(scores) < HUGE]
    if len(finite):
        offset = np.clip(offset, finite.min(), np.nextafter(finite.max(), np.inf))
    return float(offset)


def fit_clone(estimator, X, y, rows, seed, **fit_params):
    """Fit a clone on some rows; whatever the user left unseeded gets the seed."""
    estimator = clone(estimator)
    unseeded = [
        name
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    estimator.set_params(**dict.fromkeys(unseeded, seed % 2**32))
    # The labels as a whole were checked before; a part may hold 0 and +1 alone.
    with labels_judged_before(), preserve_global_generators():
        # OneClassSVM, for one, draws from numpy's global generator and has no random_state.
        seed_everything(seed)
        return estimator.fit(_safe_indexing(X, rows), y[rows], **fit_params)
