"""AMA, the adversarial mirrored autoencoder (Somepalli et al., 2021)."""

from collections import namedtuple
from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from .._adversarial import AdversarialDetector, mean_where
from .._docs import document
from .._gan_networks import ScoreInParts, make_critic
from .._labels import batch_strata
from .._random import MemberNoise

# Parts of the score, of which each is standardised by training rows before they are added.
SCORE_PARTS = {
    "combined": ("error", "norm"),
    "gaussian": ("distance",),
    "distance": ("distance",),
    "reconstruction": ("error",),
    "norm": ("norm",),
}

Batch = namedtuple("Batch", "rows code fake normal labeled_anomaly mixture")


class AMANetwork(ScoreInParts):
    """Autoencoder, and a critic on pairs: a row beside itself, or beside its reconstruction."""

    def __init__(self, encoder, decoder, critic, score_type):
        super().__init__(len(SCORE_PARTS[score_type]))
        self.encoder, self.decoder, self.critic = encoder, decoder, critic
        self.score_type = score_type

    def criticise(self, rows, others):
        """Map pairs of rows to the critic's features and values."""
        return self.critic(torch.cat([rows, others], dim=-1))

    def parts(self, rows):
        """Parts of the score, (..., n_rows, n_parts), before they are standardised."""
        code = self.encoder(rows)
        fake = self.decoder(code)
        part = {
            "error": lambda: (rows - fake).abs().mean(-1),
            "norm": lambda: code.norm(dim=-1),
            "distance": lambda: self._distance(rows, fake),
        }
        return torch.stack([part[name]() for name in SCORE_PARTS[self.score_type]], dim=-1)

    def _distance(self, rows, fake):
        mirrored, generated = self.criticise(rows, rows)[0], self.criticise(rows, fake)[0]
        return (mirrored - generated).abs().sum(-1)

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        if self.score_type == "gaussian":
            # Minus twice the log density, up to a constant: the density itself underflows to ties.
            return self.standardised_parts(rows).square().sum(-1)
        return super().forward(rows)


