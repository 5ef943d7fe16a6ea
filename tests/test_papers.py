"""One training step under the papers' settings equals the papers' formulas, written out in float64.

A step is taken through the public interface; a callback keeps what went in and what came out. The
networks, losses and updates below are written from the formulas, without any of skad's code;
gradients are torch's.
"""

import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from skorch.callbacks import Callback

from benchmarks.paper_settings import PAPER, PAPER_IMAGES

RNG = np.random.RandomState(0)
X, Y = RNG.rand(40, 4), np.repeat([-1, 1, 0], [8, 4, 28])
SMALL = {"hidden_layer_sizes": (6, 5), "latent_dim": 3, "batch_size": 24, "max_steps": 1}
SEED = 0


class Record(Callback):
    """Keeps, of each phase of training, its first weights, its batch, its gradients, its end."""

    def __init__(self):
        self.phases = []

    def __deepcopy__(self, memo):
        return self  # a detector copies its callbacks

    def on_train_begin(self, net, **kwargs):
        self.phases.append({"first": tensors(net.module_.state_dict()), "gradients": []})

    def on_batch_begin(self, net, batch, **kwargs):
        rows, y = batch
        self.phases[-1]["batch"] = rows[0].double(), y[0]

    def on_grad_computed(self, net, named_parameters, **kwargs):
        gradients = {n: p.grad for n, p in named_parameters if p.requires_grad}
        self.phases[-1]["gradients"].append(tensors(gradients))

    def on_train_end(self, net, **kwargs):
        self.phases[-1]["last"] = tensors(net.module_.state_dict())


def tensors(named):
    """Copy tensors of one member, in float64, its axis left out."""
    return {name: t[0].detach().double().clone() for name, t in named.items() if t is not None}


def one_step(detector, **changes):
    """Take a step, and give the record of each phase of training."""
    record = Record()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one step may leave all scores alike
        detector.set_params(**SMALL, callbacks=[record], **changes).fit(X, Y)
    return record.phases


def to_train(state):
    """Make leaves of the weights whose gradients are asked for."""
    trained = ("weight", "bias")
    return {n: t.requires_grad_() if n.endswith(trained) else t for n, t in state.items()}


def mlp(state, part, x, *, slope=0.01, end=False):
    """Linear layers with leaky ReLU in between, or also at the `end`; batch norm where there is."""
    for index in sorted({int(n.split(".")[-2]) for n in state if n.startswith(part + ".")}):
        layer = {n.split(".")[-1]: t for n, t in state.items() if n.startswith(f"{part}.{index}.")}
        if "running_mean" in layer:
            x = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-4).sqrt()
            x = x * layer.get("weight", 1) + layer.get("bias", 0)
            continue
        if index > 0:
            x = leaky(x, slope)
        x = x @ layer["weight"].T + layer.get("bias", 0)
    return leaky(x, slope) if end else x


def leaky(x, slope=0.01):
    return torch.where(x > 0, x, slope * x)


def clipped(gradients):
    """Scale gradients to a norm of 10 at most, the one thing that no paper has."""
    norm = sum(g.square().sum() for g in gradients.values()).sqrt()
    return {name: g * min(1.0, 10 / (norm + 1e-6)) for name, g in gradients.items()}


def descend(loss, state, part=""):
    """Give the clipped gradients of a loss for the weights of a part."""
    names = [n for n, t in state.items() if t.requires_grad and n.startswith(part)]
    found = torch.autograd.grad(loss, [state[n] for n in names], allow_unused=True)
    pairs = zip(names, found, strict=True)
    return clipped({n: torch.zeros_like(state[n]) if g is None else g for n, g in pairs})


def check_step(phase, gradients, *, lr, weight_decay=1e-6):
    """Compare gradients, and the weights after Adam's first step."""
    (found,) = phase["gradients"]
    assert found.keys() == gradients.keys()
    for name, expected in gradients.items():
        check_close(found[name], expected)
        first, last = phase["first"][name].detach(), phase["last"][name]
        g = found[name] + weight_decay * first
        assert_allclose(last, first - lr * g / (g.abs() + 1e-8), rtol=1e-5, atol=1e-7)


def check_close(found, expected):
    """Compare float32 with float64: to 5 digits of the largest number."""
    assert expected.abs().max() > 0
    assert_allclose(found, expected.detach(), atol=2e-5 * float(expected.abs().max()))


