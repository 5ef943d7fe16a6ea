import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

from skad import SSDGM
from skad._random import MemberNoise

from ..checks import in_float64

TINY = {"hidden_layer_sizes": (8,), "latent_dim": 2, "n_estimators": 2, "batch_size": 16}
TINY |= {"max_steps": 10, "random_state": 0}
IMAGES = {"image_shape": (1, 8, 8), "hidden_layer_sizes": (3,)}
MODELS = [{}, {"pretrain_steps": 5}]


@pytest.fixture(scope="module")
def blobs():
    """Normal rows, anomalies at a place of their own, and few labels."""
    rng = np.random.RandomState(0)
    X = np.r_[rng.randn(300, 4), rng.randn(40, 4) + [3, -3, 0, 0]]
    anomaly = np.arange(340) >= 300
    y = np.where(np.arange(340) >= 335, -1, 0)
    return X, y, anomaly


class Fixed(nn.Module):
    """Network whose log odds and bounds are given."""

    knows_anomalies = True
    noise = None

    def __init__(self, log_odds, bounds):
        super().__init__()
        self.classifier = lambda rows: log_odds
        self.vae = type("VAE", (), {"bounds": lambda self, rows, labels, noise: bounds})()

    def embed(self, rows, noise=None):
        return rows


def batch_loss(output, y, prior, eta, alpha):
    return SSDGM(prior=prior, eta=eta, alpha=alpha)._loss(Fixed(*output), output[0], y)


def test_loss_equals_a_loop():
    rng = np.random.RandomState(0)
    log_odds, bounds = rng.randn(2, 7), 5 * rng.rand(2, 7, 2)
    y = np.array([[-1, 0, 1, 0, 0, -1, 0], [0, 0, 0, 0, 0, 0, -1]])
    prior, eta, alpha = 0.2, 0.5, 3.0
    expected = []
    for k in range(2):
        labeled, unlabeled = [], []
        for i in range(7):
            q = 1 / (1 + math.exp(-log_odds[k, i]))
            q = {0: 1 - q, 1: q}
            cost = {0: bounds[k, i, 0] - math.log(0.8), 1: bounds[k, i, 1] - math.log(0.2)}
            if y[k, i] == 0:
                unlabeled.append(sum(q[c] * cost[c] + q[c] * math.log(q[c]) for c in (0, 1)))
            else:
                c = int(y[k, i] == -1)
                labeled.append(eta * cost[c] - alpha * math.log(q[c]))
        expected.append(np.mean(unlabeled) + np.mean(labeled))
    output = torch.tensor(log_odds), torch.tensor(bounds)
    loss = batch_loss(output, torch.tensor(y), prior, eta, alpha)
    assert_allclose(loss, expected, rtol=1e-10)
    moved = batch_loss(output, torch.tensor(y[:, ::-1].copy()), prior, eta, alpha)
    assert not np.allclose(loss, moved)


@pytest.mark.parametrize("label", [-1, 0, 1])
def test_loss_of_a_batch_with_one_kind_of_label(label):
    output = torch.zeros(1, 3, requires_grad=True), torch.ones(1, 3, 2)
    loss = batch_loss(output, torch.full((1, 3), label), 0.5, 1.0, 1.0)
    loss.sum().backward()
    # Bound 1 and log 2 for the prior; then minus the entropy, or plus the cross-entropy.
    assert loss.item() == pytest.approx(1.0 if label == 0 else 1 + 2 * math.log(2), rel=1e-6)
    assert torch.isfinite(output[0].grad).all()


