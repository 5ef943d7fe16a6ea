"""Metrics and scorers for partly labelled data, with the anomaly as the positive class.

Every function takes ``y_true`` in {-1, 0, +1} and scores as skad's and scikit-learn's detectors
give them: **the higher, the more normal**. Every metric has a ready scorer for ``scoring=``, such
as ``roc_auc_scorer``; `make_detector_scorer` makes others.

**Unlabelled rows.** Most users label anomalies and few or no normals, so by default rows with
y = 0 stand for normals (``unlabeled="as_normal"``). Let a share p of the rows that stand for
normals be hidden anomalies, and let the labelled anomalies be a fair sample of all anomalies.
Then the hidden ones meet the labelled ones on equal terms, and on average::

    AUC as normal = (1 - p) AUC + p / 2,

an increasing affine function of the true area with the same p for every model: it ranks models as
the true area does. Average precision and the others have no such law. To choose among models with
few labels, prefer the ROC AUC: in ``benchmarks/tuning.py`` its choices held up best (mean average
precision on held-out rows .780, against .763 for choices by average precision, .782 for Deep SAD's
defaults and .802 for choices made with all labels known).

``unlabeled="ignore"`` leaves rows with y = 0 out and needs labelled normals, many of them: at a
true area of .83 the area measured against one labelled normal has a standard deviation of .20,
against three of .12, which is far worse than the bias above.

A score that is undefined, because anomalies or normals are missing, is NaN, with an
`UndefinedMetricWarning`.
"""

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn import metrics as sklearn_metrics
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils._param_validation import StrOptions, validate_params
from sklearn.utils.validation import _check_sample_weight

from ._labels import check_labels, stands_for_normal
from ._parameters import Number

__all__ = [
    "average_precision_score",
    "average_precision_scorer",
    "balanced_accuracy_score",
    "balanced_accuracy_scorer",
    "f1_score",
    "f1_scorer",
    "make_detector_scorer",
    "partial_roc_auc_score",
    "partial_roc_auc_scorer",
    "precision_at_k_score",
    "precision_at_k_scorer",
    "recall_at_fpr_score",
    "recall_at_fpr_scorer",
    "roc_auc_score",
    "roc_auc_scorer",
]


def _checked(**constraints):
    """Make a decorator that raises for wrong parameters, naming them, before any work."""
    constraints["unlabeled"] = [StrOptions({"as_normal", "ignore"})]
    return validate_params(constraints, prefer_skip_nested_validation=True)


@_checked()
def roc_auc_score(y_true, y_score, *, unlabeled="as_normal", sample_weight=None):
    """Area under the ROC curve: the chance that an anomaly scores below a normal row.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows, none negative. A row of weight 0 is left out.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, when anomalies or normals are missing.

    Examples
    --------
    >>> from skad.metrics import roc_auc_score
    >>> roc_auc_score([-1, 0, 0, 1], [-3.0, 0.5, -4.0, 2.0])
    0.666...
    >>> roc_auc_score([-1, 0, 0, 1], [-3.0, 0.5, -4.0, 2.0], unlabeled="ignore")
    1.0
    """
    anomaly, score, weight = _binary(y_true, y_score, unlabeled, sample_weight)
    if score is None:
        return np.nan
    return float(sklearn_metrics.roc_auc_score(anomaly, score, sample_weight=weight))


