"""GANomaly (Akcay et al., 2018)."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn
from torch.nn.functional import softplus

from .._adversarial import AdversarialDetector, mean_where
from .._docs import document
from .._gan_networks import make_critic


class GANomalyNetwork(nn.Module):
    """Encoder, decoder and second encoder; the score is how far the two codes are apart."""

    member_axis = True

    def __init__(self, encoder, decoder, second_encoder, critic, score_type):
        super().__init__()
        self.encoder, self.decoder, self.second_encoder = encoder, decoder, second_encoder
        self.critic, self.score_type = critic, score_type

    def reconstruct(self, rows):
        """Map rows to code, reconstruction and the reconstruction's code."""
        code = self.encoder(rows)
        reconstruction = self.decoder(code)
        return code, reconstruction, self.second_encoder(reconstruction)

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        code, reconstruction, second_code = self.reconstruct(rows)
        if self.score_type == "contextual":
            return (rows - reconstruction).abs().mean(-1)
        gap = code - second_code
        return gap.abs().mean(-1) if self.score_type == "l1" else gap.square().mean(-1)


class GANomalyLoss(nn.Module):
    """The generator's three losses and the discriminator's, each one number per member."""

    def __init__(self, w_adv, w_con, w_enc, anomaly_weight, margin):
        super().__init__()
        self.w_adv, self.w_con, self.w_enc = w_adv, w_con, w_enc
        self.anomaly_weight, self.margin = anomaly_weight, margin

    def forward(self, network, rows, y):
        """Run the generator once for both losses."""
        return rows, *network.reconstruct(rows), y >= 0

    def generator_loss(self, network, batch):
        """Weigh the three losses of the paper, and the hinge for labelled anomalies."""
        rows, code, fake, second_code, normal = batch
        real_features, _ = network.critic(rows)
        fake_features, _ = network.critic(fake)
        adversarial = (real_features - fake_features).square().mean(-1)
        contextual = (rows - fake).abs().mean(-1)
        gap = (code - second_code).square().mean(-1)
        terms = self.w_adv * adversarial + self.w_con * contextual + self.w_enc * gap
        loss = mean_where(normal, terms)
        if self.anomaly_weight:
            hinge = (self.margin - gap).clamp(min=0)
            loss = loss + self.anomaly_weight * mean_where(~normal, hinge)
        return loss

    def critic_loss(self, network, batch):
        """Mean binary cross-entropy of real rows as 1 and generated rows as 0."""
        rows, _, fake, _, normal = batch
        _, real_logit = network.critic(rows)
        _, fake_logit = network.critic(fake.detach())
        return mean_where(normal, softplus(-real_logit) + softplus(fake_logit)) / 2


@document
class GANomaly(AdversarialDetector):
    """X.

    Parameters
    ----------
    {parameters}
    """

    _parameter_constraints: dict = {
        **AdversarialDetector._parameter_constraints,
        "w_adv": [Interval(Real, 0, None, closed="left")],
        "w_con": [Interval(Real, 0, None, closed="left")],
        "w_enc": [Interval(Real, 0, None, closed="left")],
        "anomaly_weight": [Interval(Real, 0, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left")],
        "score_type": [StrOptions({"l1", "l2", "contextual"})],
    }

    _auto_sizes = (64, 32), 8
    _auto_image_sizes = {True: ((32, 64), 32), False: ((32, 64, 128), 100)}
    _restarts = True

    def __init__(
        self,
        *,
        w_adv=1.0,
        w_con=50.0,
        w_enc=1.0,
        anomaly_weight=0.0,
        margin=1.0,
        score_type="l1",
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
        self.w_adv = w_adv
        self.w_con = w_con
        self.w_enc = w_enc
        self.anomaly_weight = anomaly_weight
        self.margin = margin
        self.score_type = score_type

    @property
    def _drops_anomalies(self):
        return self.anomaly_weight == 0

    def _auto_steps(self, y):
        return 200

    def _make_network(self, n_features):
        autoencoder = self._make_autoencoder(n_features)
        second_encoder = self._make_encoder(n_features)
        hidden, _ = self._sizes()
        critic = make_critic(n_features, hidden, self.image_shape, batch_norm=True)
        return GANomalyNetwork(*autoencoder, second_encoder, critic, self.score_type)

    def _make_criterion(self, network, X, y):
        return GANomalyLoss(
            w_adv=self.w_adv,
            w_con=self.w_con,
            w_enc=self.w_enc,
            anomaly_weight=self.anomaly_weight,
            margin=self.margin,
        )
