"""Metrics and scorers on partly labelled data."""

from inspect import signature
from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn import metrics as sk
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.model_selection import cross_validate
from sklearn.svm import OneClassSVM

from skad import metrics
from skad.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    make_detector_scorer,
    partial_roc_auc_score,
    precision_at_k_score,
    recall_at_fpr_score,
    roc_auc_score,
)

SCORES = [
    roc_auc_score,
    partial_roc_auc_score,
    average_precision_score,
    precision_at_k_score,
    recall_at_fpr_score,
    f1_score,
    balanced_accuracy_score,
]
WRONG = {
    "unlabeled": ["drop", None, 1],
    "max_fpr": [1.5, -0.1, True, "0.1", np.nan, None],
    "k": [0, -1, 1.5, True, "3"],
    "threshold": ["0", True, np.nan, None],
}
SCORERS = [getattr(metrics, name) for name in metrics.__all__ if name.endswith("_scorer")]
SCORERS.remove(make_detector_scorer)


def labelled(seed, n=200, share=0.2, decimals=1):
    """Truth in {-1, +1} and overlapping scores with many ties."""
    rng = np.random.RandomState(seed)
    y = np.where(rng.rand(n) < share, -1, 1)
    return y, np.round(rng.randn(n) + y, decimals)


def recall_at_fpr_by_loop(anomaly, score, max_fpr):
    """Every threshold tried."""
    found = [0.0]
    for threshold in np.unique(score):
        alarm = score >= threshold
        if alarm[~anomaly].mean() <= max_fpr:
            found.append(alarm[anomaly].mean())
    return max(found)


@pytest.mark.parametrize("seed", range(10))
def test_equal_scikit_learn_on_fully_labelled_data(seed):
    y, s = labelled(seed)
    anomaly = y == -1
    same = [
        (roc_auc_score(y, s), sk.roc_auc_score(anomaly, -s)),
        (partial_roc_auc_score(y, s), sk.roc_auc_score(anomaly, -s, max_fpr=0.1)),
        (average_precision_score(y, s), sk.average_precision_score(anomaly, -s)),
        (f1_score(y, s), sk.f1_score(y, np.where(s < 0, -1, 1), pos_label=-1)),
        (balanced_accuracy_score(y, s), sk.balanced_accuracy_score(y, np.where(s < 0, -1, 1))),
        (recall_at_fpr_score(y, s), recall_at_fpr_by_loop(anomaly, -s, 0.05)),
    ]
    for ours, theirs in same:
        assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 7, 40, 200])
def test_precision_at_k_is_the_mean_over_ways_to_break_ties(k):
    y, s = labelled(0, decimals=0)
    rng = np.random.RandomState(0)
    by_lot = [np.mean(y[np.lexsort((rng.rand(len(s)), s))[:k]] == -1) for _ in range(2000)]
    standard_error = np.std(by_lot) / np.sqrt(len(by_lot))
    assert abs(precision_at_k_score(y, s, k=k) - np.mean(by_lot)) <= 4 * standard_error + 1e-12


def test_precision_at_k_without_ties():
    y, s = labelled(0, decimals=12)
    order = np.argsort(s)
    assert precision_at_k_score(y, s, k=30) == np.mean(y[order[:30]] == -1)
    n_anomalies = np.sum(y == -1)
    assert precision_at_k_score(y, s) == np.mean(y[order[:n_anomalies]] == -1)


def test_precision_at_k_refuses_more_rows_than_count():
    y, s = labelled(0)
    with pytest.raises(ValueError, match=r"k must be in \[1, 200\], the rows that count, got 201"):
        precision_at_k_score(y, s, k=201)


@pytest.mark.parametrize("score", SCORES)
def test_unlabelled_rows(score):
    y, s = labelled(1)
    rng = np.random.RandomState(0)
    extra = np.r_[y, np.zeros(100, dtype=int)], np.r_[s, 3 * rng.randn(100)]
    assert score(*extra, unlabeled="ignore") == score(y, s)
    assert score(*extra) == score(np.where(extra[0] == 0, 1, extra[0]), extra[1])
    assert score(*extra) != score(y, s)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "y, unlabeled, missing",
    [
        ([0, 0, 1], "as_normal", "no labelled anomaly"),
        ([0, 1, 1], "as_normal", "no labelled anomaly"),  # 1 = anomaly, the habit elsewhere
        ([-1, -1, -1], "as_normal", "stands for a normal"),
        ([-1, 0, 0], "ignore", "stands for a normal"),
        ([0, 0, 0], "ignore", "stands for a normal"),
    ],
)
@pytest.mark.filterwarnings("default")
def test_undefined_is_nan_and_says_why(score, y, unlabeled, missing):
    with pytest.warns(UndefinedMetricWarning, match=missing) as record:
        assert np.isnan(score(y, [-1.0, 0.5, 1.0], unlabeled=unlabeled))
    assert len(record) == 1
    assert record[0].filename == __file__