def squared_distance(state, x):
    return (mlp(state, "encoder", x) - state["center"]).square().sum(1)


@pytest.fixture(scope="module")
def deep_sad():
    detector = PAPER["DeepSAD"]("cardio", len(X), random_state=SEED)
    return one_step(detector, pretrain_steps=1)


def test_pretraining_is_an_autoencoder_of_all_rows(deep_sad):
    phase, state = deep_sad[0], to_train(deep_sad[0]["first"])
    x, y = phase["batch"]
    assert set(y.tolist()) == {-1, 0, 1}
    rebuilt = torch.sigmoid(mlp(state, "decoder", mlp(state, "encoder", x)))
    loss = (rebuilt - x).square().mean()
    check_step(phase, descend(loss, state), lr=1e-3)


def test_center_is_the_mean_code_of_all_rows(deep_sad):
    state = deep_sad[1]["first"]
    x = torch.from_numpy(X)
    for k in (0, 3):
        x = x @ state[f"encoder.{k}.weight"].T
        mean, var = (state[f"encoder.{k + 1}.running_{s}"] for s in ("mean", "var"))
        x = leaky((x - mean) / (var + 1e-4).sqrt())
    center = (x @ state["encoder.6.weight"].T).mean(0)
    center = torch.where(center < 0, -1, 1) * center.abs().clamp(min=0.1)
    check_close(state["center"], center)


def test_deep_sad(deep_sad):
    phase, state = deep_sad[1], to_train(deep_sad[1]["first"])
    x, y = phase["batch"]
    assert set(y.tolist()) == {-1, 0, 1}
    d, eta = squared_distance(state, x), 1.0
    rows = [d[i] if y[i] == 0 else eta * (d[i] + 1e-6) ** int(y[i]) for i in range(len(y))]
    check_step(phase, descend(sum(rows) / len(rows), state), lr=1e-3)


def test_deep_svdd():
    detector = PAPER["DeepSVDD"]("cardio", len(X), random_state=SEED)
    phase = one_step(detector, pretrain_steps=1)[1]
    state = to_train(phase["first"])
    x, y = phase["batch"]
    assert -1 not in y
    check_step(phase, descend(squared_distance(state, x).mean(), state), lr=1e-3)


def test_esad():
    (phase,) = one_step(PAPER["ESAD"]("cardio", len(X), random_state=SEED))
    state = to_train(phase["first"])
    x, y = phase["batch"]
    anomaly = y == -1
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(SEED)).double()
    z = mlp(state, "encoder", x)
    rebuilt = mlp(state, "decoder", z)
    again = mlp(state, "second_encoder", rebuilt)
    target = x + 0.5 * noise * anomaly[:, None]
    reconstruction = (rebuilt - target).square().sum(1).mean()
    norm = (again.square().sum(1) + 1e-6).sqrt()
    entropy = torch.where(anomaly, 1 / norm, norm).mean()
    association = (again - z).square().mean()
    check_step(phase, descend(reconstruction + entropy + association, state), lr=1e-3)


def test_ss_dgm():
    (phase,) = one_step(PAPER["SSDGM"]("cardio", len(X), random_state=SEED))
    state = to_train(phase["first"])
    x, y = phase["batch"]
    noise = torch.randn(len(x), 3, generator=torch.Generator().manual_seed(SEED)).double()
    hidden = leaky(mlp(state, "classifier.0", x))
    q = torch.sigmoid(hidden @ state["classifier.2.weight"][0] + state["classifier.2.bias"])

    def bound(label):
        """L(x, y) of each row: Gaussian p(x|y, z) of unit variance, prior 1/2."""
        column = torch.full((len(x), 1), float(label), dtype=torch.float64)
        h = leaky(torch.cat([mlp(state, "vae.trunk", x), column], 1))
        h = leaky(h @ state["vae.head.1.weight"].T + state["vae.head.1.bias"])
        mean, log_var = (h @ state["vae.head.3.weight"].T + state["vae.head.3.bias"]).chunk(2, 1)
        z = mean + (log_var / 2).exp() * noise
        error = (mlp(state, "vae.decoder", torch.cat([z, column], 1)) - x).square().sum(1) / 2
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)
        return error + kl + np.log(2)

    normal, anomaly = bound(0), bound(1)
    entropy = -q * q.log() - (1 - q) * (1 - q).log()
    unlabeled = (1 - q) * normal + q * anomaly - entropy
    own = torch.where(y == -1, anomaly, normal)
    cross_entropy = -torch.where(y == -1, q, 1 - q).log()
    loss = unlabeled[y == 0].mean() + own[y != 0].mean() + 0.1 * cross_entropy[y != 0].mean()
    check_step(phase, descend(loss, state), lr=1e-3)


