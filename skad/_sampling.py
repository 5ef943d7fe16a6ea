"""A uniform sample of rows that can be drawn in parts and merged: the same, however a table is cut.

Each row has a random key that depends on the seed and the row's number alone. The sample is all
labelled rows, and the unlabelled rows with the smallest keys.
"""

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ._labels import check_training_labels, whole_numbers
from ._tables import stack

LAST_KEY = np.uint64(2**64 - 1)


def row_keys(seed, start, n_rows):
    """Random 64-bit keys of rows start, start + 1, ...; a counter-based generator makes them."""
    skipped, extra = divmod(start, 4)  # a step of the counter gives four numbers
    return np.random.Philox(seed).advance(skipped).random_raw(extra + n_rows)[extra:]


def cut_for(max_samples, n_unlabeled):
    """Key that at least `max_samples` of the unlabelled rows are below, but for 1 time in 1e14."""
    enough = max_samples + 8 * np.sqrt(max_samples) + 32
    return LAST_KEY if enough >= n_unlabeled else np.uint64(enough / n_unlabeled * 2.0**64)


class RowSample:
    """All labelled rows and a uniform sample of the unlabelled ones, in one pass.

    Parameters
    ----------
    max_samples : int
        Unlabelled rows to keep.
    seed : int
    cut : uint64
        Unlabelled rows with larger keys are not looked at; `cut_for` gives one.
    """

    def __init__(self, max_samples, seed, cut=LAST_KEY):
        self.max_samples, self.seed, self.cut = max_samples, seed, cut
        self.parts = []  # (row numbers, keys, labels, rows)
        self.n_seen = self.n_waiting = 0
        self.distinct_labels = np.empty(0, dtype=np.int8)

    def add(self, X, y, start):
        """Look at rows of any table and their labels, or None; the first is row number `start`."""
        n_rows = _num_samples(X)
        y = whole_numbers(y, n_rows)
        self._note(n_rows, np.unique(y))
        y, keys = np.sign(y).astype(np.int8), row_keys(self.seed, start, n_rows)
        kept = np.flatnonzero((y != 0) | (keys <= self.cut))
        if len(kept):
            self._take([(start + kept, keys[kept], y[kept], _safe_indexing(X, kept))])
        return self

    def merge(self, other):
        """Add what another sample, with the same seed and size, has drawn from other rows."""
        self._note(other.n_seen, other.distinct_labels)
        self._take(other.parts)
        return self

    def result(self):
        """Return row numbers, rows and labels, in the order of the rows; judge all labels."""
        if self.n_seen == 0:
            raise ValueError("X has no rows.")
        check_training_labels(self.distinct_labels, len(self.distinct_labels))
        self._shrink()
        rows, _, y, X = self.parts[0]
        return rows, X, y

    def _note(self, n_rows, labels):
        self.n_seen += n_rows
        self.distinct_labels = np.union1d(self.distinct_labels, labels)

    def _take(self, parts):
        self.parts += parts
        self.n_waiting += sum(len(part[0]) for part in parts)
        if self.n_waiting > self.max_samples:
            self._shrink()

    def _shrink(self):
        """Make one part of all, without the unlabelled rows that are too many."""
        *columns, tables = zip(*self.parts, strict=True)
        rows, keys, y = map(np.concatenate, columns)
        free = np.flatnonzero(y == 0)
        order = free[np.lexsort((rows[free], keys[free]))][: self.max_samples]
        if len(order) == self.max_samples:
            self.cut = min(self.cut, keys[order[-1]])
        kept = np.concatenate([np.flatnonzero(y != 0), order])
        kept = kept[np.argsort(rows[kept])]
        X = _safe_indexing(stack(*tables), kept)
        self.parts = [(rows[kept], keys[kept], y[kept], X)]
        self.n_waiting = 0
