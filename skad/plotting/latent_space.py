"""Codes of rows, in two dimensions."""

import numpy as np
from sklearn.decomposition import PCA

from .._labels import check_labels
from ._base import LABELS, Display, name_of, pyplot


class LatentSpaceDisplay(Display):
    """The first two principal components of a detector's codes, by label and by score.

    Use `from_estimator` or `from_predictions` to make one.

    Parameters
    ----------
    components : ndarray of shape (n_samples, 2)
        Where each row lies.
    explained_variance_ratio : ndarray of shape (2,)
        Share of the codes' variance in each component.
    y_true : ndarray of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal.
    y_score : ndarray of shape (n_samples,)
        Scores: higher means more normal.
    name : str, default=None
        Title.

    Attributes
    ----------
    axes_, figure_ : ndarray of two matplotlib Axes, and Figure
    label_points_ : dict of {label: PathCollection}
    score_points_ : PathCollection
    """

    def __init__(self, *, components, explained_variance_ratio, y_true, y_score, name=None):
        self.components = components
        self.explained_variance_ratio = explained_variance_ratio
        self.y_true = y_true
        self.y_score = y_score
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, X, y=None, *, name=None, axes=None, **kwargs):
        """Encode and score X with a fitted deep detector and plot.

        Parameters
        ----------
        estimator : fitted detector with `transform` and `decision_function`
            Or a pipeline that ends in one.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels; None: all unlabelled.
        name : str, default=None
            Title; None: the name of the estimator.
        axes : two matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `scatter`.

        Returns
        -------
        LatentSpaceDisplay
        """
        codes, scores = np.asarray(estimator.transform(X)), estimator.decision_function(X)
        return cls.from_predictions(
            y, scores, codes, name=name or name_of(estimator), axes=axes, **kwargs
        )

    @classmethod
    def from_predictions(cls, y_true, y_score, codes, *, name=None, axes=None, **kwargs):
        """Plot given codes and scores.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or None
            Labels; None: all unlabelled.
        y_score : array-like of shape (n_samples,)
            Scores: higher means more normal.
        codes : array-like of shape (n_samples, n_codes)
            Latent codes, n_codes at least 2.
        name : str, default=None
            Title.
        axes : two matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `scatter`.

        Returns
        -------
        LatentSpaceDisplay
        """
        y_score = np.asarray(y_score)
        pca = PCA(2, svd_solver="full")
        display = cls(
            components=pca.fit_transform(codes),
            explained_variance_ratio=pca.explained_variance_ratio_,
            y_true=check_labels(y_true, len(y_score)),
            y_score=y_score,
            name=name,
        )
        return display.plot(axes, **kwargs)

    def plot(self, axes=None, **kwargs):
        """Draw the rows twice: coloured by label, and by score.

        Parameters
        ----------
        axes : two matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `scatter`.

        Returns
        -------
        self : object
        """
        if axes is None:
            _, axes = pyplot().subplots(
                1, 2, sharex=True, sharey=True, figsize=(10, 4.5), layout="constrained"
            )
        self.axes_, self.figure_ = axes, axes[0].figure
        self.label_points_ = {}
        for label, (text, color) in LABELS.items():
            rows = self.y_true == label
            if rows.any():
                options = {"s": 8 if label == 0 else 22, "color": color, **kwargs}
                self.label_points_[label] = axes[0].scatter(
                    *self.components[rows].T, label=f"{text} ({rows.sum()})", **options
                )
        axes[0].legend()
        # Colours by rank: a few very low scores would leave one colour to all the others.
        ranks = np.searchsorted(np.sort(self.y_score), self.y_score) / max(len(self.y_score), 1)
        order = np.argsort(self.y_score)  # the normal on top, where they crowd
        self.score_points_ = axes[1].scatter(
            *self.components[order].T, c=ranks[order], **{"s": 8, "cmap": "viridis", **kwargs}
        )
        self.figure_.colorbar(
            self.score_points_, ax=axes[1], label="rank of the score (0: most suspicious)"
        )
        for ax, what in zip(axes, ("by label", "by score"), strict=True):
            shares = [f"component {i + 1} ({r:.0%})" for i, r in enumerate(self._ratio())]
            ax.set(xlabel=shares[0], ylabel=shares[1])
            ax.set_title(what if self.name is None else f"{self.name}, {what}")
        return self

    def _ratio(self):
        return np.nan_to_num(self.explained_variance_ratio)