@pytest.mark.parametrize("score", SCORES)
def test_bad_input(score):
    with pytest.raises(ValueError, match="NaN"):
        score([-1, 1], [0.0, np.nan])
    with pytest.raises(ValueError, match="y has 3 labels but X has 2 rows"):
        score([-1, 1, 1], [0.0, 1.0])
    for name in set(signature(score).parameters) & set(WRONG):
        for value in WRONG[name]:
            with pytest.raises((ValueError, TypeError), match=f"'{name}' parameter of"):
                score([-1, 1], [0.0, 1.0], **{name: value})


@pytest.mark.parametrize("unlabeled", ["as_normal", "ignore"])
def test_a_weight_counts_like_so_many_rows(unlabeled):
    y, s = labelled(0)
    y[::3] = 0
    weight = np.random.RandomState(0).randint(0, 4, len(y))
    repeated = roc_auc_score(np.repeat(y, weight), np.repeat(s, weight), unlabeled=unlabeled)
    weighted = roc_auc_score(y, s, unlabeled=unlabeled, sample_weight=weight)
    assert_allclose(weighted, repeated, rtol=0, atol=1e-12)
    assert weighted != roc_auc_score(y, s, unlabeled=unlabeled)
    with pytest.warns(UndefinedMetricWarning, match="no labelled anomaly"):
        assert np.isnan(roc_auc_score(y, s, sample_weight=y != -1))
    for wrong in (-weight, weight[1:], "heavy", np.full(len(y), np.nan)):
        with pytest.raises(ValueError, match="sample_weight|convert"):
            roc_auc_score(y, s, sample_weight=wrong)


def test_affine_law_holds_exactly_on_average_over_all_ways_to_label():
    rng = np.random.RandomState(0)
    truth, s = np.r_[[-1] * 7, [1] * 9], np.round(rng.randn(16), 1)
    measured = []
    for known in combinations(range(7), 3):
        y = np.zeros(16, dtype=int)
        y[list(known)] = -1
        measured.append(roc_auc_score(y, s))
    p = 4 / 13
    expected = (1 - p) * roc_auc_score(truth, s) + p / 2
    assert_allclose(np.mean(measured), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shift", [0.5, 1.5, 3.0])
def test_affine_law_by_simulation(shift):
    rng = np.random.RandomState(0)
    measured, true = [], []
    for _ in range(100):
        s = np.r_[rng.randn(60) - shift, rng.randn(300)]
        truth = np.r_[[-1] * 60, [1] * 300]
        y = np.zeros(360, dtype=int)
        y[rng.choice(60, 10, replace=False)] = -1
        y[rng.choice(np.arange(60, 360), 20, replace=False)] = 1
        measured.append(roc_auc_score(y, s))
        true.append(roc_auc_score(truth, s))
    p = 50 / 350
    gap = np.array(measured) - ((1 - p) * np.array(true) + p / 2)
    assert abs(gap.mean()) <= 3 * gap.std() / np.sqrt(len(gap))


def test_standard_deviation_stated_in_the_docs():
    """At a true area of .83, one labelled normal gives .20, three give .12."""
    rng = np.random.RandomState(0)
    anomalies = rng.randn(20_000) - 1.35
    normals = rng.randn(20_000)
    true_area = roc_auc_score(np.repeat([-1, 1], 20_000), np.r_[anomalies, normals])
    assert_allclose(true_area, 0.83, atol=0.005)
    ranks = np.searchsorted(np.sort(anomalies), rng.randn(4000, 3)) / len(anomalies)
    assert_allclose(ranks[:, 0].std(), 0.20, atol=0.01)
    assert_allclose(ranks.mean(axis=1).std(), 0.12, atol=0.01)


@pytest.mark.parametrize(
    "detector", [IsolationForest(random_state=0), OneClassSVM(gamma="scale", nu=0.1)]
)
def test_scorers_on_scikit_learn_detectors(detector):
    rng = np.random.RandomState(0)
    X = np.r_[rng.randn(150, 2), rng.uniform(-6, 6, (20, 2))]
    y = np.r_[[1] * 20, [0] * 130, [-1] * 20]
    detector.fit(X)
    scoring = {str(i): scorer for i, scorer in enumerate(SCORERS)}
    assert len(scoring) == len(SCORES)
    for scorer in SCORERS:
        assert scorer(detector, X, y) > 0.5
    many = cross_validate(detector, X, y, scoring=scoring, cv=[(np.arange(170), np.arange(170))])
    for i, scorer in enumerate(SCORERS):
        assert many[f"test_{i}"][0] == scorer(detector, X, y)


def test_make_detector_scorer_passes_keywords_on():
    rng = np.random.RandomState(0)
    X, y = rng.randn(50, 2), np.r_[[-1] * 10, [0] * 30, [1] * 10]
    detector = IsolationForest(random_state=0).fit(X)
    for options in [{"k": 3}, {"k": 12, "unlabeled": "ignore"}]:
        scorer = make_detector_scorer(precision_at_k_score, **options)
        scores = detector.decision_function(X)
        assert scorer(detector, X, y) == precision_at_k_score(y, scores, **options)
