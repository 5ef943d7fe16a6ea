"""Checks of the detector contract, modelled on scikit-learn's.

Each takes an unfitted detector. `learning_checks` and `interface_checks` give those that apply to a
detector; test_common.py runs them on every public one.
"""

import ast
import copy
import inspect
import io
import pickle
import random
import re
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError, UndefinedMetricWarning
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import make_constraint

from skad import metrics
from skad.base_deep import BaseDeepDetector
from skad.exceptions import LabelConventionWarning
from skad.model_selection import SemiSupervisedKFold


def make_problem(seed=0, n=120, n_features=5):
    """Gaussian normals, shifted anomalies; some of each are labelled, the rest hidden."""
    rng = np.random.RandomState(seed)
    n_anomalies = n // 6
    X = rng.randn(n, n_features) + 1.0
    X[:n_anomalies] += 4
    y = np.zeros(n, dtype=int)
    y[: n_anomalies // 2] = -1
    y[-6:] = 1
    truth = np.where(np.arange(n) < n_anomalies, -1, 1)
    return X, y, truth


def in_float64(detector):
    """A fitted deep detector whose networks compute in float64: formulas hold to 1e-10."""
    detector.scoring_module_.double()
    return detector


def uses_anomalies(detector):
    return not detector._drops_anomalies


# --- scores and threshold -----------------------------------------------------------------------


def check_scores_and_predictions(detector):
    X, y, _ = make_problem()
    detector.fit(X, y)
    scores, decision, labels = (
        detector.score_samples(X),
        detector.decision_function(X),
        detector.predict(X),
    )
    assert scores.dtype == decision.dtype == np.float64
    assert scores.shape == decision.shape == labels.shape == (len(X),)
    assert np.issubdtype(labels.dtype, np.integer)
    assert_array_equal(decision, scores - detector.offset_)
    assert_array_equal(labels, np.where(decision < 0, -1, 1))
    assert set(labels) == {-1, 1}


def check_higher_is_more_normal(detector):
    X, y, truth = make_problem()
    X_new, _, truth_new = make_problem(seed=1)
    assert roc_auc_score(truth_new, detector.fit(X, y).decision_function(X_new)) > 0.8


def check_row_alone_scores_the_same(detector):
    X, y, _ = make_problem()
    detector.fit(X, y)
    big = np.concatenate([X] * 10)  # more than one block
    expected = detector.score_samples(X)
    order = np.random.RandomState(0).permutation(len(X))
    assert_array_equal(detector.score_samples(X[order]), expected[order])
    assert_array_equal(detector.score_samples(big)[-len(X) :], expected)
    for i in range(20):
        assert_array_equal(detector.score_samples(X[i : i + 1]), expected[i : i + 1])


def check_ties_get_one_verdict(detector):
    """On small integers many rows are equal, and thresholds fall on scores: no verdict flips."""
    rng = np.random.RandomState(0)
    X, y = rng.randint(0, 3, (150, 4)), np.zeros(150, dtype=int)
    y[:4] = -1
    detector.fit(X, y)
    together = detector.predict(X)
    assert_array_equal([detector.predict(X[i : i + 1])[0] for i in range(len(X))], together)
    _, first, group = np.unique(X, axis=0, return_index=True, return_inverse=True)
    assert_array_equal(together, together[first][group.ravel()])


def check_offset_is_quantile_of_unlabeled(detector):
    X, y, _ = make_problem()
    detector.set_params(contamination=0.25).fit(X, y)
    flagged = detector.decision_function(X)[y == 0] < 0
    assert flagged.sum() == round(0.25 * flagged.size)


def check_offset_with_few_unlabeled(detector):
    X, _, truth = make_problem()
    y = truth.copy()
    y[30:40] = 0  # fewer than 20: the quantile is over all but the anomalies
    detector.set_params(contamination=0.25).fit(X, y)
    flagged = detector.decision_function(X)[y != -1] < 0
    assert flagged.sum() == round(0.25 * flagged.size)


def check_novelty_mode(detector):
    X, _, truth = make_problem()
    normals = X[truth == 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.set_params(contamination=0.05).fit(normals, np.ones(len(normals), dtype=int))
    assert (detector.predict(normals) == -1).sum() == round(0.05 * len(normals))


def check_threshold_moves_without_refit(detector):
    X, y, _ = make_problem()
    detector.fit(X, y)
    scores = detector.score_samples(X)
    before = detector.offset_
    assert detector.fit_threshold(X, y, contamination=0.4) is detector
    assert_array_equal(detector.score_samples(X), scores)
    assert detector.offset_ > before
    assert ((detector.predict(X) == -1) & (y == 0)).sum() == round(0.4 * (y == 0).sum())
    detector.fit_threshold(X, y)
    assert detector.offset_ == before
    with pytest.raises(ValueError, match="contamination must be a float in"):
        detector.fit_threshold(X, y, contamination=0.7)


def check_scores_vary(detector):
    X, y, _ = make_problem()
    scores = detector.fit(X, y).score_samples(X)
    # The fewest are of 30 trees: .81 to .97 over seeds.
    assert len(np.unique(scores.astype(np.float32))) > 0.7 * len(X)
    assert scores.std() > 1e-3 * np.abs(scores).mean()


# --- labels -------------------------------------------------------------------------------------


def check_no_labels_equals_zeros(detector):
    X, y, _ = make_problem()
    expected = clone(detector).fit(X).score_samples(X)
    assert_array_equal(clone(detector).fit(X, 0 * y).score_samples(X), expected)


def containers(y):
    """The same column in every container there is, by name."""
    values = np.asarray(y).tolist()
    made = {"list": values, "objects": np.array(values, dtype=object), "pandas": pd.Series(y)}
    made |= {"pandas, nullable": pd.Series(y).convert_dtypes(), "frame": pd.DataFrame({"y": y})}
    made |= {"polars": pl.Series(values, strict=False)}
    try:
        import pyarrow
    except ImportError:
        return made
    with_arrow = pd.Series(y).convert_dtypes(dtype_backend="pyarrow")
    return made | {"Arrow": pyarrow.array(values), "pandas, Arrow": with_arrow}


def check_kinds_of_labels(detector):
    X, y, _ = make_problem()
    expected = clone(detector).fit(X, y).score_samples(X)
    for labels in (y, y.astype(float), y.astype(np.int8), y.astype(np.float16), y[:, None]):
        assert_array_equal(clone(detector).fit(X, labels).score_samples(X), expected)
    for name, labels in containers(y).items():
        assert_array_equal(clone(detector).fit(X, labels).score_samples(X), expected, name)


def check_labels_matter(detector):
    """Moving the labels changes scores; detectors that drop anomalies equal a fit without them."""
    X, y, truth = make_problem()
    if uses_anomalies(detector):
        moved = np.roll(y, 30)
        first, second = clone(detector).fit(X, y), clone(detector).fit(X, moved)
        assert np.abs(first.score_samples(X) - second.score_samples(X)).max() > 1e-3
        if isinstance(detector, BaseDeepDetector):
            losses = [d.history_[-1, "train_loss"] for d in (first, second)]
            assert abs(losses[0] - losses[1]) > 1e-4 * abs(losses[0])
        return
    kept = y != -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelConventionWarning)
        alone = clone(detector).fit(X[kept], y[kept])
    assert_array_equal(clone(detector).fit(X, y).score_samples(X), alone.score_samples(X))


def check_labeled_anomalies_are_pushed_away(detector):
    """Labelling a hidden group as anomalous makes it more anomalous, relative to the rest."""
    if not uses_anomalies(detector):
        return
    X, _, truth = make_problem()
    X[truth == -1] = X[truth == -1] * 0.3  # no longer outliers: labels have to tell
    y = np.where(truth == -1, -1, 0)

    def gap(labels):
        scores = clone(detector).fit(X, labels).score_samples(X)
        return roc_auc_score(truth, scores)

    assert gap(y) > gap(None) + 0.02


def check_bad_labels(detector):
    """Refused for the same reason in every container, before anything is fitted."""
    X, y, _ = make_problem()
    bad = [
        ("booleans", y == -1),
        ("text", np.where(y == -1, "anomaly", "normal").astype(object)),
        ("text", y.astype(str).astype(object)),
        ("fractions, such as", y + 0.5),
        ("dates|type datetime", np.full(len(y), np.datetime64("2020-01-01", "ms"))),
    ]
    cases = [(why, labels) for why, wrong in bad for labels in containers(wrong).values()]
    missing = "missing values.*use 0 for unlabelled"
    for gap in (None, np.nan, pd.NA, pd.NaT):
        cases.append((missing, [gap, *y[1:]]))
        cases.append((missing, np.array([gap, *y[1:]], dtype=object)))
        cases.append((missing, pd.Series([gap, *y[1:]], dtype=object)))
    cases += [
        (missing, np.r_[np.nan, y[1:]]),
        (missing, np.ma.array(y, mask=y == 1)),
        (missing, pd.Series([None, *y[1:]], dtype="Int64")),
        (missing, pd.Series([None, *y[1:]], dtype="Float64")),
        (missing, pl.Series([None, *y[1:].tolist()])),
        ("booleans", [True, *y[1:]]),
        ("text", ["1", *y[1:]]),
        ("text", y.astype(str)),
        ("text", y.astype(bytes)),
        ("infinity", np.r_[np.inf, y[1:]]),
        ("labels but X has", y[:-1]),
        ("labels but X has", np.r_[y, 0]),
        ("1d array", np.c_[y, y]),
        ("1d array", -1),
        ("1d array", {"a": 1}),
        (r"y holds \[-2", np.where(y == -1, -2, y)),
        (r"y holds \[-1 +0 +2", np.where(y == 1, 2, y)),
        ("needs unlabelled", -np.ones(len(y), dtype=int)),
        ("[Cc]omplex", y + 1j),
        ("[Cc]omplex", (y + 1j).tolist()),
        ("time spans", y.astype("m8[D]")),
        ("type", [{}, *y[1:]]),
    ]
    for message, labels in cases:
        unfitted = clone(detector)
        with pytest.raises(ValueError, match=message):
            unfitted.fit(X, labels)
        assert not [name for name in vars(unfitted) if name.endswith("_")]


def check_label_convention_warning(detector):
    """The habits elsewhere warn with the cure; what is meant for skad does not (test_labels)."""
    X, y, _ = make_problem()
    for habit in (1 * (y == -1), 1 + (y == -1)):
        with pytest.warns(LabelConventionWarning, match="taken as normal.*from_binary_labels"):
            clone(detector).fit(X, habit)
    for silent in (None, y):
        with warnings.catch_warnings():
            warnings.simplefilter("error", LabelConventionWarning)
            clone(detector).fit(X, silent)


def check_fit_predict_uses_labels(detector):
    X, y, _ = make_problem()
    expected = clone(detector).fit(X, y).predict(X)
    assert_array_equal(clone(detector).fit_predict(X, y), expected)


def check_score_is_auc(detector):
    X, y, _ = make_problem()
    detector.fit(X, y)
    expected = roc_auc_score(y == -1, -detector.decision_function(X))
    assert detector.score(X, y) == pytest.approx(expected, abs=1e-15)
    with pytest.warns(UndefinedMetricWarning, match="SemiSupervisedKFold"):
        assert np.isnan(detector.score(X, np.abs(y)))
    weight = np.random.RandomState(0).rand(len(X))
    expected = roc_auc_score(y == -1, -detector.decision_function(X), sample_weight=weight)
    assert detector.score(X, y, sample_weight=weight) == pytest.approx(expected, abs=1e-12)


def check_search_without_scoring(detector):
    X, y, _ = make_problem()
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            search = GridSearchCV(
                detector, {"contamination": [0.1]}, cv=SemiSupervisedKFold(2, random_state=0)
            ).fit(X, y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


EXTREMES = [1e-320, 1e-300, 1e-160, 1e160, 1e300, np.finfo(float).max]


def check_extreme_rows_get_finite_scores(detector):
    """No finite row has a score of NaN or infinity, and none makes numpy complain."""
    X, y, _ = make_problem()
    detector.fit(X, y)
    rows = [
        sign * size * np.eye(5)[:k].sum(0) for size in EXTREMES for sign in (1, -1) for k in (1, 5)
    ]
    rows += [X[0] * 1e300, np.r_[1e308, -1e308, 0, 0, 0]]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for extreme in ([row] for row in rows):
            assert np.isfinite(detector.decision_function(extreme)).all()
        detector.predict(rows)


def check_extreme_tables_are_fitted_or_refused(detector):
    """A table of any finite numbers gives finite scores, or an error that says what to do."""
    X, y, _ = make_problem(n=40)
    mixed = X.copy()
    mixed[:, 0] *= 1e300
    mixed[:, 1] *= 1e-300
    tables = [X * 1e-320, X * 1e-300, X * 1e-160, X * 1e160, X * 1e300, X * 0, X * 0 + 1e308]
    tables += [np.sign(X - 1) * np.finfo(float).max, mixed, np.c_[X, X[:, :1] * 1e-310]]
    tables += [np.c_[X, X[:, :1] * 1e305], np.where(np.arange(40)[:, None] < 1, 1e308, X)]
    for rows in tables:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("ignore", ConvergenceWarning)
            try:
                detector.fit(rows, y)
            except ValueError as error:
                assert re.search("scale|Scale", str(error))  # noqa: PT017
                continue
            assert np.isfinite(detector.decision_function(rows)).all()


# --- parameters, torch settings, threads, times -------------------------------------------------


def check_scores_ignore_late_parameters(detector):
    """Scores are a function of fitted state: parameters set after fit change none."""
    X, y, _ = make_problem()
    detector.fit(X, y)
    expected, predicted = detector.score_samples(X), detector.predict(X)
    codes = detector.transform(X) if hasattr(detector, "transform") else None
    for name, constraints in detector._parameter_constraints.items():
        current = getattr(detector, name)
        for value in other_values(constraints, current):
            detector.set_params(**{name: value})
            assert_array_equal(detector.score_samples(X), expected, err_msg=name)
            assert_array_equal(detector.predict(X), predicted, err_msg=name)
            if codes is not None:
                assert_array_equal(detector.transform(X), codes, err_msg=name)
        pickle.loads(pickle.dumps(detector)).score_samples(X[:2])
        detector.set_params(**{name: current})


def other_values(constraints, current):
    """Values other than the current one that a parameter's constraints allow."""
    tried = [None, "auto", True, False, 1, 2, 3, 0.3, 0.5, "cpu", (4, 3), (1, 5, 1), "linear"]
    for constraint in map(make_constraint, constraints):
        options = getattr(constraint, "options", ())
        for value in [*options, *tried]:
            if constraint.is_satisfied_by(value) and value is not current and value != current:
                yield value


def torch_settings():
    """Contexts of torch that a caller may be in."""

    @contextmanager
    def default_dtype():
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)

    return {
        "no_grad": torch.no_grad,
        "inference_mode": torch.inference_mode,
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "default dtype": default_dtype,
        "default device": lambda: torch.device("meta"),
    }


def check_torch_settings_stay_outside(detector):
    X, y, _ = make_problem()
    expected = clone(detector).fit(X, y)
    scores = expected.score_samples(X)
    for name, setting in torch_settings().items():
        with setting():
            inside = clone(detector).fit(X, y)
            assert_array_equal(inside.score_samples(X), scores, err_msg=name)
            assert_array_equal(expected.score_samples(X), scores, err_msg=name)
        assert_array_equal(inside.score_samples(X), scores, err_msg=name)
        assert_array_equal(inside.predict(X), expected.predict(X), err_msg=name)
        if hasattr(detector, "transform"):
            with setting():
                codes = inside.transform(X)
            assert_array_equal(codes, expected.transform(X), err_msg=name)


def check_threads(detector):
    """Fits and scores in threads equal those one after the other; generators stay as they are."""
    X, y, _ = make_problem()
    expected = clone(detector).fit(X, y)
    scores, before = expected.score_samples(X), global_states()
    with ThreadPoolExecutor(4) as pool:
        fitted = list(pool.map(lambda _: clone(detector).fit(X, y), range(4)))
        scored = list(pool.map(lambda n: expected.score_samples(X[: 20 + n]), range(24)))
    assert global_states() == before
    for other in fitted:
        assert_array_equal(other.score_samples(X), scores)
    for n, some in enumerate(scored):
        assert_array_equal(some, scores[: 20 + n])


def check_times_are_refused(detector):
    """A date would be read as the number of its unit: nanoseconds here, seconds there."""
    X, y, _ = make_problem()
    stamps = np.datetime64("2020-01-01", "ms") + np.arange(len(X)).astype("timedelta64[ms]")
    times = [
        np.c_[stamps, stamps],
        np.c_[stamps - stamps[0]],
        np.c_[stamps].tolist(),
        pd.DataFrame(X).assign(t=stamps),
        pd.DataFrame({"a": X[:, 0], "t": stamps - stamps[0]}),
        pl.DataFrame({"a": X[:, 0], "t": stamps}),
        pl.DataFrame({"t": stamps - stamps[0]}),
    ]
    for rows in times:
        with pytest.raises((TypeError, ValueError), match=r"time|date|float"):
            clone(detector).fit(rows, y)
    fitted = clone(detector).fit(X[:, :2], y)
    with pytest.raises((TypeError, ValueError), match=r"time|date"):
        fitted.score_samples(np.c_[stamps, stamps])


# --- kinds of X ---------------------------------------------------------------------------------


def check_kinds_of_X(detector):
    X, y, _ = make_problem()
    expected = clone(detector).fit(X, y).score_samples(X)
    columns = [f"c{j}" for j in range(X.shape[1])]
    frozen = X.copy()
    frozen.flags.writeable = False
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "X.joblib")
        joblib.dump(X, path)
        mapped = joblib.load(path, mmap_mode="r")
        kinds = [frozen, mapped, np.asfortranarray(X), X.tolist(), np.repeat(X, 2, axis=0)[::2]]
        kinds += [pd.DataFrame(X, columns=columns), pl.DataFrame(X, schema=columns)]
        for kind in kinds:
            fitted = clone(detector).fit(kind, y)
            assert_array_equal(fitted.score_samples(kind), expected)
            assert fitted.n_features_in_ == X.shape[1]
            if hasattr(kind, "columns"):
                assert_array_equal(fitted.feature_names_in_, columns)
    single = clone(detector).fit(X.astype(np.float32), y).score_samples(X.astype(np.float32))
    assert single.dtype == np.float64


