"""The fitted score as one module: raw rows in, `score_samples` out."""

import warnings

import numpy as np
import torch
from torch import nn

from ._members import VmappedMembers

# Rows that go through the networks at once. The number is fixed, because rounding depends on the
# shape of a matrix product: so a row has the same score in every batch. It is small, so that one
# row is fast, and a multiple of the widest vector register (`VECTOR` numbers), because how the
# numbers that do not fill a register are rounded may depend on a row's place.
BLOCK = 32
GPU_BLOCK = 8192
VECTOR = 16


class ScoringModule(nn.Module):
    """Maps raw rows to scores: the higher, the more normal.

    Scaling, the members' networks, each member's location and spread on the training rows, the
    mean over members and the sign are all in here, as parameters and buffers. Networks compute in
    float32, as they were trained, the rest in float64 (`double` and `float` make both the same).
    Calls change nothing, so the module can be shared by threads, differentiated, exported, moved.

    Parameters
    ----------
    scaler : nn.Module
        From raw rows to scaled rows, elementwise.
    network : DetectorNetwork
        Stacked, from scaled rows (n_members, n_rows, n_features) to anomaly scores.
    n_members : int
        Length of the member axis.
    """

    def __init__(self, scaler, network, n_members):
        super().__init__()
        self.scaler = scaler
        self.network = for_scoring(network)
        # Its dtype is the one that networks compute in.
        self.register_buffer("unit", torch.ones((), dtype=torch.float32))
        self.register_buffer("location", torch.zeros(n_members, 1, dtype=torch.float64))
        self.register_buffer("spread", torch.ones(n_members, 1, dtype=torch.float64))
        self.gpu_block = GPU_BLOCK
        self.eval().requires_grad_(False)

    def forward(self, rows):
        """Map rows (n_rows, n_features) to scores (n_rows,)."""
        return self.combine(self.member_scores(rows))

    def member_scores(self, rows):
        """Anomaly scores as the method defines them, (n_members, n_rows)."""
        return self._in_blocks(self.network, rows)

    def score_scaled(self, scaled):
        """Scores of rows that `scaler` has scaled, all at once: equal up to rounding."""
        scaled = scaled.to(self.unit.dtype).expand(len(self.location), -1, -1)
        return self.combine(self.network(scaled).to(self.location.dtype))

    def encode(self, rows):
        """Codes of rows, (n_members, n_rows, latent_dim)."""
        return self._in_blocks(self.network.encode, rows)

    def parts(self, rows):
        """Parts of the anomaly scores, (n_members, n_rows, n_parts), of a network that has some."""
        return self._in_blocks(self.network.parts, rows)

    def combine(self, member_scores):
        """Mean over members, each in units of its own spread; the one change of sign."""
        # Transposed, each row has a sum of its own, however many rows there are.
        return -self.standardise(member_scores).T.contiguous().mean(-1)

    def standardise(self, member_scores, members=slice(None)):
        """Scores of all or some members, in units of each member's own spread."""
        return (member_scores[members] - self.location[members]) / self.spread[members]

    def fit_location_and_spread(self, member_scores, usual):
        """Learn each member's median and standard deviation over usual rows, given as a mask."""
        for k, scores in enumerate(member_scores.numpy()):
            scores = scores[usual]
            self.location[k], spread = np.median(scores), scores.std()
            # A spread that is rounding noise must not be amplified.
            self.spread[k] = spread if spread > 1e-7 * np.abs(scores).max() else 1.0

    def _in_blocks(self, function, rows):
        """Apply a function of scaled rows (n_members, BLOCK, n_features), block by block."""
        scaled = self.scaler(rows).to(self.unit.dtype)
        if torch.compiler.is_compiling():  # one graph for any number of rows
            return function(scaled.expand(len(self.location), -1, -1)).to(self.location.dtype)
        if on_cpu(scaled):
            return self._in_blocks_of(BLOCK, function, scaled)
        while True:
            try:
                return self._in_blocks_of(self.gpu_block, function, scaled)
            except torch.cuda.OutOfMemoryError:
                if self.gpu_block <= BLOCK:
                    raise
            self.gpu_block //= 2
            warnings.warn(
                f"The GPU has too little free memory, so only {self.gpu_block} rows are scored at "
                "once from now on; scores may differ in their last digits.",
                RuntimeWarning,
                stacklevel=2,
            )

    def _in_blocks_of(self, size, function, scaled):
        n_rows = len(scaled)
        padded = scaled.new_zeros(n_rows + -n_rows % size, scaled.shape[1])
        padded[:n_rows] = scaled
        padded = padded.expand(len(self.location), -1, -1)
        if n_rows <= size:
            result = function(padded)
        else:
            result = torch.cat([function(block) for block in padded.split(size, dim=1)], dim=1)
        return result[:, :n_rows].to(self.location.dtype)


def on_cpu(tensor):
    """Whether a tensor is on a CPU."""
    return tensor.device.type == "cpu"


class FrozenLinear(nn.Module):
    """Linear layer, or a stack of them, whose rounding does not depend on a row's place in a block.

    That holds for matrix products whose second factor is contiguous and has full vectors of
    columns; so weights are stored transposed, and padded with columns of 0.
    """

    def __init__(self, weight, bias):
        super().__init__()
        self.n_out = weight.shape[-2]
        weight = nn.functional.pad(weight.data.mT, (0, -self.n_out % VECTOR)).contiguous()
        self.weight = nn.Parameter(weight)
        if bias is not None:
            bias = nn.functional.pad(bias.data, (0, -self.n_out % VECTOR)).unsqueeze(-2)
            bias = nn.Parameter(bias)
        self.bias = bias

    def forward(self, x):
        """Map (..., n_rows, n_in) to (..., n_rows, n_out)."""
        if self.bias is None:
            product = x @ self.weight
        elif x.ndim == 3:
            product = torch.baddbmm(self.bias, x, self.weight)
        else:
            product = x @ self.weight + self.bias
        return (
            product if product.shape[-1] == self.n_out else product[..., : self.n_out].contiguous()
        )


class MemberList(nn.ModuleList):
    """K networks of any kind, one after the other; unlike with vmap, calls swap no tensors."""

    def forward(self, x):
        """Apply member k's network to ``x[k]``."""
        return torch.stack([network(rows) for network, rows in zip(self, x, strict=True)])


def for_scoring(network):
    """Replace layers by ones that threads can share and that round every row of a block alike."""
    if isinstance(network, VmappedMembers):
        return MemberList(for_scoring(member) for member in network.unstack())
    if hasattr(network, "effective_weight"):
        return FrozenLinear(network.effective_weight(), network.bias)
    if type(network) is nn.Linear:
        return FrozenLinear(network.weight, network.bias)
    for name, child in network.named_children():
        setattr(network, name, for_scoring(child))
    return network
