"""GANomaly (Akcay et al., 2018)."""

from typing import Literal

import torch
from torch.nn.functional import logsigmoid

from .._modules import ScoreInParts
from .._parameters import NonNegative
from ._adversarial import AdversarialDetector, mean_where
from ._gan_networks import make_critic


class GANomalyNetwork(ScoreInParts):
    """Encoder, decoder and second encoder, and the critic that trains them."""

    def __init__(self, encoder, decoder, second_encoder, critic, score_type):
        super().__init__(2 if score_type == "combined" else 1)
        self.encoder, self.decoder, self.second_encoder = encoder, decoder, second_encoder
        self.critic, self.score_type = critic, score_type

    def reconstruct(self, rows):
        """Map rows to code, reconstruction and the reconstruction's code."""
        code = self.encoder(rows)
        fake = self.decoder(code)
        return code, fake, self.second_encoder(fake)

    def parts(self, rows):
        """Parts of the score, (..., n_rows, n_parts), before they are standardised."""
        code, fake, second_code = self.reconstruct(rows)
        latent = (code - second_code).abs()
        contextual = (rows - fake).abs().mean(-1)
        parts = {
            "combined": (latent.mean(-1), contextual),
            "latent": (latent.mean(-1),),
            "latent_squared": (latent.square().mean(-1),),
            "contextual": (contextual,),
        }
        return torch.stack(parts[self.score_type], dim=-1)


class GANomaly(AdversarialDetector):
    """Encoder, decoder, second encoder: anomalies are rows whose two codes differ.

    An adversarially trained autoencoder learns to rebuild normal rows, and a second encoder to
    find the code again in the reconstruction. Labelled anomalies are left out of that; a hinge
    loss keeps their two codes apart.

    Parameters
    ----------
    w_adv : float, default=1.0
        Weight of the adversarial loss: mean squared difference of the critic's features of a row
        and its reconstruction.
    w_con : float, default=50.0
        Weight of the contextual loss: mean absolute error of the reconstruction.
    w_enc : float, default=1.0
        Weight of the encoding loss: mean squared difference of the two codes.
    anomaly_weight : float, default=20.0
        Weight of a hinge that keeps the two codes of labelled anomalies at least `margin` apart.
        0 drops labelled anomalies before anything else, as in the paper.
    margin : float, default=1.0
        Mean squared difference of the codes from which the hinge is 0.
    score_type : {"combined", "latent", "latent_squared", "contextual"}, default="combined"
        "latent" is the paper's: the mean absolute difference of the two codes; "latent_squared"
        that of the official code; "contextual" the mean absolute error of the reconstruction;
        "combined" the sum of "latent" and "contextual", each in units of its spread over the
        training rows.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    AMA : An adversarial autoencoder that learns from labelled anomalies.

    Notes
    -----
    From the paper: the three losses and their weights, the score "latent", no use of anomalies.
    From the official code: means in place of norms in the losses, convolutions as in DCGAN, and a
    discriminator that starts anew once its loss is below 1e-5 (checked once per epoch; here it
    gets its initial weights again, and its optimizer's moments are set to 0). Ours: the hinge on
    labelled anomalies, balanced batches, the score "combined", the networks for tables, several
    members.
    Batch normalisation scores with what it learnt in training, and scores are never scaled by the
    rows that are scored. The critic steps before the generator, on the same reconstructions.

    The paper's setting is ``GANomaly(anomaly_weight=0, score_type="latent", n_estimators=1,
    batch_size=64, lr=2e-4, optimizer=partial(torch.optim.Adam, betas=(0.5, 0.999)), max_steps=15 *
    n // 64)`` for n rows. One network alone depends much on its seed.

    References
    ----------
    .. [1] S. Akcay et al., "GANomaly: Semi-Supervised Anomaly Detection via Adversarial Training",
       ACCV 2018, arXiv:1805.06725.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import GANomaly
    >>> X = np.random.RandomState(0).randn(200, 3)
    >>> X[:, 2] = X[:, 0] - X[:, 1]
    >>> det = GANomaly(n_estimators=1, random_state=0).fit(X)
    >>> det.predict([[1.0, 0.5, 0.5], [1.0, 0.5, -4.0]])
    array([ 1, -1])
    """

    w_adv: NonNegative = 1.0
    w_con: NonNegative = 50.0
    w_enc: NonNegative = 1.0
    anomaly_weight: NonNegative = 20.0
    margin: NonNegative = 1.0
    score_type: Literal["combined", "latent", "latent_squared", "contextual"] = "combined"
    n_estimators = 4
    lr = 8e-3

    _restarts = True

    @property
    def _drops_anomalies(self):
        return self.anomaly_weight == 0

    def _auto_steps(self, y):
        return 200

    def _make_network(self, n_features, y):
        autoencoder = self._make_autoencoder(n_features)
        second_encoder = self._make_encoder(n_features)
        hidden, _ = self._sizes()
        critic = make_critic(n_features, hidden, self.image_shape, batch_norm=True)
        return GANomalyNetwork(*autoencoder, second_encoder, critic, self.score_type)

    def _reconstruct(self, network, rows, y):
        return rows, *network.reconstruct(rows), y >= 0

    def _generator_loss(self, network, batch):
        """Weighted sum of the three losses of the paper, and the hinge for labelled anomalies."""
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

    def _critic_loss(self, network, batch):
        """Mean binary cross-entropy of real rows as 1 and generated rows as 0."""
        rows, _, fake, _, normal = batch
        _, real_logit = network.critic(rows)
        _, fake_logit = network.critic(fake.detach())
        return mean_where(normal, -logsigmoid(real_logit) - logsigmoid(-fake_logit)) / 2