def check_input_is_left_alone(detector):
    X, y, _ = make_problem()
    X_before, y_before, params = X.copy(), y.copy(), copy.deepcopy(detector.get_params())
    detector.fit(X, y).score_samples(X)
    assert_array_equal(X, X_before)
    assert_array_equal(y, y_before)
    assert str(detector.get_params()) == str(params)


def check_bad_X(detector):
    X, y, _ = make_problem()
    fitted = clone(detector).fit(X, y)

    def spoilt(value):
        other = X.astype(object if isinstance(value, str) else X.dtype)
        other[2, 1] = value
        return other

    bad = {
        "NaN": spoilt(np.nan),
        "infinity": spoilt(np.inf),
        "text": spoilt("text"),
        "one-dimensional": X[:, 0],
        "three-dimensional": X[None],
        "no rows": X[:0],
        "no columns": X[:, :0],
        "complex": X + 1j,
        "None": None,
        "a string": "X",
    }
    for rows in bad.values():
        with pytest.raises((ValueError, TypeError)):
            clone(detector).fit(rows, y)
        with pytest.raises((ValueError, TypeError)):
            fitted.score_samples(rows)
    for matrix in (sparse.csr_matrix(X), sparse.csc_array(X), sparse.coo_matrix(X)):
        with pytest.raises((ValueError, TypeError), match=r"[Ss]parse"):
            clone(detector).fit(matrix, y)
        with pytest.raises((ValueError, TypeError), match=r"[Ss]parse"):
            fitted.score_samples(matrix)
    for rows in (X[:, :-1], np.c_[X, X]):
        with pytest.raises(ValueError, match="features"):
            fitted.score_samples(rows)
    with pytest.raises(ValueError, match="minimum of 2"):
        clone(detector).fit(X[:1], y[:1])
    with pytest.raises(NotFittedError):
        clone(detector).score_samples(X)


