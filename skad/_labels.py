"""The label convention: -1 labelled anomaly, 0 unlabelled, +1 labelled normal.

No other module interprets raw labels.
"""

import warnings
from contextlib import contextmanager
from contextvars import ContextVar
from decimal import Decimal
from numbers import Real
from typing import Literal

import numpy as np
from sklearn.utils import assert_all_finite, column_or_1d

from .exceptions import LabelConventionWarning

CONVENTION = "skad's labels are -1 (anomaly), 0 (unlabelled) and +1 (normal)"
# What each kind of numpy array holds, if it is no number.
NO_NUMBERS = {"b": "booleans", "S": "text", "U": "text", "T": "text", "c": "complex numbers"}
NO_NUMBERS |= {"M": "dates", "m": "time spans", "V": "records"}

Unlabeled = Literal["as_normal", "ignore"]

_judged_before = ContextVar("labels judged before", default=False)


@contextmanager
def labels_judged_before():
    """Keep this thread from warning about a part of labels that were checked as a whole."""
    token = _judged_before.set(True)
    try:
        yield
    finally:
        _judged_before.reset(token)


def check_labels(y, n_samples):
    """Convert labels to int8 in {-1, 0, +1}, refusing what cannot be read without a guess.

    Parameters
    ----------
    y : array-like of shape (n_samples,) or None
        Integers of which only the sign counts; None stands for all zeros.
    n_samples : int
        Number of rows of X.

    Returns
    -------
    ndarray of shape (n_samples,), int8

    Raises
    ------
    ValueError
        For bool, text, fractions, missing values, a wrong length or shape, or, as soon as one
        label is negative, for any value outside {-1, 0, 1}.
    """
    return np.sign(whole_numbers(y, n_samples)).astype(np.int8)


def check_training_labels(y, n_samples):
    """Check labels to fit on: as `check_labels`, and some row must not be an anomaly.

    Warns with `LabelConventionWarning` of values above 1, and of distinct values without a -1:
    elsewhere the larger of 0/1 or 1/2 usually means anomaly.
    """
    values = whole_numbers(y, n_samples)
    y = np.sign(values).astype(np.int8)
    if np.all(y == -1):
        raise ValueError(
            "All rows are labelled -1 (anomaly); a detector needs unlabelled (0) or normal (+1) "
            "rows to learn what is normal."
        )
    ambiguous = np.any(values > 1) or (np.any(values != values[0]) and not np.any(y == -1))
    if ambiguous and not _judged_before.get():
        warnings.warn(
            f"y holds {np.unique(values)[:10]} but no -1; {CONVENTION}, so the positive rows are "
            "taken as normal. If your larger value means anomaly, as 1 of 0/1 or 2 of 1/2 often "
            "does, pass skad.datasets.from_binary_labels(y, anomaly=...), or -y if y is 0/1 and "
            "0 means unlabelled.",
            LabelConventionWarning,
            stacklevel=2,
        )
    return y


def plain_array(y, cure="use 0 for unlabelled"):
    """Make a column of any container a numpy array without turning its values into others.

    numpy makes text or numbers of a list of mixed kinds. Missing values raise a ValueError with
    a cure.
    """
    array = column_or_1d(np.asarray(y, dtype=object if isinstance(y, (list, tuple)) else None))
    kinds = {type(value).__name__ for value in array} if array.dtype.kind == "O" else set()
    missing = kinds & {"NoneType", "NAType", "NaTType"} or np.ma.is_masked(y)
    if missing or np.any(array != array):
        raise ValueError(f"y holds missing values (NaN, NA or None): {cure}.")
    return array


def whole_numbers(y, n_samples):
    """Labels as they are given, once they are known to be whole numbers in our convention.

    What they mean together, `check_training_labels` judges: the distinct ones of a table that is
    read in parts are enough for it.
    """
    if y is None:
        return np.zeros(n_samples, dtype=np.int8)
    y = plain_array(y)
    wrong = NO_NUMBERS.get(y.dtype.kind)
    if y.dtype.kind == "O":
        for kind in set(map(type, y)):
            if issubclass(kind, (bool, str, bytes, complex, np.generic)):
                wrong = wrong or NO_NUMBERS.get(np.dtype(kind).kind)
            elif not issubclass(kind, (Real, Decimal)):
                wrong = f"values of type {kind.__name__}"
    if wrong:
        raise ValueError(
            f"y holds {wrong}; {CONVENTION}. Turn two classes into these by "
            "skad.datasets.from_binary_labels(y, anomaly=...)."
        )
    if y.dtype.kind == "O":
        y = y.astype(np.float64)
    assert_all_finite(y, input_name="y")
    if len(y) != n_samples:
        raise ValueError(f"y has {len(y)} labels but X has {n_samples} rows.")
    if np.any(y != np.floor(y)):
        raise ValueError(f"y holds fractions, such as {y[y != np.floor(y)][0]}; {CONVENTION}.")
    if np.any(y < 0) and not np.isin(y, (-1, 0, 1)).all():
        raise ValueError(f"y holds {np.unique(y)[:10]}; {CONVENTION}.")
    return y


def stands_for_normal(y, unlabeled):
    """Mark the rows that stand for normals: the unlabelled ones with "as_normal", not "ignore"."""
    if unlabeled not in ("as_normal", "ignore"):
        raise ValueError(f"unlabeled must be 'as_normal' or 'ignore', got {unlabeled!r}.")
    return y >= 0 if unlabeled == "as_normal" else y == 1


def rows_to_learn(y, n_unlabeled, seed):
    """Row numbers of all labelled rows and of that many random unlabelled ones, in order.

    Where there are no more of them: a slice that takes all rows.
    """
    unlabeled = np.flatnonzero(y == 0)
    if len(unlabeled) <= n_unlabeled:
        return slice(None)
    kept = y != 0
    generator = np.random.default_rng([seed, 3])  # 0, 1 and 2 draw what members leave out
    kept[generator.choice(unlabeled, n_unlabeled, replace=False, shuffle=False)] = True
    return np.flatnonzero(kept)


def batch_strata(y, labeled_fraction):
    """Group rows to draw batches from, as (row numbers, share of the batch).

    None draws all rows alike. A fraction is that share of labelled rows, split evenly between
    labelled anomalies and labelled normals where there are both.
    """
    if labeled_fraction is None:
        return [(np.arange(len(y)), 1.0)]
    labeled = [rows for rows in (np.flatnonzero(y == -1), np.flatnonzero(y == 1)) if len(rows)]
    strata = [(rows, labeled_fraction / len(labeled)) for rows in labeled]
    return [*strata, (np.flatnonzero(y == 0), 1 - labeled_fraction)]


def held_out_rows(y, fraction, seed):
    """Mask of rows to keep from training: the same share of each label."""
    generator = np.random.default_rng(seed)
    kept = np.zeros(len(y), dtype=bool)
    for label in (-1, 0, 1):
        candidates = np.flatnonzero(y == label)
        kept[generator.choice(candidates, round(fraction * len(candidates)), replace=False)] = True
    if kept.all() or not kept.any():
        raise ValueError(
            f"validation_fraction={fraction} leaves {kept.sum()} of {len(y)} rows for validation; "
            "both parts need rows."
        )
    return kept
