"""Networks of the adversarial detectors: critics, spectral norm, DCGAN's encoder and decoder."""

import math
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import normalize

from .._arguments import check_halvings
from .._modules import LinearToOne

SLOPE = 0.2  # of the leaky ReLU, as in DCGAN


def spectral_norm(weight, left, update):
    """Divide matrices by their largest singular value, followed by power iteration.

    Leading axes do not matter. `left` holds the current left singular vectors; they
    are improved in place if `update`. Torch's parametrisation cannot be used, because
    it neither pickles nor stacks over members. Products are written as sums, whose
    rounding does not depend on the number of members.
    """
    with torch.no_grad():
        if update:
            right = normalize((weight * left.unsqueeze(-1)).sum(-2), dim=-1)
            left.copy_(normalize((weight * right.unsqueeze(-2)).sum(-1), dim=-1))
        right = normalize((weight * left.unsqueeze(-1)).sum(-2), dim=-1)
        direction = left.unsqueeze(-1) * right.unsqueeze(-2)
    return weight / (weight * direction).flatten(-2).sum(-1)[..., None, None]


class SpectralLinear(nn.Linear):
    """Linear layer with spectral norm."""

    member_axis = True

    def __init__(self, n_in, n_out):
        super().__init__(n_in, n_out)
        self.register_buffer("left", normalize(torch.randn(n_out), dim=-1))

    def forward(self, x):
        """Map (..., n_rows, n_in) to (..., n_rows, n_out)."""
        weight = spectral_norm(self.weight, self.left, self.training)
        product = torch.bmm(x, weight.mT) if x.ndim == 3 else x @ weight.mT
        return product + self.bias.unsqueeze(-2)

    def effective_weight(self):
        """Weights as they are applied in scoring."""
        return spectral_norm(self.weight, self.left, update=False)


class SpectralConv2d(nn.Conv2d):
    """Convolution with spectral norm of the kernel, as a matrix with a row per output channel."""

    def __init__(self, n_in, n_out, **options):
        super().__init__(n_in, n_out, **options)
        self.register_buffer("left", normalize(torch.randn(n_out), dim=-1))

    def forward(self, x):
        """Convolve images of shape (n_rows, n_in, height, width)."""
        weight = spectral_norm(self.weight.flatten(1), self.left, self.training)
        return self._conv_forward(x, weight.view_as(self.weight), self.bias)


class LayerByLayer(nn.Sequential):
    """A Sequential whose layers are stacked over members one by one."""

    member_axis = True


class Critic(nn.Module):
    """Discriminator or critic: one number per row, and the features right before it."""

    member_axis = True

    def __init__(self, body, head):
        super().__init__()
        self.body, self.head = body, head

    def forward(self, rows):
        """Map (..., n_rows, n_in) to features (..., n_rows, n_hidden) and (..., n_rows)."""
        features = self.body(rows)
        return features, self.head(features)


def make_critic(
    n_features, hidden, image_shape=None, *, spectral=False, batch_norm=False, bias=True
):
    """MLP, or for images DCGAN's discriminator; `bias` is that of the last layer."""
    linear, conv = (SpectralLinear, SpectralConv2d) if spectral else (nn.Linear, nn.Conv2d)
    if image_shape is None:
        layers = []
        for sizes in pairwise([n_features, *hidden]):
            layers += [linear(*sizes), nn.LeakyReLU(SLOPE)]
        n_out = hidden[-1]
    else:
        layers = strided_convolutions(image_shape, hidden, conv=conv, batch_norm=batch_norm)
        n_out = math.prod(small_shape(image_shape, hidden))
    return Critic(LayerByLayer(*layers), LinearToOne(n_out, bias=bias, spectral=spectral))


def make_dcgan_encoder(image_shape, hidden, latent_dim):
    """Strided convolutions, then one linear layer over what is left of the image."""
    n_out = math.prod(small_shape(image_shape, hidden))
    return nn.Sequential(*strided_convolutions(image_shape, hidden), nn.Linear(n_out, latent_dim))


def make_dcgan_decoder(image_shape, hidden, latent_dim):
    """Mirror image of `make_dcgan_encoder`, with a tanh at the end."""
    small = small_shape(image_shape, hidden)
    channels = [image_shape[0], *hidden]
    layers = [nn.Linear(latent_dim, math.prod(small), bias=False), nn.Unflatten(1, small)]
    for k in reversed(range(len(hidden))):
        height, width = image_shape[1] >> k, image_shape[2] >> k
        layers += [
            nn.BatchNorm2d(channels[k + 1]),
            nn.ReLU(),
            nn.ConvTranspose2d(
                channels[k + 1],
                channels[k],
                kernel_size=4,
                stride=2,
                padding=1,
                output_padding=(height % 2, width % 2),
                bias=False,
            ),
        ]
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten())


def strided_convolutions(image_shape, hidden, *, conv=nn.Conv2d, batch_norm=True):
    """Layers from flattened images to flattened maps; each halves height and width."""
    layers = [nn.Unflatten(1, tuple(image_shape))]
    for k, sizes in enumerate(pairwise([image_shape[0], *hidden])):
        norm = [nn.BatchNorm2d(sizes[1])] if batch_norm and k > 0 else []
        layers += [conv(*sizes, kernel_size=4, stride=2, padding=1, bias=False)]
        layers += [*norm, nn.LeakyReLU(SLOPE)]
    return [*layers, nn.Flatten()]


def small_shape(image_shape, hidden):
    """Shape of what the strided convolutions leave of an image."""
    check_halvings(image_shape, len(hidden))
    return hidden[-1], image_shape[1] >> len(hidden), image_shape[2] >> len(hidden)
