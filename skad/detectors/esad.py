"""ESAD: end-to-end semi-supervised anomaly detection (Huang et al., 2021)."""

import warnings
from numbers import Real

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from .._docs import document
from .._labels import batch_strata
from .._modules import code_width, make_decoder
from .._random import MemberNoise
from ..base_deep import SCORE_CHUNK, BaseDeepDetector

EPS = 1e-6  # keeps the norm of a code from 0, where neither its inverse nor its gradient exists


class EncoderDecoderEncoder(nn.Module):
    """Encode, decode and encode again; without a second encoder the first does both."""

    member_axis = True

    def __init__(self, encoder, decoder, second_encoder=None):
        super().__init__()
        self.encoder, self.decoder, self.second_encoder = encoder, decoder, second_encoder

    def forward(self, rows):
        """Return rows, reconstruction (..., n_rows, n_features), and codes of both."""
        code = self.encoder(rows)
        reconstruction = self.decoder(code)
        second = self.encoder if self.second_encoder is None else self.second_encoder
        return rows, reconstruction, code, second(reconstruction)


def code_norm(code):
    """Euclidean norm of each code."""
    return (code.square().sum(-1) + EPS).sqrt()


class ESADLoss(nn.Module):
    """Mean loss over rows; labelled anomalies get a noisy target and the inverse norm."""

    def __init__(self, lambda1, lambda2, noise, member_noise):
        super().__init__()
        self.lambda1, self.lambda2 = lambda1, lambda2
        self.noise, self.member_noise = noise, member_noise

    def forward(self, output, y):
        """Average the rows' losses; one number per member."""
        rows, reconstruction, code, second_code = output
        anomaly = y < 0
        noise = self.noise * self.member_noise.normal(*rows.shape[1:])
        target = torch.where(anomaly.unsqueeze(-1), rows + noise, rows)
        error = (reconstruction - target).square().sum(-1)
        norm = code_norm(second_code)
        norm = torch.where(anomaly, 1 / norm, norm)
        association = (second_code - code).square().mean(-1)
        return (error + self.lambda1 * norm + self.lambda2 * association).mean(-1)


@document
class ESAD(BaseDeepDetector):
    """End-to-end semi-supervised anomaly detection: encoder, decoder, encoder.

    A row is encoded, decoded, and its reconstruction encoded again. Unlabelled and normal rows
    shall be reconstructed well and have a short second code; labelled anomalies shall come out
    noisy and have a long one. The anomaly score is the reconstruction error plus the length of the
    second code, which is also what `transform` gives.

    Parameters
    ----------
    lambda1 : float, default=1.0
        Weight of the second code's norm in the loss.
    lambda2 : float, default=1.0
        Weight of the distance between the two codes in the loss.
    noise : float, default=0.5
        Standard deviation of the normal noise on what labelled anomalies have to be reconstructed
        as, in units of the scaled columns.
    labeled_fraction : float in (0, 1) or None, default=0.5
        Share of each batch drawn from the labelled rows, half of it from each kind when both
        anomalies and normals are labelled. None draws all rows alike.
    share_encoder : bool, default=False
        Whether one encoder does both encodings.
    score_type : {"sum", "standardized"}, default="sum"
        "sum" adds mean squared reconstruction error and norm as they are; "standardized" first
        divides each by its standard deviation over (up to 1024) rows not labelled as anomalies.
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
    only oftener in a batch.

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

    _parameter_constraints: dict = {
        **BaseDeepDetector._parameter_constraints,
        "lambda1": [Interval(Real, 0, None, closed="left")],
        "lambda2": [Interval(Real, 0, None, closed="left")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "labeled_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "share_encoder": ["boolean"],
        "score_type": [StrOptions({"sum", "standardized"})],
    }

    _auto_sizes = (64,), 32

    def __init__(
        self,
        *,
        lambda1=1.0,
        lambda2=1.0,
        noise=0.5,
        labeled_fraction=0.5,
        share_encoder=False,
        score_type="sum",
        hidden_layer_sizes="auto",
        latent_dim="auto",
        module=None,
        image_shape=None,
        n_estimators=8,
        max_steps="auto",
        batch_size=64,
        lr=2e-3,
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
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.noise = noise
        self.labeled_fraction = labeled_fraction
        self.share_encoder = share_encoder
        self.score_type = score_type

    def _auto_steps(self, y):
        return 100 if self.image_shape is None else 600

    def _strata(self, y):
        return batch_strata(y, self.labeled_fraction)

    def _make_network(self, n_features):
        encoder = self._make_encoder(n_features)
        width = code_width(encoder, n_features)
        decoder = make_decoder(n_features, self._sizes()[0], width, self.image_shape)
        second_encoder = None if self.share_encoder else self._make_encoder(n_features)
        return EncoderDecoderEncoder(encoder, decoder, second_encoder)

    def _make_criterion(self, network, rows, y):
        noise = MemberNoise(self.member_seeds_, rows.device)
        return ESADLoss(self.lambda1, self.lambda2, self.noise, noise)

    def _encode(self, rows):
        return self.network_(rows)[3]

    def _score_parts(self, rows):
        """Reconstruction error and norm of the second code, (n_members, n_rows, 2)."""
        rows, reconstruction, _, second_code = self.network_(rows)
        error = (reconstruction - rows).square().mean(-1)
        return torch.stack([error, code_norm(second_code)], dim=-1)

    def _calibrate(self, X, y):
        usual = X[y != -1]
        sample = usual[:: -(-len(usual) // SCORE_CHUNK)]  # all rows would double a long pass
        parts = self._apply(self._score_parts, sample)
        spread = parts.std(axis=1, keepdims=True)
        standardized = self.score_type == "standardized"
        self._part_spread = np.where(standardized & (spread > 0), spread, 1.0)
        if parts[..., 1].max() < 10 * EPS**0.5:
            warnings.warn(
                "ESAD's second codes have all shrunk to the origin: scores are reconstruction "
                "errors alone. Try a smaller lambda1.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return super()._calibrate(X, y)

    def _member_scores(self, X):
        return (self._apply(self._score_parts, X) / self._part_spread).sum(axis=-1)