@_checked(max_fpr=[Number(Real, 0, 1, closed="right")])
def partial_roc_auc_score(y_true, y_score, *, max_fpr=0.1, unlabeled="as_normal"):
    """Area under the ROC curve up to a false-positive rate, standardised.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.
    max_fpr : float in (0, 1], default=0.1
        The largest false-positive rate of interest.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        .5 for chance, 1 for a perfect order; NaN, with an `UndefinedMetricWarning`, when
        anomalies or normals are missing.

    References
    ----------
    McClish, "Analyzing a portion of the ROC curve", Medical Decision Making 9 (1989) 190-195.

    Examples
    --------
    >>> from skad.metrics import partial_roc_auc_score
    >>> partial_roc_auc_score([-1, -1, 0, 0, 1], [-3.0, 0.6, 0.5, 1.0, 2.0], max_fpr=0.4)
    0.73...
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    if score is None:
        return np.nan
    return float(sklearn_metrics.roc_auc_score(anomaly, score, max_fpr=max_fpr))


@_checked()
def average_precision_score(y_true, y_score, *, unlabeled="as_normal"):
    """Average precision: precision averaged over the anomalies, most suspicious row first.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        In (0, 1]; NaN, with an `UndefinedMetricWarning`, when anomalies or normals are missing.

    Examples
    --------
    >>> from skad.metrics import average_precision_score
    >>> average_precision_score([-1, -1, 0, 0, 1], [-3.0, 0.6, 0.5, 1.0, 2.0])
    0.833...
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    if score is None:
        return np.nan
    return float(sklearn_metrics.average_precision_score(anomaly, score))


@_checked(k=[Number(Integral, 1, None, closed="left"), None])
def precision_at_k_score(y_true, y_score, *, k=None, unlabeled="as_normal"):
    """Share of anomalies among the k most suspicious rows.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.
    k : int, default=None
        How many rows can be looked at. None: the number of labelled anomalies.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        In [0, 1]. Rows tied at the cut count by their average, as if drawn by lot. NaN, with an
        `UndefinedMetricWarning`, when anomalies or normals are missing.

    Raises
    ------
    ValueError
        When k is below 1 or above the number of rows that count.

    Examples
    --------
    >>> from skad.metrics import precision_at_k_score
    >>> precision_at_k_score([-1, -1, 0, 0, 1], [-3.0, 0.6, 0.5, 1.0, 2.0], k=1)
    1.0
    >>> precision_at_k_score([-1, -1, 0, 0, 1], [-3.0, 0.6, 0.5, 1.0, 2.0])
    0.5
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    if score is None:
        return np.nan
    if k is None:
        k = int(anomaly.sum())
    if k > len(score):
        raise ValueError(f"k must be in [1, {len(score)}], the rows that count, got {k}.")
    cut = np.partition(score, -k)[-k]
    above, at = score > cut, score == cut
    return float((anomaly[above].sum() + (k - above.sum()) * anomaly[at].mean()) / k)


@_checked(max_fpr=[Number(Real, 0, 1, closed="both")])
def recall_at_fpr_score(y_true, y_score, *, max_fpr=0.05, unlabeled="as_normal"):
    """Share of anomalies found at the best threshold within a false-positive rate.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        Scores as `decision_function` gives them: higher means more normal.
    max_fpr : float in [0, 1], default=0.05
        The largest false-positive rate allowed. A threshold is taken as it is: there is no
        interpolation between two of them.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, when anomalies or normals are missing.

    Examples
    --------
    >>> from skad.metrics import recall_at_fpr_score
    >>> recall_at_fpr_score([-1, -1, 0, 0, 1], [-3.0, 0.6, 0.5, 1.0, 2.0])
    0.5
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    if score is None:
        return np.nan
    fpr, tpr, _ = sklearn_metrics.roc_curve(anomaly, score)
    return float(tpr[fpr <= max_fpr].max())


