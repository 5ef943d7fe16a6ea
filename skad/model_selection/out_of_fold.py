"""Scores of rows by models that have not been trained on them, on one scale."""

from numbers import Integral
from typing import Literal

import numpy as np
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, check_consistent_length, indexable
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from .._clones import HUGE, fit_clone, median_and_spread, scores_of
from .._labels import check_training_labels
from .._parameters import check_value
from .._random import draw_seed
from .splitters import SemiSupervisedKFold


def cross_val_predict(
    estimator,
    X,
    y=None,
    *,
    groups=None,
    cv=None,
    n_jobs=None,
    method="decision_function",
):
    """Score every row by a model that has not been trained on it, all on one scale.

    Parameters
    ----------
    estimator : detector
        Anything with `fit` and `method`. Cloned and fitted once per fold; give it a
        `random_state`.
    X : array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,), default=None
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None: all unlabelled.
    groups : array-like of shape (n_samples,), default=None
        Rows with the same value are scored by the same model, which has seen none of them.
    cv : int, splitter or iterable of (train, test), default=None
        Its test parts must hold each row once. An int is a number of folds, None is 5: those of
        ``SemiSupervisedKFold(cv, random_state=0)``, but with fewer labelled anomalies than folds
        some folds are without any.
    n_jobs : int, default=None
        Fits at the same time, as in scikit-learn.
    method : {"decision_function", "score_samples", "predict"}, default="decision_function"
        What to ask the models for. "predict" is each model's own label, by its own threshold.

    Returns
    -------
    ndarray of shape (n_samples,)
        Scores, float64: higher means more normal. Or labels, +1 and -1.

    Raises
    ------
    ValueError
        When some row is in no test part, or in several, or also in that part's training rows.

    See Also
    --------
    sklearn.model_selection.cross_val_predict : Fails for detectors when y holds labels.

    Notes
    -----
    Models of different folds score on scales of their own. So each fold's scores are shifted and
    stretched: the scores that its model gives to its training rows, without the labelled
    anomalies, have the same median and standard deviation in all folds, which are the means over
    the folds. Without that, the average precision of all scores together comes out too low: .743
    rather than .773 for `ClassifierDetector` in ``benchmarks/out_of_fold.py``, where fresh rows
    gave .781. (Deep detectors standardise their scores themselves.)

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.ensemble import IsolationForest
    >>> from skad.model_selection import cross_val_predict
    >>> X = np.r_[np.random.default_rng(0).normal(size=(60, 2)), np.full((6, 2), 5.0)]
    >>> y = np.r_[np.zeros(60, dtype=int), -np.ones(6, dtype=int)]
    >>> scores = cross_val_predict(IsolationForest(random_state=0), X, y)
    >>> bool(scores[y == -1].max() < scores[y == 0].min())
    True
    """
    check_value("method", method, Literal["decision_function", "score_samples", "predict"])
    if not hasattr(estimator, method):
        raise TypeError(f"estimator must have {method}, got {estimator!r}.")
    (X,) = indexable(X)
    y = check_training_labels(y, _num_samples(X))
    splits = _checked_splits(cv, X, y, groups)
    seed = draw_seed(None)
    folds = Parallel(n_jobs=n_jobs)(
        delayed(_fit_and_predict)(estimator, X, y, train, test, seed, method)
        for train, test in splits
    )
    answers = [answer for answer, *_ in folds] if method == "predict" else _on_one_scale(folds)
    result = np.empty(len(y), dtype=np.result_type(*answers))
    for (_, test), answer in zip(splits, answers, strict=True):
        result[test] = answer
    return result


def _on_one_scale(folds):
    """Shift and stretch each fold's scores, so that all folds have the same median and spread."""
    location, spread = np.mean([fold[1:] for fold in folds], axis=0)
    return [np.clip((s - m) / d * spread + location, -HUGE, HUGE) for s, m, d in folds]


def _checked_splits(cv, X, y, groups):
    """List (train, test) row numbers, once each row is known to be tested once."""
    if groups is not None:
        check_consistent_length(y, groups)
    if cv is None or isinstance(cv, Integral):
        folds = SemiSupervisedKFold(5 if cv is None else cv, random_state=0)
        fold = folds._fold_of_rows(y, groups)
        splits = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in np.unique(fold)]
    else:
        splits = [
            (np.arange(len(y))[a], np.arange(len(y))[b])
            for a, b in check_cv(cv).split(X, y, groups)
        ]
    tested = np.concatenate([np.empty(0, dtype=int), *(test for _, test in splits)])
    if not np.array_equal(np.sort(tested), np.arange(len(y))):
        raise ValueError(
            f"cv={cv!r} must have each row in one test part; of {len(y)} rows it tests "
            f"{len(np.unique(tested))}, in {len(tested)} places."
        )
    for train, test in splits:
        if len(train) == 0 or np.isin(test, train).any():
            raise ValueError(
                f"cv={cv!r} gives a part with {len(train)} training rows, of which "
                f"{np.isin(train, test).sum()} are under test: models must be trained on other rows"
                ", so there must be some, in other groups."
            )
    return splits


def _fit_and_predict(estimator, X, y, train, test, seed, method):
    """Answers for the test part, and median and spread of the usual training rows' scores."""
    fitted = fit_clone(estimator, X, y, train, seed)
    if method == "predict":
        return fitted.predict(_safe_indexing(X, test)), 0.0, 1.0
    usual = scores_of(fitted, _safe_indexing(X, train[y[train] != -1]), method)
    location, spread = median_and_spread(usual)
    return scores_of(fitted, _safe_indexing(X, test), method), location, spread
