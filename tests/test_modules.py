"""Networks: scaling, encoders and decoders, users' modules, and the member axis."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import nn

from skad import AMA, ESAD, SSDGM, Autoencoder, DeepSAD, DeepSVDD, GANomaly
from skad._members import VmappedMembers, stack_members
from skad._modules import (
    ScaleImage,
    Standardize,
    column_statistics,
    make_decoder,
    make_encoder,
)
from skad._scoring import BLOCK

from .checks import make_problem

X, Y, _ = make_problem()
FAST = {"max_steps": 10, "random_state": 0}


# --- scaling ------------------------------------------------------------------------------------


def test_standardize_is_zscores_near_the_center():
    z = Standardize(X)(torch.from_numpy(X)).numpy()
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    near = np.abs(expected) < 2
    assert_allclose(z[near], expected[near], rtol=1e-12)
    assert np.abs(z).max() < 3


def test_standardize_tail_is_bounded_and_still_ranks():
    layer = Standardize(X)
    ladder = torch.tensor(10.0 ** np.arange(1, 8))[:, None].expand(-1, X.shape[1])
    z = layer(ladder.double()).float()
    assert (z.diff(dim=0)[:5] > 0).all()
    assert (z <= 3).all()
    assert torch.isfinite(layer(torch.full((1, 5), 1e308, dtype=torch.float64))).all()


def test_statistics_withstand_huge_cells_and_sparse_columns():
    rng = np.random.RandomState(0)
    columns = rng.randn(200, 3)
    columns[:4, 0] = [1e30, -1e12, 1e300, 1e6]
    columns[:, 1] = rng.rand(200) < 0.03
    columns[:, 2] = 0.1 + 0.2  # constant, up to rounding of the mean
    center, scale = column_statistics(columns)
    assert center[0] == pytest.approx(0, abs=0.5)
    assert 1 < scale[0] < 4
    assert scale[1] == pytest.approx(columns[:, 1].std())
    assert scale[2] == 1


def test_unix_time_keeps_its_digits():
    seconds = 1.7e9 + np.arange(100.0)[:, None]
    z = Standardize(seconds)(torch.from_numpy(seconds)).float()
    assert len(torch.unique(z)) == 100


def test_images_are_scaled_by_channel():
    images = np.random.RandomState(0).rand(10, 2, 3, 3) * [[[[5]], [[0.1]]]] - 1
    flat = images.reshape(10, -1)
    scaled = ScaleImage(flat, (2, 3, 3))(torch.from_numpy(flat)).reshape(10, 2, 9)
    assert_allclose(scaled.amin(dim=(0, 2)), 0)
    assert_allclose(scaled.amax(dim=(0, 2)), 1)


# --- built-in networks --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape, channels", [((1, 28, 28), (8, 4)), ((3, 32, 32), (4, 6, 8)), ((2, 15, 11), (3,))]
)
def test_image_networks(shape, channels):
    n_features = int(np.prod(shape))
    rows = torch.rand(3, n_features)
    codes = make_encoder(n_features, channels, 7, shape)(rows)
    assert codes.shape == (3, 7)
    images = make_decoder(n_features, channels, 7, shape)(codes)
    assert images.shape == rows.shape


@pytest.mark.parametrize("method", [DeepSAD, DeepSVDD])
def test_image_shape(method):
    images = np.random.RandomState(0).rand(40, 784)
    det = method(image_shape=(1, 28, 28), n_estimators=2, pretrain_steps=3, **FAST).fit(images)
    assert det.transform(images).shape == (40, 2 * 32)
    encoder = det.scoring_module_.network.encoder  # a list of the members' own
    convolutions = [p.shape for p in encoder[1].parameters() if p.ndim == 4]
    assert len(encoder) == 2
    assert convolutions == [(8, 1, 5, 5), (4, 8, 5, 5)]  # the LeNet for MNIST


@pytest.mark.parametrize("method", [DeepSAD, ESAD, AMA, GANomaly, Autoencoder, SSDGM])
def test_image_scores_depend_on_the_row_alone(method):
    images = np.random.RandomState(0).rand(2 * BLOCK + 5, 12 * 10)
    det = method(image_shape=(1, 12, 10), hidden_layer_sizes=(3, 2), n_estimators=2, **FAST)
    scores = det.fit(images[:30]).score_samples(images)
    for rows in ([0], [BLOCK], [3, 68, 33], slice(None, None, -1)):
        assert_array_equal(det.score_samples(images[rows]), scores[rows])
    loaded = pickle.loads(pickle.dumps(det))
    assert_array_equal(loaded.score_samples(images), scores)


@pytest.mark.parametrize("shape", [(1, 28, 27), (784,), (28, 28)])
def test_image_shape_that_does_not_fit(shape):
    with pytest.raises(ValueError, match=r"image_shape=.* does not fit the 784 features"):
        DeepSAD(image_shape=shape).fit(np.zeros((10, 784)))


@pytest.mark.parametrize("sizes", [(8, 0), (8, 2.5), (-3,)])
def test_bad_hidden_layer_sizes(sizes):
    with pytest.raises(ValueError, match=r"hidden_layer_sizes must be .* positive"):
        DeepSAD(hidden_layer_sizes=sizes).fit(X)


# --- users' modules -----------------------------------------------------------------------------


class Residual(nn.Module):
    def __init__(self, n_features, width=8):
        super().__init__()
        self.lift = nn.Linear(n_features, width, bias=False)
        self.block = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU())

    def forward(self, rows):
        h = self.lift(rows)
        return h + self.block(h)


@pytest.mark.parametrize("n_estimators", [1, 4])
@pytest.mark.parametrize(
    "module", [Residual, lambda n: Residual(n), Residual(5)], ids=["class", "function", "instance"]
)
def test_module(module, n_estimators):
    det = DeepSAD(module=module, n_estimators=n_estimators, **FAST)
    before = copy.deepcopy(module.state_dict()) if isinstance(module, nn.Module) else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        det.fit(X, Y)
    assert det.transform(X).shape == (len(X), 8 * n_estimators)
    reference = DeepSAD(module=Residual, n_estimators=n_estimators, **FAST).fit(X, Y)
    assert_array_equal(det.score_samples(X), reference.score_samples(X))
    if before is not None:
        for name, tensor in module.state_dict().items():
            assert torch.equal(tensor, before[name])


def test_members_of_a_module_equal_nets_trained_alone():
    together = DeepSAD(module=Residual, n_estimators=3, **FAST).fit(X, Y)
    for k, seed in enumerate(together.member_seeds_):
        alone = DeepSAD(module=Residual, n_estimators=1, max_steps=10, random_state=seed).fit(X, Y)
        assert_allclose(
            alone._member_scores(X)[0], together._member_scores(X)[k], rtol=1e-5, atol=1e-6
        )


class Stubborn(nn.Module):
    """Asks a tensor for its value, which vmap refuses."""

    def __init__(self, n_features):
        super().__init__()
        self.linear = nn.Linear(n_features, 4, bias=False)

    def forward(self, rows):
        return self.linear(rows) if float(rows.abs().max()) >= 0 else rows


def test_module_that_vmap_refuses_is_trained_in_a_loop():
    with pytest.warns(UserWarning, match="one after the other"):
        looped = DeepSAD(module=Stubborn, n_estimators=2, **FAST).fit(X, Y)
    plain = DeepSAD(
        module=lambda n: nn.Sequential(nn.Linear(n, 4, bias=False)), n_estimators=2, **FAST
    ).fit(X, Y)
    assert_allclose(looped.score_samples(X), plain.score_samples(X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "module, error, match",
    [
        (lambda n: "network", TypeError, "must return an nn.Module"),
        (
            lambda n: nn.Sequential(nn.Linear(n, 3), nn.Flatten(0)),
            ValueError,
            r"to codes of shape \(2, latent_dim\)",
        ),
        (nn.PReLU(), TypeError, None),
    ],
)
def test_bad_modules(module, error, match):
    class NoReset(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(5, 3))

        def forward(self, rows):
            return rows @ self.weight

    if match is None:
        module, match = NoReset(), "has no reset_parameters"
    with pytest.raises(error, match=match):
        DeepSAD(module=module, **FAST).fit(X)


# --- the member axis ----------------------------------------------------------------------------


def members(make, n=3):
    torch.manual_seed(0)
    return [make() for _ in range(n)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: make_encoder(6, (8,), 4, bias=False),
        lambda: make_encoder(6, (8, 5), 4, bias=True, batch_norm=True),
        lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8, affine=False), nn.Tanh()),
    ],
)
def test_stacked_members_equal_a_loop(make):
    nets = members(make)
    stacked, mapped = stack_members(copy.deepcopy(nets)), VmappedMembers(copy.deepcopy(nets))
    assert not [m for m in stacked.modules() if isinstance(m, VmappedMembers)]
    rows = torch.randn(3, 10, 6)
    for _ in range(2):  # twice, so that running statistics count
        expected = torch.stack([net(r) for net, r in zip(nets, rows, strict=True)])
        assert_allclose(stacked(rows).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
        assert_allclose(mapped(rows).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    for net in (*nets, stacked, mapped):
        net.eval()
    expected = torch.stack([net(r) for net, r in zip(nets, rows, strict=True)])
    assert_allclose(stacked(rows).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert_allclose(mapped(rows).detach(), expected.detach(), rtol=1e-5, atol=1e-6)


def test_layers_used_twice_keep_one_weight():
    def make():
        layer = nn.Linear(4, 4)
        return nn.Sequential(layer, nn.ReLU(), layer)

    nets = members(make)
    stacked = stack_members(copy.deepcopy(nets))
    rows = torch.randn(3, 5, 4)
    expected = torch.stack([net(r) for net, r in zip(nets, rows, strict=True)])
    assert_allclose(stacked(rows).detach(), expected.detach(), rtol=1e-5, atol=1e-6)
    assert len(list(stacked.parameters())) == 2
