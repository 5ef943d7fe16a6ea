import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, roc_auc_score

from skad._members import stack_members
from skad._modules import make_decoder, make_encoder
from skad._random import MemberNoise
from skad.detectors._gan_networks import make_critic
from skad.detectors._mirrored_game import SCORE_PARTS, AMANetwork, gradient_penalty
from skad.detectors.ama import AMA

from ..checks import in_float64, make_problem

FAST = {"max_steps": 20, "n_estimators": 2, "random_state": 0, "batch_size": 32}
X, Y, TRUTH = make_problem()
WEIGHTS = {
    "anomaly_weight": 2.0,
    "margin": 1.5,
    "repel": True,
    "latent_weight": 0.7,
    "reconstruction_weight": 3.0,
    "simplex_weight": 0.4,
    "penalty_weight": 10.0,
    "synthetic_share": 0.0,
}


def make_member(seed, score_type="combined"):
    torch.manual_seed(seed)
    networks = make_encoder(4, (5,), 3), make_decoder(4, (5,), 3), make_critic(8, (6, 2))
    return AMANetwork(*networks, score_type).double()


def make_batch(n=10):
    rng = np.random.RandomState(0)
    y = rng.choice([-1, 0, 1], (2, n))
    y[1] = np.abs(y[1])  # a member whose batch holds no anomaly
    return torch.from_numpy(3 * rng.randn(2, n, 4)), torch.from_numpy(y)


def game_with(**changes):
    return AMA(**{**WEIGHTS, **changes})


def make_network(members=None, noise=None):
    network = stack_members(members or [make_member(0), make_member(1)])
    network.noise = noise or MemberNoise([5, 6])
    return network


class Recorded(MemberNoise):
    """Keeps what was drawn, so that naive loops can use the same numbers."""

    def __init__(self, seeds):
        super().__init__(seeds)
        self.drawn = []

    def _stack(self, draw, shape, **options):
        values = super()._stack(draw, shape, **options)
        self.drawn.append(values.double() if draw is torch.rand else values)
        return self.drawn[-1]


def value(network, row, other):
    return float(network.critic(torch.cat([row, other])[None])[1][0])


def naive_game(network, rows, y, weights, sign, draws):
    """The mirrored game of one member, pair by pair."""
    codes = network.encoder(rows)
    fakes = network.decoder(codes)
    total = 0.0
    for row, fake, label in zip(rows, fakes, y, strict=True):
        gap = value(network, row, row) - value(network, row, fake)
        if label >= 0:
            total += sign * gap
        elif weights["margin"] is None:
            total -= weights["anomaly_weight"] * sign * gap
        else:
            total += weights["anomaly_weight"] * max(0.0, weights["margin"] - sign * gap)
    result = total / len(rows)
    if weights["simplex_weight"]:
        second, third, shares = draws
        mixtures = []
        for b in range(len(rows)):
            trio = [b, int(second[b]), int(third[b])]
            if any(y[i] < 0 for i in trio):
                continue
            a1, a2 = (0.5 * float(s) for s in shares[b])
            code = a1 * codes[trio[0]] + a2 * codes[trio[1]] + (1 - a1 - a2) * codes[trio[2]]
            mixed = network.decoder(code[None])[0]
            gaps = [value(network, rows[i], rows[i]) - value(network, rows[i], mixed) for i in trio]
            mixtures.append(sum(gaps) / 3)
        result += weights["simplex_weight"] * sign * sum(mixtures) / max(len(mixtures), 1)
    return result


