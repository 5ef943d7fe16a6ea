import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import roc_auc_score

from skad._members import stack_members
from skad._modules import make_decoder, make_encoder
from skad.detectors._gan_networks import make_critic
from skad.detectors.ganomaly import GANomaly, GANomalyNetwork
from skad.exceptions import LabelConventionWarning

from ..checks import in_float64, make_problem

FAST = {"max_steps": 20, "n_estimators": 2, "random_state": 0, "batch_size": 32}
X, Y, TRUTH = make_problem()


def make_member(seed):
    torch.manual_seed(seed)
    networks = [make_encoder(4, (5,), 3), make_decoder(4, (5,), 3), make_encoder(4, (5,), 3)]
    return GANomalyNetwork(*networks, make_critic(4, (6, 2)), "latent").double()


def naive_losses(network, rows, y, w_adv, w_con, w_enc, anomaly_weight, margin):
    """One member, one row and one number at a time."""
    normal_terms, critic_terms, hinges = [], [], []
    for row, label in zip(rows, y, strict=True):
        z = network.encoder(row[None])[0].tolist()
        fake = network.decoder(torch.tensor([z], dtype=torch.float64))
        second = network.second_encoder(fake)[0].tolist()
        (real_features, real), (fake_features, generated) = (
            network.critic(rows_) for rows_ in (row[None], fake)
        )
        gap = sum((a - b) ** 2 for a, b in zip(z, second, strict=True)) / len(z)
        if label == -1:
            hinges.append(max(0.0, margin - gap))
            continue
        pairs = list(zip(real_features[0].tolist(), fake_features[0].tolist(), strict=True))
        adversarial = sum((a - b) ** 2 for a, b in pairs) / len(pairs)
        differences = [abs(a - b) for a, b in zip(row.tolist(), fake[0].tolist(), strict=True)]
        contextual = sum(differences) / len(differences)
        normal_terms.append(w_adv * adversarial + w_con * contextual + w_enc * gap)
        p_real, p_fake = (1 / (1 + np.exp(-float(v))) for v in (real, generated))
        critic_terms.append((-np.log(p_real) - np.log(1 - p_fake)) / 2)
    hinge = sum(hinges) / len(hinges) if hinges else 0.0
    generator = sum(normal_terms) / len(normal_terms) + anomaly_weight * hinge
    return generator, sum(critic_terms) / len(critic_terms)


@pytest.mark.parametrize(
    "weights", [(1, 50, 1, 0, 1), (1, 0, 0, 0, 1), (0, 0, 3, 2, 0.7), (2, 3, 5, 7, 100)]
)
def test_losses_equal_naive_loops(weights):
    members = [make_member(seed) for seed in range(2)]
    rng = np.random.RandomState(0)
    rows, y = (
        torch.from_numpy(rng.randn(2, 12, 4)),
        torch.from_numpy(rng.choice([-1, 0, 1], (2, 12))),
    )
    y[1] = y[1].abs()  # a member whose batch holds no anomaly
    with torch.no_grad():
        expected = [naive_losses(*args, *weights) for args in zip(members, rows, y, strict=True)]
        network = stack_members(members)
        names = ("w_adv", "w_con", "w_enc", "anomaly_weight", "margin")
        detector = GANomaly(**dict(zip(names, weights, strict=True)))
        batch = detector._reconstruct(network, rows, y)
        losses = [detector._generator_loss(network, batch), detector._critic_loss(network, batch)]
        assert_array_equal(losses[0], detector._loss(network, rows, y))
    assert_allclose(torch.stack(losses, 1), expected, rtol=1e-10)


@pytest.mark.parametrize("score_type", ["latent", "latent_squared", "contextual", "combined"])
def test_scores_equal_their_formula(score_type):
    det = in_float64(GANomaly(score_type=score_type, **{**FAST, "n_estimators": 1}).fit(X, Y))
    network, rows = (
        det.scoring_module_.network,
        det.scoring_module_.scaler(torch.from_numpy(X))[None],
    )
    with torch.no_grad():
        code = network.encoder(rows)
        fake = network.decoder(code)
        gap = (code - network.second_encoder(fake))[0].numpy()
    error = (rows - fake)[0].numpy()
    parts = {
        "latent": np.abs(gap).mean(1),
        "latent_squared": np.square(gap).mean(1),
        "contextual": np.abs(error).mean(1),
    }
    usual = Y != -1  # labelled anomalies have no say in the scales
    standard = {k: (v - v[usual].mean()) / v[usual].std() for k, v in parts.items()}
    standard["combined"] = standard["latent"] + standard["contextual"]
    expected = standard[score_type]
    center, spread = np.median(expected[usual]), expected[usual].std()
    assert_allclose(det.score_samples(X), -(expected - center) / spread, rtol=1e-4, atol=1e-5)


def test_without_weight_labeled_anomalies_are_kept_out():
    options = {**FAST, "anomaly_weight": 0.0}
    detector = GANomaly(**options)
    kept = Y != -1
    with pytest.warns(LabelConventionWarning):
        alone = GANomaly(**options).fit(X[kept], Y[kept])
    assert_array_equal(detector.fit(X, Y).score_samples(X), alone.score_samples(X))
    far = X.copy()
    far[Y == -1] += 1000  # not even in the scaling
    assert_array_equal(GANomaly(**options).fit(far, Y).score_samples(X), alone.score_samples(X))


def test_labeled_normals_join_the_training():
    y = np.abs(Y) * (Y > 0)
    without = GANomaly(**FAST).fit(X[y == 0]).score_samples(X)
    with pytest.warns(LabelConventionWarning):
        joined = GANomaly(**FAST).fit(X, y).score_samples(X)
    assert np.abs(joined - without).max() > 1e-3


def test_hinge_widens_the_gap_of_labeled_anomalies():
    inside = X.copy()
    inside[TRUTH == -1] = (X[TRUTH == -1] - 5) * 0.3 + 1  # among the normals
    y = np.where(TRUTH == -1, -1, 0)
    options = {**FAST, "max_steps": 80, "n_estimators": 1}
    aucs = []
    for weight in (0.0, 20.0):
        det = GANomaly(anomaly_weight=weight, score_type="latent", **options).fit(inside, y)
        aucs.append(roc_auc_score(TRUTH, det.score_samples(inside)))
    assert aucs[1] > aucs[0] + 0.05


def test_learns_without_labels():
    new, _, truth = make_problem(seed=1)
    det = GANomaly(random_state=0, n_estimators=1).fit(X[TRUTH == 1])
    assert roc_auc_score(truth, det.score_samples(new)) > 0.95
    assert det.history_[-1, "train_loss"] < 0.7 * det.history_[0, "train_loss"]
