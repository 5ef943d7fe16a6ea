"""Scores of detectors against the number of labels."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from .._labels import check_labels
from ..metrics import average_precision_scorer
from .splitters import SemiSupervisedKFold


def label_gain_curve(
    estimators,
    X,
    y,
    *,
    n_labeled=(0, 1, 2, 5, 10),
    n_repeats=5,
    scoring=average_precision_scorer,
    n_jobs=None,
    random_state=None,
):
    """Held-out scores of detectors fitted with few to many of the labelled anomalies.

    Each repeat holds out a third of the rows, evenly over the labels, and hides all but some of
    the labelled anomalies of the others. With more labels the former ones are kept.

    Parameters
    ----------
    estimators : dict of {name: detector}
        Cloned and fitted; give them a `random_state`.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal. Without any 0 it is taken as full
        ground truth: normals are then unlabelled for the fit.
    n_labeled : sequence of int, default=(0, 1, 2, 5, 10)
        How many labelled anomalies to leave.
    n_repeats : int, default=5
        Number of random splits.
    scoring : callable, default=average_precision_scorer
        A scorer ``scoring(detector, X, y)`` of `skad.metrics`.
    n_jobs : int, default=None
        Number of parallel fits, as in scikit-learn.
    random_state : int, RandomState instance or None, default=None
        Seed of the splits.

    Returns
    -------
    dict of {name: ndarray of shape (n_repeats, n_counts)}

    Raises
    ------
    ValueError
        When y holds too few labelled anomalies; the message says how many are possible.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad.model_selection import label_gain_curve
    >>> X = np.r_[np.random.default_rng(0).normal(size=(60, 2)), np.full((6, 2), 5.0)]
    >>> y = np.r_[np.zeros(60, dtype=int), -np.ones(6, dtype=int)]
    >>> forest = IsolationForest(random_state=0)
    >>> curve = label_gain_curve({"forest": forest}, X, y, n_labeled=(0, 2), n_repeats=3)
    >>> curve["forest"].shape
    (3, 2)
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
    return dict(zip(estimators, np.reshape(values, shape), strict=True))


def _fit_and_score(estimator, X, y, train, train_labels, test, scoring):
    detector = clone(estimator).fit(_safe_indexing(X, train), train_labels)
    return scoring(detector, _safe_indexing(X, test), y[test])
