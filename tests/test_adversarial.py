"""The net with two optimizers, spectral norm, and the networks of the adversarial detectors."""

import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, LRScheduler
from skorch.utils import noop

from skad._members import stack_members
from skad._modules import make_decoder, make_encoder
from skad.detectors._adversarial import AdversarialNet
from skad.detectors._gan_networks import (
    SpectralConv2d,
    SpectralLinear,
    make_critic,
    make_dcgan_decoder,
    make_dcgan_encoder,
)
from skad.detectors.ama import AMA
from skad.detectors.ganomaly import GANomaly, GANomalyNetwork

from .checks import make_problem

X, Y, _ = make_problem()
FAST = {
    "max_steps": 20,
    "n_estimators": 2,
    "random_state": 0,
    "batch_size": 16,
    "hidden_layer_sizes": (8,),
}
DETECTORS = pytest.mark.parametrize("detector", [AMA, GANomaly])


DETECTOR = GANomaly(w_con=1.0, anomaly_weight=0.0)


def make_network(seed=0):
    torch.manual_seed(seed)
    return GANomalyNetwork(
        make_encoder(5, (6,), 3, batch_norm=True),
        make_decoder(5, (6,), 3, batch_norm=True),
        make_encoder(5, (6,), 3, batch_norm=True),
        make_critic(5, (7, 4)),
        "latent",
    )


def make_net(*, lr=0.1, critic_lr=0.1, critic_optimizer=torch.optim.SGD, **options):
    options = {"critic_steps": 1, "restarts": False, **options}
    net = AdversarialNet(
        stack_members([make_network(seed) for seed in range(2)]),
        DETECTOR._loss,
        losses=DETECTOR._net_options()["losses"],
        optimizer=torch.optim.SGD,
        critic_optimizer=critic_optimizer,
        lr=lr,
        critic_optimizer__lr=critic_lr,
        verbose=0,
        **options,
    )
    return net.initialize()


BATCH = torch.randn(2, 16, 5, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 16)


def weights(module):
    return {name: p.detach().clone() for name, p in module.named_parameters()}


@pytest.mark.parametrize("lr, critic_lr", [(0.1, 0.0), (0.0, 0.1)])
def test_each_optimizer_moves_its_own_part_only(lr, critic_lr):
    net = make_net(lr=lr, critic_lr=critic_lr)
    before = weights(net.module_)
    net.train_step(BATCH)
    for name, after in weights(net.module_).items():
        rate = critic_lr if name.startswith("critic.") else lr
        if rate == 0:
            assert_array_equal(after, before[name], err_msg=name)
        elif name.endswith("weight"):
            assert not torch.equal(after, before[name]), name


def test_losses_have_no_gradient_in_the_other_part():
    network = make_network()
    fakes = DETECTOR._reconstruct(network, BATCH[0][0], BATCH[1][0])
    rest = [p for name, p in network.named_parameters() if not name.startswith("critic.")]
    loss = DETECTOR._critic_loss(network, fakes)
    assert set(torch.autograd.grad(loss, rest, allow_unused=True)) == {None}


def test_every_weight_gets_a_finite_gradient():
    net = make_net()
    gradients = {}

    class Watch(Callback):
        def on_grad_computed(self, net, named_parameters=None, **kwargs):
            for name, parameter in named_parameters:
                if parameter.grad is not None and parameter.grad.abs().sum() > 0:
                    gradients[name] = bool(torch.isfinite(parameter.grad).all())

    net.callbacks_.append(("watch", Watch()))
    net.train_step(BATCH)
    assert set(weights(net.module_)) == set(gradients)
    assert all(gradients.values())


def test_restart_gives_one_member_its_first_critic_and_no_moments():
    net = make_net(critic_optimizer=torch.optim.Adam)
    first = weights(net.module_.critic)
    for _ in range(3):
        net.train_step(BATCH)
    trained, rest = weights(net.module_.critic), weights(net.module_.encoder)
    critic_parameters = list(net.module_.critic.parameters())
    moments = [copy.deepcopy(net.critic_optimizer_.state[p]) for p in critic_parameters]
    net.restart_critics([1])
    for name, parameter in net.module_.critic.named_parameters():
        assert_array_equal(parameter[1].detach(), first[name][1])
        assert_array_equal(parameter[0].detach(), trained[name][0])
    for parameter, before in zip(critic_parameters, moments, strict=True):
        state = net.critic_optimizer_.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq"):
            assert before[moment][1].abs().sum() > 0
            assert state[moment][1].abs().sum() == 0
            assert_array_equal(state[moment][0], before[moment][0])
    for name, parameter in net.module_.encoder.named_parameters():
        assert_array_equal(parameter.detach(), rest[name])


