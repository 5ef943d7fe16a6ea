"""AMA, the adversarial mirrored autoencoder (Somepalli et al., 2021)."""

from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from .._adversarial import AdversarialDetector, mean_where
from .._docs import document
from .._gan_networks import make_critic
from .._random import MemberNoise


class AMANetwork(nn.Module):
    """Autoencoder, and a critic on pairs of rows that sees a row beside itself or its image."""

    member_axis = True

    def __init__(self, encoder, decoder, critic, score_type):
        super().__init__()
        self.encoder, self.decoder, self.critic = encoder, decoder, critic
        self.score_type = score_type

    def criticise(self, rows, others):
        """Features and value of the pairs, (..., n_rows, n_hidden) and (..., n_rows)."""
        return self.critic(torch.cat([rows, others], dim=-1))

    def parts(self, rows):
        """Distance of critic features, mean absolute reconstruction error, norm of the code."""
        code = self.encoder(rows)
        fake = self.decoder(code)
        mirrored, _ = self.criticise(rows, rows)
        generated, _ = self.criticise(rows, fake)
        distance = (mirrored - generated).abs().sum(-1)
        return torch.stack([distance, (rows - fake).abs().mean(-1), code.norm(dim=-1)], dim=-1)

    def forward(self, rows):
        return self.parts(rows).sum(-1)


class AMALoss(nn.Module):
    def __init__(self, noise, anomaly_weight, margin, latent_weight, reconstruction_weight,
                 simplex_weight, penalty_weight, synthetic_share, synthetic_from, latent_anomaly_weight=None):
        super().__init__()
        self.noise = noise
        self.anomaly_weight, self.margin = anomaly_weight, margin
        self.latent_weight = latent_weight
        self.reconstruction_weight = reconstruction_weight
        self.simplex_weight, self.penalty_weight = simplex_weight, penalty_weight
        self.synthetic_share, self.synthetic_from = synthetic_share, synthetic_from
        self.latent_anomaly_weight = anomaly_weight if latent_anomaly_weight is None else latent_anomaly_weight
        self.n_steps = 0

    def forward(self, network, rows, y):
        normal, synthetic = y >= 0, torch.zeros_like(y, dtype=torch.bool)
        if self.synthetic_share and self.n_steps >= self.synthetic_from:
            synthetic = normal & (self.noise.uniform(y.shape[1]) < self.synthetic_share)
            rows = torch.where(synthetic[..., None], self.atypical(network, rows), rows)
        self.n_steps += network.training
        code = network.encoder(rows)
        mixture = None
        if self.simplex_weight:
            mixture = self.mix(network, rows, code, normal & ~synthetic)
        return rows, code, network.decoder(code), normal & ~synthetic, y < 0, mixture

    def atypical(self, network, rows):
        network.eval()
        with torch.no_grad():
            shrink = 0.5 * self.noise.uniform(rows.shape[1], 1)
            atypical = network.decoder(shrink * network.encoder(rows))
        network.train()
        return atypical

    def mix(self, network, rows, code, normal):
        n = rows.shape[1]
        own = torch.arange(n, device=rows.device).expand(len(rows), n)
        picks = [own, self.noise.permutation(n), self.noise.permutation(n)]
        a = 0.5 * self.noise.uniform(n, 2)
        a = torch.cat([a, 1 - a.sum(-1, keepdim=True)], dim=-1)
        mixed = sum(
            a[..., i : i + 1] * torch.take_along_dim(code, pick[..., None], 1)
            for i, pick in enumerate(picks)
        )
        usable = torch.stack([torch.take_along_dim(normal, p, 1) for p in picks]).all(0)
        return torch.cat(picks, 1), network.decoder(mixed), usable

    def game(self, network, batch, sign, detach):
        rows, _, fake, normal, _, mixture = batch
        _, real = network.criticise(rows, rows)
        gap = real - network.criticise(rows, fake.detach() if detach else fake)[1]
        anomaly = -sign * gap
        if np.isfinite(self.margin):
            anomaly = (self.margin + anomaly).clamp(min=0)
        loss = torch.where(normal, sign * gap, self.anomaly_weight * anomaly).mean(-1)
        if mixture is not None:
            picks, fakes, usable = mixture
            fakes = fakes.detach() if detach else fakes
            origins = torch.take_along_dim(rows, picks[..., None], 1)
            _, values = network.criticise(origins, fakes.repeat(1, 3, 1))
            gaps = torch.take_along_dim(real, picks, 1) - values
            loss = loss + self.simplex_weight * sign * mean_where(usable.repeat(1, 3), gaps)
        return loss

    def critic_loss(self, network, batch):
        loss = self.game(network, batch, -1, detach=True)
        if self.penalty_weight:
            loss = loss + self.penalty_weight * self.gradient_penalty(network, batch)
        return loss

    def gradient_penalty(self, network, batch):
        rows, fake = batch[0], batch[2].detach()
        u = self.noise.uniform(rows.shape[1], 1)
        pairs = torch.cat([rows, u * rows + (1 - u) * fake], -1).requires_grad_()
        _, values = network.critic(pairs)
        (slopes,) = torch.autograd.grad(values.sum(), pairs, create_graph=True)
        return ((slopes.square().sum(-1) + 1e-12).sqrt() - 1).square().mean(-1)

    def generator_loss(self, network, batch):
        rows, code, fake, normal, anomaly, _ = batch
        norm = code.norm(dim=-1)
        inverse = -torch.log(-torch.expm1(-norm - 1e-6))
        latent = mean_where(normal, norm) + self.latent_anomaly_weight * mean_where(anomaly, inverse)
        error = mean_where(normal, (rows - fake).abs().mean(-1))
        return (
            self.game(network, batch, 1, detach=False)
            + self.latent_weight * latent
            + self.reconstruction_weight * error
        )


class AMA(AdversarialDetector):
    """X."""

    _auto_sizes = (64, 32), 16
    _auto_image_sizes = {True: ((32, 64), 32), False: ((32, 64, 128), 100)}

    def __init__(
        self,
        *,
        anomaly_weight=1.0,
        margin=1.0,
        latent_weight=0.1,
        latent_anomaly_weight=None,
        reconstruction_weight=10.0,
        simplex_weight=0.2,
        penalty_weight=10.0,
        synthetic_share=0.0,
        critic_steps=2,
        spectral_norm=False,
        labeled_fraction=0.1,
        bn=True,
        score_type="sum",
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
        d = dict(locals()); d.pop('self');
        for k,v in d.items(): setattr(self,k,v)

    _parameter_constraints = {}

    def _auto_steps(self, y):
        return 300

    def _strata(self, y):
        from .._labels import batch_strata
        return batch_strata(y, self.labeled_fraction)

    def _make_network(self, n_features):
        hidden, _ = self._sizes()
        encoder = self._make_encoder(n_features, batch_norm=self.bn)
        decoder = self._make_decoder(n_features, batch_norm=self.bn)
        shape = self.image_shape and (2 * self.image_shape[0], *self.image_shape[1:])
        critic = make_critic(2 * n_features, hidden, shape, spectral=self.spectral_norm)
        return AMANetwork(encoder, decoder, critic, self.score_type)

    def _make_criterion(self, network, X, y):
        noise = MemberNoise(self.member_seeds_, X.device)
        return AMALoss(noise, self.anomaly_weight, self.margin, self.latent_weight,
                       self.reconstruction_weight, self.simplex_weight, self.penalty_weight,
                       self.synthetic_share, 30, self.latent_anomaly_weight)
