"""What Deep SAD and Deep SVDD share: distance to a fixed centre, and how the centre is found."""

from numbers import Integral

import torch
from sklearn.utils._param_validation import Interval
from torch import nn

from .._modules import ReconstructionError
from ..base_deep import BaseDeepDetector, MeanScore

MIN_CENTER = 0.1  # a centre near the origin could be met by shrinking all weights


class DistanceToCenter(nn.Module):
    """Squared distance of the code to a centre, which is a buffer: it is never trained."""

    member_axis = True

    def __init__(self, encoder, decoder=None):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.register_buffer("center", torch.zeros(1))  # until it is found in the codes

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        return (self.encoder(rows) - self.center.unsqueeze(-2)).square().sum(-1)


class HypersphereDetector(BaseDeepDetector):
    """Base of the detectors that score by distance to a centre in latent space."""

    _parameter_constraints: dict = {
        **BaseDeepDetector._parameter_constraints,
        "batch_norm": ["boolean"],
        "pretrain_steps": [Interval(Integral, 0, None, closed="left")],
    }

    def _auto_steps(self, y):
        # Measured: without labelled anomalies more steps only draw everything to the centre.
        return 100 if -1 in y else 20

    def _make_network(self, n_features):
        # Without biases, or a constant network with the centre as its output could have zero loss.
        encoder = self._make_encoder(n_features, bias=False, batch_norm=self.batch_norm)
        decoder = None
        if self.pretrain_steps:
            decoder = self._make_decoder(n_features, bias=False, batch_norm=self.batch_norm)
        return DistanceToCenter(encoder, decoder)

    def _prepare(self, network, rows, center_rows):
        """Pretrain the encoder as an autoencoder, if asked for, and fix the centre."""
        if self.pretrain_steps:
            autoencoder = ReconstructionError(network.encoder, network.decoder)
            everything = torch.zeros(len(rows), dtype=torch.int8, device=rows.device)
            self._train(autoencoder, MeanScore(), rows, everything, self.pretrain_steps)
            network.decoder = None
        network.eval()
        with torch.no_grad():
            total = sum(
                network.encoder(chunk.expand(self.n_estimators, -1, -1)).double().sum(1)
                for chunk in center_rows.split(1024)
            )
        center = total / len(center_rows)
        sign = torch.where(center < 0, -1.0, 1.0)
        network.center = (sign * center.abs().clamp(min=MIN_CENTER)).float()
        self.center_ = network.center.cpu().numpy()