def gaussian_kl(mean, log_var):
    code = torch.distributions.Normal(mean, torch.exp(log_var / 2))
    return torch.distributions.kl_divergence(code, torch.distributions.Normal(0.0, 1.0)).sum()


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
def test_bounds_equal_a_loop(image, noisy):
    X = np.random.RandomState(0).rand(8, 64)
    det = in_float64(SSDGM(**TINY | (IMAGES if image else {})).fit(X))
    vae, rows = (
        det.scoring_module_.network.vae,
        det.scoring_module_.scaler(torch.tensor(X)).expand(2, -1, -1),
    )
    noise = MemberNoise([1, 2]).normal(8, 2)
    got = vae.bounds(rows, [0.0, 1.0], MemberNoise([1, 2]) if noisy else None)
    for k in range(2):
        for i in range(8):
            row = rows[:, i : i + 1]
            hidden = vae.trunk(row)
            for label in (0, 1):
                y = torch.full((2, 1, 1), label, dtype=torch.float64)
                mean, log_var = vae.head(torch.cat([hidden, y], -1))[k, 0].split(2)
                z = mean + torch.exp(log_var / 2) * noise[k, i] if noisy else mean
                z = torch.cat([z, y[0, 0]]).expand(2, 1, 3)
                rebuilt, x = vae.decoder(z)[k, 0], row[k, 0]
                if image:
                    log_p = sum(x * rebuilt.log() + (1 - x) * (1 - rebuilt).log())
                else:
                    log_p = -((x - rebuilt) ** 2).sum() / 2
                expected = gaussian_kl(mean, log_var) - log_p
                assert_allclose(got[k, i, label], expected, rtol=1e-10)


@pytest.mark.parametrize("options", MODELS)
def test_finds_the_anomalies_it_was_shown(blobs, options):
    X, y, anomaly = blobs
    det = SSDGM(n_estimators=2, random_state=0, max_steps=60, **options).fit(X, y)
    scores = -det.score_samples(X)
    assert roc_auc_score(anomaly, scores) > 0.95
    assert len(np.unique(scores.astype(np.float32))) > 0.9 * len(X)
    other = SSDGM(n_estimators=2, random_state=0, max_steps=60, **options).fit(X, y[::-1])
    assert not np.allclose(scores, -other.score_samples(X))


def test_a_lone_label_counts_in_every_batch():
    rng = np.random.RandomState(0)
    X = rng.randn(1000, 4)
    X[7, 0] = 3.0  # an outlier, but not the only one
    y = np.zeros(1000, dtype=int)
    y[7] = -1
    det = SSDGM(**TINY | {"max_steps": 100, "lr": 1e-2}).fit(X, y)
    assert (det.score_samples(X) < det.score_samples(X[7:8])).mean() < 0.02


def test_score_ranks_where_the_probability_is_one(blobs):
    X, y, _ = blobs
    det = in_float64(SSDGM(**TINY).fit(X, y))
    with torch.no_grad():
        det.scoring_module_.network.classifier[-1].bias += 60.0
        rows = det.scoring_module_.scaler(torch.tensor(X)).expand(2, -1, -1)
        log_odds = det.scoring_module_.network.classifier(rows)
    assert (torch.sigmoid(log_odds) == 1).all()
    assert_allclose(det._member_scores(X), log_odds, rtol=1e-12)
    assert len(np.unique(det.score_samples(X))) == len(X)


def test_without_an_anomaly_it_is_a_vae_of_normal_rows(blobs):
    X, _, anomaly = blobs
    det = in_float64(SSDGM(**TINY | {"max_steps": 100}).fit(X))
    rows = det.scoring_module_.scaler(torch.tensor(X)).expand(2, -1, -1)
    bounds = det.scoring_module_.network.vae.bounds(rows, [0.0])[..., 0]
    assert_allclose(det._member_scores(X), bounds, rtol=1e-12)
    det, normal = (SSDGM(**TINY | {"max_steps": 100}).fit(X, y) for y in (None, [1] * len(X)))
    assert_array_equal(det.score_samples(X), normal.score_samples(X))
    assert roc_auc_score(anomaly, -det.score_samples(X)) > 0.8
    losses = det.history_[:, "train_loss"]
    assert losses[-1] < losses[0]


