"""Fit and score over Dask collections: on threads of one machine, or on a cluster.

X is a `dask.array.Array`, a `dask.dataframe.DataFrame`, or the path of a Parquet folder. Work is
done by Dask's present scheduler, such as that of a `distributed.Client`. Partitions may be of any
size, empty or unknown ones too.
"""

import copy
import os
from functools import reduce

import numpy as np

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    import pandas as pd
except ImportError as error:
    raise ImportError("skad.distributed needs Dask: pip install 'skad[dask]'.") from error
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from ._chunks import score_chunks
from ._labels import check_labels
from ._random import draw_seed
from ._sampling import RowSample, cut_for
from .meta import SampledDetector

LABELS = "skad's labels"  # a column beside those of X

__all__ = ["decision_function", "fit", "predict", "score_samples"]


def fit(estimator, X, y=None):
    """Fit a detector on a sample of a Dask collection, its threshold on all rows.

    Row counts, sample and scores are computed by Dask. The detector is trained in the calling
    process, since the cost of training does not grow with the number of rows.

    Parameters
    ----------
    estimator : detector
        Unfitted: a `SampledDetector`; any other stands for ``SampledDetector(estimator)``.
    X : dask.array.Array, dask.dataframe.DataFrame, str or path-like
        Training rows, or the path of Parquet files.
    y : dask.array.Array, dask.dataframe.Series or str, default=None
        -1 labelled anomaly, 0 unlabelled, +1 labelled normal: an array for an array; for a data
        frame a Series, or the name of a column of X. None: all unlabelled.

    Returns
    -------
    SampledDetector
        Fitted: equal, bit for bit, to the one fitted on the same rows in one array. It takes arrays
        as ever, and Dask collections by the functions of this module.

    Raises
    ------
    ValueError
        For X or y that cannot be used.

    Notes
    -----
    X is read twice, and once more, to count rows, where sizes of partitions are unknown, as those
    of data frames are: a row's place in the sample depends on its number, not on partitions. The
    calling process holds the sample, and 25 bytes per row while the threshold is taken.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from skad import DeepSAD, SampledDetector, distributed
    >>> X = da.random.default_rng(0).normal(size=(10_000, 2), chunks=(1000, 2))
    >>> detector = SampledDetector(DeepSAD(n_estimators=4), max_samples=500, random_state=0)
    >>> detector = distributed.fit(detector, X)
    >>> distributed.predict(detector, X).mean().compute().round(3)
    np.float64(0.8)
    """
    sampled = isinstance(estimator, SampledDetector)
    detector = clone(estimator) if sampled else SampledDetector(clone(estimator))
    detector._validate_params()
    seed = draw_seed(detector.random_state)
    parts, sizes, n_unlabeled = _partitions(X, y)
    draw, score = dask.delayed(_draw), dask.delayed(_score)
    # Because of the cut, the partitions' samples are hardly more than `max_samples` rows in all.
    options = (detector.max_samples, seed, cut_for(detector.max_samples, n_unlabeled))
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    samples = (draw(*part, start, *options) for part, start in zip(parts, starts, strict=True))
    sample = reduce(RowSample.merge, dask.compute(*samples), RowSample(*options))
    detector._fit_on(sample, seed)
    model = dask.delayed(detector.estimator_, traverse=False)
    scores = dask.compute(*(score(*part, model) for part in parts))
    scores, labels = map(np.concatenate, zip(*scores, strict=True))
    detector._set_offset(scores, labels, detector.contamination)
    return detector


def score_samples(estimator, X):
    """Score each row, lazily: the higher, the more normal.

    Parameters
    ----------
    estimator : estimator
        Any fitted detector, or a pipeline that ends in one. Each worker gets it once.
    X : dask.array.Array, dask.dataframe.DataFrame, str or path-like
        Rows, or the path of Parquet files. Of data frames, the columns seen in fit are used.

    Returns
    -------
    dask.array.Array or dask.dataframe.Series of shape (n_samples,), float64
        In the partitions of X, a Series with its index too; equal to the scores in memory.
    """
    return _lazily("score_samples", estimator, X)


def decision_function(estimator, X):
    """Score each row relative to the threshold, lazily: negative means anomaly.

    Parameters
    ----------
    estimator : estimator
        Any fitted detector, or a pipeline that ends in one. Each worker gets it once.
    X : dask.array.Array, dask.dataframe.DataFrame, str or path-like
        Rows, or the path of Parquet files. Of data frames, the columns seen in fit are used.

    Returns
    -------
    dask.array.Array or dask.dataframe.Series of shape (n_samples,), float64
        In the partitions of X, a Series with its index too.
    """
    return _lazily("decision_function", estimator, X)


