"""The hybrids of the literature, an autoencoder's code into a shallow detector, are pipelines."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

import skad
from skad import Autoencoder
from skad.metrics import roc_auc_score

needs_ssad = pytest.mark.skipif(not hasattr(skad, "SSAD"), reason="SSAD has not landed yet")
# Each second stage with the grid of one of its parameters.
STAGES = [
    pytest.param(lambda: OneClassSVM(), {"oneclasssvm__gamma": [0.01, 100.0]}, id="OneClassSVM"),
    pytest.param(
        lambda: IsolationForest(random_state=0),
        {"isolationforest__n_estimators": [2, 30]},
        id="IsolationForest",
    ),
    pytest.param(
        lambda: KernelDensity(), {"kerneldensity__bandwidth": [0.01, 1.0]}, id="KernelDensity"
    ),
    pytest.param(lambda: skad.SSAD(), {"ssad__gamma": [0.01, 100.0]}, id="SSAD", marks=needs_ssad),
]
TINY = {"n_estimators": 1, "batch_size": 32, "lr": 1e-2, "random_state": 0}


def table():
    """Normal rows near a plane in six dimensions; anomalies elsewhere, some of them labelled."""
    rng = np.random.RandomState(0)
    X = rng.randn(200, 2) @ rng.randn(2, 6) + 0.05 * rng.randn(200, 6)
    X[160:] += 3 * rng.randn(40, 6)
    return X, Autoencoder(**TINY, hidden_layer_sizes=(16,), latent_dim=3, max_steps=40)


def images():
    """Handwritten zeros as normal images, other digits as anomalies, some of them labelled."""
    X, digit = load_digits(return_X_y=True)
    X = np.r_[X[digit == 0][:160], X[digit != 0][:40]]
    options = {"image_shape": (1, 8, 8), "hidden_layer_sizes": (4,), "latent_dim": 4}
    return X, Autoencoder(**TINY, **options, max_steps=40)


ANOMALY = np.arange(200) >= 160
Y = np.where(np.arange(200) >= 180, -1, 0)


def auc(pipeline, X, y):
    return roc_auc_score(y, pipeline.score_samples(X))


@pytest.mark.parametrize("make_data", [table, images])
@pytest.mark.parametrize("make_stage, grid", STAGES)
def test_hybrid_is_a_pipeline(make_data, make_stage, grid):
    X, autoencoder = make_data()
    hybrid = make_pipeline(autoencoder, make_stage()).fit(X, Y)
    scores = hybrid.score_samples(X)
    assert np.isfinite(scores).all()
    hidden = Y == 0  # some of these rows are anomalies
    assert roc_auc_score(-ANOMALY[hidden].astype(int), scores[hidden]) > 0.8
    codes = hybrid[0].transform(X)
    np.testing.assert_array_equal(hybrid[1].score_samples(codes), scores)


@pytest.mark.parametrize("make_stage, grid", STAGES)
def test_grid_search_tunes_both_stages(make_stage, grid):
    X, autoencoder = table()
    (name, values), *_ = grid.items()
    search = GridSearchCV(
        make_pipeline(autoencoder, make_stage()),
        {"autoencoder__max_steps": [1, 40], **grid},
        scoring=auc,
        cv=StratifiedKFold(2, shuffle=True, random_state=0),
        error_score="raise",
    ).fit(X, Y)
    results = search.cv_results_
    aucs = results["mean_test_score"].reshape(2, 2)  # parameters in alphabetical order
    assert np.isfinite(aucs).all()
    assert (aucs[0] != aucs[1]).any(), "the autoencoder's parameter has no effect"
    assert (aucs[:, 0] != aucs[:, 1]).any(), "the detector's parameter has no effect"
    assert search.best_score_ > 0.8
    best = search.best_estimator_
    assert best[0].n_iter_ == search.best_params_["autoencoder__max_steps"]
    assert best[1].get_params()[name.split("__")[1]] == search.best_params_[name]
