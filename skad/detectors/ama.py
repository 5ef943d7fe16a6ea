"""AMA, the adversarial mirrored autoencoder (Somepalli et al., 2021)."""

from typing import Literal

from .._parameters import Count
from ._gan_networks import make_critic
from ._mirrored_game import AMANetwork, MirroredGameDetector


class AMA(MirroredGameDetector):
    """Adversarial mirrored autoencoder: a critic compares a row with its reconstruction.

    An autoencoder is trained against a critic on pairs that tells (row, row) from (row,
    reconstruction), so that the reconstruction gets close in what the critic sees. For labelled
    anomalies the two sides are swapped: their reconstruction is to differ. Codes of normal rows
    are kept small, those of labelled anomalies large.

    Parameters
    ----------
    spectral_norm : bool, default=False
        Whether the critic's layers have spectral norm.
    critic_steps : int, default=1
        Steps of the critic per step of the autoencoder, on the same batch.
    score_type : {"combined", "gaussian", "distance", "reconstruction", "norm"}, default="combined"
        "gaussian" is the paper's: the L1 distance of the critic's features of the two pairs, then
        how far it is, on either side, from its mean over the training rows, labelled anomalies
        left out. "distance" is that distance itself, "reconstruction" the mean absolute error,
        "norm" the norm of the code; "combined" is the sum of the last two, each in units of its
        spread over the training rows.
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

    spectral_norm: bool = False
    critic_steps: Count = 1
    score_type: Literal["combined", "gaussian", "distance", "reconstruction", "norm"] = "combined"
    n_estimators = 3
    batch_size = 64

    _auto_sizes = (64, 32), 16

    def _auto_steps(self, y):
        return 200 if self._image_shape is None else 600

    def _make_network(self, n_features, y):
        autoencoder = self._make_autoencoder(n_features)
        shape = self._image_shape and (2 * self._image_shape[0], *self._image_shape[1:])
        hidden, _ = self._sizes()
        # No last bias: the game only sees differences of values.
        critic = make_critic(2 * n_features, hidden, shape, spectral=self.spectral_norm, bias=False)
        return AMANetwork(*autoencoder, critic, self.score_type)
