"""Rows of a table, chunk by chunk: arrays, memory maps, data frames, Parquet, or a function's.

Each source gives ``(start, X, y)``, where `start` is the number of the chunk's first row and y its
labels or None, as often as it is iterated over. ``split(n)`` cuts it into n parts or fewer.
"""

import mmap
import os
import re

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ._clones import scores_of
from ._labels import check_labels, whole_numbers
from ._tables import as_table, check_table


def as_chunks(X, y=None, size=2**16, columns=None):
    """Make a source of chunks of at most `size` rows; of a Parquet folder, of some columns."""
    if hasattr(X, "__dask_graph__"):
        raise TypeError("X is a Dask collection: use the functions of skad.distributed.")
    if callable(X):
        if y is not None:
            raise ValueError("y must be None where X is a function: let it yield pairs (X, y).")
        return FunctionChunks(X)
    if isinstance(X, (str, os.PathLike)):
        if columns is not None:
            columns = [*columns, y] if isinstance(y, str) else list(columns)
        return ParquetChunks(*_row_groups(X), y, size, columns)
    return ArrayChunks(as_table(X, "X"), y, size)


def score_chunks(estimator, chunks):
    """Scores of all rows, and their labels as int8."""
    scores, labels = [np.empty(0)], [np.empty(0, dtype=np.int8)]
    for _, X, y in chunks:
        scores.append(scores_of(estimator, X))
        labels.append(check_labels(y, len(X)))
    return np.concatenate(scores), np.concatenate(labels)


class ArrayChunks:
    """Of an array or data frame in memory, or of an array that is mapped from a file."""

    def __init__(self, X, y, size, start=0):
        self.X, self.size, self.start = X, size, start
        self.n_rows = _num_samples(X)
        self.y = None if y is None else whole_numbers(y, self.n_rows)

    def __iter__(self):
        for start in range(0, max(self.n_rows, 1), self.size):
            rows = slice(start, start + self.size)
            yield (
                self.start + start,
                _safe_indexing(self.X, rows),
                None if self.y is None else self.y[rows],
            )
            _let_go_of_pages(self.X)

    def split(self, n_parts):
        n_chunks = -(-self.n_rows // self.size)
        step = max(-(-n_chunks // n_parts), 1) * self.size
        return [
            ArrayChunks(
                _safe_indexing(self.X, slice(start, start + step)),
                None if self.y is None else self.y[start : start + step],
                self.size,
                self.start + start,
            )
            for start in range(0, max(self.n_rows, 1), step)
        ]


def _let_go_of_pages(X):
    """Give back the memory of a file that is mapped for reading; else all of it would stay."""
    if isinstance(X, np.ndarray):
        while isinstance(X.base, np.ndarray):
            X = X.base
        if isinstance(X.base, mmap.mmap) and not X.flags.writeable:
            getattr(X.base, "madvise", lambda advice: None)(getattr(mmap, "MADV_DONTNEED", 0))


class ParquetChunks:
    """Of the row groups of Parquet files; y is None, the name of a column or an array."""

    def __init__(self, groups, sizes, y, size, columns=None, start=0):
        self.groups, self.sizes, self.start = groups, sizes, start
        self.size, self.columns = size, columns
        self.y = y if y is None or isinstance(y, str) else whole_numbers(y, sum(sizes))

    def __iter__(self):
        start = 0
        for group in self.groups:
            for batch in group.to_batches(
                batch_size=self.size, columns=self.columns, batch_readahead=1
            ):
                X, y = batch.to_pandas(), self.y
                if isinstance(y, str):
                    if y not in X:
                        raise ValueError(f"y={y!r} is none of the columns {list(X.columns)}.")
                    y = X.pop(y)
                elif y is not None:
                    y = y[start : start + len(X)]
                if len(X):
                    yield self.start + start, X, y
                start += len(X)

    def split(self, n_parts):
        firsts = np.concatenate([[0], np.cumsum(self.sizes)])
        parts = []
        for part in np.array_split(np.arange(len(self.groups)), n_parts):
            if len(part):
                first, last = firsts[part[0]], firsts[part[-1] + 1]
                whole = self.y is None or isinstance(self.y, str)
                y = self.y if whole else self.y[first:last]
                groups, sizes = self.groups[part[0] : part[-1] + 1], self.sizes[part]
                parts.append(
                    ParquetChunks(groups, sizes, y, self.size, self.columns, self.start + first)
                )
        return parts


def _row_groups(path):
    """Row groups of a Parquet file or folder, and their numbers of rows."""
    try:
        from pyarrow import ArrowException
        from pyarrow.dataset import dataset
    except ImportError as error:
        raise ImportError(
            "Parquet files are read by pyarrow and pandas: pip install 'skad[dask]'."
        ) from error
    try:
        files = list(dataset(path, format="parquet", partitioning="hive").get_fragments())
        files.sort(key=lambda file: natural_order(file.path))
        groups = [group for file in files for group in file.split_by_row_group()]
        return groups, np.array([group.row_groups[0].num_rows for group in groups], dtype=np.int64)
    except (OSError, ArrowException) as error:
        raise ValueError(f"X={os.fspath(path)!r} is no Parquet file or folder: {error}") from error


def natural_order(path):
    """Key to sort paths by, as Dask does: part.10 comes after part.9."""
    return [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", path)]


class FunctionChunks:
    """Of what a function yields: tables, or pairs of a table and its labels."""

    def __init__(self, function):
        self.function = function

    def __iter__(self):
        start = 0
        for chunk in self.function():
            X, y = chunk if isinstance(chunk, tuple) else (chunk, None)
            X = check_table(X, "A chunk of X")
            yield start, X, y
            start += len(X)

    def split(self, n_parts):
        return [self]
