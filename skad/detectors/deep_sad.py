"""Deep SAD (Ruff et al., 2020)."""

import torch
from torch import nn

from ..base import BaseDeepDetector
from .._labels import batch_strata
from .._modules import make_mlp


class DistanceToCenter(nn.Module):
    member_axis = True

    def __init__(self, encoder, latent_dim):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("center", torch.zeros(latent_dim))

    def forward(self, rows):
        return (self.encoder(rows) - self.center.unsqueeze(-2)).square().sum(-1)


class DeepSADLoss(nn.Module):
    def __init__(self, loss, eta, eps=1e-6):
        super().__init__()
        self.loss, self.eta, self.eps = loss, eta, eps

    def forward(self, d, y):
        if self.loss == "inverse":
            normal = d
            anomalous = 1 / (d + self.eps)
        else:
            normal = torch.sqrt(d + 1) - 1
            anomalous = -torch.log(-torch.expm1(-normal - self.eps))
        losses = torch.where(y < 0, anomalous, normal)
        return torch.where(y == 0, losses, self.eta * losses).mean(-1)


class DeepSAD(BaseDeepDetector):
    def __init__(self, loss="hypersphere", eta=1.0, labeled_fraction=0.5, hidden_layer_sizes=(128,), latent_dim=64, center_rule="all", module=None, image_shape=None, n_estimators=8, max_steps=100, batch_size=128, lr=5e-4, weight_decay=0.0, optimizer=torch.optim.Adam, contamination=0.1, standardize=True, callbacks=None, validation_fraction=None, device="cpu", random_state=None, verbose=0, act="lrelu", comb="std"):
        for k, v in list(locals().items()):
            if k not in ("self", "__class__"): setattr(self, k, v)
    def _strata(self, y): return batch_strata(y, self.labeled_fraction)
    def _make_network(self, n):
        return DistanceToCenter(make_mlp([n, *self.hidden_layer_sizes, self.latent_dim]), self.latent_dim)
    def _make_criterion(self, network, X, y):
        with torch.no_grad():
            rows = X if self.center_rule == "all" else X[y >= 0]
            c = torch.stack([e for e in network.encoder(rows.expand(self.n_estimators, -1, -1)).double().mean(1)])
            if self.center_rule=="zero": c=c*0
            else: c = torch.where(c.abs() < 0.1, torch.where(c < 0, -0.1, 0.1), c)
            network.center.copy_(c)
        return DeepSADLoss(self.loss, self.eta)
    def _combine(self, raw):
        if self.comb == "std": return -((raw - self._location) / self._spread).mean(axis=0)
        if self.comb == "sqrt":
            r = np.sqrt(raw + 1) - 1
        elif self.comb=="dist": r=np.sqrt(raw)
        elif self.comb=="mean": r = raw
        elif self.comb=="median": r = raw/(self._location+1e-12)
        elif self.comb=="log": r = np.log(raw/(self._location+1e-12)+1e-12)
        elif self.comb=="logp": r = np.log1p(raw/(self._location+1e-12))
        return -r.mean(0)
import numpy as np
