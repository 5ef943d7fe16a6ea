"""Semi-supervised deep generative model (Kingma et al., 2014)."""

import math

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy, logsigmoid

from .._modules import DetectorNetwork, LinearToOne, code_width, make_decoder, make_mlp
from .._parameters import CountOrZero, Fraction, NonNegative
from ..base_deep import BalancedBatchesMixin, BaseDeepDetector

MAX_LOG_VAR = 10.0  # keeps a code's variance finite far outside the training range


def with_label(rows, label):
    """Append a column that holds the label, 0 (normal) or 1 (anomaly)."""
    return torch.cat([rows, torch.full_like(rows[..., :1], label)], dim=-1)


def sample(mean, log_var, noise):
    """Draw from a Gaussian, or return its mean where there is no noise."""
    if noise is None:
        return mean
    return mean + torch.exp(log_var / 2) * noise


class ConditionalVAE(DetectorNetwork):
    """Variational autoencoder of rows given their label: q(z|x, y) and p(x|y, z)."""

    def __init__(self, trunk, head, decoder, latent_dim, bernoulli):
        super().__init__()
        self.trunk, self.head, self.decoder = trunk, head, decoder
        self.latent_dim, self.bernoulli = latent_dim, bernoulli

    def posterior(self, hidden, label):
        """Mean and log variance of q(z|x, y), from what the trunk makes of x."""
        mean, log_var = self.head(with_label(hidden, label)).chunk(2, dim=-1)
        mean, log_var = mean.contiguous(), log_var.contiguous()  # else exp rounds by a row's place
        return mean, log_var.clamp(-MAX_LOG_VAR, MAX_LOG_VAR)

    def forward(self, rows):
        """Bound on -log p(x|normal) of each row: (..., n_rows)."""
        return self.bounds(rows, [0.0]).squeeze(-1)

    def bounds(self, rows, labels, noise=None):
        """Bound -log p(x|y) of each row from above, for each label: (..., n_rows, n_labels)."""
        hidden = self.trunk(rows)
        if noise is not None:  # the same for each label, so that it does not blur the difference
            noise = noise.normal(rows.shape[-2], self.latent_dim)
        return torch.stack([self._bound(rows, hidden, label, noise) for label in labels], dim=-1)

    def _bound(self, rows, hidden, label, noise):
        mean, log_var = self.posterior(hidden, label)
        rebuilt = self.decoder(with_label(sample(mean, log_var, noise), label))
        error = (rebuilt - rows).square() / 2
        if self.bernoulli:
            pixels = rows.clamp(0, 1)  # new images may be brighter or darker than any before
            error = binary_cross_entropy(rebuilt, pixels, reduction="none") + (rows - pixels).abs()
        kl = (mean.square() + log_var.exp() - 1 - log_var).sum(-1) / 2
        return error.sum(-1) + kl


class GenerativeNetwork(DetectorNetwork):
    """Classifier q(y|x) beside a conditional VAE; M1, if any, is a VAE whose code they see."""

    def __init__(self, classifier, vae, m1=None):
        super().__init__()
        self.classifier, self.vae, self.m1 = classifier, vae, m1
        self.knows_anomalies = True

    def forward(self, rows):
        """Log odds of q(y=anomaly|x); without a labelled anomaly, the bound on -log p(x|normal)."""
        if self.knows_anomalies:
            return self.classifier(self.embed(rows))
        return (self.m1 or self.vae)(rows)

    def encode(self, rows):
        """Mean of the code z over both labels, weighted by q(y|x)."""
        rows = self.embed(rows)
        hidden = self.vae.trunk(rows)
        normal = self.vae.posterior(hidden, 0.0)[0]
        if not self.knows_anomalies:
            return normal
        anomaly = self.vae.posterior(hidden, 1.0)[0]
        q = torch.sigmoid(self.classifier(rows)).unsqueeze(-1)
        return normal + q * (anomaly - normal)

    def embed(self, rows, noise=None):
        """Rows themselves, or their code in M1."""
        if self.m1 is None:
            return rows
        mean, log_var = self.m1.posterior(self.m1.trunk(rows), 0.0)
        return sample(mean, log_var, noise and noise.normal(*mean.shape[1:]))

    def train(self, mode=True):
        """Switch modes; M1 is trained before and stays as it is."""
        super().train(mode)
        if self.m1 is not None:
            self.m1.eval()
        return self


class Chain(nn.Sequential):
    """Sequential whose parts are stacked one by one."""

    member_axis = True


def make_vae(encoder, n_features, hidden, latent_dim, image_shape=None):
    """Build a VAE; the encoder may have a code of any width."""
    width = code_width(encoder, n_features)
    head = nn.Sequential(nn.LeakyReLU(), *make_mlp([width + 1, width, 2 * latent_dim]))
    decoder = make_decoder(n_features, hidden, latent_dim + 1, image_shape)
    return ConditionalVAE(encoder, head, decoder, latent_dim, bernoulli=image_shape is not None)


def make_classifier(encoder, n_features):
    """Build q(y|x): an encoder and one logit."""
    return Chain(encoder, nn.LeakyReLU(), LinearToOne(code_width(encoder, n_features)))


def masked_mean(values, mask):
    """Mean over the masked rows; 0 where there is none."""
    return (values * mask).sum(-1) / mask.sum(-1).clamp(min=1)


