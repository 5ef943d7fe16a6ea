"""Docstrings of the deep detectors: what they share is written once, here."""

import inspect

_PARAMETERS = """
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
n_estimators : int
    Networks trained at the same time, each from its own initialisation and batches; scores are
    averaged. More are steadier from seed to seed.
max_steps : int or "auto"
    Budget of gradient steps, whatever the number of rows; split into at most 20 epochs.
batch_size : int
    Rows of a batch.
lr : float
    Learning rate.
weight_decay : float
    Weight decay, as the optimizer understands it.
optimizer : class
    Any elementwise optimizer of `torch.optim`.
contamination : float in (0, 0.5]
    Share of the unlabelled rows to flag: it sets `offset_`. With fewer than 20 unlabelled rows it
    is the share of all rows but the labelled anomalies.
standardize : bool
    Centre and scale columns inside, by training statistics that withstand a few huge values
    (images: each channel to [0, 1]). False feeds X as it is.
callbacks : list of skorch callbacks
    Copied for each fit. An epoch's `train_loss` (and `valid_loss`) are theirs to watch.
validation_fraction : float in (0, 1)
    Share of rows to keep from training, to record `valid_loss` on. None keeps none.
device : str or torch.device
    Where to train and score; "auto" takes a GPU where there is one.
random_state : int, RandomState instance or None
    An int fixes initialisation, batches and so scores, bit for bit on an equal number of threads.
verbose : int
    Above 0 shows a progress bar over training steps.
"""

_ATTRIBUTES = """
offset_ : float
    Threshold on `score_samples`.
history_ : skorch.history.History
    One dict an epoch: `train_loss`, its mean over members, `train_loss_members`, and more.
n_iter_ : int
    Gradient steps run.
network_ : torch.nn.Module
    The trained networks, stacked along a leading member axis; takes scaled rows, in float64.
scaler_ : torch.nn.Module
    The scaling of rows.
member_seeds_ : list of int
    Each member's seed; ``random_state=member_seeds_[k], n_estimators=1`` trains member k alone: the
    same up to rounding, and bit for bit where a batch is a multiple of 4 rows.
n_features_in_ : int
    Number of columns seen in fit.
feature_names_in_ : ndarray of shape (`n_features_in_`,)
    Names of the columns seen in fit, where X had any.
"""


def document(cls):
    """Fill ``{parameters}`` and ``{attributes}`` of a detector's docstring, with its defaults."""
    signature = inspect.signature(cls.__init__).parameters
    lines = []
    for line in _PARAMETERS.strip().splitlines():
        name = line.split(" : ")[0]
        if not line.startswith(" ") and name in signature:
            default = signature[name].default
            line += f", default={default.__name__ if inspect.isclass(default) else repr(default)}"
        lines.append(line.replace("'", '"') if not line.startswith(" ") else line)
    indent = "\n    "
    cls.__doc__ = cls.__doc__.replace("{parameters}", indent.join(lines)).replace(
        "{attributes}", indent.join(_ATTRIBUTES.strip().splitlines())
    )
    return cls
