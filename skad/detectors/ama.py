"""AMA, the adversarial mirrored autoencoder (Somepalli et al., 2021)."""

from numbers import Integral, Real

import torch
from sklearn.utils._param_validation import Interval, StrOptions

from .._adversarial import AdversarialDetector
from .._docs import document
from .._gan_networks import make_critic
from .._labels import batch_strata
from .._random import MemberNoise
from ._mirrored_game import SCORE_PARTS, AMALoss, AMANetwork


@document
class AMA(AdversarialDetector):
    """Adversarial mirrored autoencoder: a critic compares a row with its reconstruction.

    An autoencoder is trained against a critic on pairs that tells (row, row) from (row,
    reconstruction), so that the reconstruction gets close in what the critic sees. For labelled
    anomalies the two sides are swapped: their reconstruction is to differ. Codes of normal rows
    are kept small, those of labelled anomalies large.

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
    spectral_norm : bool, default=False
        Whether the critic's layers have spectral norm.
    synthetic_share : float in [0, 1), default=0.0
        Share of the normal rows that are replaced, after a tenth of the steps, by synthetic
        anomalies: decoded after their code has been shrunk by a random factor below 0.5.
    critic_steps : int, default=1
        Steps of the critic per step of the autoencoder, on the same batch.
    labeled_fraction : float in (0, 1) or None, default=0.1
        Share of each batch drawn from the labelled rows, half of it from each kind when both
        anomalies and normals are labelled. None draws all rows alike, as in the paper.
    score_type : {"combined", "gaussian", "distance", "reconstruction", "norm"}, default="combined"
        "gaussian" is the paper's: the L1 distance of the critic's features of the two pairs, then
        how far it is, on either side, from its mean over the training rows, labelled anomalies
        left out. "distance" is that distance itself, "reconstruction" the mean absolute error,
        "norm" the norm of the code; "combined" is the sum of the last two, each in units of its
        spread over the training rows.
    critic_optimizer : class or None, default=None
        The critic's optimizer; None takes `optimizer`. Settings go in by
        ``functools.partial(torch.optim.Adam, betas=(0, 0.9))``, here as for `optimizer`.
    critic_lr : float or None, default=None
        The critic's learning rate; None takes `lr`.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    GANomaly : Another adversarial autoencoder, which learns from normal rows alone.

    Notes
    -----
    From the paper: the mirrored game with the opposite sign for anomalies, the norm of the codes,
    simplex interpolation, synthetic anomalies, the score "gaussian". From its public code, for
    CIFAR-10: spectral norm, and the weights below. Ours: the margin, the repulsion of anomalous
    codes, which costs -log(1 - exp(-norm)), the reconstruction error, balanced batches, the score
    "combined", the networks for tables, several members. That code also stops the gradient of the
    mixtures before it reaches the autoencoder and takes the gradient penalty's norm per pixel; here
    it passes, and the norm is the whole pair's.

    The paper's setting is ``AMA(margin=None, repel=False, reconstruction_weight=0,
    simplex_weight=0.2, critic_steps=5, spectral_norm=True, synthetic_share=0.1,
    labeled_fraction=None, score_type="gaussian", n_estimators=1, lr=3e-4, batch_size=256,
    optimizer=partial(torch.optim.Adam, betas=(0.5, 0.9)),
    critic_optimizer=partial(torch.optim.Adam, betas=(0.0, 0.9)))``, with `max_steps` for 100
    epochs. The defaults differ because on tables with few labels the repulsion and the score
    "combined" measured far better.

    References
    ----------
    .. [1] G. Somepalli et al., "Unsupervised Anomaly Detection with Adversarial Mirrored
       AutoEncoders", UAI 2021, arXiv:2003.10713.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import AMA
    >>> rng = np.random.RandomState(0)
    >>> X = np.r_[rng.randn(200, 2), rng.randn(10, 2) + 4]
    >>> y = np.zeros(210, dtype=int)  # unlabelled ...
    >>> y[-3:] = -1  # ... but for three known anomalies
    >>> det = AMA(n_estimators=1, random_state=0).fit(X, y)
    >>> det.predict([[0.5, 0.5], [4.0, 4.0]])
    array([ 1, -1])
    """

    _parameter_constraints: dict = {
        **AdversarialDetector._parameter_constraints,
        "anomaly_weight": [Interval(Real, 0, None, closed="left")],
        "margin": [Interval(Real, 0, None, closed="left"), None],
        "repel": ["boolean"],
        "latent_weight": [Interval(Real, 0, None, closed="left")],
        "reconstruction_weight": [Interval(Real, 0, None, closed="left")],
        "simplex_weight": [Interval(Real, 0, None, closed="left")],
        "penalty_weight": [Interval(Real, 0, None, closed="left")],
        "spectral_norm": ["boolean"],
        "synthetic_share": [Interval(Real, 0, 1, closed="left")],
        "critic_steps": [Interval(Integral, 1, None, closed="left")],
        "labeled_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "score_type": [StrOptions(set(SCORE_PARTS))],
    }

    _auto_sizes = (64, 32), 16
    _auto_image_sizes = {True: ((16, 32), 32), False: ((32, 64, 128), 64)}

    def __init__(
        self,
        *,
        anomaly_weight=1.0,
        margin=1.0,
        repel=True,
        latent_weight=1.0,
        reconstruction_weight=10.0,
        simplex_weight=0.0,
        penalty_weight=10.0,
        spectral_norm=False,
        synthetic_share=0.0,
        critic_steps=1,
        labeled_fraction=0.1,
        score_type="combined",
        critic_optimizer=None,
        critic_lr=None,
        hidden_layer_sizes="auto",
        latent_dim="auto",
        module=None,
        image_shape=None,
        n_estimators=3,
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
        self.anomaly_weight = anomaly_weight
        self.margin = margin
        self.repel = repel
        self.latent_weight = latent_weight
        self.reconstruction_weight = reconstruction_weight
        self.simplex_weight = simplex_weight
        self.penalty_weight = penalty_weight
        self.spectral_norm = spectral_norm
        self.synthetic_share = synthetic_share
        self.critic_steps = critic_steps
        self.labeled_fraction = labeled_fraction
        self.score_type = score_type

    def _strata(self, y):
        return batch_strata(y, self.labeled_fraction)

    def _auto_steps(self, y):
        return 200 if self.image_shape is None else 600

    def _make_network(self, n_features):
        autoencoder = self._make_autoencoder(n_features)
        shape = self.image_shape and (2 * self.image_shape[0], *self.image_shape[1:])
        hidden, _ = self._sizes()
        # No last bias: the game only sees differences of values.
        critic = make_critic(2 * n_features, hidden, shape, spectral=self.spectral_norm, bias=False)
        return AMANetwork(*autoencoder, critic, self.score_type)

    def _make_criterion(self, network, X, y):
        return AMALoss(
            MemberNoise(self.member_seeds_, X.device),
            anomaly_weight=self.anomaly_weight,
            margin=self.margin,
            repel=self.repel,
            latent_weight=self.latent_weight,
            reconstruction_weight=self.reconstruction_weight,
            simplex_weight=self.simplex_weight,
            penalty_weight=self.penalty_weight,
            synthetic_share=self.synthetic_share,
            synthetic_from=self._n_steps(y) // 10,
        )