def test_training_moves_every_weight(blobs):
    X, y, _ = blobs
    before = (
        SSDGM(**TINY | {"max_steps": 1, "lr": 1e-12}).fit(X, y).scoring_module_.network.state_dict()
    )
    after = SSDGM(**TINY).fit(X, y).scoring_module_.network.state_dict()
    for name in before:
        assert (before[name] - after[name]).abs().amax() > 1e-6, name


@pytest.mark.parametrize("options", [{}, IMAGES])
def test_m1_stays_as_pretrained(options):
    X = np.random.RandomState(0).rand(40, 64)
    y = np.where(np.arange(40) < 3, -1, 0)
    first, second = (
        SSDGM(**TINY | options | {"pretrain_steps": 5, "max_steps": n})
        .fit(X, y)
        .scoring_module_.network
        for n in (1, 8)
    )
    m1, m2 = first.m1.state_dict(), first.vae.state_dict()
    for name, tensor in second.m1.state_dict().items():
        assert_array_equal(tensor, m1[name], err_msg=name)
    assert any((tensor != m2[name]).any() for name, tensor in second.vae.state_dict().items())


@pytest.mark.parametrize("options", MODELS)
def test_a_member_is_the_network_trained_alone(blobs, options):
    X, y, _ = blobs
    both = SSDGM(**TINY, **options).fit(X, y)
    for k, seed in enumerate(both.member_seeds_):
        tiny = TINY | options | {"n_estimators": 1, "random_state": seed}
        alone = SSDGM(**tiny).fit(X, y)
        assert_allclose(both._member_scores(X)[k], alone._member_scores(X)[0], rtol=1e-4)
        codes = both.transform(X)[:, 2 * k : 2 * k + 2]
        assert_allclose(codes, alone.transform(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", MODELS)
@pytest.mark.parametrize("labeled", [False, True])
def test_images(options, labeled):
    X, digit = load_digits(return_X_y=True)
    ones, zeros = X[digit == 1], X[digit == 0]
    train = np.r_[ones[:120], zeros[:20]] if labeled else ones[:120]
    y = np.where(np.arange(len(train)) < 120, 0, -1)
    options = {"pretrain_steps": 150} if options else {}
    options |= {"n_estimators": 1, "latent_dim": 8, "max_steps": 200, "lr": 1e-2}
    det = SSDGM(**TINY | IMAGES | options).fit(train, y)
    scores = det.score_samples(np.r_[ones[120:], zeros[20:]])
    assert roc_auc_score(np.r_[np.ones(62), np.zeros(158)], scores) > 0.9
    assert len(np.unique(scores)) == 220


def test_an_image_brighter_than_any_before_is_no_more_normal():
    X = np.random.RandomState(0).rand(40, 64)
    det = SSDGM(**TINY | IMAGES).fit(X)
    X_bright = X.copy()
    X_bright[:, 5] = 50.0
    assert (det.score_samples(X_bright) < det.score_samples(X)).all()


def test_own_encoder(blobs):
    X, y, _ = blobs
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    det = SSDGM(module=module, **TINY).fit(X, y)
    assert det.transform(X).shape == (340, 4)
    assert det.scoring_module_.network.vae.head[1].weight.shape[:2] == (2, 4)


def test_code_is_the_mean_over_labels(blobs):
    X, y, _ = blobs
    det = in_float64(SSDGM(**TINY).fit(X, y))
    rows = det.scoring_module_.scaler(torch.tensor(X)).expand(2, -1, -1)
    vae = det.scoring_module_.network.vae
    q = 1 / (1 + np.exp(-det._member_scores(X)[1, :, None].numpy()))
    normal, anomaly = (vae.posterior(vae.trunk(rows), c)[0][1].numpy() for c in (0.0, 1.0))
    assert_allclose(det.transform(X)[:, 2:], (1 - q) * normal + q * anomaly, rtol=1e-10)


def test_validation_loss_takes_means_and_repeats(blobs):
    X, y, _ = blobs
    first, second = (
        SSDGM(validation_fraction=0.2, **TINY).fit(X, y).history_[:, "valid_loss"] for _ in range(2)
    )
    assert first == second
    assert first[-1] < first[0]