@_checked(threshold=[Number(Real, None, None, closed="neither")])
def f1_score(y_true, y_score, *, threshold=0.0, unlabeled="as_normal"):
    """F1 of the alarms: the harmonic mean of precision and recall at the threshold.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        What `decision_function` or `predict` gives: higher means more normal.
    threshold : float, default=0.0
        A row with a score below it is an alarm.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        In [0, 1]; NaN, with an `UndefinedMetricWarning`, when anomalies or normals are missing.

    Examples
    --------
    >>> from skad.metrics import f1_score
    >>> f1_score([-1, -1, 0, 0, 1], [-3.0, 0.6, -0.5, 1.0, 2.0])
    0.5
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    return np.nan if score is None else float(sklearn_metrics.f1_score(anomaly, score > -threshold))


@_checked(threshold=[Number(Real, None, None, closed="neither")])
def balanced_accuracy_score(y_true, y_score, *, threshold=0.0, unlabeled="as_normal"):
    """Mean of the recall of anomalies and the recall of normals at the threshold.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : array-like of shape (n_samples,)
        What `decision_function` or `predict` gives: higher means more normal.
    threshold : float, default=0.0
        A row with a score below it is an alarm.
    unlabeled : {"as_normal", "ignore"}, default="as_normal"
        Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.

    Returns
    -------
    float
        In [0, 1], .5 for chance; NaN, with an `UndefinedMetricWarning`, when anomalies or normals
        are missing.

    Examples
    --------
    >>> from skad.metrics import balanced_accuracy_score
    >>> balanced_accuracy_score([-1, -1, 0, 0, 1], [-3.0, 0.6, -0.5, 1.0, 2.0])
    0.583...
    """
    anomaly, score, _ = _binary(y_true, y_score, unlabeled)
    if score is None:
        return np.nan
    return float(sklearn_metrics.balanced_accuracy_score(anomaly, score > -threshold))


def make_detector_scorer(score_func, **kwargs):
    """Make a scorer for ``scoring=`` that hands `decision_function` to a metric of this module.

    Parameters
    ----------
    score_func : callable
        ``score_func(y_true, y_score, **kwargs)``, such as `precision_at_k_score`.
    **kwargs
        Passed on to `score_func`.

    Returns
    -------
    callable
        A scikit-learn scorer ``scorer(detector, X, y)``.

    Examples
    --------
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad.metrics import make_detector_scorer, precision_at_k_score
    >>> scorer = make_detector_scorer(precision_at_k_score, k=1)
    >>> X = [[0.0], [0.1], [0.2], [9.0]]
    >>> scorer(IsolationForest(random_state=0).fit(X), X, [0, 0, 0, -1])
    1.0
    """
    return sklearn_metrics.make_scorer(score_func, response_method="decision_function", **kwargs)


roc_auc_scorer = make_detector_scorer(roc_auc_score)
partial_roc_auc_scorer = make_detector_scorer(partial_roc_auc_score)
average_precision_scorer = make_detector_scorer(average_precision_score)
precision_at_k_scorer = make_detector_scorer(precision_at_k_score)
recall_at_fpr_scorer = make_detector_scorer(recall_at_fpr_score)
f1_scorer = make_detector_scorer(f1_score)
balanced_accuracy_scorer = make_detector_scorer(balanced_accuracy_score)


def _binary(y_true, y_score, unlabeled, sample_weight=None):
    """Which rows are anomalies, scores that grow with anomaly, weights; all None if undefined."""
    y_score = column_or_1d(y_score, dtype=np.float64)
    assert_all_finite(y_score, input_name="y_score")
    y = check_labels(y_true, len(y_score))
    anomaly, normal = y == -1, stands_for_normal(y, unlabeled)
    weight = np.ones(len(y))
    if sample_weight is not None:
        weight = _check_sample_weight(sample_weight, y_score)
        if np.any(weight < 0):
            raise ValueError("sample_weight holds negative weights.")
        anomaly, normal = anomaly & (weight > 0), normal & (weight > 0)
    if anomaly.any() and normal.any():
        rows = anomaly | normal
        return anomaly[rows], -y_score[rows], weight[rows] if sample_weight is not None else None
    missing = "labelled anomaly (-1)" if normal.any() else "row that stands for a normal"
    warnings.warn(
        f"The score is undefined, so NaN: y holds no {missing}. In cross-validation use a "
        "splitter that spreads each label over the folds, such as "
        "skad.model_selection.SemiSupervisedKFold, and keep unlabeled='as_normal' where few "
        "normals are labelled.",
        UndefinedMetricWarning,
        stacklevel=4,
    )
    return None, None, None
