"""What Deep SAD and Deep SVDD share: distance to a fixed centre, and how the centre is found."""

from typing import Literal

import numpy as np
import torch

from .._modules import DetectorNetwork, ReconstructionError
from .._out_of_bag import MIN_LABELED, STEPS_IF_FEWER
from .._parameters import CountOrZero
from ..base_deep import BaseDeepDetector, mean_score

MIN_CENTER = 0.1  # a centre near the origin could be met by shrinking all weights


class DistanceToCenter(DetectorNetwork):
    """Squared distance of the code to a centre, which is a buffer: it is never trained."""

    def __init__(self, encoder, decoder=None):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("center", torch.zeros(1))  # until it is found in the codes

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        return (self.encoder(rows) - self.center.unsqueeze(-2)).square().sum(-1)


class HypersphereDetector(BaseDeepDetector):
    """Base of the detectors that score by distance to a centre in latent space.

    Parameters
    ----------
    pretrain_steps : int
        Gradient steps of an autoencoder that initialises the encoder, as in the paper.
    batch_norm : bool
        Batch normalisation (without parameters) after hidden layers, as in the paper's networks.
        Image networks always have it.
    decoder_output : {"linear", "sigmoid"}, default="linear"
        What the autoencoder of `pretrain_steps` ends in. The paper's is a sigmoid, for columns in
        [0, 1] and ``standardize=False``. For images it always is.

    Attributes
    ----------
    center_ : ndarray of shape (n_estimators, latent_dim)
        Each member's centre; every coordinate is at least 0.1 away from 0.
    """

    pretrain_steps: CountOrZero = 0
    batch_norm: bool = False
    decoder_output: Literal["linear", "sigmoid"] = "linear"
    lr = 5e-4

    def _auto_steps(self, y):
        # Measured: without labelled anomalies more steps only pull everything to the centre.
        if -1 not in y:
            return 20
        if self._image_shape is not None:
            return 600
        return STEPS_IF_FEWER if np.sum(y == -1) < MIN_LABELED else 100

    def _make_network(self, n_features, y):
        options = {"bias": self._has_biases(y), "batch_norm": self.batch_norm}
        encoder, decoder = self._make_encoder(n_features, **options), None
        if self.pretrain_steps:
            decoder = self._make_decoder(n_features, output=self.decoder_output, **options)
        return DistanceToCenter(encoder, decoder)

    def _has_biases(self, y):
        # With them a constant network with the centre as its output could have zero loss.
        return False

    def _prepare(self, network, rows, y):
        """Pretrain the encoder as an autoencoder, if asked for, and fix the centre."""
        if self.pretrain_steps:
            autoencoder = ReconstructionError(network.encoder, network.decoder)
            self._train(autoencoder, mean_score, rows, y, self.pretrain_steps)
            network.decoder = None
        rows = self._center_rows(*self._split(rows, y)[:2])
        network.eval()
        with torch.no_grad():
            total = sum(
                network.encoder(chunk.expand(self.n_estimators, -1, -1)).double().sum(1)
                for chunk in rows.split(1024)
            )
        center = total / len(rows)
        sign = torch.where(center < 0, -1.0, 1.0)
        network.center = (sign * center.abs().clamp(min=MIN_CENTER)).float()
        self.center_ = network.center.cpu().numpy()

    def _center_rows(self, rows, y):
        """Rows whose mean code is the centre."""
        return rows