def check_odd_but_good_X(detector):
    """Small, narrow, constant or duplicated data: finite scores, however poor."""
    X, y, truth = make_problem()
    constant = X.copy()
    constant[:, 2] = 7.0
    cases = [
        (X[:2], [0, 0]),
        (X[:3], [-1, 0, 0]),
        (X[:3], [-1, 1, 0]),
        (X[:2], [-1, 1]),
        (X[:7], [-1, 1, 0, 0, 0, 0, 0]),
        (X[:, :1], y),
        (constant, y),
        (np.repeat(X[::10], 10, axis=0), y),
        (X, truth),  # every row labelled
        (X, np.where(truth == -1, -1, 0)),
        (X, np.r_[-1, np.zeros(len(X) - 1, dtype=int)]),  # one label
        (X, np.r_[1, -1, np.zeros(len(X) - 2, dtype=int)]),
        (X * 1e-8, y),
        (X.astype(int), y),
    ]
    for rows, labels in cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of these deserve a warning
            fitted = clone(detector).fit(rows, labels)
        scores = fitted.score_samples(rows)
        assert scores.shape == (len(rows),)
        assert np.isfinite(scores).all()
        assert np.isfinite(fitted.offset_)


# --- randomness ---------------------------------------------------------------------------------


def global_states():
    numpy_state = [np.asarray(part).tolist() for part in np.random.get_state()]
    return random.getstate(), numpy_state, torch.get_rng_state().tolist()


