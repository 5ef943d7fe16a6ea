"""Fit clones of any detector on parts of the rows; scores that are finite."""

import numpy as np
from sklearn.base import clone
from sklearn.utils import _safe_indexing

from ._labels import labels_judged_before
from ._random import preserve_global_generators, seed_everything

# Stands for an infinite score. Larger than any density's logarithm, and differences stay finite.
HUGE = 1e100


def scores_of(estimator, X, method="score_samples"):
    """Scores of an estimator, finite: kernel densities, for one, can be minus infinity."""
    scores = np.asarray(getattr(estimator, method)(X), dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError(f"{type(estimator).__name__}.{method} gives NaN for some rows.")
    return np.clip(scores, -HUGE, HUGE)


def median_and_spread(scores):
    """Median and standard deviation of the finite scores; 1 where they are constant."""
    finite = scores[np.abs(scores) < HUGE]
    if len(finite) == 0:
        finite = scores
    spread = finite.std()
    constant = spread <= 1e-12 * np.abs(finite).max()  # or differs by rounding alone
    return np.median(finite), 1.0 if constant else spread


def fit_clone(estimator, X, y, rows, seed, **fit_params):
    """Fit a clone on some rows; whatever the user left unseeded gets the seed."""
    estimator = clone(estimator)
    unseeded = [
        name
        for name, value in estimator.get_params().items()
        if name.rpartition("__")[2] == "random_state" and value is None
    ]
    estimator.set_params(**dict.fromkeys(unseeded, seed % 2**32))
    # The labels as a whole were checked before; a part may hold 0 and +1 alone.
    with labels_judged_before(), preserve_global_generators():
        # OneClassSVM, for one, draws from numpy's global generator and has no random_state.
        seed_everything(seed)
        return estimator.fit(_safe_indexing(X, rows), y[rows], **fit_params)
