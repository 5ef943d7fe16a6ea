"""Every public detector passes scikit-learn's checks and ours, in several configurations."""

import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import SkipTestWarning, UndefinedMetricWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

import skad
from skad.base import BaseDetector
from skad.base_deep import BaseDeepDetector
from skad.exceptions import LabelConventionWarning

from . import checks

# Tiny networks and budgets: what is checked here does not depend on size.
FAST = {
    "max_steps": 25,
    "n_estimators": 2,
    "hidden_layer_sizes": (16,),
    "latent_dim": 4,
    "lr": 0.01,
}
TREES = ExtraTreesClassifier(
    30, bootstrap=True, min_samples_leaf=2, class_weight="balanced_subsample"
)
# Settings per detector; any other public one is checked with its defaults (deep ones with FAST).
CONFIGURATIONS = {
    "Autoencoder": [{"lr": 1e-3}, {"lr": 1e-3, "batch_norm": True, "n_estimators": 1}],
    "AMA": [
        {},
        {
            "margin": None,
            "repel": False,
            "simplex_weight": 0.2,
            "spectral_norm": True,
            "synthetic_share": 0.1,
            "labeled_fraction": None,
            "n_estimators": 1,
        },
    ],
    "ClassifierDetector": [
        {"estimator": TREES},
        {"estimator": clone(TREES).set_params(class_weight=None), "clean": 0.2},
        {"estimator": make_pipeline(StandardScaler(), SVC())},
    ],
    "VotingDetector": [
        {
            "estimators": [
                ("deep", skad.DeepSAD(**FAST)),
                ("trees", skad.ClassifierDetector(TREES)),
            ]
        }
    ],
    "DeepSAD": [
        {},
        {"loss": "inverse", "n_estimators": 1},
        {"n_estimators": 4, "labeled_fraction": None, "eta": 3.0},
        {"pretrain_steps": 5, "batch_norm": True, "decoder_output": "sigmoid"},
        {"max_steps": "auto", "n_estimators": 4},
    ],
    "ESAD": [{}, {"share_encoder": True, "n_estimators": 1, "lambda2": 0.3}],
    "GANomaly": [
        {},
        {
            "anomaly_weight": 0.0,
            "score_type": "latent",
            "latent_dim": 2,
            "batch_size": 64,
            "n_estimators": 4,  # one alone may collapse: the paper's score depends on the seed
            "max_steps": 60,
        },
    ],
    # Trained for long, it pulls anomalies to the centre as well.
    "DeepSVDD": [{"lr": 2e-4}, {"lr": 2e-4, "objective": "soft-boundary", "n_estimators": 1}],
    "SSAD": [
        {},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto"},
        {"C_unlabeled": 1.0, "max_samples": 20},
    ],
    "SSDGM": [{}, {"prior": 0.1, "n_estimators": 1, "pretrain_steps": 50}],
}


def make_detectors():
    detectors = []
    for name in skad.__all__:
        cls = getattr(skad, name)
        if isinstance(cls, type) and issubclass(cls, BaseDetector):
            fast = FAST if issubclass(cls, BaseDeepDetector) else {}
            for configuration in CONFIGURATIONS.get(name, [{}]):
                detector = cls(**{**fast, **configuration})
                if "random_state" in detector.get_params():
                    detector.set_params(random_state=0)
                detectors.append(detector)
    return detectors


DETECTORS = make_detectors()
ONE_OF_EACH = list({type(detector): detector for detector in DETECTORS}.values())


@pytest.fixture(autouse=True)
def _allowed_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelConventionWarning)
        warnings.simplefilter("ignore", SkipTestWarning)
        yield


def hardly_trained(detector):
    """Copy of a detector for checks of its interface, not of what it learns."""
    most = {"max_steps": 5, "pretrain_steps": 5}
    used = {
        name: min(value, most[name.rpartition("__")[2]])
        for name, value in detector.get_params().items()
        if name.rpartition("__")[2] in most and isinstance(value, int)
    }
    return clone(detector).set_params(**used)


@pytest.fixture
def _early_choice_of_steps(monkeypatch):
    """max_steps="auto" chooses among few."""
    for module in ("base_deep", "_out_of_bag"):
        monkeypatch.setattr(f"skad.{module}.CANDIDATES", (2, 4, 8))
    monkeypatch.setattr("skad.base_deep.STEPS_PER_EPOCH", 2)


HARDLY_TRAINED = [hardly_trained(detector) for detector in DETECTORS]


@pytest.mark.usefixtures("_early_choice_of_steps")
@parametrize_with_checks(HARDLY_TRAINED)
def test_scikit_learn_checks(estimator, check):
    with warnings.catch_warnings():
        if "array_api" in str(check):  # calls score on a y without anomalies
            warnings.simplefilter("ignore", UndefinedMetricWarning)
        check(estimator)


@pytest.mark.usefixtures("_early_choice_of_steps")
@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_param_validation,
        estimator_checks.check_dataframe_column_names_consistency,
        estimator_checks.check_inplace_ensure_writeable,
    ],
)
@pytest.mark.parametrize("detector", HARDLY_TRAINED, ids=str)
def test_optional_scikit_learn_checks(detector, check):
    with warnings.catch_warnings():
        # One of them calls score on a y without anomalies, whose score is undefined.
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        check(type(detector).__name__, clone(detector))


def name_of(value):
    return getattr(value, "__name__", None) or str(value)


@pytest.mark.usefixtures("_early_choice_of_steps")
@pytest.mark.parametrize(
    "detector, check",
    [(d, check) for d in HARDLY_TRAINED for check in checks.interface_checks(d)],
    ids=name_of,
)
def test_interface(detector, check):
    check(clone(detector))


@pytest.mark.parametrize(
    "detector, check",
    [(d, check) for d in DETECTORS for check in checks.learning_checks(d)],
    ids=name_of,
)
def test_learning(detector, check):
    check(clone(detector))


@pytest.mark.parametrize("detector", HARDLY_TRAINED, ids=str)
def test_silent(detector, capfd):
    checks.check_silent(clone(detector), capfd)


def fit_and_score(detector):
    X, y, _ = checks.make_problem()
    return clone(detector).fit(X, y).score_samples(X)


def test_scores_are_the_same_in_other_processes():
    elsewhere = joblib.Parallel(n_jobs=2)(joblib.delayed(fit_and_score)(d) for d in ONE_OF_EACH)
    np.testing.assert_equal(elsewhere, [fit_and_score(detector) for detector in ONE_OF_EACH])
