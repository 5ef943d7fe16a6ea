import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from skad import DeepSAD, DeepSVDD

from ..checks import make_problem

FAST = {"max_steps": 40, "n_estimators": 2, "random_state": 0}


@pytest.mark.parametrize("options", [{}, {"pretrain_steps": 5}, {"n_estimators": 1}])
def test_equals_deep_sad_without_labels(options):
    X, _, _ = make_problem()
    options = {**FAST, **options}
    svdd = DeepSVDD(**options).fit(X)
    sad = DeepSAD(loss="inverse", **options).fit(X)
    assert_array_equal(svdd.score_samples(X), sad.score_samples(X))
    assert svdd.offset_ == sad.offset_


def test_labeled_anomalies_are_dropped_before_anything_else():
    X, y, _ = make_problem()
    y = np.minimum(y, 0)
    X[y == -1] *= 1e3
    first, second = DeepSVDD(**FAST).fit(X, y), DeepSVDD(**FAST).fit(X[y == 0])
    assert_array_equal(first.center_, second.center_)
    assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.offset_ == second.offset_


def test_soft_boundary_loss_equals_naive_loop():
    rng = np.random.RandomState(0)
    d, radius = rng.exponential(size=(3, 20)), np.array([0.0, 0.8, 1.5])
    network = torch.nn.Identity()
    network.squared_radius = torch.from_numpy(radius**2)
    detector = DeepSVDD(objective="soft-boundary", nu=0.2)
    expected = [
        r**2 + sum(max(0.0, x - r**2) for x in rows) / 20 / 0.2
        for rows, r in zip(d, radius, strict=True)
    ]
    assert_allclose(detector._loss(network, torch.from_numpy(d), None), expected, rtol=1e-10)


@pytest.mark.parametrize("nu", [0.05, 0.3])
def test_radius_leaves_a_share_of_nu_outside(nu):
    X, _, _ = make_problem(n=400)
    det = DeepSVDD(objective="soft-boundary", nu=nu, lr=1e-5, **FAST).fit(X)
    assert det.radius_.shape == (2,)
    outside = det._member_scores(X).sqrt().numpy() > det.radius_[:, None]
    assert_allclose(outside.mean(axis=1), nu, atol=0.02)


def test_radius_is_zero_during_the_warm_up():
    X, _, _ = make_problem()
    det = DeepSVDD(objective="soft-boundary", nu=0.5, lr=1e-9, **FAST).fit(X)
    losses = det.history_[:, "train_loss"]
    assert len(losses) == 20
    # With weights at rest the loss only changes when the radius does: after epoch 4 of 20.
    steps = np.abs(np.diff(losses)) > 0.2 * losses[0]
    assert_array_equal(np.flatnonzero(steps), [3])


def test_objectives_differ():
    X, _, _ = make_problem()
    one_class = DeepSVDD(**FAST).fit(X).score_samples(X)
    soft = DeepSVDD(objective="soft-boundary", **FAST).fit(X).score_samples(X)
    assert np.abs(one_class - soft).max() > 1e-3
