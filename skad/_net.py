"""Training: the one skorch net that all deep detectors share, and its in-memory batches.

skorch brings the optimiser, the callbacks and the history. What differs from a plain `NeuralNet`:
all tensors have a leading member axis, the loss is one number per member, an epoch is a slice of a
budget of gradient steps, and the loss is read once per epoch, because reading it stalls a GPU.
"""

import dis
from itertools import repeat

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from tqdm import tqdm

N_EPOCHS = 20  # slices of the step budget, for callbacks and the history to act on
MAX_GRAD_NORM = 10.0  # per member; an inverse distance can have a gradient of 1e8
VALIDATION_CHUNK = 1024


class MemberBatches:
    """Epochs of random batches, drawn for each member from its own seed.

    Parameters
    ----------
    X : tensor of shape (n_samples, n_features)
    y : tensor of shape (n_samples,)
    strata : list of (rows, share)
        Arrays of row numbers and the share of each batch that is drawn from them.
    seeds : list of int
        One per member.
    batch_size, n_steps : int
        Rows of a batch, and steps over all epochs.
    steps_per_epoch : int
        None: a twentieth of all steps.
    left_out : ndarray of shape (n_members, n_samples), bool
        Rows that a member does not draw from; None: none.
    mixup : float
        Share of a batch's labelled anomalies that are replaced by a random point between two.
    """

    def __init__(
        self,
        X,
        y,
        strata,
        *,
        seeds,
        batch_size,
        n_steps,
        steps_per_epoch=None,
        left_out=None,
        mixup=0.0,
    ):
        self.X, self.y = X, y
        # A lone row is drawn twice, because batch normalisation needs two.
        counted = _counts(strata, min(batch_size, max(len(X), 2)))
        self.strata = [counted] * len(seeds)
        if left_out is not None:
            self.strata = [[(r[~mask[r]], count) for r, count in counted] for mask in left_out]
        n_anomalies = sum(count for rows, count in counted if (self.y[rows] == -1).all())
        self.n_mixed = min(round(mixup * n_anomalies), n_anomalies - 1) if n_anomalies else 0
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.batch_size = batch_size
        self.steps_per_epoch = steps_per_epoch or -(-n_steps // N_EPOCHS)
        self.n_epochs = -(-n_steps // self.steps_per_epoch)
        self.n_steps = self.steps_left = n_steps

    def __len__(self):
        """Rows of an epoch, which skorch's progress bar divides by its `batch_size`."""
        return self.steps_per_epoch * self.batch_size

    def __iter__(self):
        """Yield an epoch of (n_members, batch_size, n_features) rows and their labels."""
        n_steps = min(self.steps_per_epoch, self.steps_left)
        self.steps_left -= n_steps
        rows = np.stack(
            list(map(self._draw, self.generators, self.strata, repeat(n_steps))), axis=1
        )
        room = self.X.new_empty(rows[0].size, self.X.shape[1])  # reused by every batch
        mixed = slice(self.n_mixed)
        shares = [g.random((n_steps, self.n_mixed, 1), np.float32) for g in self.generators]
        shares = torch.from_numpy(np.stack(shares, axis=1)).to(self.X.device)
        for batch, share in zip(torch.from_numpy(rows).to(self.X.device), shares, strict=True):
            X = torch.index_select(self.X, 0, batch.flatten(), out=room).unflatten(0, batch.shape)
            if self.n_mixed:  # anomalies come first, and each is followed by another
                X[:, mixed] = X[:, mixed].lerp(X[:, 1 : self.n_mixed + 1], share)
            yield X, self.y[batch]

    def _draw(self, generator, strata, n_steps):
        """Row numbers of shape (n_steps, batch_size); a stratum is used up before it repeats."""
        parts = []
        for rows, count in strata:
            rounds, rest = divmod(n_steps * count, len(rows))
            picks = [generator.permutation(rows) for _ in range(rounds)]
            picks.append(generator.choice(rows, rest, replace=False))
            parts.append(np.concatenate(picks).reshape(n_steps, count))
        return np.concatenate(parts, axis=1)


def _counts(strata, batch_size):
    """Turn shares into whole numbers of rows: at least 1 each, the last gets what remains."""
    strata = [(rows, share) for rows, share in strata if len(rows)]
    room = max(batch_size - len(strata) + 1, 0)
    counts = [min(max(round(share * batch_size), 1), room) for _, share in strata[:-1]]
    counts.append(batch_size - sum(counts))
    return [(rows, count) for (rows, _), count in zip(strata, counts, strict=True)]


class ValidationRows:
    """All validation rows in order, the same for every member."""

    def __init__(self, X, y, n_members):
        self.X, self.y, self.n_members = X, y, n_members

    def __len__(self):
        return len(self.X)

    def __iter__(self):
        for X, y in zip(
            self.X.split(VALIDATION_CHUNK), self.y.split(VALIDATION_CHUNK), strict=True
        ):
            yield X.expand(self.n_members, -1, -1), y.expand(self.n_members, -1)


class _StopRequested(Exception):
    """A callback asked for an orderly end of training."""


class MemberNet(NeuralNet):
    """skorch net over stacked members.

    The criterion is a function ``criterion(network, rows, y)`` of the stacked network and a batch;
    it returns one loss per member.
    """

    def fit(self, batches, validation=None):
        """Train on `MemberBatches`; a callback may end it early, Ctrl-C leaves as an error."""
        self.initialize()
        self.n_steps_ = 0
        self.stopped_by_callback_ = False
        self.notify("on_train_begin", X=batches, y=None)
        try:
            self.fit_loop((batches, validation), epochs=batches.n_epochs)
        except _StopRequested:
            self.stopped_by_callback_ = True
        if self.n_steps_ < batches.n_steps and not self.stopped_by_callback_:
            raise RuntimeError(f"Training ended after {self.n_steps_} of {batches.n_steps} steps.")
        self.notify("on_train_end", X=batches, y=None)
        for epoch in self.history:
            del epoch["batches"]  # skorch's rows for each batch, which nothing fills here
        return self

    def notify(self, method_name, **cb_kwargs):
        # skorch's callbacks stop training by raising KeyboardInterrupt.
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            if is_ctrl_c(stop):
                raise
            raise _StopRequested from stop
        except KeyError as missing:
            if "valid_loss" in str(missing) and "valid_loss" not in self.history[-1]:
                raise ValueError(
                    "A callback asks for valid_loss, which is only there with validation_fraction; "
                    "set it, or let the callback monitor train_loss."
                ) from missing
            raise

    def get_default_callbacks(self):
        return [("progress", StepProgress())] if self.verbose else []

    def initialize_criterion(self):
        self.criterion_ = self.criterion  # skorch would call it: it expects a class
        return self

    def forward_iter(self, X, training=False, device="cpu"):
        raise NotImplementedError(
            "The net gives no predictions: it holds several networks, stacked, and takes scaled "
            "rows. In a callback call net.module_ on rows (n_members, n_rows, n_features)."
        )

    def get_split_datasets(self, X, y=None, **fit_params):
        return X

    def get_iterator(self, dataset, training=False):
        return dataset

    def train_step(self, batch, **fit_params):
        loss = self.get_member_losses(*batch)
        self._descend(self.optimizer_, loss, batch)
        return {"loss": loss, "y_pred": None}

    def _descend(self, optimizer, loss, batch):
        """Let an optimizer take one step down the members' losses."""
        optimizer.zero_grad()
        loss.sum().backward()
        clip_member_gradients([p for group in optimizer.param_groups for p in group["params"]])
        named = self.module_.named_parameters()
        self.notify("on_grad_computed", named_parameters=named, batch=batch, training=True)
        optimizer.step()

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        with torch.no_grad():
            return {"loss": self.get_member_losses(*batch), "y_pred": None}

    def get_member_losses(self, X, y):
        """Loss of a batch, one number per member."""
        return self.criterion_(self.module_, X, y)

    def run_single_epoch(self, iterator, training, prefix, step_fn, **fit_params):
        if iterator is None:
            return
        self._set_training(training)
        totals, n_rows = {}, 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            batch_rows = batch[0].shape[1]
            for name in step:
                if name.endswith("loss"):
                    totals[name] = totals.get(name, 0.0) + step[name].detach() * batch_rows
            n_rows += batch_rows
            self.n_steps_ += int(training)
            self.notify("on_batch_end", batch=batch, training=training, **step)
        for name, total in totals.items():
            self._record_loss(f"{prefix}_{name}", (total / n_rows).cpu().numpy())

    def _record_loss(self, name, member_losses):
        if not np.isfinite(member_losses).all():
            raise ValueError(
                f"The {name.replace('_', ' ')} is no longer finite in epoch {len(self.history)}: "
                f"{member_losses}. Lower lr, or keep standardize=True so that columns are scaled."
            )
        loss = float(member_losses.mean())
        best = min([row[name] for row in self.history[:-1]], default=np.inf)
        self.history.record(name, loss)
        self.history.record(f"{name}_best", loss < best)
        self.history.record(f"{name}_members", member_losses.tolist())


def is_ctrl_c(interrupt):
    """Tell Ctrl-C, which may come at any instruction, from a ``raise KeyboardInterrupt``."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    instruction = traceback.tb_frame.f_code.co_code[traceback.tb_lasti]
    return dis.opname[instruction] != "RAISE_VARARGS"


def clip_member_gradients(parameters, max_norm=MAX_GRAD_NORM):
    """Clip each member's gradient by its own norm, so that members stay independent."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = [g.flatten(1).norm(dim=1) if g.ndim > 1 else g.abs() for g in gradients]
    norm = torch.stack(norms).norm(dim=0)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(factor.view(-1, *[1] * (g.ndim - 1)))


class StepProgress(Callback):
    """Progress bar over all training steps."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        self.bar_ = tqdm(total=X.steps_left, unit="step")

    def on_batch_end(self, net, training=None, **kwargs):
        self.bar_.update(int(training))

    def on_epoch_end(self, net, **kwargs):
        self.bar_.set_postfix(loss=net.history[-1]["train_loss"])

    def on_train_end(self, net, **kwargs):
        self.bar_.close()