class SSDGM(BalancedBatchesMixin, BaseDeepDetector):
    """Deep generative model of rows and labels, in which an unlabelled row's label is latent.

    Rows x are drawn from p(x|y, z) with a label y (normal or anomaly) and a Gaussian code z. A
    classifier q(y|x) and an encoder q(z|x, y) are trained with it on a bound of the likelihood:
    labelled rows count with their own label, unlabelled ones with either, weighted by q(y|x).

    The anomaly score is log q(y=anomaly|x) - log q(y=normal|x), which still ranks rows where q
    rounds to 0 or 1. Without a labelled anomaly nothing says what anomalies look like: the model
    then is the variational autoencoder of normal rows, all rows are taken as normal, and the score
    is its bound on -log p(x|y=normal) (in M1+M2 the bound of M1).

    Parameters
    ----------
    alpha : float, default=10.0
        Weight of the labelled rows' cross-entropy, averaged over them, against the bounds.
    eta : float, default=1.0
        Weight of the labelled rows' bounds.
    prior : float in (0, 1), default=0.5
        The probability of an anomaly, p(y=anomaly).
    pretrain_steps : int, default=0
        0 is the paper's M2. Above, M1+M2: gradient steps of a variational autoencoder of all rows
        (M1), which then stays fixed, and M2 is built on its code.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    DeepSAD : Learns a hypersphere instead of a likelihood.

    Notes
    -----
    From the paper are the two models and the objective: the mean over labelled rows plus the mean
    over unlabelled ones. The published code of [2]_, which tries it as an anomaly detector, draws
    rows uniformly and drops the labelled terms of a batch with fewer than two labelled rows, which
    is most batches when labels are few. Here every batch holds labelled rows, and a single one
    counts. ``alpha=0.1, labeled_fraction=None, n_estimators=1`` are its settings; [1]_ has an alpha
    that grows with the number of rows, and a larger one measured better. M2 alone needs few
    steps; M1 needs some hundred, or its code says little.

    Ours is what follows. p(x|y, z) is Gaussian with unit variance for tables, whose columns are
    standardised; for images it is Bernoulli, as in both papers. q(z|x, y) sees y behind the
    encoder, so that x is encoded once for both labels, and both use the same noise. A `module` is
    that encoder and, with weights of its own, the classifier's; in M1+M2 it is M1's. The code of M1
    is Gaussian given M2's; q(z|x, y) gets a sample of it, the classifier its mean. `transform`
    gives the mean of z, averaged over q(y|x).

    References
    ----------
    .. [1] D. P. Kingma et al., "Semi-supervised Learning with Deep Generative Models", NeurIPS
       2014, arXiv:1406.5298.
    .. [2] L. Ruff et al., "Deep Semi-Supervised Anomaly Detection", ICLR 2020, arXiv:1906.02694.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import SSDGM
    >>> rng = np.random.RandomState(0)
    >>> X = np.r_[rng.randn(200, 2), rng.randn(10, 2) + 4]
    >>> y = np.zeros(210, dtype=int)  # unlabelled ...
    >>> y[-3:] = -1  # ... but for three known anomalies
    >>> det = SSDGM(random_state=0).fit(X, y)
    >>> det.predict([[0.5, 0.5], [4.0, 4.0]])
    array([ 1, -1])
    """

    alpha: NonNegative = 10.0
    eta: NonNegative = 1.0
    prior: Fraction = 0.5
    pretrain_steps: CountOrZero = 0
    n_estimators = 4

    def _make_network(self, n_features, y):
        hidden, latent_dim = self._sizes()
        encoders = [self._make_encoder(n_features) for _ in range(2)]
        vae = make_vae(encoders[0], n_features, hidden, latent_dim, self._image_shape)
        if not self.pretrain_steps:
            return GenerativeNetwork(make_classifier(encoders[1], n_features), vae)
        hidden = self._auto_sizes[0]  # M2 sees codes, which are a table even if X holds images
        encoders = [make_mlp([latent_dim, *hidden, latent_dim]) for _ in range(2)]
        m2 = make_vae(encoders[0], latent_dim, hidden, latent_dim)
        return GenerativeNetwork(make_classifier(encoders[1], latent_dim), m2, m1=vae)

    def _prepare(self, network, rows, y):
        network.knows_anomalies = bool((y < 0).any())
        if network.m1 is not None:
            self._train(network.m1, vae_loss, rows, y, self.pretrain_steps)
            network.m1.requires_grad_(False)

    def _loss(self, network, rows, y):
        """Sum the means over unlabelled and over labelled rows of the paper's objective."""
        noise = network.noise if network.training else None  # validation takes the codes' means
        log_odds = network.classifier(network.embed(rows))
        bounds = network.vae.bounds(network.embed(rows, noise), [0.0, 1.0], noise)
        if not network.knows_anomalies:
            return bounds[..., 0].mean(-1)
        log_q = logsigmoid(torch.stack([-log_odds, log_odds], dim=-1))
        log_prior = [math.log(1 - self.prior), math.log(self.prior)]
        cost = torch.stack([bounds[..., k] - log_prior[k] for k in (0, 1)], dim=-1)
        unlabeled = (log_q.exp() * (cost + log_q)).sum(-1)
        own = (y < 0).long().unsqueeze(-1)
        labeled = self.eta * cost.gather(-1, own) - self.alpha * log_q.gather(-1, own)
        return masked_mean(unlabeled, y == 0) + masked_mean(labeled.squeeze(-1), y != 0)


def vae_loss(network, rows, y):
    """Mean bound of a batch whose rows are all taken as normal; one number per member."""
    noise = network.noise if network.training else None
    return network.bounds(rows, [0.0], noise).squeeze(-1).mean(-1)
