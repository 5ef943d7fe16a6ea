"""Which rows to label next, and what an analyst who labels them would find.

In the terms of the field: a *query* is a batch of rows to show to an analyst, the *budget* is how
many rows are shown in all, and the *discovery curve* is how many anomalies were among them.
"""

from typing import Literal

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch, _safe_indexing, indexable
from sklearn.utils.validation import _num_samples

from ._clones import fit_clone, scores_of
from ._labels import check_labels
from ._parameters import Count, RandomState, check_value
from ._random import draw_seed
from .metrics import average_precision_scorer

__all__ = ["query", "simulate"]

Strategy = Literal["top", "mixed", "uncertain", "diverse", "random"]
N_CANDIDATES = 5  # "diverse" picks from as many times the rows asked for
RANDOM_SHARE = 0.5  # of the rows that "mixed" asks for, if all labelled rows are anomalies


def query(estimator, X, y, n=10, *, strategy="top", random_state=None):
    """Choose unlabelled rows to label next.

    Parameters
    ----------
    estimator : detector
        Fitted, with `decision_function`: usually on X and y.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal: only unlabelled rows are chosen.
    n : int, default=10
        How many rows to choose, or all unlabelled ones where they are fewer.
    strategy : {"top", "mixed", "uncertain", "diverse", "random"}, default="top"
        "top": the most anomalous rows. "mixed": these, but random ones for half the share of
        anomalies among the rows labelled so far. "uncertain": those nearest the threshold.
        "diverse": of the 5 `n` most anomalous rows, ones far from each other (k-center, the most
        anomalous first, over standardised columns; of a pipeline, those that its last step gets).
        "random": any.
    random_state : int, RandomState instance or None, default=None
        Seed of "random" and "mixed"; the others draw nothing.

    Returns
    -------
    ndarray of shape (n,), int
        Row numbers, in the order of choice.

    Raises
    ------
    ValueError
        When no row is unlabelled.

    See Also
    --------
    simulate : What would be found this way, on a table whose truth is known.

    Notes
    -----
    In ``benchmarks/active.py`` "top" and "diverse" find about the same, 1.6 times as many anomalies
    as isolation forest's most anomalous rows, and "uncertain" far fewer. As labels to learn from,
    rows that look anomalous are worth more than random ones where anomalies are rare. Where there
    are more than can be shown, they may all be of one kind, and random rows can teach more.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import ClassifierDetector
    >>> from skad.active import query
    >>> X = np.r_[np.random.default_rng(0).normal(size=(200, 2)), np.full((4, 2), 5.0)]
    >>> y = np.zeros(204, dtype=int)
    >>> y[-1] = -1
    >>> detector = ClassifierDetector(random_state=0).fit(X, y)
    >>> query(detector, X, y, n=3)
    array([200, 201, 202])
    """
    check_value("n", n, Count)
    check_value("strategy", strategy, Strategy)
    check_value("random_state", random_state, RandomState)
    if not hasattr(estimator, "decision_function"):
        raise TypeError(f"estimator must have decision_function, got {estimator!r}.")
    (X,) = indexable(X)
    y = check_labels(y, _num_samples(X))
    free, labels = np.flatnonzero(y == 0), y[y != 0]
    if len(free) == 0:
        raise ValueError("y holds no unlabelled row (0) to choose from.")
    if strategy in ("random", "mixed"):
        rng = np.random.RandomState(draw_seed(random_state) % 2**32)
    if strategy == "random":
        return rng.permutation(free)[:n]
    rows = _safe_indexing(X, free)
    scores = scores_of(estimator, rows, "decision_function")
    order = np.argsort(np.abs(scores) if strategy == "uncertain" else scores, kind="stable")
    if strategy == "diverse":
        if isinstance(estimator, Pipeline) and len(estimator) > 1:
            rows = estimator[:-1].transform(rows)
        order = order[: N_CANDIDATES * n]
        order = order[_k_center(StandardScaler().fit_transform(rows)[order], n)]
    if strategy == "mixed" and len(labels):
        # Rounded at random, so that the share is right over queries of few rows.
        n_top = n - int(RANDOM_SHARE * np.mean(labels == -1) * n + rng.uniform())
        order = np.r_[order[:n_top], rng.permutation(order[n_top:])]
    return free[order[:n]]


