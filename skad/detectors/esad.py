"""ESAD: end-to-end semi-supervised anomaly detection (Huang et al., 2021)."""

from typing import Literal

import torch

from .._modules import ScoreInParts, code_width, make_decoder
from .._parameters import NonNegative
from ..base_deep import BalancedBatchesMixin, BaseDeepDetector

EPS = 1e-6  # keeps the norm of a code above 0, where it has no inverse and no gradient
NORM_ROWS = 1024  # rows whose norms are checked: all of them would take too long


class ESADNetwork(ScoreInParts):
    """Encode, decode and encode again; without a second encoder the first does both."""

    def __init__(self, encoder, decoder, second_encoder, standardized):
        super().__init__(2, center=False, scale=standardized)
        self.encoder, self.decoder, self.second_encoder = encoder, decoder, second_encoder

    def reconstruct(self, rows):
        """Map rows to code, reconstruction and the reconstruction's code."""
        code = self.encoder(rows)
        reconstruction = self.decoder(code)
        second = self.encoder if self.second_encoder is None else self.second_encoder
        return code, reconstruction, second(reconstruction)

    def encode(self, rows):
        """Second codes, whose norm is part of the score."""
        return self.reconstruct(rows)[2]

    def parts(self, rows):
        """Reconstruction error and norm of the second code, (..., n_rows, 2)."""
        _, reconstruction, second_code = self.reconstruct(rows)
        error = (reconstruction - rows).square().mean(-1)
        return torch.stack([error, code_norm(second_code)], dim=-1)


def code_norm(code):
    """Euclidean norm of each code."""
    return (code.square().sum(-1) + EPS).sqrt()


class ESAD(BalancedBatchesMixin, BaseDeepDetector):
    """End-to-end semi-supervised anomaly detection: encoder, decoder, encoder.

    A row is encoded, decoded, and its reconstruction encoded again. Unlabelled and normal rows
    are trained to be reconstructed well and to have a short second code, labelled anomalies to be
    reconstructed with noise and to have a long one. The anomaly score is the reconstruction error
    plus the length of the second code, which is also what `transform` gives.

    Parameters
    ----------
    lambda1 : float, default=1.0
        Weight of the second code's norm in the loss.
    lambda2 : float, default=1.0
        Weight of the distance between the two codes in the loss.
    noise : float, default=0.5
        Standard deviation of the normal noise on what labelled anomalies have to be reconstructed
        as, in units of the scaled columns.
    share_encoder : bool, default=False
        Whether one encoder does both encodings.
    score_type : {"sum", "standardized"}, default="sum"
        "sum" adds mean squared reconstruction error and norm as they are; "standardized" first
        divides each by its standard deviation over the training rows not labelled as anomalies.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    DeepSAD : Distance to a centre in latent space, without reconstruction.

    Notes
    -----
    A row x with code z, reconstruction r and second code s costs ``sum((r - x) ** 2) + lambda1 *
    ||s|| + lambda2 * mean((s - z) ** 2)``; for a labelled anomaly, x plus noise takes the place of
    x, and ``1 / ||s||`` that of ``||s||``. The score is ``mean((r - x) ** 2) + ||s||``.

    From the paper's abstract: encoder-decoder-encoder, the aims (mutual information of rows and
    codes, entropy of codes) and a constraint that ties the codes. From a public implementation in
    Julia (OutlierDetectionNetworks.jl) that cites the paper for them: loss, score, both lambdas at
    1. Ours: normal noise (the paper's is not known to us; scores hardly depend on it), two encoders
    (that implementation has one), ``||s|| = sqrt(sum(s ** 2) + 1e-6)``, balanced batches, several
    small networks, few steps (100, for images 600). Labelled normals count like unlabelled rows,
    but are drawn more often.

    References
    ----------
    .. [1] C. Huang, F. Ye, P. Zhao, Y. Zhang, Y. Wang, Q. Tian, "ESAD: End-to-end Semi-supervised
       Anomaly Detection", BMVC 2021, arXiv:2012.04905.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import ESAD
    >>> rng = np.random.RandomState(0)
    >>> X = np.r_[rng.randn(200, 2), rng.randn(10, 2) + 4]
    >>> y = np.zeros(210, dtype=int)  # unlabelled ...
    >>> y[-3:] = -1  # ... but for three known anomalies
    >>> det = ESAD(random_state=0).fit(X, y)
    >>> det.predict([[0.5, 0.5], [4.0, 4.0]])
    array([ 1, -1])
    """

    lambda1: NonNegative = 1.0
    lambda2: NonNegative = 1.0
    noise: NonNegative = 0.5
    share_encoder: bool = False
    score_type: Literal["sum", "standardized"] = "sum"
    batch_size = 64
    lr = 2e-3

    _auto_sizes = (64,), 32

    def _auto_steps(self, y):
        return 100 if self._image_shape is None else 600

    def _make_network(self, n_features, y):
        encoder = self._make_encoder(n_features)
        width = code_width(encoder, n_features)
        decoder = make_decoder(n_features, self._sizes()[0], width, self._image_shape)
        second_encoder = None if self.share_encoder else self._make_encoder(n_features)
        return ESADNetwork(encoder, decoder, second_encoder, self.score_type == "standardized")

    def _loss(self, network, rows, y):
        code, reconstruction, second_code = network.reconstruct(rows)
        anomaly = y < 0
        noise = self.noise * network.noise.normal(*rows.shape[1:])
        target = torch.where(anomaly.unsqueeze(-1), rows + noise, rows)
        error = (reconstruction - target).square().sum(-1)
        norm = code_norm(second_code)
        norm = torch.where(anomaly, 1 / norm, norm)
        association = (second_code - code).square().mean(-1)
        return (error + self.lambda1 * norm + self.lambda2 * association).mean(-1)

    def _check_fit(self, X, usual):
        norm = self._apply(self.scoring_module_.parts, X[:NORM_ROWS])[..., 1]
        if norm.max() < 10 * EPS**0.5:
            self._warn_of_failure(
                "has shrunk all second codes to the origin: scores are reconstruction errors "
                "alone. Try a smaller lambda1."
            )
