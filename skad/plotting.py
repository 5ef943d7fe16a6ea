"""Pictures of detectors and partly labelled data, as scikit-learn's Displays.

The data stay on the display, so that `plot` draws again without computing again; the artists are
kept as attributes ending in ``_``. matplotlib is imported when something is drawn.
"""

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.metrics import precision_recall_curve, roc_curve
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted

from ._labels import check_labels, stands_for_normal
from .metrics import average_precision_score, average_precision_scorer, roc_auc_score
from .model_selection import SemiSupervisedKFold

__all__ = [
    "LabelGainDisplay",
    "LatentSpaceDisplay",
    "PrecisionRecallDisplay",
    "RocCurveDisplay",
    "ScoreDistributionDisplay",
    "TrainingCurveDisplay",
]

# Drawn in this order; the colours can be told apart by the colour-blind.
LABELS = {0: ("unlabelled", "0.6"), 1: ("labelled normal", "C0"), -1: ("labelled anomaly", "C3")}


def _pyplot():
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'skad[plot]'.") from error
    return plt


class _Display:
    def _set_axes(self, ax):
        if ax is None:
            _, ax = _pyplot().subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure


class ScoreDistributionDisplay(_Display):
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
        return cls.from_predictions(y, scores, name=name or _name(estimator), ax=ax, **kwargs)

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
        """Draw one histogram a label, on a logarithmic axis, and the threshold.

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
        # Logarithmic, because alarms are few beside the mass of the normals.
        self.ax_.set_yscale("log")
        self.ax_.set_ylim(bottom=0.7)
        self.ax_.set(xlabel="score (higher: more normal)", ylabel="rows", title=self.name)
        self.ax_.legend()
        return self


class _CurveDisplay(_Display):
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
            y, scores, unlabeled=unlabeled, name=name or _name(estimator), ax=ax, **kwargs
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


class RocCurveDisplay(_CurveDisplay):
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


class PrecisionRecallDisplay(_CurveDisplay):
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


class TrainingCurveDisplay(_Display):
    """Loss of a deep detector over its training.

    Use `from_estimator` to make one.

    Parameters
    ----------
    train_loss : ndarray of shape (n_epochs,)
        Mean over members.
    train_loss_members : ndarray of shape (n_epochs, n_members)
        Each member's.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Loss of the validation rows, if there were any.
    n_steps : int, default=None
        Gradient steps of the whole training, for the x axis; None: count epochs.
    name : str, default=None
        Title.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    line_, valid_line_ : matplotlib Line2D
        Mean loss; loss of the validation rows, or None.
    member_lines_ : list of matplotlib Line2D
    """

    def __init__(self, *, train_loss, train_loss_members, valid_loss=None, n_steps=None, name=None):
        self.train_loss = train_loss
        self.train_loss_members = train_loss_members
        self.valid_loss = valid_loss
        self.n_steps = n_steps
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **kwargs):
        """Plot the `history_` of a fitted deep detector.

        Parameters
        ----------
        estimator : fitted deep detector
        name : str, default=None
            Title; None: the name of the estimator.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`, for the mean loss.

        Returns
        -------
        TrainingCurveDisplay
        """
        check_is_fitted(estimator, "history_")
        history = list(estimator.history_)
        valid_loss = None
        if "valid_loss" in history[-1]:
            valid_loss = np.array([epoch["valid_loss"] for epoch in history])
        display = cls(
            train_loss=np.array([epoch["train_loss"] for epoch in history]),
            train_loss_members=np.array([epoch["train_loss_members"] for epoch in history]),
            valid_loss=valid_loss,
            n_steps=estimator.n_iter_,
            name=name or _name(estimator),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the mean loss and, faintly, each member's.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`, for the mean loss.

        Returns
        -------
        self : object
        """
        self._set_axes(ax)
        n_epochs = len(self.train_loss)
        x = np.arange(1, n_epochs + 1) * ((self.n_steps or n_epochs) / n_epochs)
        self.member_lines_ = []
        if self.train_loss_members.shape[1] > 1:
            self.member_lines_ = self.ax_.plot(
                x, self.train_loss_members, color="C0", alpha=0.25, linewidth=1
            )
            self.member_lines_[0].set_label("training, each member")
        options = {"color": "C0", "linewidth": 2, "label": "training", **kwargs}
        (self.line_,) = self.ax_.plot(x, self.train_loss, **options)
        self.valid_line_ = None
        if self.valid_loss is not None:
            (self.valid_line_,) = self.ax_.plot(x, self.valid_loss, "C1", label="validation")
        xlabel = "epoch" if self.n_steps is None else "gradient step"
        self.ax_.set(xlabel=xlabel, ylabel="loss", title=self.name)
        self.ax_.legend()
        return self


class LatentSpaceDisplay(_Display):
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
            y, scores, codes, name=name or _name(estimator), axes=axes, **kwargs
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
            _, axes = _pyplot().subplots(
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


class LabelGainDisplay(_Display):
    """What each further labelled anomaly is worth: score against the number of labels.

    Use `from_estimators` to make one.

    Parameters
    ----------
    n_labeled : array-like of shape (n_counts,)
        Numbers of labelled anomalies.
    scores : dict of {name: ndarray of shape (n_repeats, n_counts)}
        Held-out scores of each detector.
    score_name : str, default="average precision"
        Name of the score.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    lines_ : dict of {name: Line2D}
    bands_ : dict of {name: PolyCollection}
    """

    def __init__(self, *, n_labeled, scores, score_name="average precision"):
        self.n_labeled = n_labeled
        self.scores = scores
        self.score_name = score_name

    @classmethod
    def from_estimators(
        cls,
        estimators,
        X,
        y,
        *,
        n_labeled=(0, 1, 2, 5, 10),
        n_repeats=5,
        scoring=average_precision_scorer,
        score_name="average precision",
        n_jobs=None,
        random_state=None,
        ax=None,
    ):
        """Fit detectors with few to many of the labels, score them on held-out rows and plot.

        Each repeat holds out a third of the rows, evenly over the labels, and hides all but some
        of the labelled anomalies of the others. With more labels the former ones are kept.

        Parameters
        ----------
        estimators : dict of {name: detector}
            Cloned and fitted; give them a `random_state`.
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. Without any 0 it is taken as
            full ground truth: normals are then unlabelled for the fit.
        n_labeled : sequence of int, default=(0, 1, 2, 5, 10)
            How many labelled anomalies to leave.
        n_repeats : int, default=5
            Number of random splits.
        scoring : callable, default=average_precision_scorer
            A scorer ``scoring(detector, X, y)`` of `skad.metrics`.
        score_name : str, default="average precision"
            Its name, for the y axis.
        n_jobs : int, default=None
            Number of parallel fits, as in scikit-learn.
        random_state : int, RandomState instance or None, default=None
            Seed of the splits.
        ax : matplotlib Axes, default=None
            None: a new figure.

        Returns
        -------
        LabelGainDisplay

        Raises
        ------
        ValueError
            When y holds too few labelled anomalies; the message says how many are possible.
        """
        y = check_labels(y, _num_samples(X))
        # Were all normals labelled, the unlabelled rows would be nothing but hidden anomalies.
        known = y if np.any(y == 0) else np.minimum(y, 0)
        rng = check_random_state(random_state)
        problems = []
        for _ in range(n_repeats):
            splitter = SemiSupervisedKFold(3, random_state=rng.randint(2**31))
            train, test = next(splitter.split(X, y))
            anomalies = rng.permutation(train[y[train] == -1])
            if max(n_labeled) > len(anomalies):
                raise ValueError(
                    f"n_labeled goes up to {max(n_labeled)}, but two thirds of the rows hold only "
                    f"{len(anomalies)} labelled anomalies: that is the largest possible number."
                )
            for n in n_labeled:
                labels = known.copy()
                labels[anomalies[n:]] = 0
                problems.append((train, labels[train], test))
        values = Parallel(n_jobs=n_jobs)(
            delayed(_fit_and_score)(estimator, X, y, *problem, scoring)
            for estimator in estimators.values()
            for problem in problems
        )
        shape = len(estimators), n_repeats, len(n_labeled)
        scores = dict(zip(estimators, np.reshape(values, shape), strict=True))
        return cls(n_labeled=n_labeled, scores=scores, score_name=score_name).plot(ax)

    def plot(self, ax=None, **kwargs):
        """Draw the mean over repeats of each detector, and a band of one standard deviation.

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
        self._set_axes(ax)
        self.lines_, self.bands_ = {}, {}
        for name, scores in self.scores.items():
            mean, deviation = scores.mean(axis=0), scores.std(axis=0)
            (line,) = self.ax_.plot(
                self.n_labeled, mean, **{"marker": "o", "label": name, **kwargs}
            )
            self.lines_[name] = line
            self.bands_[name] = self.ax_.fill_between(
                self.n_labeled,
                mean - deviation,
                mean + deviation,
                color=line.get_color(),
                alpha=0.15,
                linewidth=0,
            )
        # The first labels are worth most, so they get most of the room.
        self.ax_.set_xscale("symlog", linthresh=1)
        self.ax_.set_xticks(list(self.n_labeled), [str(n) for n in self.n_labeled])
        self.ax_.minorticks_off()
        self.ax_.set(xlabel="labelled anomalies", ylabel=f"{self.score_name} on held-out rows")
        self.ax_.legend()
        return self


def _fit_and_score(estimator, X, y, train, train_labels, test, scoring):
    detector = clone(estimator).fit(_safe_indexing(X, train), train_labels)
    return scoring(detector, _safe_indexing(X, test), y[test])


def _name(estimator):
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__
