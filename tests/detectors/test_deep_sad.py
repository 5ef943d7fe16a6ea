import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score

from skad import DeepSAD
from skad.detectors.deep_sad import EPS

from ..checks import make_problem


def batch_loss(loss, eta, d, y):
    """Deep SAD's loss of a batch whose squared distances are given: the network is the identity."""
    return DeepSAD(loss=loss, eta=eta)._loss(torch.nn.Identity(), d, y)


FAST = {"max_steps": 30, "n_estimators": 2, "random_state": 0}


def naive_loss(loss, d, y, eta):
    """One row at a time, in plain Python floats."""
    total = 0.0
    for distance, label in zip(d, y, strict=True):
        if loss == "inverse":
            row = distance if label == 0 else eta * (distance + EPS) ** label
        else:
            p = np.sqrt(distance + 1) - 1
            row = -np.log(1 - np.exp(-p - EPS)) if label == -1 else p
            row *= 1 if label == 0 else eta
        total += row
    return total / len(d)


@pytest.mark.parametrize("loss", ["inverse", "hypersphere"])
@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
def test_loss_equals_naive_loop(loss, eta):
    rng = np.random.RandomState(0)
    d, y = rng.exponential(size=(3, 40)), rng.choice([-1, 0, 1], size=(3, 40))
    d[0, 0], y[0, 0] = 0.01, -1
    y[1] = 0  # a member whose batch holds no label
    values = batch_loss(loss, eta, torch.from_numpy(d), torch.from_numpy(y).to(torch.int8))
    expected = [naive_loss(loss, *rows, eta) for rows in zip(d, y, strict=True)]
    assert_allclose(values.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("eta", [1.0, 2.5])
def test_inverse_loss_by_hand(eta):
    """At squared distance 4: 4 unlabelled, eta (4 + eps) normal, eta / (4 + eps) anomaly."""
    d = torch.full((3, 1), 4.0, dtype=torch.float64)
    y = torch.tensor([[0], [1], [-1]], dtype=torch.int8)
    expected = [4, eta * (4 + 1e-6), eta / (4 + 1e-6)]
    assert_allclose(batch_loss("inverse", eta, d, y).numpy(), expected, rtol=1e-12)


def test_hypersphere_loss_by_hand():
    """At d = 3, p = 1: an anomaly costs -log(1 - 1/e), a normal 1."""
    d = torch.full((2, 1), 3.0, dtype=torch.float64)
    y = torch.tensor([[0], [-1]], dtype=torch.int8)
    expected = [1.0, -np.log(1 - np.exp(-1.0))]
    assert_allclose(batch_loss("hypersphere", 1.0, d, y).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("loss", ["inverse", "hypersphere"])
def test_gradient_equals_central_differences(loss):
    generator = torch.Generator().manual_seed(0)
    d = torch.rand(2, 6, dtype=torch.float64, generator=generator) + 0.1
    y = torch.tensor([[-1, 0, 1, -1, 0, 1]] * 2, dtype=torch.int8)
    d.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda d: batch_loss(loss, 2.0, d, y), d)


@pytest.mark.parametrize("loss", ["inverse", "hypersphere"])
def test_gradient_is_finite_at_the_center(loss):
    d = torch.zeros(1, 3, requires_grad=True)
    batch_loss(loss, 1.0, d, torch.tensor([[-1, 0, 1]], dtype=torch.int8)).sum().backward()
    assert torch.isfinite(d.grad).all()


@pytest.mark.parametrize("center", ["all", "normal"])
def test_center_is_the_mean_code_kept_off_zero(center):
    X, y, _ = make_problem()
    det = DeepSAD(center=center, max_steps=1, lr=1e-12, random_state=0, n_estimators=2).fit(X, y)
    rows = X if center == "all" else X[y != -1]
    mean = det.transform(rows).mean(axis=0).reshape(det.center_.shape)
    expected = np.where(mean < 0, -1, 1) * np.maximum(np.abs(mean), 0.1)
    assert_allclose(det.center_, expected, atol=1e-5)


def test_center_stays_fixed_and_off_zero():
    X, y, _ = make_problem()
    det = DeepSAD(**FAST).fit(X, y)
    assert np.abs(det.center_).min() >= np.float32(0.1)
    assert not det.scoring_module_.network.center.requires_grad
    one_step = DeepSAD(**{**FAST, "max_steps": 1}).fit(X, y)
    assert_array_equal(det.center_, one_step.center_)
    wider = det.fit(np.c_[X, X], y)
    assert np.abs(wider.center_ - one_step.center_).max() > 1e-3


@pytest.mark.parametrize("loss", ["inverse", "hypersphere"])
def test_eta_changes_the_result(loss):
    X, y, _ = make_problem()
    scores = [DeepSAD(loss=loss, eta=e, **FAST).fit(X, y).score_samples(X) for e in (0.1, 10.0)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-2


def test_labels_raise_average_precision():
    gains = []
    for seed in range(5):
        X, _, truth = make_problem(seed, n=300, n_features=8)
        X[truth == -1, 3:] -= 4  # anomalous in three columns only
        y = np.where((truth == -1) & (np.arange(len(X)) < 6), -1, 0)
        X_new, _, truth_new = make_problem(seed + 100, n=300, n_features=8)
        X_new[truth_new == -1, 3:] -= 4
        X_new[truth_new == -1, :3] *= 0.5
        ap = [
            average_precision_score(
                truth_new == -1,
                -DeepSAD(random_state=seed, n_estimators=2).fit(X, t).decision_function(X_new),
            )
            for t in (y, None)
        ]
        gains.append(ap[0] - ap[1])
    assert np.mean(gains) > 0.05


def test_labeled_normals_count():
    X, y, _ = make_problem()
    without = DeepSAD(**FAST).fit(X, np.minimum(y, 0)).score_samples(X)
    assert np.abs(DeepSAD(**FAST).fit(X, y).score_samples(X) - without).max() > 1e-3


def test_pretraining_changes_the_start():
    X, y, _ = make_problem()
    scores = [DeepSAD(pretrain_steps=n, **FAST).fit(X, y).score_samples(X) for n in (0, 1, 40)]
    assert np.abs(scores[0] - scores[1]).max() > 1e-4
    assert np.abs(scores[1] - scores[2]).max() > 1e-3
    assert DeepSAD(pretrain_steps=3, **FAST).fit(X, y).scoring_module_.network.decoder is None


def test_pretraining_needs_a_built_in_network():
    X, y, _ = make_problem()
    with pytest.raises(ValueError, match="leave module=None"):
        DeepSAD(module=torch.nn.Linear(5, 3, bias=False), pretrain_steps=2).fit(X, y)
