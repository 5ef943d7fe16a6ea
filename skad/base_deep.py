"""The template of the deep detectors: scaling, members, training, scores, codes."""

import copy
import warnings
from contextlib import nullcontext
from numbers import Integral
from typing import Annotated, Any, Literal

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from ._ambient import plain_torch
from ._architecture import ArchitectureMixin
from ._arguments import (
    check_callbacks,
    check_device,
    check_image_shape,
    check_optimizer,
    optimizer_options,
)
from ._labels import batch_strata, held_out_rows, rows_to_learn
from ._members import stack_members
from ._modules import SAMPLE, ScaleImage, Standardize
from ._net import MemberBatches, MemberNet, ValidationRows
from ._out_of_bag import (
    CANDIDATES,
    MIN_LABELED,
    STEPS_PER_EPOCH,
    StepChoice,
    draw_left_out,
    out_of_bag_scores,
)
from ._parameters import (
    Count,
    DeclaredParameters,
    Fraction,
    NonNegative,
    Number,
    Positive,
    RandomState,
)
from ._progress import CallbackSupportMixin, report_fit_task, step_tasks
from ._random import (
    MemberNoise,
    draw_seed,
    member_seeds,
    own_global_generators,
    seed_everything,
)
from ._scoring import BLOCK, ScoringModule
from ._state import PickleOnly, with_tensors, without_tensors
from .base import BaseDetector, threshold
from .metrics import roc_auc_score

# Numbers of X that are converted, scaled and scored at once: some megabytes; on a GPU some tens,
# because each round trip costs time.
CHUNK, GPU_CHUNK = 2**18, 2**22


