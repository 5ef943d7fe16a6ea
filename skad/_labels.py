"""The label convention: -1 labelled anomaly, 0 unlabelled, +1 labelled normal.

No other module interprets raw labels.
"""

import warnings

import numpy as np
from sklearn.utils.validation import _check_y, column_or_1d

from .exceptions import LabelConventionWarning

CONVENTION = "skad's labels are -1 (anomaly), 0 (unlabelled) and +1 (normal)"


def check_labels(y, n_samples):
    """Bring labels to int8 of {-1, 0, +1}, refusing what cannot be read without a guess.

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
        For bool, text, fractions, NaN, a wrong length or shape, or, as soon as one label is
        negative, for any value outside {-1, 0, 1}.
    """
    if y is None:
        return np.zeros(n_samples, dtype=np.int8)
    y = np.asarray(column_or_1d(y))
    if y.dtype.kind == "b" or (y.dtype.kind == "O" and any(isinstance(v, bool) for v in y)):
        raise ValueError(f"y is boolean; {CONVENTION}. Use np.where(is_anomaly, -1, 0).")
    if y.dtype.kind == "O":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"y holds values that are not numbers; {CONVENTION}.") from None
    if y.dtype.kind not in "iuf":
        raise ValueError(f"y has dtype {y.dtype}; {CONVENTION}.")
    y = _check_y(y)  # NaN and infinity
    if len(y) != n_samples:
        raise ValueError(f"y has {len(y)} labels but X has {n_samples} rows.")
    if np.any(y != np.floor(y)):
        raise ValueError(f"y holds fractions, such as {y[y != np.floor(y)][0]}; {CONVENTION}.")
    if np.any(y < 0) and not np.isin(y, (-1, 0, 1)).all():
        raise ValueError(f"y holds {np.unique(y)[:10]}; {CONVENTION}.")
    return np.sign(y).astype(np.int8)


def check_training_labels(y, n_samples):
    """Check labels to fit on: as `check_labels`, and some row must not be an anomaly.

    Warns with `LabelConventionWarning` when there are positive labels and zeros but no negative
    one, because elsewhere 0/1 usually means normal/anomaly.
    """
    y = check_labels(y, n_samples)
    if np.all(y == -1):
        raise ValueError(
            "All rows are labelled -1 (anomaly); a detector needs unlabelled (0) or normal (+1) "
            "rows to learn what is normal."
        )
    if np.any(y == 1) and np.any(y == 0) and not np.any(y == -1):
        warnings.warn(
            f"y holds 0 and +1 but no -1; {CONVENTION}, so the positive rows are taken as normal. "
            "If your 1 means anomaly, pass skad.datasets.from_binary_labels(y), or -y if 0 means "
            "unlabelled.",
            LabelConventionWarning,
            stacklevel=2,
        )
    return y


def stands_for_normal(y, unlabeled):
    """Mark the rows that stand for normals: the unlabelled ones with "as_normal", not "ignore"."""
    if unlabeled not in ("as_normal", "ignore"):
        raise ValueError(f"unlabeled must be 'as_normal' or 'ignore', got {unlabeled!r}.")
    return y >= 0 if unlabeled == "as_normal" else y == 1


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
