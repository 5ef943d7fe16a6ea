"""Networks of one member: scaling layers, MLPs, convolutional encoders, users' modules."""

import copy
import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from ._arguments import check_halvings, check_module
from ._members import find_training_traits

LARGEST = np.finfo(np.float64).max / 16  # clips distances, so that 10 times one is finite
SAMPLE = 100_000  # rows to take medians and quantiles from


class Standardize(nn.Module):
    """Fixed first layer: centre and scale each column by training statistics, compress the tails.

    Statistics are float64 and limit the influence of outliers, so neither a Unix-time column nor a
    few huge cells do harm. Up to `KNEE` standard deviations the map is linear; beyond it grows ever
    more slowly, by 1 at most: extremes stay close, and still rank.
    """

    KNEE = 2.0

    def __init__(self, X):
        super().__init__()
        center, scale = column_statistics(X)
        self.register_buffer("center", torch.from_numpy(center))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, x):
        """Map rows to standardised rows."""
        bound = torch.finfo(x.dtype).max / 1e8  # two huge numbers must not add up to infinity
        z = ((x - self.center) / self.scale).clamp(-bound, bound)
        linear = z.clamp(-self.KNEE, self.KNEE)
        return linear + nn.functional.softsign(z - linear)


class ScaleImage(nn.Module):
    """Fixed first layer for flattened images: each channel's training range to [0, 1].

    With `symmetric` to [-1, 1], the range of tanh.
    """

    def __init__(self, X, image_shape, symmetric=False):
        super().__init__()
        channels = np.asarray(X, dtype=np.float64).reshape(len(X), image_shape[0], -1)
        low, high = channels.min(axis=(0, 2)), channels.max(axis=(0, 2))
        span = np.where(high > low, high - low, 1.0)
        if symmetric:
            low, span = low + span / 2, span / 2
        pixels = channels.shape[2]
        self.register_buffer("low", torch.from_numpy(np.repeat(low, pixels)))
        self.register_buffer("span", torch.from_numpy(np.repeat(span, pixels)))

    def forward(self, x):
        """Map rows of pixels to the unit range (training images exactly)."""
        return (x - self.low) / self.span


def column_statistics(X):
    """Mean and standard deviation of each column, with outliers clipped.

    An outlier is more than 10 times as far from the median as 90 % of the values that differ from
    it. Values equal to the median do not count, so the rare non-zeros of a sparse column stay.
    With more than `SAMPLE` rows, median and limit are taken from every k-th row.
    """
    center, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    width, step = max(2**18 // len(X), 1), -(-len(X) // SAMPLE)
    for start in range(0, X.shape[1], width):
        block = slice(start, start + width)
        columns = np.array(X[:, block].T, dtype=np.float64, order="C")
        # Halved, because the sum of two huge values overflows.
        median = 2 * np.median(columns[:, ::step] / 2, axis=1, keepdims=True)
        with np.errstate(over="ignore"):
            deviation = np.clip(columns - median, -LARGEST, LARGEST)
        limit = np.minimum(10 * _differing_quantile(np.abs(deviation[:, ::step]), 0.9), LARGEST)
        unit = np.exp2(np.clip(np.frexp(limit)[1], -1021, 1021))  # else squares over- or underflow
        deviation = np.clip(deviation, -limit, limit) / unit
        shift, spread = deviation.mean(axis=1), deviation.std(axis=1)
        mean, spread = (median + shift[:, None] * unit)[:, 0], spread * unit[:, 0]
        varies = spread > 1e-13 * np.abs(mean)  # else the column is constant up to rounding
        center[block][varies], scale[block][varies] = mean[varies], spread[varies]
    return center, scale


def _differing_quantile(distances, q):
    """Quantile of the distances above 0 in each row, (n_rows, 1); 0 where there is none."""
    distances = np.sort(distances, axis=1)
    n_zero = (distances == 0).sum(axis=1, keepdims=True)
    last = distances.shape[1] - 1
    position = np.minimum(n_zero + q * (last - n_zero), last)
    low = position.astype(int)
    ends = [np.take_along_axis(distances, i, axis=1) for i in (low, np.minimum(low + 1, last))]
    return ends[0] + (position - low) * (ends[1] - ends[0])


def make_encoder(n_features, hidden, latent_dim, image_shape=None, *, bias=True, batch_norm=False):
    """Network from rows to codes: an MLP, or for images a LeNet, both linear at the end."""
    if image_shape is None:
        return make_mlp([n_features, *hidden, latent_dim], bias=bias, batch_norm=batch_norm)
    check_halvings(image_shape, len(hidden))
    layers = [nn.Unflatten(1, image_shape)]
    n_in, height, width = image_shape
    for n_out in hidden:
        layers += [
            nn.Conv2d(n_in, n_out, kernel_size=5, padding=2, bias=bias),
            nn.BatchNorm2d(n_out, eps=1e-4, affine=bias),
            nn.LeakyReLU(),
            nn.MaxPool2d(2),
        ]
        n_in, height, width = n_out, height // 2, width // 2
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(n_in * height * width, latent_dim, bias=bias)
    )


