"""Queries by hand and in a loop: which rows, in which order, from which seed."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skad import ClassifierDetector, ConformalDetector, DeepSAD
from skad.active import query, simulate
from skad.metrics import average_precision_score

STRATEGIES = ["top", "mixed", "uncertain", "diverse", "random"]
SMALL = {"max_steps": 10, "n_estimators": 2, "hidden_layer_sizes": (8,)}
TREES = ClassifierDetector(ExtraTreesClassifier(10, class_weight="balanced", random_state=0))


class FirstColumn(OutlierMixin, BaseEstimator):
    """The first column is the score; remembers the labels that it was given."""

    def fit(self, X, y=None):
        self.y_ = y
        return self

    def decision_function(self, X):
        return np.asarray(X)[:, 0]


def column(values):
    return np.column_stack([values, np.zeros(len(values))])


def make_table(seed=0, n_anomalies=12):
    """Two kinds of anomalies, one of them among the normals in each column alone."""
    rng = np.random.RandomState(seed)
    X = rng.randn(120, 3)
    X[: n_anomalies // 2] += 4
    X[n_anomalies // 2 : n_anomalies, 0] -= 6
    return X, np.repeat([-1, 1], [n_anomalies, 120 - n_anomalies])


# --- query --------------------------------------------------------------------------------------


def test_top_and_uncertain_by_hand():
    X, y = column([3.0, -2.0, 0.5, -9.0, -0.1, 1.0]), np.array([0, 0, 0, -1, 0, 1])
    detector = FirstColumn().fit(X)
    assert_array_equal(query(detector, X, y, 2), [1, 4])
    assert_array_equal(query(detector, X, y, 3, strategy="uncertain"), [4, 2, 1])
    for strategy in STRATEGIES:
        assert_array_equal(np.sort(query(detector, X, y, strategy=strategy)), [0, 1, 2, 4])


def test_diverse_is_spread_over_kinds():
    """Four copies of the most anomalous row are one kind; the next pick is far from them."""
    X = np.array([[-9.0, 0], [-9.0, 0], [-9.0, 0], [-8.0, 50], [-7.0, 1]] + [[5.0, 0]] * 40)
    detector, y = FirstColumn().fit(X), np.zeros(45, dtype=int)
    assert_array_equal(query(detector, X, y, 3), [0, 1, 2])
    assert_array_equal(query(detector, X, y, 2, strategy="diverse"), [0, 3])
    # 5 n candidates: row 44, as far out as row 3, is not among the 10 most anomalous.
    X[44] = [6.0, -50]
    assert_array_equal(query(detector, X, y, 2, strategy="diverse"), [0, 3])


def test_diverse_is_the_same_in_other_units():
    X, y = make_table()
    detector = IsolationForest(random_state=0).fit(X)
    expected = query(detector, X, np.zeros(120), 5, strategy="diverse")

    class Rescaled(FirstColumn):
        def decision_function(self, X):
            return detector.decision_function(X / [1, 1000, 1])

    other = query(Rescaled(), X * [1, 1000, 1], np.zeros(120), 5, strategy="diverse")
    assert_array_equal(other, expected)
    assert_array_equal(np.unique(expected), np.sort(expected))
    assert set(expected) <= set(query(detector, X, np.zeros(120), 25))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rows_are_unlabelled_distinct_and_repeatable(strategy):
    X, truth = make_table()
    y = np.where(np.arange(120) % 5 == 0, truth, 0)
    detector = DeepSAD(**SMALL, random_state=0).fit(X, y)
    rows = query(detector, X, y, 7, strategy=strategy, random_state=0)
    assert len(np.unique(rows)) == 7
    assert not y[rows].any()
    assert_array_equal(query(detector, X, y, 7, strategy=strategy, random_state=0), rows)
    frame = pd.DataFrame(X)
    assert_array_equal(
        query(detector.fit(frame, y), frame, list(y), 7, strategy=strategy, random_state=0), rows
    )


def test_mixed_draws_more_rows_the_more_anomalies_were_found():
    X, detector = column(np.arange(2000.0)), FirstColumn()

    def n_random(labels, n=40):
        y = np.r_[np.zeros(2000 - len(labels), dtype=int), labels]
        rows = query(detector, X, y, n, strategy="mixed", random_state=0)
        assert_array_equal(rows[: n // 2], np.arange(n // 2))  # never more than half
        return np.sum(rows >= n)

    assert n_random([]) == n_random([1] * 8) == 0
    assert n_random([-1] * 2 + [1] * 6) == pytest.approx(5, abs=1)
    assert n_random([-1] * 8) == pytest.approx(20, abs=1)
    few = [
        query(detector, X, [0] * 1999 + [-1], 1, strategy="mixed", random_state=k)[0] > 0
        for k in range(200)
    ]
    assert 0.35 < np.mean(few) < 0.65  # half a row of one


def test_random_depends_on_the_seed_alone():
    X, y = make_table()[0], np.zeros(120, dtype=int)
    detector = FirstColumn()
    first = query(detector, X, y, strategy="random", random_state=1)
    assert set(first) != set(query(detector, X, y, strategy="random", random_state=2))
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    query(detector, X, y, strategy="random")
    assert_array_equal(np.random.get_state()[1], state)


def test_pipelines_and_columns_of_text():
    X, truth = make_table()
    frame = pd.DataFrame({"text": np.where(truth == -1, "red", "blue"), "number": X[:, 0]})
    encoder = OneHotEncoder(sparse_output=False)
    pipeline = make_pipeline(encoder, TREES).fit(frame, np.where(np.arange(120) < 2, -1, 0))
    y = np.where(np.arange(120) < 2, -1, 0)
    for strategy in ("top", "diverse"):
        assert len(query(pipeline, frame, y, 4, strategy=strategy)) == 4
    one_step = make_pipeline(IsolationForest(random_state=0)).fit(X)
    assert len(query(one_step, X, y, 4, strategy="diverse")) == 4
    conformal = ConformalDetector(make_pipeline(StandardScaler(), IsolationForest())).fit(X)
    assert len(query(conformal, X, y, 4)) == 4


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"n": 0}, ValueError, "n must be"),
        ({"n": 2.5}, ValueError, "n must be"),
        ({"strategy": "best"}, ValueError, "strategy must be .*got 'best'"),
        ({"random_state": "zero"}, ValueError, "random_state must be"),
        ({"y": np.ones(120)}, ValueError, "no unlabelled row"),
        ({"y": np.zeros(119)}, ValueError, "119 labels but X has 120"),
        ({"estimator": StandardScaler()}, TypeError, "must have decision_function"),
    ],
)
def test_wrong_arguments_of_query(change, error, message):
    X, _ = make_table()
    call = {"estimator": FirstColumn(), "X": X, "y": np.zeros(120, dtype=int), **change}
    with pytest.raises(error, match=message):
        query(**call)


# --- simulate -----------------------------------------------------------------------------------


def test_discovery_curve_by_hand():
    X = column([-6.0, -5, -4, -3, -2, -1, 0, 1])
    truth = np.array([1, -1, 1, 1, -1, 1, 1, -1])
    result = simulate(
        FirstColumn(), X, truth, budget=5, batch_size=2, first=FirstColumn(), random_state=0
    )
    assert_array_equal(result.rows, [0, 1, 2, 3, 4])
    assert_array_equal(result.n_found, [0, 1, 1, 1, 2])
    assert_array_equal(result.n_labeled, [0, 2, 4, 5])
    assert np.isnan(result.average_precision).all()
    assert_array_equal(result.estimator.y_, [1, -1, 1, 1, -1, 0, 0, 0])


def test_budget_beyond_the_rows_and_first_detector():
    X, truth = make_table(n_anomalies=1)
    X[0] = X[1:].mean(axis=0)  # the anomaly is the last row to be found
    first = FirstColumn()
    reverse = X[np.argsort(-np.abs(X[:, 0] - X[0, 0]))]
    result = simulate(TREES, -np.abs(reverse - X[0]), truth[::-1], 1000, batch_size=50, first=first)
    assert_array_equal(np.sort(result.rows), np.arange(120))
    assert result.n_found[-1] == 1
    assert_array_equal(result.n_labeled, [0, 50, 100, 120])


def test_no_anomaly_found_leaves_the_first_detector():
    X, truth = column(np.arange(40.0)), np.repeat([1, -1], [39, 1])
    result = simulate(TREES, X, truth, 10, first=FirstColumn())
    assert isinstance(result.estimator, FirstColumn)
    assert_array_equal(result.n_found, np.zeros(10))
    assert not np.any(result.estimator.y_)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_simulation_is_repeatable(strategy):
    X, truth = make_table()
    arguments = {"budget": 12, "batch_size": 4, "strategy": strategy}
    detector = DeepSAD(**SMALL)
    before = detector.get_params()
    result = simulate(detector, X, truth, **arguments, random_state=1)
    again = simulate(detector, X, truth, **arguments, random_state=1)
    assert_array_equal(result.rows, again.rows)
    assert len(np.unique(result.rows)) == 12
    assert_array_equal(result.n_found, np.cumsum(truth[result.rows] == -1))
    assert detector.get_params() == before
    assert not hasattr(detector, "offset_")


def test_learning_finds_more_than_isolation_forest():
    """Anomalies of one kind, dense and within the normals' range: one that is found helps."""
    rng = np.random.RandomState(0)
    X = np.r_[rng.randn(30, 4) * 0.3 + [1.5, -1.5, 1.5, -1.5], rng.randn(400, 4)]
    truth = np.repeat([-1, 1], [30, 400])
    X_test = np.r_[rng.randn(30, 4) * 0.3 + [1.5, -1.5, 1.5, -1.5], rng.randn(400, 4)]
    learnt = simulate(TREES, X, truth, 50, X_test=X_test, y_test=truth, random_state=0)
    fixed = simulate(TREES, X, truth, 50, batch_size=50, random_state=0)
    assert learnt.n_found[-1] >= 2 * fixed.n_found[-1] > 0
    precision = learnt.average_precision
    assert precision[-1] > precision[0] + 0.2
    scores = learnt.estimator.decision_function(X_test)
    assert precision[-1] == average_precision_score(truth, scores)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"budget": 0}, "budget must be"),
        ({"batch_size": True}, "batch_size must be"),
        ({"strategy": None}, "strategy must be"),
        ({"y_true": np.ones(120)}, "no anomaly"),
        ({"y_true": np.zeros(120, dtype=bool)}, "booleans"),
        ({"X_test": np.zeros((3, 3))}, "both X_test and y_test"),
    ],
)
def test_wrong_arguments_of_simulate(change, message):
    X, truth = make_table()
    with pytest.raises(ValueError, match=message):
        simulate(**{"estimator": TREES, "X": X, "y_true": truth, **change})