def check_seed_fixes_scores(detector):
    if "random_state" not in detector.get_params():
        return
    X, y, _ = make_problem()
    first = clone(detector).set_params(random_state=7)
    expected = first.fit(X, y).score_samples(X)
    torch.rand(3)
    np.random.rand(3)
    assert_array_equal(first.fit(X, y).score_samples(X), expected)
    assert_array_equal(clone(first).fit(X, y).score_samples(X), expected)
    if isinstance(detector, BaseDeepDetector):
        other = clone(first).set_params(random_state=8).fit(X, y).score_samples(X)
        assert np.abs(other - expected).max() > 1e-6
        fresh = clone(first).set_params(random_state=None)
        assert np.any(fresh.fit(X, y).score_samples(X) != fresh.fit(X, y).score_samples(X))
        generator = np.random.RandomState(7)
        drawn = clone(first).set_params(random_state=generator)
        assert np.any(drawn.fit(X, y).score_samples(X) != drawn.fit(X, y).score_samples(X))


def check_global_generators_untouched(detector):
    X, y, _ = make_problem()
    with_nan = X.copy()
    with_nan[0, 0] = np.nan
    threads = torch.get_num_threads()
    for random_state in (0, None, np.random.RandomState(0)):
        if "random_state" in detector.get_params():
            detector.set_params(random_state=random_state)
        before = global_states()
        detector.fit(X, y)
        detector.score_samples(X)
        assert global_states() == before
        with pytest.raises(ValueError, match="NaN"):
            detector.fit(with_nan, y)
        assert global_states() == before
        if isinstance(detector, BaseDeepDetector):
            failing = clone(detector).set_params(callbacks=[FailingCallback()])
            with pytest.raises(ArithmeticError):
                failing.fit(X, y)
            assert global_states() == before
    assert torch.get_num_threads() == threads


