"""Why rows got their scores."""

from numbers import Real

import numpy as np

from .._tables import check_table, is_frame
from ..inspection import score_attributions
from ._base import Display, name_of, pyplot

LOWERS, RAISES = "C3", "C0"  # the colours of anomalies and normals in the other displays
MAX_IMAGES = 12
N_COLUMNS = 4  # of images


class AttributionDisplay(Display):
    """How much each feature raises or lowers the scores of rows, against a normal reference.

    One row is drawn as a waterfall, from the reference's score to its own; several rows as a swarm
    of points for each feature; images as heat maps over the images, 12 at most. Use
    `from_estimator` or `from_attributions` to make one.

    Parameters
    ----------
    attributions : ndarray of shape (n_samples, n_features)
        Or, of images, (n_samples, channels, height, width).
    values : ndarray of the same shape, default=None
        The rows.
    feature_names : list of str, default=None
        None: x0, x1, ...
    scores : ndarray of shape (n_samples,), default=None
        The rows' `score_samples`. None: the waterfall starts from 0.
    threshold : float, default=None
        Scores below it are alarms.
    name : str, default=None
        Title.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One, or one for each image.
    ax_, figure_ : matplotlib Axes and Figure
        The first axes, and the figure.
    features_ : list of int
        Numbers of the features drawn, the most important first; None for images.
    bars_ : BarContainer
        Of a waterfall, from top to bottom; the last one may be the other features together.
    points_ : list of PathCollection
        Of a swarm, for each feature.
    images_ : list of AxesImage
        Heat maps.

    See Also
    --------
    skad.inspection.score_attributions : Computes them.

    Examples
    --------
    >>> from skad.plotting import AttributionDisplay
    >>> display = AttributionDisplay.from_attributions(
    ...     [[0.5, -2.0]], [[3.0, 40.0]], feature_names=["age", "amount"], scores=[-1.2]
    ... )
    >>> display.features_
    [1, 0]
    """

    def __init__(
        self,
        *,
        attributions,
        values=None,
        feature_names=None,
        scores=None,
        threshold=None,
        name=None,
    ):
        self.attributions = attributions
        self.values = values
        self.feature_names = feature_names
        self.scores = scores
        self.threshold = threshold
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, X, *, background=None, method="auto", name=None, ax=None, **kwargs
    ):
        """Explain the scores of X and plot.

        Parameters
        ----------
        estimator : fitted detector
            Anything with `score_samples`, a pipeline too.
        X : array-like of shape (n_samples, n_features)
            Rows to explain; the columns of a DataFrame keep their names.
        background : array-like of shape (n_background, n_features), default=None
            Mostly normal rows to compare with, see `skad.inspection.score_attributions`. None: X.
        method : {"auto", "integrated_gradients", "permutation"}, default="auto"
            See `skad.inspection.score_attributions`.
        name : str, default=None
            Title; None: the name of the estimator.
        ax : matplotlib Axes, default=None
            Of images as many as there are images. None: a new figure.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        AttributionDisplay
        """
        attributions = score_attributions(estimator, X, background=background, method=method)
        last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
        offset = getattr(last, "offset_", None)  # OneClassSVM's is an array
        return cls.from_attributions(
            attributions,
            X,
            scores=estimator.score_samples(X),
            threshold=None if offset is None else float(np.ravel(offset)[0]),
            name=name or name_of(estimator),
            ax=ax,
            **kwargs,
        )

    @classmethod
    def from_attributions(
        cls,
        attributions,
        X=None,
        *,
        feature_names=None,
        scores=None,
        threshold=None,
        name=None,
        ax=None,
        **kwargs,
    ):
        """Plot given attributions.

        Parameters
        ----------
        attributions : array-like of shape (n_samples, n_features)
            Or, of images, (n_samples, channels, height, width).
        X : array-like of shape (n_samples, n_features), default=None
            The rows.
        feature_names : list of str, default=None
            None: the column names of X, or x0, x1, ...
        scores : array-like of shape (n_samples,), default=None
            The rows' `score_samples`.
        threshold : float, default=None
            Scores below it are alarms.
        name : str, default=None
            Title.
        ax : matplotlib Axes, default=None
            Of images as many as there are images. None: a new figure.
        **kwargs
            Passed on to `plot`.

        Returns
        -------
        AttributionDisplay

        Raises
        ------
        ValueError
            When the shapes do not fit together.
        """
        attributions = np.asarray(attributions, dtype=np.float64)
        if attributions.ndim not in (2, 4) or len(attributions) == 0:
            raise ValueError(
                "attributions must have shape (n_samples, n_features) or (n_samples, channels, "
                f"height, width), with at least one row, got {attributions.shape}."
            )
        n_samples, n_features = len(attributions), attributions[0].size
        values = X
        if X is not None:
            X = check_table(X, "X")
            if X.shape != (n_samples, n_features):
                raise ValueError(
                    f"X must have shape {(n_samples, n_features)}, as attributions have, got "
                    f"{X.shape}."
                )
            values = np.asarray(X).reshape(attributions.shape)
        if feature_names is None:
            names = X.columns if is_frame(X) else (f"x{i}" for i in range(n_features))
            feature_names = [str(name) for name in names]
        if len(feature_names) != n_features:
            raise ValueError(
                f"feature_names must be {n_features} names, one for each feature, got "
                f"{len(feature_names)}."
            )
        display = cls(
            attributions=attributions,
            values=values,
            feature_names=list(feature_names),
            scores=None if scores is None else np.asarray(scores, dtype=np.float64),
            threshold=threshold,
            name=name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, *, max_features=10, **kwargs):
        """Draw one row, several rows, or images.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Of images as many as there are images. None: a new figure.
        max_features : int, default=10
            Number of features drawn: those with the largest attributions. Without effect on images.
        **kwargs
            Passed on to matplotlib's `barh` (one row), `scatter` (several) or `imshow` (images).

        Returns
        -------
        self : object
        """
        if self.attributions.ndim == 4:
            return self._plot_images(ax, kwargs)
        self._set_axes(ax)
        self.axes_ = np.array([self.ax_])
        importance = np.abs(self.attributions).mean(axis=0)
        order = np.argsort(-importance, kind="stable")[:max_features]
        self.features_ = [int(i) for i in order]
        draw = self._plot_waterfall if len(self.attributions) == 1 else self._plot_swarm
        draw(kwargs)
        self.ax_.set_title(self.name)
        return self

    def _plot_waterfall(self, kwargs):
        """Draw a bar for each feature, which starts where the one above has ended."""
        (row,) = self.attributions
        labels = [self._label(i) for i in self.features_]
        steps = row[self.features_]
        n_others = len(row) - len(steps)
        if n_others:
            labels.append(f"{n_others} others")
            steps = np.append(steps, row.sum() - steps.sum())
        end = row.sum() if self.scores is None else self.scores[0]
        starts = end - row.sum() + np.append(0, steps.cumsum()[:-1])
        positions = -np.arange(len(steps))
        colors = [LOWERS if step < 0 else RAISES for step in steps]
        self.bars_ = self.ax_.barh(positions, steps, **{"left": starts, "color": colors, **kwargs})
        readable = {"boxstyle": "square,pad=0.1", "facecolor": "w", "edgecolor": "none"}
        texts = [f"{step:+.2g}" for step in steps]
        self.ax_.bar_label(self.bars_, texts, padding=4, bbox={**readable, "alpha": 0.7})
        self.ax_.set_yticks(positions, labels)
        lines = [(starts[0], "normal reference", "0.6", ":"), (end, "this row", "k", "-")]
        span = np.ptp(np.append(starts, end))
        if self.threshold is not None and abs(self.threshold - end) < 2 * span:
            lines.append((self.threshold, "threshold", "k", "--"))
        for position, label, color, style in lines:
            self.ax_.axvline(position, label=label, color=color, linestyle=style, zorder=0)
        low, high = self.ax_.get_xlim()
        room = 0.15 * (high - low)  # for the labels of the bars
        self.ax_.set_xlim(low - room, high + room)
        what = "score minus the reference's" if self.scores is None else "score"
        self.ax_.set_xlabel(f"{what} (higher: more normal)")
        self.ax_.legend(loc="best")

    def _label(self, feature):
        name = self.feature_names[feature]
        if self.values is None:
            return name
        value = self.values[0, feature]
        return f"{name} = {value:.4g}" if isinstance(value, Real) else f"{name} = {value}"

    def _plot_swarm(self, kwargs):
        """Draw a point for each row and feature, coloured by the value of the feature."""
        edges = np.histogram_bin_edges(self.attributions[:, self.features_], 80)
        heights = [_pile(np.digitize(self.attributions[:, i], edges)) for i in self.features_]
        unit = 0.4 / max(1, *(np.abs(height).max() for height in heights))
        self.points_ = []
        for position, (feature, height) in enumerate(zip(self.features_, heights, strict=True)):
            options = {"s": 10, "cmap": "viridis", "vmin": 0, "vmax": 1, "c": self._ranks(feature)}
            if options["c"] is None:
                options = {"s": 10, "color": "0.5"}
            self.points_.append(
                self.ax_.scatter(
                    self.attributions[:, feature], unit * height - position, **{**options, **kwargs}
                )
            )
        self.ax_.axvline(0, color="0.6", linestyle=":", zorder=0)
        names = [self.feature_names[i] for i in self.features_]
        self.ax_.set_yticks(-np.arange(len(names)), names)
        self.ax_.set_xlabel("attribution (lower: more anomalous)")
        n_features = len(self.feature_names)
        if len(names) < n_features:
            self.ax_.set_ylabel(f"{len(names)} of {n_features} features")
        colored = [p for p in self.points_ if p.get_array() is not None]
        if colored:
            bar = self.figure_.colorbar(colored[0], ax=self.ax_, ticks=[0, 1])
            bar.set_ticklabels(["lowest", "highest"])
            bar.set_label("value of the feature, by rank")

    def _ranks(self, feature):
        """Ranks of a feature's values, from 0 to 1; None if they are not numbers."""
        if self.values is None:
            return None
        try:
            values = self.values[:, feature].astype(np.float64)
        except (TypeError, ValueError):
            return None
        distinct, ranks = np.unique(values, return_inverse=True)
        return ranks / max(len(distinct) - 1, 1)

    def _plot_images(self, axes, kwargs):
        heat = self.attributions[:MAX_IMAGES].sum(axis=1)  # over channels
        n = len(heat)
        if axes is None:
            n_columns = min(n, N_COLUMNS)
            n_rows = -(-n // n_columns)
            size = (2.5 * n_columns + 1.2, max(2.5 * n_rows + 0.3, 3.5))
            _, axes = pyplot().subplots(
                n_rows, n_columns, squeeze=False, figsize=size, layout="constrained"
            )
        axes = np.ravel(axes)
        if len(axes) < n:
            raise ValueError(f"ax must be {n} axes, one for each image, got {len(axes)}.")
        self.axes_, self.ax_, self.figure_ = axes[:n], axes[0], axes[0].figure
        self.features_, self.images_ = None, []
        largest = np.abs(heat).max() or 1.0
        for k, ax in enumerate(axes):
            ax.set_axis_off()
            if k >= n:
                continue
            if self.values is not None:
                image = self.values[k].mean(axis=0)
                # Light, because colours do not show on black.
                ax.imshow(image, cmap="gray", vmin=2 * image.min() - image.max())
            options = {"cmap": "RdBu", "vmin": -largest, "vmax": largest}
            if self.values is not None:  # what does not matter shows the image
                options["alpha"] = np.sqrt(np.abs(heat[k]) / largest)
            self.images_.append(ax.imshow(heat[k], **{**options, **kwargs}))
            if self.scores is not None:
                ax.set_title(f"score {self.scores[k]:.2f}")
        self.figure_.colorbar(
            self.images_[0], ax=list(axes), label="attribution (red: more anomalous)"
        )
        if self.name is not None:
            self.figure_.suptitle(self.name)
        return self


def _pile(bins):
    """Heights of points, so that those in the same bin lie beside each other: 0, 1, -1, 2, ..."""
    heights = np.zeros(len(bins))
    for number in np.unique(bins):
        k = np.arange(np.sum(bins == number))
        heights[bins == number] = (k + 1) // 2 * np.where(k % 2, 1, -1)
    return heights
