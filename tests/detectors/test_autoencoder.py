import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn

from skad import Autoencoder

from ..checks import in_float64

TINY = {"hidden_layer_sizes": (8,), "latent_dim": 2, "n_estimators": 2, "batch_size": 16}
TINY |= {"max_steps": 10, "random_state": 0}
IMAGES = {"image_shape": (1, 8, 8), "hidden_layer_sizes": (3,)}


@pytest.fixture(scope="module")
def plane():
    """Rows near a plane in five dimensions, and as many off it."""
    rng = np.random.RandomState(0)
    X = rng.randn(400, 2) @ rng.randn(2, 5) + 0.05 * rng.randn(400, 5)
    return X, np.column_stack([rng.permutation(column) for column in X.T])


def test_score_is_mean_squared_reconstruction_error(plane):
    X = plane[0][:30]
    det = in_float64(Autoencoder(**TINY).fit(X))
    expected = np.zeros((2, len(X)))
    for k in range(2):
        network = det.scoring_module_.network
        encoder, decoder = network.encoder, network.decoder
        weights = [
            (layer.weight[k, :, : layer.n_out].T.numpy(), layer.bias[k, 0, : layer.n_out].numpy())
            for layer in [*encoder, *decoder]
            if hasattr(layer, "weight")
        ]
        (W1, b1), (W2, b2), (W3, b3), (W4, b4) = weights
        for i, x in enumerate(det.scoring_module_.scaler(torch.tensor(X)).numpy()):
            h = W1 @ x + b1
            z = W2 @ np.where(h > 0, h, 0.01 * h) + b2
            h = W3 @ z + b3
            rebuilt = W4 @ np.where(h > 0, h, 0.01 * h) + b4
            assert_allclose(det.transform(X)[i, 2 * k : 2 * k + 2], z, rtol=1e-10, atol=1e-10)
            expected[k, i] = sum((rebuilt[j] - x[j]) ** 2 for j in range(5)) / 5
    assert_allclose(det._member_scores(X), expected, rtol=1e-10, atol=1e-10)


def test_rows_off_the_plane_are_anomalous(plane):
    X, off = plane
    det = Autoencoder(max_steps=300, random_state=0, n_estimators=2, latent_dim=2, lr=3e-3)
    det.fit(X[:300])
    truth = np.r_[np.ones(100), np.zeros(400)]
    assert roc_auc_score(truth, det.decision_function(np.r_[X[300:], off])) > 0.95
    losses = det.history_[:, "train_loss"]
    assert losses[-1] < 0.2 * losses[0]


def test_labelled_anomalies_are_left_out_unless_wanted(plane):
    X = plane[0][:60]
    y = np.zeros(60, dtype=int)
    y[:20] = -1
    scores = Autoencoder(**TINY).fit(X, y).score_samples(X)
    assert_array_equal(scores, Autoencoder(**TINY).fit(X[20:]).score_samples(X))
    with_all = Autoencoder(use_anomalies=True, **TINY).fit(X, y)
    everything = Autoencoder(**TINY).fit(X)
    assert_array_equal(with_all.transform(X), everything.transform(X))
    assert not np.allclose(scores, with_all.score_samples(X))


def test_a_member_is_the_network_trained_alone(plane):
    X = plane[0][:60]
    both = Autoencoder(**TINY).fit(X)
    for k, seed in enumerate(both.member_seeds_):
        alone = Autoencoder(**TINY | {"n_estimators": 1, "random_state": seed}).fit(X)
        assert_array_equal(both.transform(X)[:, 2 * k : 2 * k + 2], alone.transform(X))


def test_images():
    X, digit = load_digits(return_X_y=True)
    ones, others = X[digit == 1], X[digit != 1][:200]
    det = Autoencoder(**TINY | IMAGES | {"max_steps": 60, "latent_dim": 4, "lr": 1e-2})
    det.fit(ones[:120])
    scores = det.decision_function(np.r_[ones[120:], others])
    assert roc_auc_score(np.r_[np.ones(62), np.zeros(200)], scores) > 0.85
    codes = det.transform(ones)
    assert codes.shape == (182, 8)
    assert (codes.std(axis=0) > 0).all()


def test_own_encoder_gets_a_decoder_of_its_code_width(plane):
    X = plane[0][:60]

    def encoder(n_features):
        return nn.Sequential(nn.Linear(n_features, 6), nn.Tanh(), nn.Linear(6, 3))

    det = Autoencoder(module=encoder, **TINY).fit(X)
    assert det.transform(X).shape == (60, 6)
    assert det.scoring_module_.network.decoder[0].weight.shape == (2, 3, 16)  # 8 and 8 of 0
    assert np.ptp(det.score_samples(X)) > 0
