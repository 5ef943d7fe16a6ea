"""Deep SVDD (Ruff et al., 2018)."""

from numbers import Real
from typing import Annotated, Literal

import numpy as np
import torch
from skorch.callbacks import Callback

from .._parameters import Number
from ._hypersphere import HypersphereDetector

REFERENCE_ROWS = 4096
WARM_UP = 0.2  # share of epochs with a radius of 0; ten, as in the code, exceed a short budget


class RadiusUpdate(Callback):
    """Sets each member's radius to the (1 - nu) quantile of its distances to reference rows."""

    def __init__(self, nu, seeds):
        self.nu, self.seeds = nu, seeds

    def on_train_begin(self, net, X=None, **kwargs):
        """Draw the rows that the radius is read off, for each member from its own seed."""
        self.warm_up_ = WARM_UP * X.n_epochs
        n_rows = min(len(X.X), REFERENCE_ROWS)
        generators = [np.random.default_rng(seed) for seed in self.seeds]
        picks = [g.choice(len(X.X), n_rows, replace=False) for g in generators]
        self.reference_ = X.X[np.stack(picks)]

    def on_epoch_begin(self, net, **kwargs):
        """Renew the radius, once the warm-up is over."""
        if len(net.history) > self.warm_up_:
            net.module_.eval()
            with torch.no_grad():
                d = net.module_(self.reference_)
            net.module_.squared_radius = d.quantile(1 - self.nu, dim=-1)


class DeepSVDD(HypersphereDetector):
    """Deep support vector data description: pulls all rows towards a centre in latent space.

    The squared distance of a row's code to a fixed centre is its anomaly score. Rows labelled as
    anomalies are left out, before anything else; rows labelled as normal join the unlabelled.

    Parameters
    ----------
    objective : {"one-class", "soft-boundary"}, default="one-class"
        "one-class" makes the mean squared distance small. "soft-boundary" makes the squared
        radius of a sphere, plus the mean of what lies outside it over `nu`, small.
    nu : float in (0, 1], default=0.1
        Share of rows that may lie outside the soft boundary.
    {parameters}

    Attributes
    ----------
    radius_ : ndarray of shape (n_estimators,)
        Each member's radius with the soft boundary.
    {attributes}

    See Also
    --------
    DeepSAD : Learns from labelled anomalies too; without labels and with ``loss="inverse"`` it is
        this detector's one-class objective.

    Notes
    -----
    The radius is not trained. The public code updates it after each batch, from that batch, once
    ten epochs are over; here it is updated at each epoch once a fifth of the budget is spent, from
    up to 4,096 rows drawn once, because a batch's quantile is noisy and budgets are short.
    Gradients are clipped to norm 10 per network.

    Few steps are the default because more of them measured worse: nothing but the budget keeps
    the network from pulling anomalies to the centre as well.

    References
    ----------
    .. [1] L. Ruff et al., "Deep One-Class Classification", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import DeepSVDD
    >>> X = np.random.RandomState(0).randn(200, 3)
    >>> det = DeepSVDD(random_state=0).fit(X)
    >>> det.predict([[0.5, 0.5, 0.5], [6.0, 6.0, 6.0]])
    array([ 1, -1])
    """

    objective: Literal["one-class", "soft-boundary"] = "one-class"
    nu: Annotated[float, Number(Real, 0, 1, closed="right")] = 0.1

    _drops_anomalies = True

    def _prepare(self, network, rows, y):
        super()._prepare(network, rows, y)
        network.register_buffer("squared_radius", rows.new_zeros(self.n_estimators))

    def _loss(self, network, rows, y):
        d = network(rows)
        if self.objective == "one-class":
            return d.mean(-1)
        outside = (d - network.squared_radius.unsqueeze(-1)).clamp(min=0)
        return network.squared_radius + outside.mean(-1) / self.nu

    def _method_callbacks(self):
        soft = self.objective == "soft-boundary"
        return [RadiusUpdate(self.nu, self.member_seeds_)] if soft else []

    def _check_fit(self, X, usual):
        if self.objective == "soft-boundary":
            squared_radius = self.scoring_module_.network.squared_radius
            self.radius_ = squared_radius.sqrt().cpu().numpy()
