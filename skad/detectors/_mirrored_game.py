"""AMA's networks, and the game that its autoencoder and critic play."""

from collections import namedtuple

import torch
from torch import nn

from .._adversarial import mean_where
from .._gan_networks import ScoreInParts

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