def make_decoder(
    n_features,
    hidden,
    latent_dim,
    image_shape=None,
    *,
    bias=True,
    batch_norm=False,
    output="linear",
):
    """Mirror image of `make_encoder`, with its output linear or a sigmoid, as it is for images."""
    if image_shape is None:
        sizes = [latent_dim, *reversed(hidden), n_features]
        layers = make_mlp(sizes, bias=bias, batch_norm=batch_norm)
        return layers if output == "linear" else nn.Sequential(*layers, nn.Sigmoid())
    channels, height, width = image_shape
    n_channels = [channels, *hidden]
    sizes = [(height >> k, width >> k) for k in range(len(n_channels))]
    small = (n_channels[-1], *sizes[-1])
    layers = [nn.Linear(latent_dim, math.prod(small), bias=bias), nn.Unflatten(1, small)]
    for k in reversed(range(len(hidden))):
        layers += [
            nn.LeakyReLU(),
            nn.Upsample(sizes[k]),
            nn.Conv2d(n_channels[k + 1], n_channels[k], kernel_size=5, padding=2, bias=bias),
        ]
        layers += [nn.BatchNorm2d(n_channels[k], eps=1e-4, affine=bias)] if k else []
    return nn.Sequential(*layers, nn.Sigmoid(), nn.Flatten())


def make_mlp(sizes, *, bias=True, batch_norm=False):
    """Linear layers of the given sizes with leaky ReLU between them, none after the last."""
    layers = []
    for n_in, n_out in pairwise(sizes[:-1]):
        # Batch normalisation removes a bias again; its gradient would be rounding noise.
        layers += [nn.Linear(n_in, n_out, bias=bias and not batch_norm)]
        layers += [nn.BatchNorm1d(n_out, eps=1e-4, affine=bias)] if batch_norm else []
        layers += [nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Linear(*sizes[-2:], bias=bias))


class DetectorNetwork(nn.Module):
    """Base of the methods' networks: called on rows, they give anomaly scores.

    They are written for one member and work with any leading axes, (..., n_rows, n_features) to
    (..., n_rows).
    """

    member_axis = True
    noise = None  # while the network trains: random numbers, each member's from its own seed

    def encode(self, rows):
        """Codes of rows, (..., n_rows, latent_dim)."""
        return self.encoder(rows)


class LinearToOne(nn.Module):
    """Linear layer to one number per row.

    Written as a sum, because how a matrix product with one column rounds depends on the row's
    place and on the number of members.
    """

    member_axis = True

    def __init__(self, n_in, *, bias=True, spectral=False):
        super().__init__()
        layer = nn.Linear(n_in, 1, bias)
        self.weight, self.bias, self.spectral = layer.weight, layer.bias, spectral

    def forward(self, x):
        """Map (..., n_rows, n_in) to (..., n_rows)."""
        weight = nn.functional.normalize(self.weight, dim=-1) if self.spectral else self.weight
        value = (x * weight).sum(-1)
        return value if self.bias is None else value + self.bias


class ReconstructionError(DetectorNetwork):
    """Mean squared reconstruction error of each row by an encoder and a decoder."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        return (self.decoder(self.encoder(rows)) - rows).square().mean(-1)


class ScoreInParts(DetectorNetwork):
    """Base of networks whose score adds up parts, standardised by training rows.

    A subclass writes ``parts(rows)``, (..., n_rows, n_parts).
    """

    def __init__(self, n_parts, center=True, scale=True):
        super().__init__()
        self.center, self.scale = center, scale
        self.register_buffer("mean", torch.zeros(n_parts))
        self.register_buffer("spread", torch.ones(n_parts))

    def fit_parts(self, parts):
        """Learn location and scale of the parts from float64 (n_members, n_rows, n_parts)."""
        # Member by member, because a sum over all at once rounds differently with their number.
        if self.center:
            self.mean = torch.stack([member.mean(dim=0) for member in parts]).to(self.mean)
        if self.scale:
            spread = torch.stack([member.std(dim=0, correction=0) for member in parts])
            self.spread = torch.where(spread > 0, spread, 1.0).to(self.mean)

    def forward(self, rows):
        """Map (..., n_rows, n_features) to (..., n_rows)."""
        return self.standardised_parts(rows).sum(-1)

    def standardised_parts(self, rows):
        """Parts of the score in units of their spread, (..., n_rows, n_parts)."""
        return (self.parts(rows) - self.mean.unsqueeze(-2)) / self.spread.unsqueeze(-2)


def make_custom(module, n_features):
    """Build or copy, and initialise, a user's encoder; check that it maps rows to codes."""
    if isinstance(module, nn.Module):
        network = reinitialised(module)
    else:
        network = module(n_features)
    check_module(network, n_features)
    try:
        with torch.no_grad():
            code = copy.deepcopy(network)(torch.zeros(2, n_features))
    except Exception as error:
        raise ValueError(
            f"module fails on rows of shape (2, {n_features}): {error}. It must take the "
            f"{n_features} features of X."
        ) from error
    if not isinstance(code, torch.Tensor) or code.ndim != 2 or len(code) != 2:
        raise ValueError(
            f"module must map rows of shape (2, {n_features}) to codes of shape (2, latent_dim), "
            f"got {getattr(code, 'shape', type(code))}."
        )
    find_training_traits(network, torch.zeros(2, 2, n_features))
    return network


def code_width(encoder, n_features):
    """Width of the codes of an encoder of one member."""
    with torch.no_grad():
        return copy.deepcopy(encoder)(torch.zeros(2, n_features)).shape[1]


def reinitialised(module):
    """Copy a module and draw its weights anew."""
    network = copy.deepcopy(module)
    for name, layer in network.named_modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(
                f"Cannot re-initialise the layer {name!r} ({type(layer).__name__}) of the given "
                "module, because it has no reset_parameters(); pass a class or a callable of "
                "n_features instead of an instance."
            )
    return network