# --- failure and state --------------------------------------------------------------------------


class FailingCallback:
    """A callback that spoils the generators and raises in the middle of training."""

    def initialize(self):
        return self

    def set_params(self, **params):
        pass

    def __getattr__(self, name):
        if name == "on_epoch_end":
            return self._fail
        if name.startswith("on_"):
            return lambda *args, **kwargs: None
        raise AttributeError(name)

    def _fail(self, *args, **kwargs):
        torch.rand(1)
        np.random.rand()
        random.random()
        raise ArithmeticError


def check_failed_refit_leaves_detector_as_it_was(detector):
    X, y, _ = make_problem()
    detector.fit(X, y)
    expected, attributes = detector.score_samples(X), set(vars(detector))
    wider = np.c_[X, X]
    wider[0, 0] = np.nan
    failures = [(wider, y), (X[:, :2], np.full(len(X), 0.5)), (X, -np.ones(len(X)))]
    for rows, labels in failures:
        with pytest.raises(ValueError):
            detector.fit(rows, labels)
        assert_array_equal(detector.score_samples(X), expected)
    if isinstance(detector, BaseDeepDetector):
        detector.set_params(callbacks=[FailingCallback()])
        with pytest.raises(ArithmeticError):
            detector.fit(X[:, :2], y)
        assert_array_equal(detector.score_samples(X), expected)
    assert set(vars(detector)) == attributes
    unfitted = clone(detector)
    with pytest.raises(ValueError):
        unfitted.fit(wider, y)
    with pytest.raises(NotFittedError):
        unfitted.score_samples(X)