def naive_generator_loss(network, rows, y, weights, draws):
    norms = [float(sum(v**2 for v in z.tolist()) ** 0.5) for z in network.encoder(rows)]
    fakes = network.decoder(network.encoder(rows))
    errors = [
        sum(abs(float(a - b)) for a, b in zip(r, f, strict=True)) / 4
        for r, f in zip(rows, fakes, strict=True)
    ]
    normal = [i for i in range(len(rows)) if y[i] >= 0]
    anomalies = [i for i in range(len(rows)) if y[i] < 0]
    latent = sum(norms[i] for i in normal) / len(normal)
    if weights["repel"] and anomalies:
        repulsion = [-np.log(1 - np.exp(-norms[i] - 1e-6)) for i in anomalies]
        latent += weights["anomaly_weight"] * sum(repulsion) / len(anomalies)
    return (
        naive_game(network, rows, y, weights, 1, draws)
        + weights["latent_weight"] * latent
        + weights["reconstruction_weight"] * sum(errors[i] for i in normal) / len(normal)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"margin": None},
        {"repel": False, "simplex_weight": 0.0},
        {"margin": None, "repel": False, "reconstruction_weight": 0.0},
        {"margin": 0.01, "simplex_weight": 0.0},
    ],
)
def test_losses_equal_naive_loops(changes):
    weights = {**WEIGHTS, **changes, "penalty_weight": 0.0}
    members, (rows, y) = [make_member(seed) for seed in range(2)], make_batch()
    game, noise = game_with(**changes, penalty_weight=0.0), Recorded([5, 6])
    with torch.no_grad():
        network = make_network(copy.deepcopy(members), noise).eval()
        batch = game._reconstruct(network, rows, y)
        losses = [game._generator_loss(network, batch), game._critic_loss(network, batch)]
        for k, member in enumerate(members):
            draws = [drawn[k] for drawn in noise.drawn]
            args = member, rows[k], y[k], weights
            assert float(losses[0][k]) == pytest.approx(
                naive_generator_loss(*args, draws), rel=1e-10
            )
            assert float(losses[1][k]) == pytest.approx(naive_game(*args, -1, draws), rel=1e-10)


def test_sign_of_the_game_flips_with_the_label():
    network, (rows, _) = make_network(), make_batch()
    game = game_with(margin=None, anomaly_weight=1.0, simplex_weight=0.0)
    with torch.no_grad():
        for sign in (1, -1):
            normal, anomalous = (
                game._game(network, game._reconstruct(network, rows, torch.full((2, 10), y)), sign)
                for y in (0, -1)
            )
            assert_allclose(anomalous, -normal, rtol=1e-12)
            assert (normal.abs() > 1e-6).all()


def test_gradient_penalty_equals_finite_differences():
    members, (rows, _) = [make_member(seed) for seed in range(2)], make_batch(4)
    others = rows + torch.randn(rows.shape, generator=torch.Generator().manual_seed(1)).double()
    penalty = gradient_penalty(stack_members(copy.deepcopy(members)), rows, others)
    for k, member in enumerate(members):
        squares = []
        for row, other in zip(rows[k], others[k], strict=True):
            pair, slopes = torch.cat([row, other]), []
            for j in range(8):
                step = 1e-6 * torch.eye(8, dtype=torch.float64)[j]
                up, down = (member.critic((pair + s)[None])[1].item() for s in (step, -step))
                slopes.append((up - down) / 2e-6)
            squares.append((np.linalg.norm(slopes) - 1) ** 2)
        assert penalty[k].item() == pytest.approx(np.mean(squares), rel=1e-6)


def test_critic_loss_holds_the_penalty_between_real_and_fake_pairs():
    network, (rows, y) = make_network(), make_batch()
    losses = []
    for game in (game_with(penalty_weight=0.0), game_with()):
        network.noise = Recorded([5, 6])
        batch = game._reconstruct(network, rows, y)
        losses.insert(0, game._critic_loss(network, batch))
    u = network.noise.drawn[-1]
    between = u * rows + (1 - u) * batch.fake.detach()
    expected = 10 * gradient_penalty(network, rows, between)
    assert_allclose((losses[0] - losses[1]).detach(), expected.detach(), rtol=1e-10)


def test_mixtures_teach_the_autoencoder():
    network, (rows, y) = make_network(), make_batch()
    gradients = []
    for weight in (0.0, 1.0):
        loss = game_with(simplex_weight=weight, repel=False)._loss(network, rows.clone(), 0 * y)
        gradients.append(torch.autograd.grad(loss.sum(), network.encoder.parameters()))
    assert max((a - b).abs().max() for a, b in zip(*gradients, strict=True)) > 1e-4


