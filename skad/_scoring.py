"""The fitted score as one module: raw rows in, `score_samples` out."""

import copy

import numpy as np
import torch
from torch import nn

from ._modules import convolve_in_float32, unstack_vmapped

CHUNK = 1024  # rows that are converted and scored at once


class ScoringModule(nn.Module):
    """Maps raw rows to scores: the higher, the more normal.

    Scaling, the members' networks, each member's location and spread on the training rows, the
    mean over members and the sign are all in here, as parameters and buffers. Calls change
    nothing, so that the module can be shared by threads, differentiated, exported and moved.

    Parameters
    ----------
    scaler : nn.Module
        From raw rows to scaled rows.
    network : nn.Module
        From scaled rows (n_members, n_rows, n_features) to anomaly scores (n_members, n_rows).
    n_members : int
        Length of the member axis.
    """

    def __init__(self, scaler, network, n_members):
        super().__init__()
        self.scaler = scaler
        self.network = unstack_vmapped(network)
        self.register_buffer("location", torch.zeros(n_members, 1))
        self.register_buffer("spread", torch.ones(n_members, 1))
        self.eval().double().requires_grad_(False)
        self.convolves = convolve_in_float32(self.network)

    def forward(self, rows):
        """Map rows (n_rows, n_features) to scores (n_rows,)."""
        return self.combine(self.member_scores(rows))

    def member_scores(self, rows):
        """Anomaly scores as the method defines them, (n_members, n_rows)."""
        return self.network(self._scale(rows))

    def encode(self, rows):
        """Codes of rows, the members' side by side, (n_rows, n_members * latent_dim)."""
        return self.network.encode(self._scale(rows)).transpose(0, 1).flatten(1)

    def parts(self, rows):
        """Parts of the anomaly score, (n_rows, n_members, n_parts), if it has any."""
        return self.network.parts(self._scale(rows)).transpose(0, 1)

    def fit_location_and_spread(self, member_scores):
        """Learn each member's median and standard deviation over usual rows."""
        raw = member_scores.numpy()
        spread = raw.std(axis=1, keepdims=True)
        self.location = torch.from_numpy(np.median(raw, axis=1, keepdims=True)).to(self.location)
        self.spread = torch.from_numpy(np.where(spread > 0, spread, 1.0)).to(self.spread)

    def combine(self, member_scores):
        """Mean over members, each in units of its own spread; the one change of sign."""
        standardised = (member_scores - self.location) / self.spread
        # Added one after the other: a row's sum then does not depend on the number of rows.
        return -sum(standardised.unbind()) / len(standardised)

    def _scale(self, rows):
        return self.scaler(rows).expand(len(self.location), -1, -1)