def check_copies_score_the_same(detector):
    X, y, _ = make_problem()
    unfitted = pickle.loads(pickle.dumps(detector))
    detector.fit(X, y)
    expected = detector.score_samples(X)
    assert_array_equal(unfitted.fit(X, y).score_samples(X), expected)
    stream = io.BytesIO()
    joblib.dump(detector, stream)
    stream.seek(0)
    for other in (
        pickle.loads(pickle.dumps(detector)),
        copy.deepcopy(detector),
        joblib.load(stream),
    ):
        assert_array_equal(other.score_samples(X), expected)
        assert_array_equal(other.fit(X, y).score_samples(X), expected)


def check_pickle_is_lean(detector):
    """A longer training must not make a larger pickle: no optimiser state, no batch history."""
    if not isinstance(detector, BaseDeepDetector):
        return
    X, y, _ = make_problem()
    sizes = [
        len(pickle.dumps(clone(detector).set_params(max_steps=steps).fit(X, y)))
        for steps in (20, 80)
    ]
    n_weights = sum(p.numel() for p in detector.fit(X, y).scoring_module_.network.parameters())
    assert sizes[1] < sizes[0] + 1000
    assert sizes[0] < 8 * n_weights + 25_000


def check_silent(detector, capfd):
    X, y, _ = make_problem()
    detector.fit(X, y).predict(X)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


