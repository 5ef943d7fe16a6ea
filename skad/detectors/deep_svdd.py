"""Deep SVDD (Ruff et al., 2018)."""

from numbers import Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from skorch.callbacks import Callback
from torch import nn

from .._docs import document
from ..base_deep import MeanScore
from ._hypersphere import HypersphereDetector

REFERENCE_ROWS = 4096
WARM_UP = 0.2  # share of the epochs with a radius of 0: ten epochs would outlast a short budget


class SoftBoundaryLoss(nn.Module):
    """Squared radius plus the mean violation of it, over nu; the radius is set from outside."""

    def __init__(self, nu, n_members):
        super().__init__()
        self.nu = nu
        self.register_buffer("squared_radius", torch.zeros(n_members))

    def forward(self, d, y):
        """Loss from squared distances (n_members, n_rows); one number per member."""
        outside = (d - self.squared_radius.unsqueeze(-1)).clamp(min=0)
        return self.squared_radius + outside.mean(-1) / self.nu


class RadiusUpdate(Callback):
    """Sets each member's radius to the (1 - nu) quantile of its distances to reference rows."""

    def __init__(self, reference):
        self.reference = reference

    def on_train_begin(self, net, X=None, **kwargs):
        """Learn how many epochs there will be."""
        self.warm_up_ = WARM_UP * X.n_epochs

    def on_epoch_begin(self, net, **kwargs):
        """Renew the radius, once the warm-up is over."""
        if len(net.history) > self.warm_up_:
            net.module_.eval()
            with torch.no_grad():
                d = net.module_(self.reference)
            net.criterion_.squared_radius = d.quantile(1 - net.criterion_.nu, dim=-1)


@document
class DeepSVDD(HypersphereDetector):
    """Deep support vector data description: draws all rows towards a centre in latent space.

    The squared distance of a row's code to a fixed centre is its anomaly score. Rows labelled as
    anomalies are left out, before anything else; rows labelled as normal join the unlabelled.

    Parameters
    ----------
    objective : {"one-class", "soft-boundary"}, default="one-class"
        "one-class" makes the mean squared distance small. "soft-boundary" makes the squared
        radius of a sphere, plus the mean of what lies outside it over `nu`, small.
    nu : float in (0, 1], default=0.1
        Share of rows that may lie outside the soft boundary.
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
    radius_ : ndarray of shape (n_estimators,)
        Each member's radius with the soft boundary.
    {attributes}

    See Also
    --------
    DeepSAD : Learns from labelled anomalies too; without labels and with ``loss="inverse"`` it is
        this detector's one-class objective.

    Notes
    -----
    The radius is not trained. The public code renews it after each batch, from that batch, once
    ten epochs are over; here it is renewed at each epoch once a fifth of the budget is spent, from
    up to 4,096 rows drawn once, because a batch's quantile is noisy and budgets are short.
    Gradients are clipped to norm 10 per network.

    Few steps are the default because more of them measured worse: nothing but the budget keeps
    the network from drawing anomalies to the centre as well.

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

    _parameter_constraints: dict = {
        **HypersphereDetector._parameter_constraints,
        "objective": [StrOptions({"one-class", "soft-boundary"})],
        "nu": [Interval(Real, 0, 1, closed="right")],
    }
    _drops_anomalies = True

    def __init__(
        self,
        *,
        objective="one-class",
        nu=0.1,
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
        self.objective = objective
        self.nu = nu
        self.pretrain_steps = pretrain_steps
        self.batch_norm = batch_norm

    def _make_criterion(self, network, rows, y):
        self._prepare(network, rows, rows)
        if self.objective == "one-class":
            return MeanScore()
        return SoftBoundaryLoss(self.nu, self.n_estimators).to(rows.device)

    def _train(self, network, criterion, rows, y, n_steps, callbacks=()):
        soft = isinstance(criterion, SoftBoundaryLoss)
        if soft:
            callbacks = [RadiusUpdate(self._reference(rows)), *callbacks]
        net = super()._train(network, criterion, rows, y, n_steps, callbacks)
        if soft:
            self.radius_ = criterion.squared_radius.sqrt().cpu().numpy()
        return net

    def _reference(self, rows):
        """Draw the rows that a radius is read off, for each member from its own seed."""
        n_rows = min(len(rows), REFERENCE_ROWS)
        generators = [np.random.default_rng(seed) for seed in self.member_seeds_]
        return rows[np.stack([g.choice(len(rows), n_rows, replace=False) for g in generators])]
