"""AMA's networks, and the game that its autoencoder and critic play."""

from collections import namedtuple
from numbers import Real
from typing import Annotated

import torch

from .._modules import ScoreInParts
from .._parameters import NonNegative, Number
from ._adversarial import AdversarialDetector, mean_where

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
    """Autoencoder, and a critic on pairs: a row with itself, or with its reconstruction."""

    def __init__(self, encoder, decoder, critic, score_type):
        super().__init__(len(SCORE_PARTS[score_type]))
        self.encoder, self.decoder, self.critic = encoder, decoder, critic
        self.score_type = score_type
        self.n_batches = 0  # seen in training

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


class MirroredGameDetector(AdversarialDetector):
    """AMA's game between autoencoder and critic, with the parameters that weight its parts.

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
    synthetic_share : float in [0, 1), default=0.0
        Share of the normal rows that are replaced, after a tenth of the steps, by synthetic
        anomalies: decoded after their code has been shrunk by a random factor below 0.5.
    """

    anomaly_weight: NonNegative = 1.0
    margin: NonNegative | None = 1.0
    repel: bool = True
    latent_weight: NonNegative = 1.0
    reconstruction_weight: NonNegative = 10.0
    simplex_weight: NonNegative = 0.0
    penalty_weight: NonNegative = 10.0
    synthetic_share: Annotated[float, Number(Real, 0, 1, closed="left")] = 0.0

    def _reconstruct(self, network, rows, y):
        """Reconstruct a batch, once for both losses; some rows become synthetic anomalies."""
        normal = y >= 0
        if network.training:
            network.n_batches += 1
            if self.synthetic_share and network.n_batches > self._n_steps(y) // 10:
                replaced = normal & (network.noise.uniform(y.shape[1]) < self.synthetic_share)
                rows = torch.where(replaced[..., None], atypical(network, rows), rows)
                normal = normal & ~replaced
        code = network.encoder(rows)
        mixture = mix(network, code, normal) if self.simplex_weight else None
        return Batch(rows, code, network.decoder(code), normal, y < 0, mixture)

    def _critic_loss(self, network, batch):
        """Minus the game's value, and the gradient penalty; the autoencoder stays out of it."""
        mixture = batch.mixture and (batch.mixture[0].detach(), *batch.mixture[1:])
        batch = batch._replace(fake=batch.fake.detach(), mixture=mixture)
        loss = self._game(network, batch, sign=-1)
        if self.penalty_weight:
            u = network.noise.uniform(batch.rows.shape[1], 1)
            between = u * batch.rows + (1 - u) * batch.fake
            loss = loss + self.penalty_weight * gradient_penalty(network, batch.rows, between)
        return loss

    def _generator_loss(self, network, batch):
        """Add to the game's value the norm of the codes and the reconstruction error."""
        norm = batch.code.norm(dim=-1)
        latent = mean_where(batch.normal, norm)
        if self.repel:
            repulsion = -torch.log(-torch.expm1(-norm - 1e-6))
            latent = latent + self.anomaly_weight * mean_where(batch.labeled_anomaly, repulsion)
        error = mean_where(batch.normal, (batch.rows - batch.fake).abs().mean(-1))
        return (
            self._game(network, batch, sign=1)
            + self.latent_weight * latent
            + self.reconstruction_weight * error
        )

    def _game(self, network, batch, sign):
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


def atypical(network, rows):
    """Decode codes that are pulled towards the origin by a random factor."""
    network.eval()
    with torch.no_grad():
        shrunk = 0.5 * network.noise.uniform(rows.shape[1], 1) * network.encoder(rows)
        atypical = network.decoder(shrunk)
    network.train()
    return atypical


def mix(network, code, normal):
    """Decode random points between the codes of three rows; the rows, and where all normal."""
    n = code.shape[1]
    first = torch.arange(n, device=code.device).expand(len(code), n)
    picks = [first, network.noise.permutation(n), network.noise.permutation(n)]
    shares = 0.5 * network.noise.uniform(n, 2)
    shares = torch.cat([shares, 1 - shares.sum(-1, keepdim=True)], dim=-1)
    mixed = sum(
        shares[..., i, None] * torch.take_along_dim(code, pick[..., None], 1)
        for i, pick in enumerate(picks)
    )
    usable = torch.stack([torch.take_along_dim(normal, pick, 1) for pick in picks]).all(0)
    return network.decoder(mixed), picks, usable


def gradient_penalty(network, rows, others):
    """Squared deviation from 1 of the critic's slope at each pair, as a mean over rows."""
    pairs = torch.cat([rows, others], dim=-1).requires_grad_()
    _, values = network.critic(pairs)
    (slope,) = torch.autograd.grad(values.sum(), pairs, create_graph=True)
    norm = (slope.square().sum(-1) + 1e-12).sqrt()  # differentiable at 0
    return (norm - 1).square().mean(-1)