def predict(estimator, X):
    """Predict +1 (normal) or -1 (anomaly) for each row, lazily.

    Parameters
    ----------
    estimator : estimator
        Any fitted detector, or a pipeline that ends in one. Each worker gets it once.
    X : dask.array.Array, dask.dataframe.DataFrame, str or path-like
        Rows, or the path of Parquet files. Of data frames, the columns seen in fit are used.

    Returns
    -------
    dask.array.Array or dask.dataframe.Series of shape (n_samples,), int64
        In the partitions of X, a Series with its index too.
    """
    return _lazily("predict", estimator, X)


def _lazily(method, estimator, X):
    """Dask collection of what a method of a fitted estimator answers for the rows of X."""
    check_is_fitted(estimator)
    if isinstance(estimator, SampledDetector):  # whose processes are no match for Dask's
        estimator = copy.copy(estimator).set_params(n_jobs=None)
    # One node of the graph, which each worker asks for once, and again if it starts anew.
    model = dask.delayed(estimator, traverse=False)
    dtype = np.dtype(np.int64 if method == "predict" else np.float64)
    X = _collection(X)
    if isinstance(X, da.Array):
        empty = np.empty(0, dtype)
        return X.map_blocks(_answer, model, method, dtype, drop_axis=1, dtype=dtype, meta=empty)
    names = list(getattr(estimator, "feature_names_in_", X.columns))
    missing = [name for name in names if name not in X.columns]
    if missing:
        raise ValueError(f"X lacks the columns {missing}, which were there in fit.")
    empty = pd.Series(index=X._meta.index, dtype=dtype, name=method)
    return X[names].map_partitions(_answer, model, method, dtype, meta=empty)


def _answer(part, estimator, method, dtype):
    """Answers for the rows of a partition, which may be empty."""
    answer = getattr(estimator, method)(part) if len(part) else np.empty(0)
    answer = np.asarray(answer, dtype=dtype)
    return pd.Series(answer, part.index, name=method) if hasattr(part, "index") else answer


def _collection(X):
    """Dask collection with undivided rows; of a path, what is there."""
    if isinstance(X, (str, os.PathLike)):
        return dd.read_parquet(os.fspath(X))
    if isinstance(X, da.Array):
        if X.ndim != 2:
            raise ValueError(f"X must have rows and columns, got a Dask array of {X.ndim} axes.")
        return X.rechunk({1: -1})
    if isinstance(X, dd.DataFrame):
        return X
    raise TypeError(
        f"X must be a Dask array or DataFrame or the path of Parquet files, got a "
        f"{type(X).__name__}: dask.array.from_array and dask.dataframe.from_pandas make one."
    )


def _partitions(X, y):
    """Delayed pairs (rows, labels), their sizes, and how many rows are unlabelled."""
    X = _collection(X)
    if isinstance(y, str) and (isinstance(X, da.Array) or y not in X.columns):
        raise ValueError(f"y={y!r} is not the name of a column of X.")
    if isinstance(X, dd.DataFrame) and isinstance(y, dd.Series):
        # Of two collections read from one file, Dask may cut each in its own way.
        X, y = X.assign(**{LABELS: y}), LABELS
    rows = np.ravel(X.to_delayed()).tolist()
    if y is None or isinstance(y, str):
        pairs = counted = [(part, y) for part in rows]
        if y is None and _known_sizes(X):
            return pairs, X.chunks[0], len(X)
    elif isinstance(X, da.Array) and isinstance(y, da.Array):
        if _known_sizes(X) and _known_sizes(y) and len(X) == len(y):
            y = y.rechunk({0: X.chunks[0]})
        labels = np.ravel(y.to_delayed()).tolist()
        if len(rows) != len(labels):
            raise ValueError(
                f"y has {len(labels)} chunks but X has {len(rows)}: give both the same, or "
                "sizes that are known, by compute_chunk_sizes()."
            )
        pairs, counted = list(zip(rows, labels, strict=True)), [(None, part) for part in labels]
    else:
        raise TypeError(
            "y must be None or, like X, a Dask array, or, like X, of a Dask data frame: a Series "
            f"or the name of a column. Got a {type(y).__name__} for a {type(X).__name__}."
        )
    count = dask.delayed(_count)
    sizes, n_unlabeled = zip(*dask.compute(*(count(*pair) for pair in counted)), strict=True)
    return pairs, sizes, sum(n_unlabeled)


def _known_sizes(collection):
    return isinstance(collection, da.Array) and not np.isnan(collection.chunks[0]).any()


def _split(part, y):
    """Rows and labels of a partition, where y may name a column."""
    return (part.drop(columns=y), part[y]) if isinstance(y, str) else (part, y)


def _count(part, y):
    """Rows of a partition, and how many of them are unlabelled."""
    X, y = _split(part, y)
    n_rows = len(y if X is None else X)
    return n_rows, int(np.sum(check_labels(y, n_rows) == 0))


def _draw(part, y, start, max_samples, seed, cut):
    return RowSample(max_samples, seed, cut).add(*_split(part, y), start)


def _score(part, y, estimator):
    """Scores and labels of the rows of a partition, which may be empty."""
    X, y = _split(part, y)
    return score_chunks(estimator, [(0, X, y)] if len(X) else [])
