"""ROC and precision-recall curves."""

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from .._labels import check_labels, stands_for_normal
from ..metrics import average_precision_score, roc_auc_score
from ._base import Display, name_of


class CurveDisplay(Display):
    """Share what the two curves have in common."""

    @classmethod
    def from_estimator(
        cls, estimator, X, y, *, unlabeled="as_normal", name=None, ax=None, **kwargs
    ):
        """Score X with a fitted detector and plot the curve.

        Parameters
        ----------
        estimator : fitted detector
            Or a pipeline that ends in one; scikit-learn's are fine.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
        unlabeled : {"as_normal", "ignore"}, default="as_normal"
            Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.
        name : str, default=None
            For the legend; None: the name of the estimator.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`.

        Returns
        -------
        display : object
        """
        scores = estimator.decision_function(X)
        return cls.from_predictions(
            y, scores, unlabeled=unlabeled, name=name or name_of(estimator), ax=ax, **kwargs
        )

    @classmethod
    def from_predictions(
        cls, y_true, y_score, *, unlabeled="as_normal", name=None, ax=None, **kwargs
    ):
        """Plot the curve of given scores.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,)
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
        y_score : array-like of shape (n_samples,)
            Scores: higher means more normal.
        unlabeled : {"as_normal", "ignore"}, default="as_normal"
            Whether unlabelled rows stand for normals or are left out; see `skad.metrics`.
        name : str, default=None
            For the legend.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`.

        Returns
        -------
        display : object

        Raises
        ------
        ValueError
            When there are no anomalies, or no rows that stand for normals.
        """
        y_score = np.asarray(y_score)
        y = check_labels(y_true, len(y_score))
        anomaly, normal = y == -1, stands_for_normal(y, unlabeled)
        if not anomaly.any() or not normal.any():
            raise ValueError(
                f"A curve needs labelled anomalies (-1), got {anomaly.sum()}, and rows that stand "
                f"for normals, got {normal.sum()}."
            )
        rows = anomaly | normal
        display = cls._from_curve(anomaly[rows], -y_score[rows], y[rows], name)
        return display.plot(ax, **kwargs)

    def _plot(self, ax, x, y, metric, kwargs):
        self._set_axes(ax)
        label = metric if self.name is None else f"{self.name} ({metric})"
        (self.line_,) = self.ax_.plot(x, y, **{"label": label, **kwargs})


class RocCurveDisplay(CurveDisplay):
    """ROC curve of a detector, with the anomaly as the positive class.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    fpr, recall : ndarray of shape (n_thresholds,)
        Share of normals and of anomalies flagged at each threshold.
    roc_auc : float
        Area under the curve.
    name : str, default=None
        For the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    line_, chance_ : matplotlib Line2D
        The curve, and the diagonal of chance.

    Examples
    --------
    >>> from skad.plotting import RocCurveDisplay
    >>> display = RocCurveDisplay.from_predictions([-1, 0, 0, 1], [-3.0, 0.5, -4.0, 2.0])
    >>> display.roc_auc
    0.666...
    """

    def __init__(self, *, fpr, recall, roc_auc, name=None):
        self.fpr = fpr
        self.recall = recall
        self.roc_auc = roc_auc
        self.name = name

    @classmethod
    def _from_curve(cls, anomaly, score, y, name):
        fpr, recall, _ = roc_curve(anomaly, score)
        return cls(fpr=fpr, recall=recall, roc_auc=roc_auc_score(y, -score), name=name)

    def plot(self, ax=None, **kwargs):
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`.

        Returns
        -------
        self : object
        """
        self._plot(ax, self.fpr, self.recall, f"AUC = {self.roc_auc:.3f}", kwargs)
        (self.chance_,) = self.ax_.plot([0, 1], [0, 1], color="0.6", linestyle=":", zorder=0)
        self.ax_.set(
            xlabel="false-positive rate",
            ylabel="share of anomalies found",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        self.ax_.legend(loc="lower right")
        return self


class PrecisionRecallDisplay(CurveDisplay):
    """Precision-recall curve of a detector, with the anomaly as the positive class.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    precision, recall : ndarray of shape (n_thresholds,)
        Share of anomalies among the rows flagged, and share of the anomalies that are flagged.
    average_precision : float
        Area under the steps of the curve.
    name : str, default=None
        For the legend.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    line_ : matplotlib Line2D

    Examples
    --------
    >>> from skad.plotting import PrecisionRecallDisplay
    >>> display = PrecisionRecallDisplay.from_predictions([-1, 0, 0, 1], [-3.0, 0.5, -4.0, 2.0])
    >>> display.average_precision
    0.5
    """

    def __init__(self, *, precision, recall, average_precision, name=None):
        self.precision = precision
        self.recall = recall
        self.average_precision = average_precision
        self.name = name

    @classmethod
    def _from_curve(cls, anomaly, score, y, name):
        precision, recall, _ = precision_recall_curve(anomaly, score)
        return cls(
            precision=precision,
            recall=recall,
            average_precision=average_precision_score(y, -score),
            name=name,
        )

    def plot(self, ax=None, **kwargs):
        """Draw the curve, as steps.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`.

        Returns
        -------
        self : object
        """
        kwargs = {"drawstyle": "steps-post", **kwargs}
        metric = f"AP = {self.average_precision:.3f}"
        self._plot(ax, self.recall, self.precision, metric, kwargs)
        self.ax_.set(
            xlabel="share of anomalies found (recall)",
            ylabel="share of alarms that are right (precision)",
            xlim=(-0.01, 1.01),
            ylim=(-0.01, 1.01),
            aspect="equal",
        )
        self.ax_.legend(loc="best")
        return self
