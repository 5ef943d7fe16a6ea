"""Cells of tables: arrays, and data frames of pandas and polars, whose columns keep their types."""

import sys
from collections import Counter

import numpy as np
from scipy.sparse import issparse


def as_table(X, name):
    """Check that X is dense; anything but a data frame becomes an array."""
    if issparse(X):
        raise TypeError(f"{name} must be dense, got a sparse {type(X).__name__}: use toarray().")
    if not is_frame(X):
        array = np.asarray(X)
        # Numbers beside text in a list must not become text.
        mixed = array.dtype.kind == "U" and isinstance(X, (list, tuple))
        X = np.array(X, dtype=object) if mixed else array
    return X


def check_table(X, name):
    """Check that X is a dense table, with rows and columns; as `as_table`."""
    X = as_table(X, name)
    if len(X.shape) != 2:
        raise ValueError(f"{name} must have rows and columns, got shape {X.shape}.")
    return X


def is_frame(X):
    """Whether X is a data frame of pandas or polars."""
    return type(X).__module__.partition(".")[0] in ("pandas", "polars")


def check_same_columns(X, background):
    """Check that two tables are of one kind and have the same columns."""
    if type(X) is not type(background):
        raise TypeError(
            "background must be a table of the same kind as X, got a "
            f"{type(background).__name__} and a {type(X).__name__}."
        )
    same = X.shape[1] == background.shape[1]
    if same and is_frame(X):
        same = list(X.columns) == list(background.columns)
    if not same:
        raise ValueError(
            f"background must have the {X.shape[1]} columns of X, in their order, got "
            f"{background.shape[1]} columns."
        )


def stack(*tables):
    """Put tables of one kind below each other."""
    if not is_frame(tables[0]):
        return np.concatenate(tables)
    library = sys.modules[type(tables[0]).__module__.partition(".")[0]]
    return library.concat(tables)


def pick(table, rows):
    """Make a table whose cell (i, j) is that of column j in row ``rows[i, j]`` of the given one."""
    if not is_frame(table):
        return table[rows, np.arange(table.shape[1])]
    cells = {
        name: column[column_rows]
        for name, column, column_rows in zip(table.columns, columns(table), rows.T, strict=True)
    }
    return type(table)(cells)


def columns(table):
    """List the columns, each to be indexed by row numbers."""
    if not is_frame(table):
        return list(table.T)
    # pandas's index of rows would get in the way.
    return [getattr(table[name], "array", table[name]) for name in table.columns]


def typical_row(column):
    """Row number of the lower median, or of text the most common value; missing if most are."""
    try:
        values = np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError):
        values = list(column)
        return values.index(Counter(values).most_common(1)[0][0])
    order = np.argsort(values, kind="stable")  # missing values come last
    n_present = len(values) - np.isnan(values).sum()
    return order[(n_present - 1) // 2] if 2 * n_present >= len(values) else order[-1]