def test_synthetic_anomalies_are_decoded_from_shrunk_codes():
    network, (rows, y) = make_network().train(), make_batch(200)
    game = game_with(synthetic_share=0.3, max_steps=10)
    assert_array_equal(game._reconstruct(network, rows, y).rows, rows)  # not yet
    batch = game._reconstruct(network, rows, y)
    replaced = (batch.rows != rows).any(-1)
    assert not replaced[y < 0].any()
    assert_array_equal(batch.normal, (y >= 0) & ~replaced)
    assert_array_equal(batch.labeled_anomaly, y < 0)
    assert 0.2 < replaced[y >= 0].double().mean() < 0.4
    assert network.training
    network.eval()
    assert_array_equal(game._reconstruct(network, rows, y).rows, rows)  # never in validation


@pytest.mark.parametrize("score_type", sorted(SCORE_PARTS))
def test_scores_equal_their_formula(score_type):
    det = in_float64(AMA(score_type=score_type, **{**FAST, "n_estimators": 1}).fit(X, Y))
    network, rows = (
        det.scoring_module_.network,
        det.scoring_module_.scaler(torch.from_numpy(X))[None],
    )
    with torch.no_grad():
        code = network.encoder(rows)
        fake = network.decoder(code)
        features = [network.critic(torch.cat([rows, o], -1))[0] for o in (rows, fake)]
    parts = {
        "error": (rows - fake).abs().mean(-1)[0].numpy(),
        "norm": np.linalg.norm(code[0].numpy(), axis=-1),
        "distance": (features[0] - features[1]).abs().sum(-1)[0].numpy(),
    }
    usual = Y != -1  # labelled anomalies have no say in the scales
    standard = {k: (v - v[usual].mean()) / v[usual].std() for k, v in parts.items()}
    expected = {
        "gaussian": standard["distance"] ** 2,
        "distance": standard["distance"],
        "reconstruction": standard["error"],
        "norm": standard["norm"],
        "combined": standard["error"] + standard["norm"],
    }[score_type]
    center, spread = np.median(expected[usual]), expected[usual].std()
    assert_allclose(det.score_samples(X), -(expected - center) / spread, rtol=1e-4, atol=1e-4)


def test_gaussian_score_does_not_underflow():
    det = AMA(score_type="gaussian", **FAST).fit(X)
    far = X[:5] + 1e3 * np.arange(1, 6)[:, None]
    assert len(np.unique(det.score_samples(far))) == 5


def test_labels_raise_average_precision():
    rows, _, truth = make_problem(0, n=300, n_features=8)
    new, _, truth_new = make_problem(100, n=300, n_features=8)
    for matrix, signs in ((rows, truth), (new, truth_new)):
        matrix[signs == -1, 3:] -= 4  # anomalous in three columns only
        matrix[signs == -1, :3] *= 0.5
    y = np.where((truth == -1) & (np.arange(len(rows)) < 6), -1, 0)
    options = {"random_state": 0, "n_estimators": 1, "max_steps": 100}
    fitted = [AMA(**options).fit(rows, labels) for labels in (y, None)]
    ap = [average_precision_score(truth_new == -1, -d.score_samples(new)) for d in fitted]
    assert ap[0] > ap[1] + 0.05


def test_each_part_for_anomalies_changes_the_result():
    scores = [
        AMA(**FAST, **options).fit(X, Y).score_samples(X)
        for options in ({}, {"repel": False}, {"margin": 0.01}, {"anomaly_weight": 5.0})
    ]
    for other in scores[1:]:
        assert np.abs(other - scores[0]).max() > 1e-3


def test_learns_without_labels():
    new, _, truth = make_problem(seed=1)
    det = AMA(random_state=0, n_estimators=1, max_steps=100).fit(X[TRUTH == 1])
    assert roc_auc_score(truth, det.score_samples(new)) > 0.95


def test_paper_setting_trains():
    det = AMA(
        margin=None,
        repel=False,
        reconstruction_weight=0,
        simplex_weight=0.2,
        critic_steps=5,
        spectral_norm=True,
        synthetic_share=0.1,
        labeled_fraction=None,
        score_type="gaussian",
        **FAST,
    ).fit(X, Y)
    assert np.isfinite(det.score_samples(X)).all()