def test_critic_that_has_won_restarts(monkeypatch):
    monkeypatch.setattr("skad.detectors._adversarial.COLLAPSED_LOSS", 10.0)  # any loss is below it
    with pytest.warns(ConvergenceWarning, match="tells real from generated rows without error"):
        det = GANomaly(**FAST).fit(X, Y)
    assert all(row["restarts"] == [0, 1] for row in det.history_)
    assert [row["train_critic_loss"] for row in det.history_] == pytest.approx(
        [det.history_[0]["train_critic_loss"]] * 20, rel=0.05
    )


def test_critic_that_does_not_win_is_left_alone():
    assert all(row["restarts"] == [] for row in GANomaly(**FAST).fit(X, Y).history_)


@DETECTORS
def test_codes_that_shrink_to_a_point_are_reported(detector):
    options = {**FAST, "optimizer": torch.optim.SGD, "weight_decay": 50.0, "lr": 0.01}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        detector(**options).fit(X, Y)
    assert any("codes of all rows have become the same" in str(w.message) for w in caught)


# --- settings, history, callbacks ---------------------------------------------------------------


@DETECTORS
def test_history_holds_both_losses(detector):
    history = detector(**FAST).fit(X, Y).history_
    assert len(history) == 20
    for name in ("train_loss", "train_critic_loss"):
        for row in history:
            assert row[name] == pytest.approx(np.mean(row[f"{name}_members"]))
    assert history[-1, "train_loss"] < history[0, "train_loss"]


@DETECTORS
@pytest.mark.parametrize(
    "setting",
    [
        {"lr": 1e-4},
        {"critic_lr": 1e-2},
        {"optimizer": torch.optim.RMSprop},
        {"critic_optimizer": partial(torch.optim.Adam, betas=(0.0, 0.9))},
    ],
)
def test_settings_of_both_optimizers(detector, setting):
    seen = {}

    class Look(Callback):
        def on_train_end(self, net, **kwargs):
            seen["rest"], seen["critic"] = net.optimizer_, net.critic_optimizer_

    def fit(**options):
        return detector(callbacks=[Look()], **{**FAST, **options}).fit(X, Y).score_samples(X)

    assert np.abs(fit(**setting) - fit()).max() > 1e-6
    fit(**setting)
    lr = setting.get("lr", detector().lr)
    assert seen["rest"].param_groups[0]["lr"] == lr
    assert seen["critic"].param_groups[0]["lr"] == setting.get("critic_lr", lr)
    if "optimizer" in setting:
        assert type(seen["critic"]) is type(seen["rest"]) is torch.optim.RMSprop
    if "critic_optimizer" in setting:
        assert seen["critic"].param_groups[0]["betas"] == (0.0, 0.9)
        assert seen["rest"].param_groups[0]["betas"] == (0.9, 0.999)


@DETECTORS
def test_callbacks_work(detector, tmp_path):
    callbacks = [
        LRScheduler("StepLR", step_size=10),
        Checkpoint(monitor="train_loss_best", dirname=str(tmp_path), sink=noop),
        EarlyStopping(monitor="train_loss", patience=2, threshold=0.9, sink=noop),
    ]
    det = detector(callbacks=callbacks, validation_fraction=0.2, **FAST).fit(X, Y)
    assert 0 < det.n_iter_ < 20
    assert (tmp_path / "params.pt").exists()
    assert np.isfinite(det.history_[:, "valid_loss"]).all()