def adam_step(state, gradients, *, lr, betas, moments, step):
    """One step of Adam, from its formulas; moments are changed."""
    for name, g in gradients.items():
        first, second = moments.setdefault(name, (torch.zeros_like(g), torch.zeros_like(g)))
        first = betas[0] * first + (1 - betas[0]) * g
        second = betas[1] * second + (1 - betas[1]) * g**2
        moments[name] = first, second
        scale = (second / (1 - betas[1] ** step)).sqrt() + 1e-8
        with torch.no_grad():
            state[name] -= lr * first / (1 - betas[0] ** step) / scale


def images_setting(name):
    """The setting for images, with the networks for tables."""
    detector = PAPER_IMAGES[name]("mnist", len(X), random_state=SEED, device="cpu")
    return detector.set_params(image_shape=None)


def check_game(phase, state, rounds, generator_loss, **optimizers):
    """Play the rounds of the critic, then the autoencoder's, and compare all that is left."""
    moments, names = {}, [n for n in state if n.startswith("critic.") and state[n].requires_grad]
    for step, (critic_loss, found) in enumerate(zip(rounds, phase["gradients"], strict=False), 1):
        gradients = descend(critic_loss(), state, "critic.")
        for name in names:
            check_close(found[name], gradients[name])
        # From what was found: Adam makes a whole step of a gradient that is 0 but for rounding.
        found = {name: found[name] for name in names}
        adam_step(state, found, moments=moments, step=step, **optimizers["critic"])
    rest = {n: t for n, t in state.items() if not n.startswith("critic.")}
    gradients = descend(generator_loss(), rest)
    assert len(phase["gradients"]) == len(rounds) + 1
    found = phase["gradients"][-1]
    assert found.keys() == gradients.keys()
    for name, expected in gradients.items():
        check_close(found[name], expected)
    adam_step(state, found, moments={}, step=1, **optimizers["generator"])
    for name in [*names, *gradients]:
        assert_allclose(phase["last"][name], state[name].detach(), rtol=1e-5, atol=1e-7)


def test_ganomaly():
    (phase,) = one_step(images_setting("GANomaly"))
    state = to_train({name: t.clone() for name, t in phase["first"].items()})
    x, y = phase["batch"]
    assert -1 not in y
    z = mlp(state, "encoder", x)
    fake = mlp(state, "decoder", z)
    again = mlp(state, "second_encoder", fake)

    def critic(rows):
        features = mlp(state, "critic.body", rows, slope=0.2, end=True)
        return features, features @ state["critic.head.weight"][0] + state["critic.head.bias"]

    def critic_loss():
        real, made = (torch.sigmoid(critic(rows)[1]) for rows in (x, fake.detach()))
        return (-real.log().mean() - (1 - made).log().mean()) / 2

    def generator_loss():
        adversarial = (critic(x)[0] - critic(fake)[0]).square().mean()
        contextual, encoding = (x - fake).abs().mean(), (z - again).square().mean()
        return adversarial + 50 * contextual + encoding

    adam = {"lr": 2e-4, "betas": (0.5, 0.999)}
    check_game(phase, state, [critic_loss], generator_loss, critic=adam, generator=adam)


