"""Other libraries' tools on detectors: each line of docs/guide/other_libraries.rst."""

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.model_selection import HalvingGridSearchCV, HalvingRandomSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import ConformalDetector, DeepSAD, TunedThresholdDetector
from skad.inspection import score_attributions
from skad.metrics import average_precision_scorer, roc_auc_scorer
from skad.model_selection import SemiSupervisedKFold

from .checks import make_problem

X, Y, TRUTH = make_problem()
SMALL = {"n_estimators": 2, "max_steps": 10, "hidden_layer_sizes": (8,), "random_state": 0}
FOLDS = SemiSupervisedKFold(2, random_state=0)


# --- scikit-learn -------------------------------------------------------------------------------


def one_telling_column(seed=0):
    """Anomalies differ in column 1 of 3."""
    rows = np.random.RandomState(seed).randn(len(X), 3)
    rows[:, 1] = X[:, 0]
    return rows


@pytest.mark.parametrize("scoring", [None, average_precision_scorer])
@pytest.mark.parametrize("scaled", [True, False])
def test_permutation_importance(scaled, scoring):
    rows, detector = one_telling_column(), DeepSAD(**{**SMALL, "max_steps": 60})
    detector = (make_pipeline(StandardScaler(), detector) if scaled else detector).fit(rows, Y)
    result = permutation_importance(detector, rows, Y, scoring=scoring, n_repeats=3, random_state=0)
    assert result.importances_mean.argmax() == 1
    assert result.importances_mean[1] > 0.1


class Score(RegressorMixin, BaseEstimator):
    """A fitted detector's score, as a regressor predicts."""

    def __init__(self, detector):
        self.detector = detector

    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return self.detector.decision_function(X)


def test_partial_dependence_of_the_score():
    """scikit-learn takes classifiers and regressors only."""
    rows = one_telling_column()
    detector = DeepSAD(**{**SMALL, "max_steps": 60}).fit(rows, Y)
    with pytest.raises(ValueError, match="fitted regressor or classifier"):
        partial_dependence(detector, rows, [0])
    curves = [
        partial_dependence(Score(detector), rows, [column], grid_resolution=5)["average"][0]
        for column in range(3)
    ]
    assert np.ptp(curves, axis=1).argmax() == 1
    assert curves[1][-1] < curves[1][0]  # anomalies are high in column 1


def test_frozen_estimator():
    detector = DeepSAD(**SMALL).fit(X, Y)
    calibrated = ConformalDetector(FrozenEstimator(detector), alpha=0.1).fit(X, Y)
    assert_array_equal(calibrated.score_samples(X), detector.score_samples(X))
    pipeline = make_pipeline(FrozenEstimator(StandardScaler().fit(X + 5)), DeepSAD(**SMALL))
    pipeline.fit(X, Y)
    assert_array_equal(pipeline[0].estimator.mean_, StandardScaler().fit(X + 5).mean_)
    tuned = TunedThresholdDetector(FrozenEstimator(detector), random_state=0).fit(X, Y)
    assert_array_equal(tuned.score_samples(X), detector.score_samples(X))


@pytest.mark.parametrize("search", [HalvingGridSearchCV, HalvingRandomSearchCV])
def test_halving_searches_by_steps(search):
    halving = search(
        DeepSAD(**SMALL),
        {"latent_dim": [2, 4, 8]},
        resource="max_steps",
        min_resources=4,
        max_resources=12,
        factor=3,
        cv=FOLDS,
        random_state=0,
    ).fit(X, Y)
    results = halving.cv_results_
    assert set(results["n_resources"]) == {4, 12}
    assert np.isfinite(results["mean_test_score"]).all()
    assert halving.best_estimator_.n_iter_ == 12


def test_metadata_routing_hands_groups_to_the_splitter():
    groups = np.arange(len(X)) // 2
    with sklearn.config_context(enable_metadata_routing=True):
        result = cross_validate(
            IsolationForest(random_state=0),
            X,
            Y,
            scoring=roc_auc_scorer,
            cv=FOLDS,
            params={"groups": groups},
            return_indices=True,
        )
    for train, test in zip(*result["indices"].values(), strict=True):
        assert not set(groups[train]) & set(groups[test])


# --- others -------------------------------------------------------------------------------------


def test_imbalanced_learn_pipeline():
    imblearn_pipeline = pytest.importorskip("imblearn.pipeline")
    from imblearn.under_sampling import RandomUnderSampler

    fewer = RandomUnderSampler(sampling_strategy={0: 40}, random_state=0)
    pipeline = imblearn_pipeline.make_pipeline(StandardScaler(), fewer, DeepSAD(**SMALL))
    labels = np.minimum(Y, 0)
    pipeline.fit(X, labels)
    kept, kept_labels = fewer.fit_resample(StandardScaler().fit_transform(X), labels)
    assert np.sum(kept_labels == 0) == 40
    alone = DeepSAD(**SMALL).fit(kept, kept_labels)
    assert_array_equal(
        pipeline.decision_function(X), alone.decision_function(StandardScaler().fit_transform(X))
    )
    assert np.isfinite(pipeline.score(X, labels))


@pytest.mark.filterwarnings("ignore:OptunaSearchCV is experimental", "ignore:.optuna.terminator")
def test_optuna_search():
    optuna = pytest.importorskip("optuna")
    optuna_sklearn = pytest.importorskip("optuna_integration.sklearn")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    search = optuna_sklearn.OptunaSearchCV(
        make_pipeline(StandardScaler(), DeepSAD(**SMALL)),
        {
            "deepsad__lr": optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True),
            "deepsad__latent_dim": optuna.distributions.IntDistribution(2, 8),
        },
        cv=FOLDS,
        n_trials=3,
        random_state=0,
    ).fit(X, Y)
    values = [trial.value for trial in search.trials_]
    assert len(set(values)) > 1
    assert search.best_score_ == max(values)
    assert search.best_estimator_.decision_function(X).shape == (len(X),)


def test_captum_takes_the_scoring_module():
    captum_attr = pytest.importorskip("captum.attr")
    detector = DeepSAD(**SMALL).fit(X, Y)
    rows, normal = torch.tensor(X[:3]), torch.tensor(X[-20:])
    torch.manual_seed(0)
    sampled = captum_attr.GradientShap(detector.scoring_module_).attribute(rows, baselines=normal)
    assert sampled.shape == rows.shape
    assert torch.isfinite(sampled).all()
    gradients = captum_attr.IntegratedGradients(detector.scoring_module_.score_scaled)
    path = [detector.scoring_module_.scaler(part) for part in (rows, normal[:1])]
    theirs = gradients.attribute(*path, n_steps=500).numpy()
    ours = score_attributions(detector, X[:3], background=X[-20:-19])
    np.testing.assert_allclose(ours, theirs, atol=5e-3)
