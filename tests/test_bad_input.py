"""Input of every kind: a clear error, or a correct result; never a silent NaN."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from skad import DeepSAD

from .checks import make_problem

X, Y, TRUTH = make_problem()
N = len(X)
FAST = {"max_steps": 5, "n_estimators": 2, "hidden_layer_sizes": (8,), "random_state": 0}


def spoilt(value, dtype=float):
    rows = X.astype(dtype)
    rows[2, 1] = value
    return rows


def labels(value, dtype=float):
    y = Y.astype(dtype)
    y[3] = value
    return y


REFUSED = {
    # rows
    "NaN": (spoilt(np.nan), Y, "NaN"),
    "infinity": (spoilt(np.inf), Y, "infinity"),
    "minus infinity": (spoilt(-np.inf), Y, "infinity"),
    "all NaN": (X * np.nan, Y, "NaN"),
    "text among numbers": (spoilt("text", object), Y, "convert"),
    "None among numbers": (spoilt(None, object), Y, "NaN"),
    "all text": (X.astype(str).astype(object) + "x", Y, "convert"),
    "a dict": ({"a": 1}, Y, "float|2D"),
    "one-dimensional": (X[:, 0], Y, "1D array"),
    "three-dimensional": (X[None], Y, "dim"),
    "a number": (3.0, Y, "scalar"),
    "no rows": (X[:0], Y[:0], "minimum of 2"),
    "no columns": (X[:, :0], Y, "0 feature"),
    "one row": (X[:1], Y[:1], "minimum of 2"),
    "complex rows": (X + 1j, Y, "Complex"),
    "sparse matrix": (sparse.csr_matrix(X), Y, "[Ss]parse"),
    "sparse array": (sparse.coo_array(X), Y, "[Ss]parse"),
    "ragged list": ([[1, 2], [3]], [0, 0], "inhomogeneous"),
    "missing cell of a frame": (pd.DataFrame(X).mask(X > 6), Y, "NaN"),
    "text column of a frame": (pd.DataFrame(X).assign(c="red"), Y, "convert"),
    "nested frame": (pl.DataFrame({"a": [[1.0]] * N}), Y, "."),
    # labels
    "labels too short": (X, Y[:-1], "labels but X has"),
    "labels too long": (X, np.r_[Y, 0], "labels but X has"),
    "labels in two columns": (X, np.c_[Y, Y], "1d array"),
    "a scalar label": (X, -1, "1d array|shape"),
    "boolean labels": (X, Y == -1, "y holds booleans"),
    "boolean objects as labels": (X, (Y == -1).astype(object), "y holds booleans"),
    "text labels": (X, np.where(Y == -1, "anomaly", "normal"), "y holds text"),
    "digits as text": (X, Y.astype(str), "y holds text"),
    "None as label": (X, labels(None, object), "use 0 for unlabelled"),
    "NaN as label": (X, labels(np.nan), "use 0 for unlabelled"),
    "infinite label": (X, labels(np.inf), "infinity"),
    "fraction as label": (X, labels(0.5), "fractions, such as 0.5"),
    "label -2": (X, labels(-2), "anomaly"),
    "label 2 beside -1": (X, labels(2), "anomaly"),
    "labels 1 and 2 and -1": (X, np.where(Y == 0, 2, Y), "anomaly"),
    "complex labels": (X, Y + 1j, "omplex"),
    "missing nullable label": (X, pd.Series(pd.array([pd.NA, *Y[1:]], dtype="Int64")), "use 0"),
    "dates as labels": (X, np.full(N, np.datetime64("2020-01-01")), "y holds dates"),
    "only anomalies": (X, -np.ones(N), "needs unlabelled"),
}

ACCEPTED = {
    "no labels": (X, None),
    "all zeros": (X, 0 * Y),
    "all normal": (X, np.ones(N)),
    "every row labelled": (X, TRUTH),
    "one anomaly": (X, np.r_[-1, np.zeros(N - 1)]),
    "one normal and one anomaly": (X, np.r_[1, -1, np.zeros(N - 2)]),
    "one unlabelled row": (X, np.r_[TRUTH[:-1], 0]),
    "two rows": (X[:2], [0, 0]),
    "two rows, one anomaly": (X[:2], [-1, 0]),
    "fewer rows than a batch": (X[:9], Y[:9] * 0 + [-1, 1, 0, 0, 0, 0, 0, 0, 0]),
    "one column": (X[:, :1], Y),
    "a constant column": (np.c_[X, np.full(N, 7.0)], Y),
    "a nearly constant column": (np.c_[X, 1e9 + 1e-7 * TRUTH], Y),
    "duplicated rows": (np.repeat(X[::10], 10, axis=0), Y),
    "integers": (X.astype(int), Y),
    "booleans": (X > 1, Y),
    "float32": (X.astype(np.float32), Y),
    "float16": (X.astype(np.float16), Y),
    "1e30 values": (spoilt(1e30), Y),
    "1e300 values": (spoilt(-1e300), Y),
    "all values 1e30 apart": (X * 1e30, Y),
    "all values 1e-30 apart": (X * 1e-30, Y),
    "a Unix-time column": (np.c_[X, 1.7e9 + np.arange(N)], Y),
    "numbers as text": (X.astype(str).astype(object), Y),
    "more columns than rows": (np.tile(X, (1, 60)), Y),
    "labels as list": (X, Y.tolist()),
    "labels as column": (X, pd.Series(Y)),
    "float labels": (X, Y.astype(float)),
    "nullable labels": (X, pd.Series(pd.array(Y, dtype="Int64"))),
}


@pytest.mark.parametrize("case", [*REFUSED, *ACCEPTED])
def test_input(case):
    detector = DeepSAD(**FAST)
    if case in REFUSED:
        rows, y, message = REFUSED[case]
        with pytest.raises((ValueError, TypeError), match=message):
            detector.fit(rows, y)
        assert not [name for name in vars(detector) if name.endswith("_")]
        return
    rows, y = ACCEPTED[case]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*column-vector y was passed")
        detector.fit(rows, y)
    assert np.isfinite(detector.score_samples(rows)).all()
    assert np.isfinite(detector.offset_)
    n_distinct = len(np.unique(np.asarray(rows, dtype=float), axis=0))
    if case == "two rows":  # both lie equally far from the centre, their mean
        return
    assert len(np.unique(detector.score_samples(rows))) > 0.5 * n_distinct
