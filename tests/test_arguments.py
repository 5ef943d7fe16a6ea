"""Wrong arguments: an error that names the parameter, before any work, and nothing half-fitted."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import Ridge
from torch import nn

import skad
from skad.base_deep import BaseDeepDetector

from .checks import make_problem

X, Y, _ = make_problem(n=40)


class NoParameters(nn.Module):
    def __init__(self, n_features):
        super().__init__()

    def forward(self, rows):
        return rows


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", ".*torch.jit")  # a FutureWarning from torch 2.14 on
    traced = torch.jit.trace(nn.Linear(5, 3), torch.ones(2, 5))
frozen = nn.Linear(5, 3).requires_grad_(False)
NOT_POSITIVE = [0, -1, np.nan, np.inf, True, "1", None, [1]]
NOT_NEGATIVE = [-1, -1e-9, np.nan, np.inf, True, "1", None, [1]]
NOT_COUNT = [0, -3, 1.5, True, "three", None, [1], np.inf]
NOT_FRACTION = [0, 1, -0.5, 2, np.nan, True, "half", [0.5]]
NOT_BOOL = [2, "yes", None, [True], 0.5]
NOT_CHOICE = ["nonsense", 3, None, ["inverse"], True]
WRONG = {
    # shared
    "hidden_layer_sizes": [[], (), (8, 0), (8, 2.5), (-3,), {8}, {8: 8}, (True,), "wide", 8, None]
    + [np.array([[8, 8]]), ("8",)],
    "latent_dim": [0, -3, 1.5, True, "wide", None, [1]],
    "module": [3, "mlp", [nn.Linear(5, 3)], frozen, NoParameters, nn.Linear(4, 3)]
    + [
        nn.Linear(5, 3).double(),
        nn.LazyLinear(3),
        traced,
    ]
    + [lambda n: "network", lambda n: nn.Sequential(nn.Linear(n, 3), nn.Flatten(0))],
    "image_shape": [(5,), (1, 5), (1, 1, 5, 1), (1, 2, 3), (1.0, 1.0, 5.0), (-1, -1, 5), 5]
    + ["1x1x5", {1, 5}, np.array([1, 2, 2]), (True, 1, 5)],
    "n_estimators": NOT_COUNT,
    "max_steps": [0, -3, 1.5, True, "many", None, [1]],
    "batch_size": [*NOT_COUNT, 1],
    "lr": NOT_POSITIVE,
    "weight_decay": NOT_NEGATIVE,
    "optimizer": [int, "adam", None, torch.optim.LBFGS, nn.Linear, 0.1],
    "contamination": [0, -0.1, 0.51, True, "auto", None, np.nan, [0.1]],
    "standardize": NOT_BOOL,
    "callbacks": [[1], ["EarlyStopping"], 3, "EarlyStopping", [None], [nn.Linear(2, 2)]],
    "validation_fraction": NOT_FRACTION,
    "device": ["nonsense", "meta", "mps", "cuda:77", 3, None, ["cpu"]],
    "random_state": ["seed", -1, 0.5, True, [0]],
    "verbose": ["loud", -1, None, [1]],
    # of the methods
    "loss": NOT_CHOICE,
    "objective": NOT_CHOICE,
    "center": NOT_CHOICE,
    "score_type": NOT_CHOICE,
    "eta": NOT_NEGATIVE,
    "alpha": NOT_NEGATIVE,
    "nu": [0, -1, 1.1, True, "1", None, np.nan],
    "prior": [*NOT_FRACTION, None],
    "labeled_fraction": NOT_FRACTION,
    "pretrain_steps": [-1, 1.5, True, "few", None],
    "batch_norm": NOT_BOOL,
    "decoder_output": NOT_CHOICE,
    "bias": [2, "yes", None, [True], 0.5],
    "mixup": [-0.1, 1.1, True, "half", None, np.nan],
    "use_anomalies": NOT_BOOL,
    "share_encoder": NOT_BOOL,
    "repel": NOT_BOOL,
    "spectral_norm": NOT_BOOL,
    "critic_steps": NOT_COUNT,
    "critic_lr": [v for v in NOT_POSITIVE if v is not None],
    "critic_optimizer": [int, "adam", torch.optim.LBFGS, 0.1],
    "synthetic_share": [1, -0.1, True, "some", None, np.nan],
    "margin": [-1, np.nan, True, "wide"],
    # of SSAD
    "kernel": ["nonsense", 3, None],
    "gamma": [0, -1, True, "wide", None, np.nan],
    "degree": NOT_COUNT,
    "coef0": ["1", None, True, np.inf],
    "C_unlabeled": [0, -1, True, "1"],
    "tol": NOT_POSITIVE,
    "max_iter": NOT_COUNT,
    "max_samples": [*NOT_COUNT, 1],
}
for name in ["lambda1", "lambda2", "noise", "w_adv", "w_con", "w_enc", "anomaly_weight", "kappa"]:
    WRONG[name] = NOT_NEGATIVE
for name in ["latent_weight", "reconstruction_weight", "simplex_weight", "penalty_weight"]:
    WRONG[name] = NOT_NEGATIVE
for name in ["C_normal", "C_anomaly"]:
    WRONG[name] = NOT_POSITIVE
FOREST = IsolationForest(n_estimators=5)
OF_META = {
    "estimator": [3, None, "forest", object()],
    "unlabeled": NOT_CHOICE,
    "contamination": WRONG["contamination"],
    "random_state": WRONG["random_state"],
    "n_jobs": [1.5, "all", True, [1]],
    "alpha": [*NOT_FRACTION, None],
    "method": NOT_CHOICE,
    "calibration_size": [*NOT_FRACTION, None],
    "cv": [0, 1, 1.5, True, "five"],
    "objective": NOT_CHOICE,
    "beta": NOT_POSITIVE,
    "target": [-0.1, 1.1, True, "low", np.nan],
    "max_samples": NOT_COUNT,
    "chunk_size": NOT_COUNT,
    "clean": [-0.1, 1, True, "all", None, np.nan],
    "estimators": [3, "forest", (), [], [FOREST], [("a", FOREST, 1)], [(1, FOREST)]]
    + [[("a", None)], [("a", 3)], [("a", FOREST), ("a", FOREST)], [("a__b", FOREST)]]
    + [[("weights", FOREST)], [("a", "drop")], [("a", "dropped")]],
    "weights": [3, "equal", [1, 2, 3], [1], [1, -1], [0, 0], [1, np.nan], [1, "a"], [[1, 1]]],
    "limits": [-1, "none", [1, 2, 3], [1], [-1, np.nan], [-1, "a"], [[-1, -1]], [None, -1]],
}


def cases():
    for name in skad.__all__:
        cls = getattr(skad, name)
        table = OF_META if cls.__module__.startswith("skad.meta") else WRONG
        has_default = cls in (skad.ClassifierDetector, skad.SampledDetector)
        for parameter in cls._parameter_constraints:
            for value in table[parameter]:
                if not (has_default and value is None and parameter == "estimator"):
                    yield cls, parameter, value
    yield from ((skad.ClassifierDetector, "estimator", value) for value in (FOREST, Ridge()))
    yield skad.ClassifierDetector, "clean", 1.5


CASES = list(cases())


def test_table_is_large():
    assert len(CASES) >= 600
    assert {cls for cls, _, _ in CASES} == {getattr(skad, name) for name in skad.__all__}


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "cls, parameter", sorted({(c, p) for c, p, _ in CASES}, key=str), ids=lambda v: str(v)
)
def test_wrong_argument_is_named(cls, parameter):
    values = [v for c, p, v in CASES if c is cls and p == parameter]
    for value in values:
        options = {"max_steps": 2, "n_estimators": 2} if issubclass(cls, BaseDeepDetector) else {}
        if "estimator" in cls._parameter_constraints and cls is not skad.ClassifierDetector:
            options["estimator"] = FOREST
        if cls is skad.VotingDetector:
            options["estimators"] = [("a", FOREST), ("b", FOREST)]
        if parameter == "target":
            options["objective"] = "fpr"
        detector = cls(**{**options, parameter: value})
        with pytest.raises((ValueError, TypeError), match=parameter):
            detector.fit(X, Y)
        assert not [n for n in vars(detector) if n.endswith("_") and not n.startswith("_")]


@pytest.mark.parametrize("value", ["a", True, None, 0, 0.7, [0.1]])
def test_wrong_contamination_of_fit_threshold(value):
    detector = skad.SSAD().fit(X, Y)
    if value is None:
        return
    with pytest.raises(ValueError, match="contamination must be"):
        detector.fit_threshold(X, Y, contamination=value)


@pytest.mark.parametrize(
    "name", [n for n in skad.__all__ if hasattr(getattr(skad, n), "transform")]
)
@pytest.mark.parametrize(
    "options",
    [
        {"hidden_layer_sizes": np.array([8, 4])},
        {"hidden_layer_sizes": [8]},
        {"image_shape": np.array([1, 1, 5]), "hidden_layer_sizes": (2,)},
        {"image_shape": (1, 1, 5)},
    ],
    ids=str,
)
def test_legal_or_named(name, options):
    """Arrays do as well as tuples; an image too small for the network gets a clear error."""
    detector = getattr(skad, name)(max_steps=2, n_estimators=1, **options)
    if "image_shape" in options:
        with pytest.raises(ValueError, match=r"image_shape=\(1, 1, 5\) cannot be halved"):
            detector.fit(X, Y)
    else:
        assert np.isfinite(detector.fit(X, Y).score_samples(X)).all()
