import math
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from torch import nn

from skad import ESAD
from skad._random import MemberNoise

from ..checks import in_float64

TINY = {"hidden_layer_sizes": (16,), "latent_dim": 4, "n_estimators": 2, "max_steps": 30}


def tiny(**parameters):
    return ESAD(**{**TINY, "lr": 0.01, "random_state": 0, **parameters})


def make_problem(n=120, n_features=5):
    rng = np.random.RandomState(0)
    X = rng.randn(n, n_features)
    X[:20] += 3
    y = np.zeros(n, dtype=int)
    y[:10], y[-5:] = -1, 1
    return X, y


def make_output(n_members=3, n_rows=8, n_features=5, n_codes=2):
    generator = torch.Generator().manual_seed(0)

    def draw(width):
        return torch.randn(
            n_members, n_rows, width, dtype=torch.float64, generator=generator
        ).requires_grad_()

    output = draw(n_features), draw(n_features), draw(n_codes), draw(n_codes)
    y = torch.tensor([-1, -1, 0, 0, 0, 1, 1, -1], dtype=torch.int8).expand(n_members, -1)
    return output, y


class Fixed(nn.Module):
    """Network whose outputs are given."""

    def __init__(self, output, seeds):
        super().__init__()
        self.output, self.noise = output, MemberNoise(seeds)

    def reconstruct(self, rows):
        return self.output[2], self.output[1], self.output[3]


def batch_loss(output, y, lambda1, lambda2, noise, seeds):
    detector = ESAD(lambda1=lambda1, lambda2=lambda2, noise=noise)
    return detector._loss(Fixed(output, seeds), output[0], y)


def naive_loss(output, y, noise, lambda1, lambda2):
    """One member's loss, number by number."""
    rows, reconstruction, code, second_code = (tensor.tolist() for tensor in output)
    total = 0.0
    for b, label in enumerate(y.tolist()):
        for j, value in enumerate(rows[b]):
            target = value + noise[b][j] if label < 0 else value
            total += (reconstruction[b][j] - target) ** 2
        norm = math.sqrt(sum(value**2 for value in second_code[b]) + 1e-6)
        total += lambda1 * (1 / norm if label < 0 else norm)
        gaps = [(s - z) ** 2 for s, z in zip(second_code[b], code[b], strict=True)]
        total += lambda2 * sum(gaps) / len(gaps)
    return total / len(y)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.0, 0.0), (0.3, 0.0), (0.0, 2.5)])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_loss_equals_naive_loop(weights, noise):
    output, y = make_output()
    loss = batch_loss(output, y, *weights, noise, [3, 4, 5])
    drawn = (noise * MemberNoise([3, 4, 5]).normal(8, 5)).double()
    for k in range(3):
        member = [tensor[k] for tensor in output]
        expected = naive_loss(member, y[k], drawn[k].tolist(), *weights)
        assert_allclose(loss[k].item(), expected, rtol=1e-10)


@pytest.mark.parametrize("label, expected", [(0, 2.0), (1, 2.0), (-1, 0.5)])
def test_norm_term_by_hand(label, expected):
    rows = torch.ones(1, 1, 3, dtype=torch.float64)
    code = torch.tensor([[[0.0, 2.0]]], dtype=torch.float64)
    loss = batch_loss((rows, rows, code, code), torch.tensor([[label]]), 1.0, 1.0, 0.0, [0])
    assert_allclose(loss.item(), expected, rtol=1e-6)


def test_collapsed_codes_have_finite_gradients():
    output, y = make_output()
    zero = torch.zeros_like(output[3], requires_grad=True)
    batch_loss((*output[:3], zero), y, 1.0, 1.0, 0.5, [0, 1, 2]).sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (*output[1:3], zero))


@pytest.mark.parametrize("share_encoder", [False, True])
def test_every_weight_moves(share_encoder):
    X, y = make_problem()
    first, last = (
        tiny(share_encoder=share_encoder, max_steps=n).fit(X, y).scoring_module_.network
        for n in (1, 8)
    )
    for name, weight in first.named_parameters():
        assert (weight - dict(last.named_parameters())[name]).abs().max() > 1e-4, name


def test_share_encoder_uses_one_encoder_twice():
    X, y = make_problem()
    own, shared = (
        tiny(share_encoder=share).fit(X, y).scoring_module_.network for share in (False, True)
    )

    def n_weights(network):
        return sum(p.numel() for p in network.parameters())

    assert n_weights(own) - n_weights(shared) == n_weights(own.second_encoder)
    rows = torch.randn(2, 7, 5)
    code, reconstruction, second_code = shared.reconstruct(rows)
    assert_array_equal(shared.encoder(rows), code)
    assert_array_equal(shared.encoder(reconstruction), second_code)


