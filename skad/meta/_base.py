"""What the meta-estimators share: the template, and thresholds that are finite."""

from dataclasses import field
from typing import Annotated, Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, _fit_context
from sklearn.utils import get_tags, indexable
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _num_samples, check_is_fitted

from .._clones import HUGE, scores_of
from .._labels import check_training_labels
from .._parameters import DeclaredParameters, RandomState
from .._random import draw_seed
from ..base import DetectorMixin, unchanged_on_error


class MetaDetector(MetaEstimatorMixin, DetectorMixin, DeclaredParameters, BaseEstimator):
    """Template: a subclass's ``_fit(X, y, seed)`` sets `offset_` and returns a fitted estimator."""

    estimator: Annotated[Any, HasMethods(["fit", "score_samples"])] = field(kw_only=False)
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
            self._take_names(self._fit(X, y, draw_seed(self.random_state)))
        return self

    def _unfitted(self):
        return self.estimator

    def _take_names(self, inner):
        """Say of the columns seen in fit what the inner detector says."""
        for name in ("n_features_in_", "feature_names_in_"):
            vars(self).pop(name, None)
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

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
        tags.input_tags = get_tags(self._unfitted()).input_tags
        return tags


def finite_offset(offset, scores):
    """Move an offset to the nearest finite score: far from them finite scores would all tie."""
    finite = scores[np.abs(scores) < HUGE]
    if len(finite):
        offset = np.clip(offset, finite.min(), np.nextafter(finite.max(), np.inf))
    return float(offset)