def _k_center(points, k):
    """Choose points greedily, each time the farthest from those chosen; the first one first."""
    chosen, distance = [], np.full(len(points), np.inf)
    for _ in range(min(k, len(points))):
        chosen.append(int(np.argmax(distance)))
        to_chosen = np.linalg.norm(points - points[chosen[-1]], axis=1)
        distance = np.minimum(distance, to_chosen)
        distance[chosen[-1]] = -1.0
    return chosen


def simulate(
    estimator,
    X,
    y_true,
    budget=100,
    *,
    batch_size=5,
    strategy="top",
    first=None,
    X_test=None,
    y_test=None,
    random_state=None,
):
    """Play an analyst who labels the rows of one query after the other.

    No row is labelled at the start. A query is answered with the truth, -1 or +1, and then the
    detector is fitted again.

    Parameters
    ----------
    estimator : detector
        Cloned and fitted before each query, as soon as an anomaly has been found.
    X : array-like of shape (n_samples, n_features)
    y_true : array-like of shape (n_samples,)
        -1 anomaly; any other row is normal.
    budget : int, default=100
        How many rows to show in all, or all rows where they are fewer.
    batch_size : int, default=5
        How many rows a query shows.
    strategy : {"top", "mixed", "uncertain", "diverse", "random"}, default="top"
        How rows are chosen, see `query`.
    first : detector, default=None
        Chooses rows for as long as no anomaly is known, and is fitted without labels. None:
        `sklearn.ensemble.IsolationForest`.
    X_test, y_test : array-likes, default=None
        Held-out rows and their truth, to compute `average_precision`.
    random_state : int, RandomState instance or None, default=None
        Seeds the strategy, and what `estimator` and `first` leave unseeded.

    Returns
    -------
    Bunch
        rows : ndarray of shape (n_shown,)
            Row numbers, in the order in which they were shown.
        n_found : ndarray of shape (n_shown,)
            The discovery curve: anomalies found among the rows shown so far.
        n_labeled : ndarray of shape (n_queries + 1,)
            Labelled rows before each query and after the last.
        average_precision : ndarray of shape (n_queries + 1,)
            On the held-out rows, by the detector fitted with that many labels; NaN without them.
        estimator : detector
            Fitted with all labels; `first` if no anomaly was found.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import ClassifierDetector
    >>> from skad.active import simulate
    >>> X = np.r_[np.random.default_rng(0).normal(size=(200, 2)), np.full((8, 2), 5.0)]
    >>> y_true = np.repeat([1, -1], [200, 8])
    >>> result = simulate(ClassifierDetector(), X, y_true, budget=10, random_state=0)
    >>> result.n_found
    array([0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    """
    check_value("budget", budget, Count)
    check_value("batch_size", batch_size, Count)
    check_value("strategy", strategy, Strategy)
    check_value("random_state", random_state, RandomState)
    if (X_test is None) != (y_test is None):
        raise ValueError("Pass both X_test and y_test, or neither.")
    (X,) = indexable(X)
    truth = np.where(check_labels(y_true, _num_samples(X)) == -1, -1, 1)
    if np.all(truth == 1):
        raise ValueError("y_true holds no anomaly (-1) to find.")
    seed, everything = draw_seed(random_state), np.arange(len(truth))
    rng = np.random.RandomState(seed % 2**32)
    y, shown = np.zeros(len(truth), dtype=np.int8), []
    unlabeled, first = y.copy(), IsolationForest() if first is None else first
    detector = fit_clone(first, X, unlabeled, everything, seed)
    n_labeled, precision = [], []
    while True:
        if np.any(y == -1):
            detector = fit_clone(estimator, X, y, everything, seed)
        n_labeled.append(len(shown))
        precision.append(
            np.nan if X_test is None else average_precision_scorer(detector, X_test, y_test)
        )
        n = min(batch_size, min(budget, len(y)) - len(shown))
        if n == 0:
            break
        rows = query(detector, X, y, n, strategy=strategy, random_state=rng)
        y[rows] = truth[rows]
        shown.extend(rows)
    return Bunch(
        rows=np.array(shown),
        n_found=np.cumsum(truth[shown] == -1),
        n_labeled=np.array(n_labeled),
        average_precision=np.array(precision),
        estimator=detector,
    )
