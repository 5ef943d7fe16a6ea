"""Which encoder and decoder a deep detector has: the parameters that say so, and what they make."""

from typing import Annotated, Any, Literal

from ._arguments import check_sizes
from ._modules import make_custom, make_decoder, make_encoder
from ._parameters import Count, DeclaredParameters


class ArchitectureMixin(DeclaredParameters):
    """Encoders and decoders of one member, for tables and images, built in or the user's.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int or "auto"
        Widths of the encoder's hidden layers; with `image_shape`, channels of its convolutions.
    latent_dim : int or "auto"
        Width of the code.
    module : class, callable or instance
        Your own encoder, a `torch.nn.Module` from (n_rows, n_features) to (n_rows, latent_dim): a
        class or function that is called with n_features, or an instance, which is copied and
        re-initialised. None takes an MLP, or a convolutional network with `image_shape`.
    image_shape : tuple of int (channels, height, width)
        Rows of X are flattened images of that shape.
    """

    hidden_layer_sizes: Annotated[tuple | str, "array-like"] | Literal["auto"] = "auto"
    latent_dim: Count | Literal["auto"] = "auto"
    module: Annotated[Any, callable] | None = None
    image_shape: Annotated[tuple, "array-like"] | None = None

    # What "auto" stands for: hidden layers and code; for images by whether they are grey.
    _auto_sizes = (128,), 64
    _auto_image_sizes = {True: ((8, 4), 32), False: ((32, 64, 128), 128)}

    def _make_encoder(self, n_features, **options):
        """One member's encoder: the user's, or the built-in one for tables or images."""
        if self.module is not None:
            return make_custom(self.module, n_features)
        return make_encoder(n_features, *self._sizes(), self._image_shape, **options)

    def _make_decoder(self, n_features, **options):
        """Mirror image of the built-in encoder."""
        if self.module is not None:
            raise ValueError(
                "A decoder is needed, but only built-in encoders have a mirror image; leave "
                "module=None."
            )
        return make_decoder(n_features, *self._sizes(), self._image_shape, **options)

    @property
    def _image_shape(self):
        return None if self.image_shape is None else tuple(int(n) for n in self.image_shape)

    def _sizes(self):
        """Hidden layers and code width, with "auto" resolved."""
        hidden, latent_dim = self._auto_sizes
        if self._image_shape is not None:
            hidden, latent_dim = self._auto_image_sizes[self._image_shape[0] == 1]
        if not isinstance(self.hidden_layer_sizes, str):
            hidden = check_sizes(self.hidden_layer_sizes)
        return hidden, latent_dim if self.latent_dim == "auto" else self.latent_dim
