"""The template of the deep detectors: scaling, members, training, scores, codes."""

import copy
import math
import warnings
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ._labels import batch_strata
from ._modules import (
    ScaleImage,
    Standardize,
    convolve_in_float32,
    make_custom,
    make_decoder,
    make_encoder,
    stack_members,
)
from ._net import MemberBatches, MemberNet, ValidationRows
from ._progress import CallbackSupportMixin, report_fit_task, step_tasks
from ._random import draw_seed, member_seeds, preserve_global_generators, seed_everything
from .base import BaseDetector

SCORE_CHUNK = 1024  # rows that go through a network at once when scoring ...
IMAGE_CHUNK = 128  # ... and if it convolves, always so many: float32 rounds by the shape


class MeanScore(nn.Module):
    """The loss of a method that makes the anomaly score of all rows small."""

    def forward(self, scores, y):
        """Average over rows; one number per member."""
        return scores.mean(-1)


class BaseDeepDetector(
    CallbackSupportMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseDetector
):
    """Template of a deep detector: scaling, members, training through skorch, scores, codes.

    A subclass writes two hooks. ``_make_network(n_features)`` builds one member's network: called
    on rows it gives their anomaly scores, and its ``encoder`` gives their codes.
    ``_make_criterion(network, X, y)`` builds the loss of a batch of those outputs, one number per
    member; it gets the stacked network and all scaled training rows, to find a centre with.
    """

    _parameter_constraints: dict = {
        **BaseDetector._parameter_constraints,
        "hidden_layer_sizes": ["array-like", StrOptions({"auto"})],
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "module": [callable, None],
        "image_shape": ["array-like", None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "optimizer": [callable],
        "standardize": ["boolean"],
        "callbacks": [list, tuple, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # What "auto" stands for: hidden layers and code; for images by whether they are grey.
    _auto_sizes = (128,), 64
    _auto_image_sizes = {True: ((8, 4), 32), False: ((32, 64, 128), 128)}

    def __init__(
        self,
        *,
        hidden_layer_sizes,
        latent_dim,
        module,
        image_shape,
        n_estimators,
        max_steps,
        batch_size,
        lr,
        weight_decay,
        optimizer,
        contamination,
        standardize,
        callbacks,
        validation_fraction,
        device,
        random_state,
        verbose,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.latent_dim = latent_dim
        self.module = module
        self.image_shape = image_shape
        self.n_estimators = n_estimators
        self.max_steps = max_steps
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.optimizer = optimizer
        self.contamination = contamination
        self.standardize = standardize
        self.callbacks = callbacks
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def transform(self, X):
        """Encode each row; the members' codes stand side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators * latent_dim), float64
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._transform(X)

    # --- what a method may override ---------------------------------------------------------

    def _auto_steps(self, y):
        """Gradient steps when ``max_steps="auto"``."""
        return 100

    def _encode(self, rows):
        """Codes of scaled rows, (n_members, n_rows, latent_dim)."""
        return self.network_.encoder(rows)

    _net_class = MemberNet

    def _net_options(self):
        """Further arguments of the skorch net."""
        return {}

    def _strata(self, y):
        """Say which groups of rows each batch is drawn from; here all rows alike."""
        return batch_strata(y, None)

    # --- fit --------------------------------------------------------------------------------

    @report_fit_task
    def _fit(self, X, y):
        self._check_architecture(X.shape[1])
        self.scaler_ = self._make_scaler(X)
        self.member_seeds_ = member_seeds(draw_seed(self.random_state), self.n_estimators)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        with preserve_global_generators():
            rows = torch.cat([chunk.float() for chunk in self._scaled_chunks(X)]).to(device)
            labels = torch.from_numpy(y).to(device)
            network = self._make_members(self._make_network, X.shape[1]).to(device)
            criterion = self._make_criterion(network, rows, labels)
            net = self._train(network, criterion, rows, labels, self._n_steps(y))
            self.network_ = network.eval().double().requires_grad_(False)
            self._convolves = rows.device.type == "cpu" and convolve_in_float32(self.network_)
            self.history_, self.n_iter_ = net.history, net.n_steps_
            self._n_features_out = self._transform(X[:1]).shape[1]
            return self._calibrate(X, y)

    def _n_steps(self, y):
        return self._auto_steps(y) if self.max_steps == "auto" else self.max_steps

    def _make_members(self, make, *args):
        """Build one network per member, each from its own seed, and stack them."""
        members = []
        for seed in self.member_seeds_:
            seed_everything(seed)
            members.append(make(*args))
        return stack_members(members)

    def _train(self, network, criterion, X, y, n_steps, callbacks=()):
        """Train a stacked network on scaled rows and return the skorch net."""
        validation = None
        if self.validation_fraction is not None:
            held_out = self._held_out(y)
            validation = ValidationRows(X[held_out], y[held_out], self.n_estimators)
            X, y = X[~held_out], y[~held_out]
        batches = MemberBatches(
            X,
            y,
            self._strata(y.cpu().numpy()),
            seeds=self.member_seeds_,
            batch_size=self.batch_size,
            n_steps=n_steps,
        )
        net = self._net_class(
            network,
            criterion,
            optimizer=self.optimizer,
            optimizer__weight_decay=self.weight_decay,
            lr=self.lr,
            batch_size=self.batch_size,
            callbacks=[
                *callbacks,
                *step_tasks(self, n_steps),
                *copy.deepcopy(list(self.callbacks or ())),
            ],
            device=X.device,
            verbose=self.verbose,
            **self._net_options(),
        )
        return net.fit(batches, validation)

    def _held_out(self, y):
        """Mask of the rows kept for validation: the same share of each label, seeded."""
        generator = np.random.default_rng(self.member_seeds_[0])
        held_out = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        for label in (-1, 0, 1):
            rows = torch.nonzero(y == label).flatten().cpu().numpy()
            n_held_out = round(self.validation_fraction * len(rows))
            held_out[generator.choice(rows, n_held_out, replace=False)] = True
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves {int(held_out.sum())} of "
                f"{len(y)} rows for validation; both parts need rows."
            )
        return held_out

    def _calibrate(self, X, y):
        """Find each member's scale on the training rows; their scores, once checked."""
        raw = self._member_scores(X)
        if not np.isfinite(raw).all():
            raise ValueError("Training gave scores that are not finite. Lower lr.")
        usual = raw[:, y != -1]
        self._location = np.median(usual, axis=1, keepdims=True)
        spread = usual.std(axis=1, keepdims=True)
        self._spread = np.where(spread > 0, spread, 1.0)
        if np.any(np.ptp(raw, axis=1) <= 1e-6 * np.abs(raw).max(axis=1)):
            warnings.warn(
                f"{type(self).__name__} gives (almost) the same score to every training row: its "
                "network has collapsed, or all rows are equal. Try a larger lr or more steps.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self._combine(raw)

    # --- scores -----------------------------------------------------------------------------

    def _score_samples(self, X):
        return self._combine(self._member_scores(X))

    def _combine(self, raw):
        """Mean over members, each in units of its own spread; the one change of sign."""
        return -((raw - self._location) / self._spread).mean(axis=0)

    def _member_scores(self, X):
        """Anomaly scores as the method defines them, (n_members, n_samples)."""
        return self._apply(self.network_, X)

    def _transform(self, X):
        return np.moveaxis(self._apply(self._encode, X), 0, 1).reshape(len(X), -1)

    def _apply(self, function, X):
        """Apply a function of (n_members, n_rows, n_features) to all rows, chunk by chunk."""
        device = next(self.network_.parameters()).device
        results = []
        with torch.no_grad():
            for chunk in self._scaled_chunks(X, IMAGE_CHUNK if self._convolves else SCORE_CHUNK):
                rows = chunk.to(device)
                if self._convolves:
                    rows = nn.functional.pad(rows, (0, 0, 0, IMAGE_CHUNK - len(rows)))
                result = function(rows.expand(self.n_estimators, -1, -1))
                results.append(result[:, : len(chunk)].cpu())
        return torch.cat(results, dim=1).numpy()

    def _scaled_chunks(self, X, size=SCORE_CHUNK):
        for start in range(0, len(X), size):
            chunk = np.array(X[start : start + size], dtype=np.float64, order="C")
            yield self.scaler_(torch.from_numpy(chunk))

    def _make_scaler(self, X):
        if not self.standardize:
            return nn.Identity()
        return Standardize(X) if self.image_shape is None else ScaleImage(X, self.image_shape)

    # --- networks ---------------------------------------------------------------------------

    def _make_encoder(self, n_features, **options):
        """One member's encoder: the user's, or the built-in one for tables or images."""
        if self.module is not None:
            return make_custom(self.module, n_features)
        return make_encoder(n_features, *self._sizes(), self.image_shape, **options)

    def _make_decoder(self, n_features, **options):
        """Mirror image of the built-in encoder."""
        if self.module is not None:
            raise ValueError(
                "A decoder is needed, but only built-in encoders have a mirror image; leave "
                "module=None."
            )
        return make_decoder(n_features, *self._sizes(), self.image_shape, **options)

    def _sizes(self):
        """Hidden layers and code width, with "auto" resolved."""
        hidden, latent_dim = self._auto_sizes
        if self.image_shape is not None:
            hidden, latent_dim = self._auto_image_sizes[self.image_shape[0] == 1]
        if self.hidden_layer_sizes != "auto":
            hidden = tuple(self.hidden_layer_sizes)
        return hidden, latent_dim if self.latent_dim == "auto" else self.latent_dim

    def _check_architecture(self, n_features):
        shape = self.image_shape
        if shape is not None and (len(shape) != 3 or math.prod(shape) != n_features):
            raise ValueError(
                f"image_shape={tuple(shape)} does not fit the {n_features} features of X: it must "
                "be (channels, height, width), and their product the number of features."
            )
        if self.hidden_layer_sizes != "auto":
            sizes = list(self.hidden_layer_sizes)
            if not all(isinstance(n, Integral) and n > 0 for n in sizes):
                raise ValueError(f"hidden_layer_sizes must be positive integers, got {sizes}.")

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "network_" in state:  # a model fitted on a GPU must load where there is none
            state["network_"] = copy.deepcopy(state["network_"]).cpu()
        return state
