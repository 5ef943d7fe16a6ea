"""What labels are worth."""

import itertools

from ..metrics import average_precision_scorer
from ..model_selection import label_gain_curve
from ._base import Display

MARKERS = "os^Dv"  # lines are told apart without colours, too


class LabelGainDisplay(Display):
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

        The scores are those of `skad.model_selection.label_gain_curve`.

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
        scores = label_gain_curve(
            estimators,
            X,
            y,
            n_labeled=n_labeled,
            n_repeats=n_repeats,
            scoring=scoring,
            n_jobs=n_jobs,
            random_state=random_state,
        )
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
        for (name, scores), marker in zip(self.scores.items(), itertools.cycle(MARKERS)):
            mean, deviation = scores.mean(axis=0), scores.std(axis=0)
            (line,) = self.ax_.plot(
                self.n_labeled, mean, **{"marker": marker, "label": name, **kwargs}
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
