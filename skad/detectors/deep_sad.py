"""Deep SAD (Ruff et al., 2020)."""

from numbers import Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from .._docs import document
from .._labels import batch_strata
from ._hypersphere import HypersphereDetector

EPS = 1e-6


def inverse_loss(d, y, eta):
    """Loss of each row as in the paper: distance, or its inverse for labelled anomalies."""
    return torch.where(y == 0, d, eta * (d + EPS) ** torch.where(y == 0, 1, y))


def hypersphere_loss(d, y, eta):
    """Loss of each row as a classifier's: P(normal) falls with the pseudo-Huber distance."""
    p = torch.sqrt(d + 1) - 1
    anomaly = -torch.log(-torch.expm1(-p - EPS))
    return torch.where(y == 0, 1.0, eta) * torch.where(y < 0, anomaly, p)


class DeepSADLoss(nn.Module):
    """Mean loss over rows, from squared distances and labels of shape (..., n_rows)."""

    def __init__(self, loss, eta):
        super().__init__()
        self.row_loss = {"inverse": inverse_loss, "hypersphere": hypersphere_loss}[loss]
        self.eta = eta

    def forward(self, d, y):
        """Average the rows' losses; one number per member."""
        return self.row_loss(d, y, self.eta).mean(-1)


@document
class DeepSAD(HypersphereDetector):
    """Deep semi-supervised anomaly detection: normals near a centre, labelled anomalies far.

    An encoder draws unlabelled and normal rows towards a fixed centre of its latent space and
    pushes labelled anomalies away from it; the squared distance to the centre is the anomaly
    score. Without labels it is a one-class Deep SVDD.

    Parameters
    ----------
    loss : {"hypersphere", "inverse"}, default="hypersphere"
        What a row at squared distance d costs. "inverse" is the paper's: d, and 1 / d for a
        labelled anomaly. "hypersphere" is a later form by the same authors: with p = sqrt(d + 1)
        - 1, it is p, and -log(1 - exp(-p)) for a labelled anomaly; better when labels are few.
    eta : float, default=1.0
        Weight of the labelled rows' losses.
    labeled_fraction : float in (0, 1) or None, default=0.5
        Share of each batch drawn from the labelled rows, half of it from each kind when both
        anomalies and normals are labelled. None draws all rows alike, as in the paper.
    center : {"all", "normal"}, default="all"
        Rows whose mean initial code is the centre: all, or all but the labelled anomalies.
    pretrain_steps : int, default=0
        Gradient steps of an autoencoder that initialises the encoder, as in the paper.
    batch_norm : bool, default=False
        Batch normalisation (without parameters) behind hidden layers, as in the paper's networks.
        Image networks always have it.
    {parameters}

    Attributes
    ----------
    center_ : ndarray of shape (n_estimators, latent_dim)
        Each member's centre; no coordinate is nearer to 0 than 0.1.
    {attributes}

    See Also
    --------
    DeepSVDD : The unsupervised method behind it.

    Notes
    -----
    The paper's objective, with rows drawn uniformly, one network, pretraining and its network for
    tables of 10 to 100 columns is ``DeepSAD(loss="inverse", labeled_fraction=None, n_estimators=1,
    hidden_layer_sizes=(32, 16), latent_dim=8, batch_norm=True, lr=1e-3, weight_decay=1e-6,
    pretrain_steps=100 * n // 128, max_steps=50 * n // 128)`` for n rows; its later learning rates
    are skorch's ``LRScheduler`` in `callbacks`. The defaults differ because with a dozen labelled
    anomalies few steps, balanced batches and several networks measured better. Gradients are
    clipped to norm 10 per network. Networks have no biases, against a collapse onto the centre; a
    `module` of your own should have none either.

    References
    ----------
    .. [1] L. Ruff et al., "Deep Semi-Supervised Anomaly Detection", ICLR 2020, arXiv:1906.02694.
    .. [2] L. Ruff et al., "Rethinking Assumptions in Deep Anomaly Detection", 2021,
       arXiv:2006.00339 (the hypersphere classifier's loss).

    Examples
    --------
    >>> import numpy as np
    >>> from skad import DeepSAD
    >>> rng = np.random.RandomState(0)
    >>> X = np.r_[rng.randn(200, 2), rng.randn(10, 2) + 4]
    >>> y = np.zeros(210, dtype=int)  # unlabelled ...
    >>> y[-3:] = -1  # ... but for three known anomalies
    >>> det = DeepSAD(random_state=0).fit(X, y)
    >>> det.predict([[0.5, 0.5], [4.0, 4.0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **HypersphereDetector._parameter_constraints,
        "loss": [StrOptions({"hypersphere", "inverse"})],
        "eta": [Interval(Real, 0, None, closed="left")],
        "labeled_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "center": [StrOptions({"all", "normal"})],
    }

    def __init__(
        self,
        *,
        loss="hypersphere",
        eta=1.0,
        labeled_fraction=0.5,
        center="all",
        pretrain_steps=0,
        batch_norm=False,
        hidden_layer_sizes="auto",
        latent_dim="auto",
        module=None,
        image_shape=None,
        n_estimators=8,
        max_steps="auto",
        batch_size=128,
        lr=5e-4,
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
        self.loss = loss
        self.eta = eta
        self.labeled_fraction = labeled_fraction
        self.center = center
        self.pretrain_steps = pretrain_steps
        self.batch_norm = batch_norm

    def _strata(self, y):
        return batch_strata(y, self.labeled_fraction)

    def _make_criterion(self, network, rows, y):
        self._prepare(network, rows, rows if self.center == "all" else rows[y >= 0])
        return DeepSADLoss(self.loss, self.eta)
