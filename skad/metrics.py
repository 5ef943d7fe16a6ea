"""Metrics for partly labelled data, with the anomaly as the positive class."""

import warnings

import numpy as np
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import roc_auc_score as _roc_auc_score

from ._labels import check_labels

__all__ = ["roc_auc_score"]


def roc_auc_score(y_true, y_score):
    """Area under the ROC curve of labelled anomalies against all other rows.

    Unlabelled rows stand for normals: if the labelled anomalies are a fair sample, this is an
    increasing affine function of the true area, so it ranks detectors alike.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, when one of the two classes is missing.

    Examples
    --------
    >>> from skad.metrics import roc_auc_score
    >>> roc_auc_score([-1, 0, 0, 1], [-3.0, 0.5, -4.0, 2.0])
    0.666...
    """
    y_score = np.asarray(y_score)
    anomaly = check_labels(y_true, len(y_score)) == -1
    if anomaly.all() or not anomaly.any():
        missing = "no labelled anomaly (-1)" if not anomaly.any() else "nothing but anomalies"
        warnings.warn(
            f"ROC AUC is undefined: y holds {missing}. In cross-validation use a splitter that "
            "puts labelled anomalies into every fold, such as "
            "skad.model_selection.SemiSupervisedKFold.",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return np.nan
    return float(_roc_auc_score(anomaly, -y_score))