class AMALoss(nn.Module):
    """The critic's and the autoencoder's loss, each one number per member.

    Parameters as in `AMA`, besides `noise`, the members' random numbers, and `synthetic_from`, the
    step from which rows are replaced.
    """

    def __init__(
        self,
        noise,
        *,
        anomaly_weight,
        margin,
        repel,
        latent_weight,
        reconstruction_weight,
        simplex_weight,
        penalty_weight,
        synthetic_share,
        synthetic_from,
    ):
        super().__init__()
        self.noise = noise
        self.anomaly_weight, self.margin, self.repel = anomaly_weight, margin, repel
        self.latent_weight, self.reconstruction_weight = latent_weight, reconstruction_weight
        self.simplex_weight, self.penalty_weight = simplex_weight, penalty_weight
        self.synthetic_share, self.synthetic_from = synthetic_share, synthetic_from
        self.n_batches = 0

    def forward(self, network, rows, y):
        """Reconstruct a batch, once for both losses."""
        normal = y >= 0
        if network.training:
            self.n_batches += 1
            if self.synthetic_share and self.n_batches > self.synthetic_from:
                replaced = normal & (self.noise.uniform(y.shape[1]) < self.synthetic_share)
                rows = torch.where(replaced[..., None], self._atypical(network, rows), rows)
                normal = normal & ~replaced
        code = network.encoder(rows)
        mixture = self._mix(network, code, normal) if self.simplex_weight else None
        return Batch(rows, code, network.decoder(code), normal, y < 0, mixture)

    def _atypical(self, network, rows):
        """Decode codes that are pulled towards the origin by a random factor."""
        network.eval()
        with torch.no_grad():
            shrunk = 0.5 * self.noise.uniform(rows.shape[1], 1) * network.encoder(rows)
            atypical = network.decoder(shrunk)
        network.train()
        return atypical

    def _mix(self, network, code, normal):
        """Decode random points between the codes of three rows; the rows, and where all normal."""
        n = code.shape[1]
        first = torch.arange(n, device=code.device).expand(len(code), n)
        picks = [first, self.noise.permutation(n), self.noise.permutation(n)]
        shares = 0.5 * self.noise.uniform(n, 2)
        shares = torch.cat([shares, 1 - shares.sum(-1, keepdim=True)], dim=-1)
        mixed = sum(
            shares[..., i, None] * torch.take_along_dim(code, pick[..., None], 1)
            for i, pick in enumerate(picks)
        )
        usable = torch.stack([torch.take_along_dim(normal, pick, 1) for pick in picks]).all(0)
        return network.decoder(mixed), picks, usable

    def critic_loss(self, network, batch):
        """Minus the game's value, and the gradient penalty; the autoencoder stays out of it."""
        mixture = batch.mixture and (batch.mixture[0].detach(), *batch.mixture[1:])
        batch = batch._replace(fake=batch.fake.detach(), mixture=mixture)
        loss = self.game(network, batch, sign=-1)
        if self.penalty_weight:
            u = self.noise.uniform(batch.rows.shape[1], 1)
            between = u * batch.rows + (1 - u) * batch.fake
            loss = loss + self.penalty_weight * gradient_penalty(network, batch.rows, between)
        return loss

    def generator_loss(self, network, batch):
        """Add to the game's value the norm of the codes and the reconstruction error."""
        norm = batch.code.norm(dim=-1)
        latent = mean_where(batch.normal, norm)
        if self.repel:
            repulsion = -torch.log(-torch.expm1(-norm - 1e-6))
            latent = latent + self.anomaly_weight * mean_where(batch.labeled_anomaly, repulsion)
        error = mean_where(batch.normal, (batch.rows - batch.fake).abs().mean(-1))
        return (
            self.game(network, batch, sign=1)
            + self.latent_weight * latent
            + self.reconstruction_weight * error
        )

    def game(self, network, batch, sign):
        """Mirrored Wasserstein value: the autoencoder's view (sign 1) or the critic's (-1).

        For anomalies, labelled or synthetic, the two change sides.
        """
        rows, normal = batch.rows, batch.normal
        _, mirrored = network.criticise(rows, rows)
        _, generated = network.criticise(rows, batch.fake)
        gap = sign * (mirrored - generated)
        anomalous = -gap if self.margin is None else (self.margin - gap).clamp(min=0)
        value = torch.where(normal, gap, self.anomaly_weight * anomalous).mean(-1)
        if batch.mixture is None:
            return value
        mixed, picks, usable = batch.mixture
        gaps = []
        for pick in picks:
            _, generated = network.criticise(torch.take_along_dim(rows, pick[..., None], 1), mixed)
            gaps.append(torch.take_along_dim(mirrored, pick, 1) - generated)
        gap = sign * torch.stack(gaps).mean(0)
        return value + self.simplex_weight * mean_where(usable, gap)


def gradient_penalty(network, rows, others):
    """Squared deviation from 1 of the critic's slope at each pair, as a mean over rows."""
    pairs = torch.cat([rows, others], dim=-1).requires_grad_()
    _, values = network.critic(pairs)
    (slope,) = torch.autograd.grad(values.sum(), pairs, create_graph=True)
    norm = (slope.square().sum(-1) + 1e-12).sqrt()  # differentiable at 0
    return (norm - 1).square().mean(-1)