# --- deep detectors -----------------------------------------------------------------------------


def check_transform(detector):
    X, y, _ = make_problem()
    frame = pd.DataFrame(X, columns=list("abcde"))
    codes = detector.fit(frame, y).transform(frame)
    assert codes.dtype == np.float64
    assert codes.shape[0] == len(X)
    assert codes.shape[1] % detector.n_estimators == 0
    names = detector.get_feature_names_out()
    assert list(names) == [f"{type(detector).__name__.lower()}{j}" for j in range(codes.shape[1])]
    detector.set_output(transform="pandas")
    as_frame = detector.transform(frame)
    assert list(as_frame.columns) == list(names)
    assert_array_equal(as_frame.to_numpy(), codes)
    assert np.ptp(codes, axis=0).max() > 0


def check_members_equal_nets_trained_alone(detector):
    X, y, _ = make_problem()
    together = clone(detector).set_params(n_estimators=3, random_state=5).fit(X, y)
    member_scores = together._member_scores(X)
    for k, seed in enumerate(together.member_seeds_):
        alone = clone(detector).set_params(n_estimators=1, random_state=seed).fit(X, y)
        # Rounding depends on the CPU and on the number of matrices in a product.
        scores = alone._member_scores(X)[0]
        assert_allclose(scores, member_scores[k], rtol=1e-3, atol=1e-3 * float(scores.std()))
        losses = np.array(together.history_[:, "train_loss_members"])[:, k]
        assert_allclose(losses, alone.history_[:, "train_loss"], rtol=1e-4, atol=1e-5)


def check_scoring_module(detector):
    """It equals score_samples; it works in float32 too, can be differentiated and exported."""
    X, y, _ = make_problem()
    module, rows = detector.fit(X, y).scoring_module_, torch.from_numpy(X)
    scores = detector.score_samples(X)
    assert_array_equal(module(rows), scores)
    assert_array_equal(module(rows[:1]), scores[:1])
    for kind in (torch.float32, torch.float64):
        same = copy.deepcopy(module).to(kind)(rows.to(kind))
        assert same.dtype == kind
        assert_allclose(same, scores, rtol=0, atol=1e-5 * scores.std())
    rows = rows.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(rows).sum(), rows)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).any(1).all()
    assert not [p for p in module.parameters() if p.requires_grad]
    n_rows = torch.export.Dim("n_rows", min=2, max=10_000)
    example = torch.from_numpy(X[:7])
    exported = torch.export.export(module, (example,), dynamic_shapes=({0: n_rows},))
    with torch.no_grad():
        for n in (2, 50):
            got = exported.module()(torch.from_numpy(X[:n]))
            assert_allclose(got, scores[:n], rtol=0, atol=1e-5 * scores.std())


def check_training_moves_weights(detector):
    X, y, _ = make_problem()
    budgets = {"max_steps"}  # and that of parts which are trained beforehand
    if detector.get_params().get("pretrain_steps"):
        budgets.add("pretrain_steps")
    short, longer = (
        clone(detector).set_params(random_state=0, **dict.fromkeys(budgets, steps)).fit(X, y)
        for steps in (1, 40)
    )
    assert short.n_iter_ == 1
    assert longer.n_iter_ == 40
    for (name, before), (_, after) in zip(
        short.scoring_module_.network.named_parameters(),
        longer.scoring_module_.network.named_parameters(),
        strict=True,
    ):
        assert not torch.equal(before, after), f"{name} has not moved"