def test_ama():
    detector = images_setting("AMA")
    (phase,) = one_step(detector)
    state = to_train({name: t.clone() for name, t in phase["first"].items()})
    rows, y = phase["batch"]
    n, generator = len(rows), torch.Generator().manual_seed(SEED)

    def uniform(*shape):
        return torch.rand(*shape, generator=generator).double()

    # Atypical rows: decoded from codes that are shrunk by up to a half, by networks in eval mode.
    normal = y >= 0
    replaced = normal & (uniform(n) < 0.1)
    assert replaced.any()
    shrunk = 0.5 * uniform(n, 1) * in_eval(state, "encoder", rows)
    x = torch.where(replaced[:, None], in_eval(state, "decoder", shrunk).detach(), rows)
    normal = normal & ~replaced
    sign = torch.where(normal, 1.0, -1.0)

    z = mlp(state, "encoder", x)
    # Mixtures of the codes of a row and two others, all of them normal.
    picks = [torch.arange(n), *(torch.randperm(n, generator=generator) for _ in range(2))]
    shares = 0.5 * uniform(n, 2)
    shares = torch.cat([shares, 1 - shares.sum(1, keepdim=True)], 1)
    mixed_code = sum(shares[:, i, None] * z[pick] for i, pick in enumerate(picks))
    fake = mlp(state, "decoder", z)
    mixed = mlp(state, "decoder", mixed_code)
    usable = normal[picks[0]] & normal[picks[1]] & normal[picks[2]]
    assert usable.any()

    def critic(first, second):
        values = torch.cat([first, second], 1)
        for k in (0, 2):
            w = spectrally_normal(state, f"critic.body.{k}")
            values = leaky(values @ w.T + state[f"critic.body.{k}.bias"], 0.2)
        head = state["critic.head.weight"][0]
        return values @ (head / head.norm())

    def value(fake, mixed):
        mirrored = critic(x, x)
        game = (sign * (mirrored - critic(x, fake))).mean()
        gaps = [mirrored[pick] - critic(x[pick], mixed) for pick in picks]
        return game + 0.2 * (sum(gaps) / 3)[usable].mean()

    def critic_loss():
        loss, u = -value(fake.detach(), mixed.detach()), uniform(n, 1)
        pairs = torch.cat([x, u * x + (1 - u) * fake], 1).detach().requires_grad_()
        values = critic(pairs[:, :4], pairs[:, 4:]).sum()
        (slope,) = torch.autograd.grad(values, pairs, create_graph=True)
        return loss + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()

    def generator_loss():
        return value(fake, mixed) + z[normal].norm(dim=1).mean()

    check_game(
        phase,
        state,
        [critic_loss] * 5,
        generator_loss,
        critic={"lr": 3e-4, "betas": (0.0, 0.9)},
        generator={"lr": 3e-4, "betas": (0.5, 0.9)},
    )


def in_eval(state, part, x):
    """A part with its first batch statistics, mean 0 and variance 1."""
    for k in (0, 3):
        weight, bias = (state[f"{part}.{k + 1}.{kind}"] for kind in ("weight", "bias"))
        x = leaky(x @ state[f"{part}.{k}.weight"].T / np.sqrt(1 + 1e-4) * weight + bias)
    return x @ state[f"{part}.6.weight"].T + state[f"{part}.6.bias"]


def spectrally_normal(state, layer):
    """Weights over their largest singular value by one step of power iteration, each time used."""
    weight, left = state[f"{layer}.weight"], state[f"{layer}.left"]
    w = weight.detach()
    right = w.T @ left / (w.T @ left).norm()
    left = state[f"{layer}.left"] = w @ right / (w @ right).norm()
    right = w.T @ left / (w.T @ left).norm()
    return weight / (left @ weight @ right)


def test_ssad():
    """The optimum is that of the paper's dual, found by another solver, and its primal value."""
    detector = PAPER["SSAD"]("cardio", len(X), random_state=SEED).set_params(tol=1e-10)
    f = detector.fit(X, Y).score_samples(X)
    K = np.exp(-cdist(X, X, "sqeuclidean") / (X.shape[1] * X.var()))
    s = np.where(Y == -1, -1.0, 1.0)
    Q, labeled = s[:, None] * K * s, Y != 0
    found = minimize(
        lambda a: a @ Q @ a / 2,
        np.full(len(Y), 1 / len(Y)),
        jac=lambda a: Q @ a,
        bounds=[(0, 1)] * len(Y),
        constraints=[
            {"type": "eq", "fun": lambda a: s @ a - 1, "jac": lambda a: s},
            {"type": "ineq", "fun": lambda a: a[labeled].sum() - 1, "jac": lambda a: 1.0 * labeled},
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 500},
    )
    assert_allclose(f, K @ (s * found.x), atol=1e-4)
    rho, gamma = detector.rho_, detector.margin_
    slack = np.maximum(0, np.where(Y == 0, rho - f, rho * s + gamma - s * f))
    squared_norm = detector.dual_coef_[0] @ f[detector.support_]
    primal = squared_norm / 2 - rho - gamma + slack.sum()
    assert_allclose(primal, -found.fun, rtol=1e-5)
