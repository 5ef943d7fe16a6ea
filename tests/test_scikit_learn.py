"""Detectors in use: pipelines, searches, cross-validation, output, inspection."""

import pickle
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest
from sklearn.impute import SimpleImputer
from sklearn.inspection import DecisionBoundaryDisplay, permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skad import DeepSAD, DeepSVDD

from .checks import make_problem

X, Y, TRUTH = make_problem()
FAST = {"max_steps": 10, "n_estimators": 2, "hidden_layer_sizes": (16,), "random_state": 0}


def test_missing_values_are_imputed_in_a_pipeline():
    holes = X.copy()
    holes[::7, 2] = np.nan
    pipeline = make_pipeline(SimpleImputer(), DeepSAD(**FAST)).fit(holes, Y)
    assert np.isfinite(pipeline.decision_function(holes)).all()
    assert_array_equal(
        pipeline.predict(holes),
        np.where(pipeline.score_samples(holes) < pipeline[-1].offset_, -1, 1),
    )
    with pytest.raises(ValueError, match="NaN"):
        DeepSAD(**FAST).fit(holes, Y)


def test_labels_reach_the_detector_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), DeepSAD(**FAST))
    with_labels = clone(pipeline).fit(X, Y).decision_function(X)
    assert np.abs(with_labels - clone(pipeline).fit(X).decision_function(X)).max() > 1e-3


def test_columns_of_text():
    frame = pd.DataFrame(X, columns=list("abcde"))
    frame["colour"] = np.where(TRUTH == -1, "red", np.where(np.arange(len(X)) % 2, "blue", "grey"))
    columns = ColumnTransformer(
        [("text", OneHotEncoder(), ["colour"])], remainder="passthrough", sparse_threshold=0
    )
    pipeline = make_pipeline(columns, DeepSAD(**FAST)).fit(frame, Y)
    assert pipeline.score(frame, TRUTH) > 0.9


@pytest.mark.parametrize("labels", [Y, np.minimum(Y, 0)], ids=["-1, 0, +1", "-1, 0"])
@pytest.mark.parametrize("loss", ["hypersphere", "inverse"])
def test_grid_search_without_scoring(labels, loss):
    pipeline = make_pipeline(StandardScaler(), DeepSAD(loss=loss, **FAST))
    grid = {
        "deepsad__lr": [1e-4, 1e-2],
        "deepsad__hidden_layer_sizes": [(8,), (16, 8)],
        "deepsad__eta": [0.3, 3.0],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(pipeline, grid, cv=StratifiedKFold(3), n_jobs=2).fit(X, labels)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert len(np.unique(scores)) > 1
    assert search.best_estimator_.decision_function(X).shape == (len(X),)


def test_randomized_search():
    search = RandomizedSearchCV(
        DeepSAD(**FAST),
        {"lr": [1e-4, 1e-3, 1e-2], "eta": [0.5, 1.0, 2.0], "latent_dim": [2, 4]},
        n_iter=4,
        cv=StratifiedKFold(3),
        n_jobs=2,
        random_state=0,
    ).fit(X, Y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_cross_val_score():
    scores = cross_val_score(DeepSAD(**FAST), X, Y, cv=StratifiedKFold(3))
    assert np.isfinite(scores).all()


def test_beside_scikit_learns_detectors():
    """The same calls, the same meaning: sign, dtype, predictions."""
    for detector in (DeepSAD(**FAST), DeepSVDD(**FAST), IsolationForest(random_state=0)):
        detector.fit(X)
        assert detector.decision_function(X)[TRUTH == -1].mean() < 0
        assert set(detector.predict(X)) == {-1, 1}


def test_codes_as_a_data_frame():
    frame = pd.DataFrame(X, columns=list("abcde"))
    pipeline = make_pipeline(DeepSAD(latent_dim=3, **FAST), IsolationForest(random_state=0))
    codes = pipeline[:-1].set_output(transform="pandas").fit_transform(frame, Y)
    assert list(codes.columns) == [f"deepsad{j}" for j in range(6)]
    assert pipeline.fit(frame, Y).predict(frame).shape == (len(X),)


def test_decision_boundary():
    detector = DeepSAD(**FAST).fit(X[:, :2], Y)
    display = DecisionBoundaryDisplay.from_estimator(
        detector, X[:, :2], response_method="decision_function", grid_resolution=10
    )
    assert np.ptp(display.response) > 0
    plt.close("all")


def test_permutation_importance():
    rows = np.c_[X[:, :1], np.random.RandomState(0).randn(len(X), 2)]
    detector = DeepSAD(**{**FAST, "max_steps": 60}).fit(rows, Y)
    importance = permutation_importance(detector, rows, Y, n_repeats=3, random_state=0)
    assert importance.importances_mean.argmax() == 0


def test_many_refits_of_one_object_change_nothing():
    X, y, _ = make_problem()
    detector = DeepSAD(n_estimators=2, max_steps=3, random_state=0).fit(X, y)
    expected, size = detector.score_samples(X), len(pickle.dumps(detector))
    for _ in range(30):
        detector.fit(X, y)
    assert np.array_equal(detector.score_samples(X), expected)
    assert abs(len(pickle.dumps(detector)) - size) < 200