def check_extreme_columns(detector):
    """A Unix-time column and a few huge cells neither break the fit nor swamp the rest."""
    X, y, truth = make_problem()
    seconds = 1.7e9 + np.random.RandomState(3).rand(len(X)) * 1e5
    odd = np.c_[X, seconds]
    odd[50:53, 0] = [1e30, -1e30, 1e12]
    scores = detector.fit(odd, y).score_samples(odd)
    assert np.isfinite(scores).all()
    rest = np.delete(np.arange(len(X)), [50, 51, 52])
    assert roc_auc_score(truth[rest], scores[rest]) > 0.8
    z = detector.scoring_module_.scaler(torch.from_numpy(odd)).numpy()
    assert z[rest, 5].std() == pytest.approx(1, abs=0.05)  # kept, despite the cast to float32
    far = detector.scoring_module_.scaler(torch.tensor([[1e3] * 6, [1e6] * 6]).double()).float()
    assert (far[1, :5] > far[0, :5]).all()  # extremes still rank


# --- documentation ------------------------------------------------------------------------------


def entries(text):
    """(name, type) of each entry of a numpydoc section; one line may name several."""
    lines = re.findall(r"^(\w+(?:, \w+)*) : (.*)$", text, flags=re.MULTILINE)
    return [(name, kind) for names, kind in lines for name in names.split(", ")]


def shows_default(kind, default):
    """Whether the documented type of a parameter ends in its default, where it has one."""
    _, given, shown = kind.partition("default=")
    if default is inspect.Parameter.empty:
        return not given
    if shown.isidentifier() and shown not in ("None", "True", "False"):
        return shown == getattr(default, "__name__", None) or getattr(metrics, shown) is default
    return bool(given) and ast.literal_eval(shown) == default


def check_docstring(detector):
    cls = type(detector)
    doc = inspect.getdoc(cls)
    sections = re.split(r"\n(Parameters|Attributes|See Also|Notes|References|Examples)\n-+\n", doc)
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert {"Parameters", "Attributes", "References", "Examples"} <= set(texts)
    assert "{" not in texts["Attributes"]
    signature = inspect.signature(cls.__init__).parameters
    documented = entries(texts["Parameters"])
    assert [name for name, _ in documented] == [p for p in signature if p != "self"]
    for name, kind in documented:
        assert shows_default(kind, signature[name].default), f"{name} : {kind}"
    X, y, _ = make_problem()
    detector.fit(pd.DataFrame(X, columns=list("abcde")), y)
    fitted = {name for name in vars(detector) if name.endswith("_") and not name.startswith("_")}
    explained = {name for name, _ in entries(texts["Attributes"])}
    assert fitted <= explained, f"not documented: {fitted - explained}"


# What a few steps of training cannot show: numbers that are right only once something is learnt, or
# that go wrong while it is.
LEARNING = [
    check_higher_is_more_normal,
    check_scores_vary,
    check_labels_matter,
    check_labeled_anomalies_are_pushed_away,
    check_extreme_rows_get_finite_scores,
]
DEEP_LEARNING = [check_members_equal_nets_trained_alone, check_extreme_columns]
INTERFACE = [
    check_scores_and_predictions,
    check_row_alone_scores_the_same,
    check_ties_get_one_verdict,
    check_offset_is_quantile_of_unlabeled,
    check_offset_with_few_unlabeled,
    check_novelty_mode,
    check_threshold_moves_without_refit,
    check_no_labels_equals_zeros,
    check_kinds_of_labels,
    check_bad_labels,
    check_label_convention_warning,
    check_fit_predict_uses_labels,
    check_score_is_auc,
    check_scores_ignore_late_parameters,
    check_torch_settings_stay_outside,
    check_threads,
    check_times_are_refused,
    check_search_without_scoring,
    check_kinds_of_X,
    check_input_is_left_alone,
    check_bad_X,
    check_odd_but_good_X,
    check_extreme_tables_are_fitted_or_refused,
    check_seed_fixes_scores,
    check_global_generators_untouched,
    check_failed_refit_leaves_detector_as_it_was,
    check_copies_score_the_same,
    check_pickle_is_lean,
    check_docstring,
]
DEEP_INTERFACE = [check_transform, check_scoring_module, check_training_moves_weights]


def is_deep(detector):
    return isinstance(detector, BaseDeepDetector)


def learning_checks(detector):
    """Checks that apply to a detector with a budget that it learns in."""
    return LEARNING + is_deep(detector) * DEEP_LEARNING


def interface_checks(detector):
    """Checks that apply to a detector with any budget."""
    return INTERFACE + is_deep(detector) * DEEP_INTERFACE