@document
class AMA(AdversarialDetector):
    """Adversarial mirrored autoencoder: a critic compares a row with its reconstruction.

    An autoencoder is trained against a critic on pairs that tells (row, row) from (row,
    reconstruction), so that the reconstruction gets close in what the critic sees. For labelled
    anomalies the two sides are swapped: their reconstruction is to differ. Codes of normal rows
    are kept small, those of labelled anomalies large.

    Parameters
    ----------
    anomaly_weight : float, default=1.0
        Weight of the labelled anomalies' terms.
    margin : float or None, default=1.0
        The anomalies' part of the game stops where the critic's values of the two pairs differ by
        this much. None lets it grow without bound, as in the paper.
    repel : bool, default=True
        Whether codes of labelled anomalies are pushed away from the origin.
    latent_weight : float, default=1.0
        Weight of the norm of the codes.
    reconstruction_weight : float, default=10.0
        Weight of the mean absolute reconstruction error of normal rows, 0 in the paper.
    simplex_weight : float, default=0.0
        Weight of the game on decoded mixtures of the codes of three normal rows; 0.2 in the
        official code.
    penalty_weight : float, default=10.0
        Weight of the critic's gradient penalty.
    spectral_norm : bool, default=False
        Whether the critic's layers have spectral norm.
    synthetic_share : float in [0, 1), default=0.0
        Share of the normal rows that are replaced, after a tenth of the steps, by synthetic
        anomalies: decoded after their code has been shrunk by a random factor below 0.5.
    critic_steps : int, default=1
        Steps of the critic per step of the autoencoder, on the same batch.
    labeled_fraction : float in (0, 1) or None, default=0.1
        Share of each batch drawn from the labelled rows, half of it from each kind when both
        anomalies and normals are labelled. None draws all rows alike, as in the paper.
    score_type : {"combined", "gaussian", "distance", "reconstruction", "norm"}, default="combined"
        "gaussian" is the paper's: the L1 distance of the critic's features of the two pairs, then
        how far it is, on either side, from its mean over the training rows, labelled anomalies
        left out. "distance" is that distance itself, "reconstruction" the mean absolute error,
        "norm" the norm of the code; "combined" is the sum of the last two, each in units of its
        spread over the training rows.
    critic_optimizer : class, default=None
        The critic's optimizer; None takes `optimizer`. Settings go in by
        ``functools.partial(torch.optim.Adam, betas=(0, 0.9))``, here as for `optimizer`.
    critic_lr : float, default=None
        The critic's learning rate; None takes `lr`.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    GANomaly : Another adversarial autoencoder, which learns from normal rows alone.

    Notes
    -----
    From the paper: the mirrored game, labelled anomalies with the opposite sign, the norm of the
    codes, simplex interpolation, synthetic anomalies, the score "gaussian". From its public code,
    which is for CIFAR-10 only: the optional spectral norm, and the weights in the setting below. Ours: the bounded anomaly term, the
    repulsion of anomalous codes (-log(1 - exp(-norm)), after the hypersphere classifier's loss),
    the reconstruction error, balanced batches, the score "combined", the networks for tables, several members. Where the public code
    detaches the interpolated codes, so that they teach the autoencoder nothing, and takes the
    gradient penalty's norm per pixel, this lets the gradient through and takes the norm of the
    whole pair; spectral norm is a function of the weights with one step of power iteration.

    The paper's setting is ``AMA(margin=None, repel=False, reconstruction_weight=0,
    simplex_weight=0.2, critic_steps=5, spectral_norm=True, synthetic_share=0.1,
    labeled_fraction=None, score_type="gaussian", n_estimators=1, lr=3e-4, batch_size=256,
    optimizer=partial(torch.optim.Adam, betas=(0.5, 0.9)),
    critic_optimizer=partial(torch.optim.Adam, betas=(0.0, 0.9)))``; on tables it is far behind
    the defaults.

    References
    ----------
    .. [1] G. Somepalli et al., "Unsupervised Anomaly Detection with Adversarial Mirrored
       AutoEncoders", UAI 2021, arXiv:2003.10713.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import AMA
    >>> rng = np.random.RandomState(0)
    >>> X = np.r_[rng.randn(200, 2), rng.randn(10, 2) + 4]
    >>> y = np.zeros(210, dtype=int)  # unlabelled ...
    >>> y[-3:] = -1  # ... but for three known anomalies
    >>> det = AMA(n_estimators=1, random_state=0).fit(X, y)
    >>> det.predict([[0.5, 0.5], [4.0, 4.0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **AdversarialDetector._parameter_constraints,
        "anomaly_weight": [Interval(Real, 0, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left"), None],
        "repel": ["boolean"],
        "latent_weight": [Interval(Real, 0, None, closed="left")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "simplex_weight": [Interval(Real, 0, None, closed="left")],
        "penalty_weight": [Interval(Real, 0, None, closed="left")],
        "spectral_norm": ["boolean"],
        "synthetic_share": [Interval(Real, 0, 1, closed="left")],
        "critic_steps": [Interval(Integral, 1, None, closed="left")],
        "labeled_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "score_type": [StrOptions(set(SCORE_PARTS))],
    }

    _auto_sizes = (64, 32), 16
    _auto_image_sizes = {True: ((16, 32), 32), False: ((32, 64, 128), 64)}

    def __init__(
        self,
        *,
        anomaly_weight=1.0,
        margin=1.0,
        repel=True,
        latent_weight=1.0,
        reconstruction_weight=10.0,
        simplex_weight=0.0,
        penalty_weight=10.0,
        spectral_norm=False,
        synthetic_share=0.0,
        critic_steps=1,
        labeled_fraction=0.1,
        score_type="combined",
        critic_optimizer=None,
        critic_lr=None,
        hidden_layer_sizes="auto",
        latent_dim="auto",
        module=None,
        image_shape=None,
        n_estimators=4,
        max_steps="auto",
        batch_size=64,
        lr=1e-3,
        weight_decay=0.0,
        optimizer=torch.optim.Adam,
        contamination=0.1,
        standardize=True,
        callbacks=None,
        validation_fraction=None,
        device="cpu",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            critic_optimizer=critic_optimizer,
            critic_lr=critic_lr,
            hidden_layer_sizes=hidden_layer_sizes,
            latent_dim=latent_dim,
            module=module,
            image_shape=image_shape,
            n_estimators=n_estimators,
            max_steps=max_steps,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            optimizer=optimizer,
            contamination=contamination,
            standardize=standardize,
            callbacks=callbacks,
            validation_fraction=validation_fraction,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.anomaly_weight = anomaly_weight
        self.margin = margin
        self.repel = repel
        self.latent_weight = latent_weight
        self.reconstruction_weight = reconstruction_weight
        self.simplex_weight = simplex_weight
        self.penalty_weight = penalty_weight
        self.spectral_norm = spectral_norm
        self.synthetic_share = synthetic_share
        self.critic_steps = critic_steps
        self.labeled_fraction = labeled_fraction
        self.score_type = score_type

    def _strata(self, y):
        return batch_strata(y, self.labeled_fraction)

    def _auto_steps(self, y):
        return 200 if self.image_shape is None else 600

    def _make_network(self, n_features):
        autoencoder = self._make_autoencoder(n_features)
        shape = self.image_shape and (2 * self.image_shape[0], *self.image_shape[1:])
        hidden, _ = self._sizes()
        critic = make_critic(2 * n_features, hidden, shape, spectral=self.spectral_norm)
        return AMANetwork(*autoencoder, critic, self.score_type)

    def _make_criterion(self, network, X, y):
        return AMALoss(
            MemberNoise(self.member_seeds_, X.device),
            anomaly_weight=self.anomaly_weight,
            margin=self.margin,
            repel=self.repel,
            latent_weight=self.latent_weight,
            reconstruction_weight=self.reconstruction_weight,
            simplex_weight=self.simplex_weight,
            penalty_weight=self.penalty_weight,
            synthetic_share=self.synthetic_share,
            synthetic_from=self._n_steps(y) // 10,
        )
