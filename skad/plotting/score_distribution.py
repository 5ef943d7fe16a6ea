"""Histograms of scores."""

import numpy as np

from .._labels import check_labels
from ._base import LABELS, Display, name_of


class ScoreDistributionDisplay(Display):
    """Distribution of scores by label, with the threshold.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    y_true : ndarray of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : ndarray of shape (n_samples,)
        Scores: higher means more normal.
    threshold : float, default=0.0
        Scores below it are alarms.
    name : str, default=None
        Title.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    bars_ : dict of {label: StepPatch}
        One histogram for each label that occurs.
    line_ : matplotlib Line2D
        The threshold.

    Examples
    --------
    >>> from skad.plotting import ScoreDistributionDisplay
    >>> display = ScoreDistributionDisplay.from_predictions([-1, 0, 0, 1], [-2.0, 0.1, 0.5, 1.0])
    """

    def __init__(self, *, y_true, y_score, threshold=0.0, name=None):
        self.y_true = y_true
        self.y_score = y_score
        self.threshold = threshold
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, name=None, ax=None, **kwargs):
        """Score X with a fitted detector and plot.

        Parameters
        ----------
        estimator : fitted detector
            Or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels; None: all unlabelled.
        name : str, default=None
            Title; None: the name of the estimator.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        ScoreDistributionDisplay
        """
        scores = estimator.decision_function(X)
        return cls.from_predictions(y, scores, name=name or name_of(estimator), ax=ax, **kwargs)

    @classmethod
    def from_predictions(cls, y_true, y_score, *, threshold=0.0, name=None, ax=None, **kwargs):
        """Plot given scores.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or None
            Labels; None: all unlabelled.
        y_score : array-like of shape (n_samples,)
            Scores: higher means more normal.
        threshold : float, default=0.0
            0 is the threshold of a `decision_function`.
        name : str, default=None
            Title.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        ScoreDistributionDisplay
        """
        y_score = np.asarray(y_score)
        y_true = check_labels(y_true, len(y_score))
        display = cls(y_true=y_true, y_score=y_score, threshold=threshold, name=name)
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, bins=40, **kwargs):
        """Draw one histogram per label, on a logarithmic axis, and the threshold.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        bins : int, default=40
            Number of bins between the smallest and the largest score.
        **kwargs
            Passed on to matplotlib's `stairs`.

        Returns
        -------
        self : object
        """
        self._set_axes(ax)
        edges = np.histogram_bin_edges(self.y_score, bins)
        self.bars_ = {}
        for label, (text, color) in LABELS.items():
            scores = self.y_score[self.y_true == label]
            if len(scores):
                counts, _ = np.histogram(scores, edges)
                # matplotlib cannot draw a bar down to 0 on a logarithmic axis.
                options = {"color": color, "alpha": 0.5, "fill": True, **kwargs}
                self.bars_[label] = self.ax_.stairs(
                    counts, edges, baseline=0.5, label=f"{text} ({len(scores)})", **options
                )
        self.line_ = self.ax_.axvline(self.threshold, color="k", linestyle="--", label="threshold")
        # Logarithmic, because alarms are few compared to normals.
        self.ax_.set_yscale("log")
        self.ax_.set_ylim(bottom=0.7)
        self.ax_.set(xlabel="score (higher: more normal)", ylabel="rows", title=self.name)
        self.ax_.legend()
        return self