@DETECTORS
def test_member_equals_the_net_trained_alone(detector):
    options = {**FAST, "max_steps": 20}
    if detector is AMA:
        options |= {"simplex_weight": 0.2, "synthetic_share": 0.2, "spectral_norm": True}
    together = detector(**options).fit(X, Y)
    alone = detector(**{**options, "random_state": together.member_seeds_[1], "n_estimators": 1})
    expected = alone.fit(X, Y).transform(X)
    codes = together.transform(X)[:, expected.shape[1] :]
    assert_allclose(codes, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    losses = [row["train_critic_loss_members"][1] for row in together.history_]
    assert_allclose(losses, alone.history_[:, "train_critic_loss"], rtol=1e-5)


@DETECTORS
def test_own_encoder_gets_a_decoder(detector):
    det = detector(module=lambda n: torch.nn.Linear(n, 3), **FAST).fit(X, Y)
    assert det.transform(X).shape == (len(X), 6)


# --- images -------------------------------------------------------------------------------------


@DETECTORS
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("n_estimators", [1, 2])
def test_images(detector, shape, n_estimators):
    rng = np.random.RandomState(0)
    rows = rng.randint(0, 256, size=(20, np.prod(shape))).astype(float)
    y = np.r_[-1, -1, np.zeros(18, dtype=int)]
    options = {**FAST, "max_steps": 2, "hidden_layer_sizes": (3, 4), "n_estimators": n_estimators}
    det = detector(image_shape=shape, **options).fit(rows, y)
    scores = det.score_samples(rows)
    assert len(np.unique(scores)) == 20
    assert_allclose(det.score_samples(rows[3:4]), scores[3:4], rtol=1e-12, atol=1e-12)
    scaled = det.scoring_module_.scaler(torch.from_numpy(rows))
    assert scaled.min() == -1
    assert scaled.max() == 1
    assert_allclose(pickle.loads(pickle.dumps(det)).score_samples(rows), scores)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (2, 9, 13)])
def test_image_networks_fit_together(shape):
    rows = torch.randn(4, int(np.prod(shape)))
    codes = make_dcgan_encoder(shape, (4, 6), 5)(rows)
    assert codes.shape == (4, 5)
    images = make_dcgan_decoder(shape, (4, 6), 5)(codes)
    assert images.shape == rows.shape
    assert images.abs().max() <= 1
    features, values = make_critic(rows.shape[1], (4, 6), shape)(rows)
    assert features.shape == (4, 6 * (shape[1] // 4) * (shape[2] // 4))
    assert values.shape == (4,)


def test_image_that_is_too_small():
    with pytest.raises(ValueError, match=r"\(1, 3, 3\) cannot be halved 2 times"):
        GANomaly(image_shape=(1, 3, 3), hidden_layer_sizes=(4, 4)).fit(X[:, [0] * 9])


# --- spectral norm ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [SpectralLinear, partial(SpectralConv2d, kernel_size=1)])
def test_spectral_norm_is_1_after_training(make):
    layers = [make(4, 3) for _ in range(2)]
    shape = (2, 10, 4, 1, 1) if isinstance(layers[0], SpectralConv2d) else (2, 10, 4)
    stacked, rows = stack_members(layers), torch.randn(shape)
    for _ in range(100):
        stacked(rows)
    stacked.eval()
    outputs = [stacked(value * torch.ones_like(rows)) for value in (0.0, 1.0)]
    assert torch.isfinite(torch.stack(outputs)).all()
    for k in range(2):
        unit = torch.eye(4).expand(2, 4, 4)
        if len(shape) == 5:
            unit = unit[..., None, None]
        matrix = (stacked(unit) - stacked(0 * unit))[k].detach().flatten(1)
        assert torch.linalg.matrix_norm(matrix, ord=2) == pytest.approx(1, abs=1e-4)


def test_spectral_norm_lets_the_gradient_through():
    layer = SpectralLinear(4, 3).double()
    for _ in range(200):
        layer(torch.randn(2, 4, dtype=torch.float64))
    layer.eval()  # vectors fixed, at their limit
    rows = torch.randn(6, 4, dtype=torch.float64)
    layer(rows).square().sum().backward()
    weight = layer.weight.detach().clone()

    def loss(w):
        sigma = torch.linalg.matrix_norm(w, ord=2)
        return (rows @ (w / sigma).T + layer.bias).square().sum()

    (expected,) = torch.autograd.grad(loss(weight.requires_grad_()), weight)
    assert_allclose(layer.weight.grad, expected, rtol=1e-6, atol=1e-8)


def test_scoring_does_not_move_spectral_norm():
    det = AMA(spectral_norm=True, score_type="distance", **FAST).fit(X, Y)
    before = det.score_samples(X)
    det.score_samples(X * 3)
    assert_array_equal(det.score_samples(X), before)
