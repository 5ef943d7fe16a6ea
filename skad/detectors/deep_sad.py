"""Deep SAD (Ruff et al., 2020)."""

from numbers import Real
from typing import Annotated, Literal

import torch

from .._out_of_bag import OutOfBagMixin
from .._parameters import NonNegative, Number
from ..base_deep import BalancedBatchesMixin
from ._hypersphere import HypersphereDetector

EPS = 1e-6


def inverse_loss(d, y, eta):
    """Loss of each row as in the paper: distance, or its inverse for labelled anomalies."""
    return torch.where(y == 0, d, eta * (d + EPS) ** torch.where(y == 0, 1, y))


def hypersphere_loss(d, y, eta):
    """Loss of each row as a classifier's: P(normal) falls with the pseudo-Huber distance."""
    p = torch.sqrt(d + 1) - 1
    anomaly = -torch.log(-torch.expm1(-p - EPS))
    loss = torch.where(y < 0, anomaly, p)
    return torch.where(y == 0, loss, eta * loss)


ROW_LOSSES = {"inverse": inverse_loss, "hypersphere": hypersphere_loss}


class DeepSAD(OutOfBagMixin, BalancedBatchesMixin, HypersphereDetector):
    """Deep semi-supervised anomaly detection: normals near a centre, labelled anomalies far.

    An encoder pulls unlabelled and normal rows towards a fixed centre of its latent space and
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
    center : {"all", "normal"}, default="all"
        Rows whose mean initial code is the centre: all, or all but the labelled anomalies.
    bias : bool or "auto"
        Whether the encoder's layers have biases. Without them borders go through the mean of the
        table, which costs most where columns are few; with them a network may collapse onto the
        centre, unless labelled anomalies hold against it. "auto" gives tables biases if anomalies
        are labelled, but not with the paper's `loss`, pretraining or batch normalisation.
    mixup : float in [0, 1]
        Share of a batch's labelled anomalies that are replaced by a random point between two.
        Without `labeled_fraction` there is no such share.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    DeepSVDD : The unsupervised method behind it.

    Notes
    -----
    The paper's objective, with rows drawn uniformly, one network, pretraining and its network for
    tables of 10 to 100 columns in [0, 1] is ``DeepSAD(loss="inverse", labeled_fraction=None,
    n_estimators=1, hidden_layer_sizes=(32, 16), latent_dim=8, batch_norm=True, standardize=False,
    lr=1e-3, weight_decay=1e-6, decoder_output="sigmoid", pretrain_steps=100 * n // 128,
    max_steps=50 * n // 128)`` for n rows; its later learning rates are skorch's ``LRScheduler`` in
    `callbacks`. The defaults differ because with a dozen labelled anomalies a number of steps
    chosen by left-out rows, balanced batches, several networks, biases and mixup measured better.
    Gradients are clipped to norm 10 per network. Without labelled
    anomalies networks have no biases, against a collapse onto the centre; a `module` of your own
    should have none either then.

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

    loss: Literal["hypersphere", "inverse"] = "hypersphere"
    eta: NonNegative = 1.0
    center: Literal["all", "normal"] = "all"
    bias: bool | Literal["auto"] = "auto"
    mixup: Annotated[float, Number(Real, 0, 1, closed="both")] = 0.5

    def _has_biases(self, y):
        if self.bias != "auto":
            return self.bias
        of_the_paper = self.loss == "inverse" or self.pretrain_steps > 0 or self.batch_norm
        return not of_the_paper and self.image_shape is None and -1 in y

    def _center_rows(self, rows, y):
        return rows if self.center == "all" else rows[y >= 0]

    def _loss(self, network, rows, y):
        return ROW_LOSSES[self.loss](network(rows), y, self.eta).mean(-1)