class BaseDeepDetector(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ArchitectureMixin,
    BaseDetector,
):
    """Template of a deep detector: scaling, members, training through skorch, scores, codes.

    A subclass says what its network is, ``_make_network(n_features, y)``: a `DetectorNetwork` of
    one member, which gives the anomaly scores of rows. It may say what a batch costs,
    ``_loss(network, rows, y)``, one number per member, and what must be found before training,
    ``_prepare(network, rows, y)``. In both the network is the stacked one, and rows are scaled.

    Parameters
    ----------
    n_estimators : int
        Networks trained at the same time, each from its own initialisation and batches; scores
        are averaged. More are steadier from seed to seed.
    max_steps : int or "auto"
        Budget of gradient steps, whatever the number of rows; split into at most 20 epochs.
        "auto" is a number that measured well; methods with an `oob_score_` choose it, up to 800,
        where at least 3 anomalies are labelled and there are at least 4 members: each leaves out
        30 % of the labelled rows and a fifth of the others, and the best at ranking those stays.
        From a table of more than 100,000 unlabelled rows as many are drawn at random, or as many
        as a network reads in these steps: scaling, training and `offset_` see those and all
        labelled rows.
    batch_size : int
        Rows of a batch.
    lr : float
        Learning rate.
    weight_decay : float
        Weight decay, as the optimizer understands it.
    optimizer : class
        Any elementwise optimizer of `torch.optim`.
    standardize : bool
        Centre and scale columns inside, by training statistics that are robust to a few huge values
        (images: each channel to [0, 1]). False uses X unscaled.
    callbacks : list of skorch callbacks
        Copied for each fit. An epoch's `train_loss` (and `valid_loss`) are theirs to watch.
    validation_fraction : float in (0, 1)
        Share of rows to keep from training, to record `valid_loss` on. None keeps none.
    device : str or torch.device
        Where to train and score; "auto" takes a GPU where there is one.
    random_state : int, RandomState instance or None
        An int fixes initialisation and batches: the same fit, on the same machine and with the
        same number of threads, gives the same scores.
    verbose : int
        Above 0 shows a progress bar over training steps.

    Attributes
    ----------
    scoring_module_ : torch.nn.Module
        The fitted score, from raw rows to `score_samples`: a tensor (n_rows, n_features) to one
        (n_rows,). It holds the scaling (`scaler`) and the members' networks (`network`), can be
        differentiated, exported and moved, and is safe to share between threads.
    history_ : skorch.history.History
        One dict per epoch: `train_loss`, its mean over members, `train_loss_members`, and more.
    n_iter_ : int
        Gradient steps run.
    member_seeds_ : list of int
        Each member's seed; ``random_state=member_seeds_[k], n_estimators=1`` trains member k
        alone: the same up to rounding.
    """

    n_estimators: Count = 8
    max_steps: Count | Literal["auto"] = "auto"
    batch_size: Annotated[int, Number(Integral, 2, None, closed="left")] = 128
    lr: Positive = 1e-3
    weight_decay: NonNegative = 0.0
    optimizer: Annotated[Any, callable] = torch.optim.Adam
    standardize: bool = True
    callbacks: list | tuple | None = None
    validation_fraction: Fraction | None = None
    device: str | torch.device = "cpu"
    random_state: RandomState = None
    verbose: Annotated[int, "verbose"] = 0

    def transform(self, X):
        """Encode each row; the members' codes are put side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators * latent_dim), float64
        """
        return self._transform(self._validate(X))

    # --- what a method may override ---------------------------------------------------------

    def _auto_steps(self, y):
        """Gradient steps when ``max_steps="auto"``."""
        return 100

    def _prepare(self, network, rows, y):
        """Find what training needs."""

    def _loss(self, network, rows, y):
        """Loss of a batch: the mean anomaly score."""
        return mean_score(network, rows, y)

    def _check_fit(self, X, usual):
        """Warn if training has failed in a way that the method knows; usual rows are a mask."""

    def _method_callbacks(self):
        """Skorch callbacks that the method's loss needs."""
        return []

    _chooses_steps = False  # whether "auto" means a choice by rows that members leave out
    _net_class = MemberNet

    def _net_options(self):
        """Further arguments of the skorch net."""
        return {}

    # --- fit --------------------------------------------------------------------------------

    @report_fit_task
    @plain_torch
    def _fit(self, X, y):
        device = check_device(self.device)
        check_optimizer(self.optimizer)
        check_callbacks(self.callbacks)
        check_image_shape(self.image_shape, X.shape[1])
        self.member_seeds_ = member_seeds(draw_seed(self.random_state), self.n_estimators)
        scores = np.full(len(y), np.nan)
        learnt = rows_to_learn(y, self._n_unlabeled_to_learn(y), self.member_seeds_[0])
        X, y = X[learnt], y[learnt]
        scaler, network = self._make_scaler(X), self._make_members(X.shape[1], y).to(device)
        left_out = self._draw_left_out(y)
        self._train_on(scaler, network, X, y, left_out)
        module = ScoringModule(scaler, network, self.n_estimators)
        self.scoring_module_ = module.to(device)
        self._n_features_out = self._transform(X[:1]).shape[1]
        for name in ("oob_score_", "oob_decision_function_"):
            vars(self).pop(name, None)
        scores[learnt] = self._calibrate(X, y, left_out)
        if hasattr(self, "oob_decision_function_"):
            out_of_bag = np.full(len(scores), np.nan)
            out_of_bag[learnt] = self.oob_decision_function_
            self.oob_decision_function_ = out_of_bag
        return scores

    def _n_unlabeled_to_learn(self, y):
        """Unlabelled rows that are enough: as many as a network reads, and at least SAMPLE."""
        n_steps = max(self._n_steps(y), getattr(self, "pretrain_steps", 0))
        return max(SAMPLE, self.batch_size * n_steps)

    def _train_on(self, scaler, network, X, y, left_out):
        """Scale rows and train on them; they are gone afterwards."""
        device = next(network.parameters()).device
        rows = torch.empty(X.shape, dtype=torch.float32, device=device)
        for chunk, part in _chunks(X):
            rows[chunk] = scaler(part)
        labels = torch.from_numpy(y).to(device)
        self._prepare(network, rows, labels)
        net = self._train(
            network,
            self._loss,
            rows,
            labels,
            self._n_steps(y),
            labeled_fraction=getattr(self, "labeled_fraction", None),
            callbacks=self._method_callbacks(),
            left_out=left_out,
            mixup=getattr(self, "mixup", 0.0),
        )
        self.history_, self.n_iter_ = net.history, net.n_steps_

    def _n_steps(self, y):
        return self._auto_steps(y) if self.max_steps == "auto" else self.max_steps

    def _draw_left_out(self, y):
        """Rows that members leave out to choose the number of steps by; None: it is fixed."""
        chosen = self._chooses_steps and self.max_steps == "auto" and self.image_shape is None
        if not chosen or np.sum(y == -1) < MIN_LABELED or self.n_estimators < 4:
            return None
        kept = np.zeros(len(y), dtype=bool)
        if self.validation_fraction is not None:
            kept = held_out_rows(y, self.validation_fraction, self.member_seeds_[0])
        return draw_left_out(y, self.member_seeds_, ~kept)

    def _make_members(self, n_features, y):
        """Build one network per member, each from its own seed, and stack them."""
        members = []
        with own_global_generators():
            for seed in self.member_seeds_:
                seed_everything(seed)
                members.append(self._make_network(n_features, y))
        return stack_members(members)

    def _train(
        self,
        network,
        criterion,
        rows,
        y,
        n_steps,
        *,
        labeled_fraction=None,
        callbacks=(),
        left_out=None,
        mixup=0.0,
    ):
        """Train a stacked network on scaled rows and return the skorch net."""
        if left_out is not None:
            left_out = self._split(torch.from_numpy(left_out.T), y)[0].numpy().T
            n_steps, callbacks = CANDIDATES[-1], [StepChoice(left_out), *callbacks]
        rows, y, validation = self._split(rows, y)
        batches = MemberBatches(
            rows,
            y,
            batch_strata(y.cpu().numpy(), labeled_fraction),
            seeds=self.member_seeds_,
            batch_size=self.batch_size,
            n_steps=n_steps,
            steps_per_epoch=None if left_out is None else STEPS_PER_EPOCH,
            left_out=left_out,
            mixup=mixup,
        )
        net = self._net_class(
            network,
            criterion,
            optimizer=self.optimizer,
            lr=self.lr,
            **optimizer_options("optimizer", self.optimizer, self.weight_decay),
            batch_size=self.batch_size,
            callbacks=[*callbacks, *step_tasks(self, n_steps), *map(copied, self.callbacks or ())],
            device=rows.device,
            verbose=self.verbose,
            **self._net_options(),
        )
        network.noise = MemberNoise(self.member_seeds_, rows.device)
        # Callbacks, and layers such as dropout, draw from the global generators.
        draws = self.callbacks or any(hasattr(m, "draws_in_training") for m in network.modules())
        with own_global_generators(rows.device) if draws else nullcontext():
            if draws:
                seed_everything(self.member_seeds_[0], rows.device)
            net.fit(batches, validation)
        network.noise = None
        return net

    def _split(self, rows, y):
        """Rows to train on and rows kept for validation; within one fit always the same."""
        if self.validation_fraction is None:
            return rows, y, None
        kept = held_out_rows(y.cpu().numpy(), self.validation_fraction, self.member_seeds_[0])
        kept = torch.from_numpy(kept).to(y.device)
        return rows[~kept], y[~kept], ValidationRows(rows[kept], y[kept], self.n_estimators)

    def _calibrate(self, X, y, left_out):
        """Find each member's scale on the training rows; their scores, once checked."""
        module = self.scoring_module_
        usual = y != -1
        if hasattr(module.network, "fit_parts"):
            module.network.fit_parts(self._apply(module.parts, X)[:, usual])
        raw = self._member_scores(X)
        if not raw.isfinite().all():
            raise ValueError("Training gave scores that are not finite. Lower lr.")
        module.fit_location_and_spread(raw, usual)
        raw = raw.to(module.location.device)
        if ((raw.amax(1) - raw.amin(1)) <= 1e-6 * raw.abs().amax(1)).any():
            self._warn_of_failure(
                "gives (almost) the same score to every training row: its network has collapsed, "
                "or all rows are equal. Try a larger lr or more steps."
            )
        self._check_fit(X, usual)
        scores = torch.cat([module.combine(part) for part in raw.split(2**16, dim=1)]).cpu().numpy()
        if left_out is not None:
            standardised = (module.standardise(raw, k).cpu().numpy() for k in range(len(raw)))
            out_of_bag = -out_of_bag_scores(standardised, left_out)
            self.oob_decision_function_ = out_of_bag - threshold(scores, y, self.contamination)
            seen = ~np.isnan(out_of_bag)
            self.oob_score_ = roc_auc_score(y[seen], out_of_bag[seen])
        return scores

    def _warn_of_failure(self, what):
        warnings.warn(f"{type(self).__name__} {what}", ConvergenceWarning, stacklevel=3)

    # --- scores -----------------------------------------------------------------------------

    def _score_samples(self, X):
        return self._apply(self.scoring_module_, X).numpy()

    def _transform(self, X):
        codes = self._apply(self.scoring_module_.encode, X)
        return codes.transpose(0, 1).flatten(1).numpy()

    def _member_scores(self, X):
        """Anomaly scores as the method defines them, (n_members, n_samples)."""
        return self._apply(self.scoring_module_.member_scores, X)

    @plain_torch
    @torch.inference_mode()
    def _apply(self, function, X):
        """Apply a function of raw rows to all rows, in chunks; rows are the last or second axis."""
        device, result = self.scoring_module_.location.device, None
        for chunk, part in _chunks(X, CHUNK if device.type == "cpu" else GPU_CHUNK):
            values = function(part.to(device)).cpu()
            if len(part) == len(X):
                return values
            axis = min(values.ndim - 1, 1)
            if result is None:
                result = values.new_empty([*values.shape[:axis], len(X), *values.shape[axis + 1 :]])
            result.narrow(axis, chunk.start, len(part)).copy_(values)
        return result

    def _make_scaler(self, X):
        if not self.standardize:
            return nn.Identity()
        return Standardize(X) if self._image_shape is None else ScaleImage(X, self._image_shape)

    def __getstate__(self):
        state = super().__getstate__().copy()
        if self.module is not None:
            state["module"] = PickleOnly(self.module)
        if "scoring_module_" in state:
            # A model fitted on a GPU must load where there is none.
            module = copy.deepcopy(state["scoring_module_"]).cpu()
            own = self.module is not None
            state["scoring_module_"] = module if own else without_tensors(module)
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if self.module is not None:
            self.module = self.module.module
        if isinstance(state.get("scoring_module_"), tuple):
            self.scoring_module_ = with_tensors(*state["scoring_module_"])


class BalancedBatchesMixin(DeclaredParameters):
    """For methods that learn from labelled rows: a share of each batch is drawn from them.

    Parameters
    ----------
    labeled_fraction : float in (0, 1) or None
        Share of each batch drawn from the labelled rows, half of it from each kind when both
        anomalies and normals are labelled. None draws all rows alike, as in the papers.
    """

    labeled_fraction: Fraction | None = 0.5


def mean_score(network, rows, y):
    """Mean anomaly score of a batch, one number per member; labels play no part."""
    return network(rows).mean(-1)


def copied(callback):
    """Copy a callback: deeply, or shallowly if it holds something open, such as a log."""
    try:
        return copy.deepcopy(callback)
    except TypeError:
        return copy.copy(callback)


def _chunks(X, n_numbers=CHUNK):
    """Yield slices of rows, and those rows as float64 tensors of so many numbers."""
    size = max(n_numbers // X.shape[1] // BLOCK * BLOCK, BLOCK)
    for start in range(0, len(X), size):
        chunk = slice(start, start + size)
        yield chunk, torch.from_numpy(np.array(X[chunk], dtype=np.float64, order="C"))
