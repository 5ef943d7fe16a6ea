"""Any detector, fitted without the labelled anomalies."""

import numpy as np

from .._clones import fit_clone, scores_of
from .._labels import Unlabeled, stands_for_normal
from .._parameters import Contamination
from ..base import BaseDetector, threshold
from ._base import MetaDetector, finite_offset


class NormalOnlyDetector(MetaDetector):
    """Fit any detector without the labelled anomalies.

    An unsupervised detector takes every training row for normal, the labelled anomalies too. This
    drops them, which makes `OneClassSVM`, `IsolationForest`, ``LocalOutlierFactor(novelty=True)``
    and `KernelDensity` fair baselines on partly labelled data.

    Parameters
    ----------
    estimator : estimator
        Anything with `fit` and `score_samples`, higher meaning more normal.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Fit on unlabelled rows and labelled normals, or on labelled normals alone.
    contamination : float in (0, 0.5], default=0.1
        Expected share of anomalies among the unlabelled rows; `offset_` is that quantile of their
        training scores, or, with fewer than 20 unlabelled rows, of all but the anomalies' scores.
    random_state : int, RandomState instance or None, default=None
        Seeds what `estimator` leaves unseeded.

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone of `estimator`.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Number of features seen by `estimator_`, if it tells.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by `estimator_`, if it tells.

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

    unlabeled: Unlabeled = "as_normal"
    contamination: Contamination = 0.1

    def _fit(self, X, y, seed):
        rows = np.flatnonzero(stands_for_normal(y, self.unlabeled))
        if len(rows) == 0:
            raise ValueError(
                "unlabeled='ignore' leaves no row to fit on, because y holds no labelled normal "
                "(+1): label some, or pass unlabeled='as_normal'."
            )
        self.estimator_ = fit_clone(self.estimator, X, y, rows, seed)
        self.offset_ = self._offset(scores_of(self.estimator_, X), y, self.contamination)
        return self.estimator_

    fit_threshold = BaseDetector.fit_threshold

    @staticmethod
    def _offset(scores, y, contamination):
        return finite_offset(threshold(scores, y, contamination), scores)