def test_score_is_error_plus_norm():
    X, y = make_problem()
    detector = in_float64(tiny(n_estimators=1).fit(X, y))
    module = detector.scoring_module_
    rows = module.scaler(torch.from_numpy(X))
    _, reconstruction, second_code = (t[0].numpy() for t in module.network.reconstruct(rows[None]))
    expected = [
        sum((reconstruction[i, j] - rows[i, j].item()) ** 2 for j in range(5)) / 5
        + math.sqrt(sum(second_code[i] ** 2) + 1e-6)
        for i in range(len(X))
    ]
    assert_allclose(detector._member_scores(X)[0], expected, rtol=1e-10)
    # One member's score is an affine map of it, downwards.
    assert_allclose(np.corrcoef(detector.score_samples(X), expected)[0, 1], -1, rtol=1e-10)
    assert_allclose(detector.transform(X), second_code, rtol=1e-12)


def test_standardized_parts_have_unit_spread_on_usual_rows():
    X, y = make_problem()
    detector = tiny(score_type="standardized").fit(X, y)
    parts = detector._apply(detector.scoring_module_.parts, X).numpy()
    scaled = parts / parts[:, y != -1].std(axis=1, keepdims=True)
    assert_allclose(detector._member_scores(X), scaled.sum(-1), rtol=1e-5)
    assert (
        np.abs(
            clone(detector).set_params(score_type="sum").fit(X, y).score_samples(X)
            - detector.score_samples(X)
        ).max()
        > 1e-3
    )


def test_noise_is_for_labeled_anomalies_only():
    X, y = make_problem()

    def scores(labels, noise):
        return tiny(noise=noise).fit(X, labels).score_samples(X)

    assert np.abs(scores(y, 0.0) - scores(y, 0.5)).max() > 1e-3
    for labels in (0 * y, 0 * y + 1):
        assert_array_equal(scores(labels, 0.0), scores(labels, 0.5))


def test_labels_lengthen_the_second_code():
    X, y = make_problem()
    X[:20] = 0.3 * (X[:20] - 3)  # nothing tells them from the rest ...
    X[:20, :2] += 2  # ... but a moderate shift; half of them are labelled

    def norm_auc(labels):
        detector = tiny(max_steps=100).fit(X, labels)
        norms = detector._apply(detector.scoring_module_.parts, X)[..., 1].mean(0)
        return roc_auc_score(np.arange(len(X)) < 20, norms)

    assert norm_auc(y) > norm_auc(None) + 0.1


def test_encoder_of_ones_own():
    class Encoder(nn.Module):
        def __init__(self, n_features):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(n_features, 8), nn.Tanh(), nn.Linear(8, 3))

        def forward(self, rows):
            return self.layers(rows)

    X, y = make_problem()
    detector = tiny(module=Encoder).fit(X, y)
    assert detector.transform(X).shape == (len(X), 2 * 3)
    assert roc_auc_score(np.arange(len(X)) < 20, -detector.score_samples(X)) > 0.9


def test_warns_when_all_second_codes_are_at_the_origin():
    X, y = make_problem()
    with pytest.warns(ConvergenceWarning, match="smaller lambda1"):
        tiny(lambda1=1000.0, max_steps=150, lr=3e-3).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny(max_steps=150, lr=3e-3).fit(X)
        tiny(lambda1=1000.0, max_steps=150, lr=3e-3).fit(X, y)


def test_images():
    rng = np.random.RandomState(0)
    X = np.zeros((60, 12, 10))
    X[:, 2:8, 4:6] = 200  # a bar
    X[:10] = np.roll(X[:10], 3, axis=2)
    X = (X + 20 * rng.rand(*X.shape)).reshape(60, -1)
    y = np.zeros(60, dtype=int)
    y[:5] = -1
    detector = ESAD(
        image_shape=(1, 12, 10), n_estimators=2, max_steps=40, lr=0.01, random_state=0
    ).fit(X, y)
    rows = detector.scoring_module_.scaler(torch.from_numpy(X)).float().expand(2, -1, -1)
    _, reconstruction, _ = detector.scoring_module_.network.reconstruct(rows)
    assert reconstruction.shape == rows.shape
    assert 0 <= reconstruction.min() < reconstruction.max() <= 1
    assert roc_auc_score(np.arange(60) < 10, -detector.score_samples(X)) > 0.95
    assert detector.transform(X).shape == (60, 2 * 32)
