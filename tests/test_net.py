"""Training: batches, epochs, callbacks, stops, clipping, and when the loss is read."""

import pickle
import signal
import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    ProgressBar,
)
from skorch.utils import noop

from skad import DeepSAD, _out_of_bag, base_deep
from skad._labels import batch_strata, rows_to_learn
from skad._net import MemberBatches, clip_member_gradients

from .checks import make_problem

X, Y, TRUTH = make_problem()
FAST = {"max_steps": 40, "n_estimators": 2, "random_state": 0}


def make_batches(y, labeled_fraction, *, batch_size=16, n_steps=40, seeds=(0, 1)):
    rows = torch.arange(len(y), dtype=torch.float32).unsqueeze(1)
    return MemberBatches(
        rows,
        torch.from_numpy(y),
        batch_strata(y, labeled_fraction),
        seeds=seeds,
        batch_size=batch_size,
        n_steps=n_steps,
    )


def all_rows(batches):
    """Row numbers of every batch, (n_steps, n_members, batch_size)."""
    epochs = [[x.squeeze(-1).int().numpy() for x, _ in batches] for _ in range(batches.n_epochs)]
    return np.concatenate([np.array(epoch) for epoch in epochs])


# --- batches ------------------------------------------------------------------------------------


def test_uniform_batches_use_every_row_before_they_repeat():
    batches = make_batches(np.zeros(80, dtype=np.int8), None, n_steps=100)  # 5 steps per epoch
    for rows, _ in [next(iter(batches)) for _ in range(3)]:
        assert rows.shape == (2, 16, 1)
    epoch = np.array([x.squeeze(-1).int().numpy() for x, _ in batches])
    for member in range(2):
        assert_array_equal(np.sort(epoch[:, member].ravel()), np.arange(80))


@pytest.mark.parametrize(
    "labels, fraction, expected",
    [
        ({-1: 3, 0: 50}, 0.5, {-1: 8, 0: 8}),
        ({-1: 3, 0: 50, 1: 9}, 0.5, {-1: 4, 0: 8, 1: 4}),
        ({-1: 3, 1: 50}, 0.5, {-1: 4, 1: 12}),
        ({1: 3, 0: 50}, 0.25, {1: 4, 0: 12}),
        ({0: 50}, 0.5, {0: 16}),
        ({-1: 3, 0: 50}, 0.01, {-1: 1, 0: 15}),
        ({-1: 3, 0: 50}, 0.99, {-1: 15, 0: 1}),
    ],
)
def test_share_of_labeled_rows(labels, fraction, expected):
    y = np.repeat(list(labels), list(labels.values())).astype(np.int8)
    drawn = y[all_rows(make_batches(y, fraction))]
    for label, count in expected.items():
        assert_array_equal((drawn == label).sum(axis=-1), count)


def test_members_draw_their_own_batches():
    y = np.zeros(50, dtype=np.int8)
    both = all_rows(make_batches(y, None, seeds=(3, 4)))
    assert not np.array_equal(both[:, 0], both[:, 1])
    assert_array_equal(both[:, :1], all_rows(make_batches(y, None, seeds=(3,))))


@pytest.mark.parametrize("n_steps", [1, 7, 20, 21, 39, 100])
def test_budget_is_spent_exactly(n_steps):
    assert len(all_rows(make_batches(np.zeros(9, dtype=np.int8), None, n_steps=n_steps))) == n_steps
    det = DeepSAD(**{**FAST, "max_steps": n_steps}).fit(X, Y)
    assert det.n_iter_ == n_steps
    assert len(det.history_) <= 20


# --- clipping -----------------------------------------------------------------------------------


def test_gradients_are_clipped_member_by_member():
    weight, bias = torch.zeros(2, 3, 4, requires_grad=True), torch.zeros(2, requires_grad=True)
    weight.grad, bias.grad = torch.ones(2, 3, 4), torch.tensor([2.0, 300.0])
    clip_member_gradients([weight, bias], max_norm=10)
    assert_array_equal(weight.grad[0].numpy(), 1)  # norm 4: as it was
    assert bias.grad[0] == 2
    norm = torch.sqrt(weight.grad[1].square().sum() + bias.grad[1].square())
    assert norm == pytest.approx(10, rel=1e-5)


# --- history and callbacks ----------------------------------------------------------------------


def test_history_holds_the_mean_and_each_members_loss():
    history = DeepSAD(**FAST).fit(X, Y).history_
    assert len(history) == 20
    for epoch in history:
        assert epoch["train_loss"] == pytest.approx(np.mean(epoch["train_loss_members"]))
        assert len(epoch["train_loss_members"]) == 2
        assert "batches" not in epoch
    assert history[-1]["train_loss"] < history[0]["train_loss"]


class Recorder(Callback):
    seen = []

    def on_train_begin(self, net, **kwargs):
        self.seen.clear()

    def on_epoch_end(self, net, **kwargs):
        self.seen.append(net.optimizer_.param_groups[0]["lr"])


def test_learning_rate_schedule():
    callbacks = [LRScheduler("StepLR", step_size=10, gamma=0.1), Recorder()]
    DeepSAD(callbacks=callbacks, lr=1e-3, **FAST).fit(X, Y)
    assert_allclose(Recorder.seen, [1e-3] * 9 + [1e-4] * 10 + [1e-5], rtol=1e-6)
    assert not hasattr(callbacks[0], "lr_scheduler_")  # the user's own is left alone


def test_early_stopping_is_an_orderly_end():
    stopper = EarlyStopping(monitor="train_loss", patience=3, threshold=0.9, sink=noop)
    det = DeepSAD(callbacks=[stopper], **FAST).fit(X, Y)
    assert 0 < det.n_iter_ < 40
    assert det.n_iter_ == 2 * len(det.history_)
    assert np.isfinite(det.score_samples(X)).all()


class KeepWeights(Callback):
    seen = []

    def on_epoch_end(self, net, **kwargs):
        self.seen.append({k: v.clone() for k, v in net.module_.state_dict().items()})


def test_early_stopping_on_validation_rows_restores_the_best_weights():
    KeepWeights.seen.clear()
    callbacks = [KeepWeights(), EarlyStopping(patience=2, load_best=True, sink=noop)]
    options = {**FAST, "max_steps": 400, "lr": 0.02, "validation_fraction": 0.3}
    det = DeepSAD(callbacks=callbacks, **options).fit(X, Y)
    valid = det.history_[:, "valid_loss"]
    assert len(valid) < 20
    assert det.n_iter_ == 20 * len(valid)
    best = KeepWeights.seen[int(np.argmin(valid))]
    network = det.scoring_module_.network
    for name, layer in network.named_modules():
        if hasattr(layer, "weight"):
            assert_array_equal(layer.weight[..., : layer.n_out].mT, best[f"{name}.weight"])
    assert_array_equal(network.center, best["center"])


def test_validation_rows_are_not_trained_on():
    options = {**FAST, "validation_fraction": 0.3, "standardize": False, "pretrain_steps": 5}
    detector = DeepSAD(**options)
    detector.member_seeds_ = [0]
    numbers = torch.arange(len(X))
    trained, _, validation = detector._split(numbers, torch.from_numpy(Y.astype(np.int8)))
    kept = validation.X.numpy()
    assert_array_equal(np.sort(np.r_[trained, kept]), numbers)
    assert_allclose(
        [np.mean(Y[kept] == label) for label in (-1, 0, 1)], [1 / 12, 0.87, 0.05], atol=0.02
    )
    moved = X.copy()
    moved[kept] += 0.5  # neither pretraining, nor centre, nor training may see it
    first, second, third = (DeepSAD(**options).fit(rows, Y) for rows in (X, X, moved))
    assert_array_equal(first.center_, third.center_)
    for name, weight in first.scoring_module_.network.state_dict().items():
        assert_array_equal(weight, third.scoring_module_.network.state_dict()[name])
    losses = [det.history_[-1]["valid_loss"] for det in (first, second, third)]
    assert losses[0] == losses[1] != losses[2]


def test_validation_fraction_that_leaves_nothing():
    with pytest.raises(ValueError, match="validation_fraction=0.01 leaves 0 of 20 rows"):
        DeepSAD(validation_fraction=0.01, **FAST).fit(X[40:60])


def test_checkpoint(tmp_path):
    checkpoint = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path), sink=noop)
    DeepSAD(callbacks=[checkpoint], **FAST).fit(X, Y)
    assert (tmp_path / "params.pt").exists()
    weights = torch.load(tmp_path / "params.pt", weights_only=True)
    assert any(tensor.shape[0] == 2 for tensor in weights.values())


def test_skorch_progress_bar(capfd):
    DeepSAD(callbacks=[ProgressBar(detect_notebook=False)], **FAST).fit(X, Y)
    assert "0/2" in capfd.readouterr().err  # two steps per epoch


def test_verbose_shows_steps(capfd):
    DeepSAD(verbose=1, **FAST).fit(X, Y)
    captured = capfd.readouterr()
    assert "40/40" in captured.err
    assert "loss=" in captured.err
    assert captured.out == ""


class PressCtrlC(Callback):
    """Makes the module raise as if the user pressed Ctrl-C in the middle of a step."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            net.module_.register_forward_pre_hook(self._interrupt)

    def _interrupt(self, *args):
        raise KeyboardInterrupt


def test_ctrl_c_leaves_fit_and_leaves_the_detector_as_it_was():
    det = DeepSAD(**FAST).fit(X, Y)
    expected = det.score_samples(X)
    det.set_params(callbacks=[PressCtrlC()])
    with pytest.raises(KeyboardInterrupt):
        det.fit(X[:, :3], Y)
    assert_array_equal(det.score_samples(X), expected)


class StrikeInCallback(Callback):
    """Ctrl-C while a callback runs: the signal's own handler raises."""

    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


class AskToStop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


def test_ctrl_c_inside_a_callback_is_no_orderly_stop():
    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            DeepSAD(callbacks=[StrikeInCallback()], **FAST).fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, found)
    assert DeepSAD(callbacks=[AskToStop()], **FAST).fit(X, Y).n_iter_ == 6


def test_early_stopping_without_validation_names_the_cure():
    with pytest.raises(ValueError, match="only there with validation_fraction"):
        DeepSAD(callbacks=[EarlyStopping()], **FAST).fit(X, Y)


class Predicts(Callback):
    def on_epoch_end(self, net, **kwargs):
        net.predict(X)


def test_predictions_during_training_are_refused_clearly():
    with pytest.raises(NotImplementedError, match="call net.module_ on rows"):
        DeepSAD(callbacks=[Predicts()], **FAST).fit(X, Y)
    with pytest.raises(ValueError, match="callbacks holds EpochScoring"):
        DeepSAD(callbacks=[EpochScoring("accuracy")], **FAST).fit(X, Y)


class WritesLog(Callback):
    """Holds a lock, as an open log does, so it cannot be copied deeply."""

    def __init__(self):
        self.lock, self.lines = threading.Lock(), []

    def on_epoch_end(self, net, **kwargs):
        with self.lock:
            self.lines.append(net.history[-1, "train_loss"])


def test_callback_that_cannot_be_copied():
    log = WritesLog()
    det = DeepSAD(callbacks=[log], **FAST).fit(X, Y)
    assert log.lines == det.history_[:, "train_loss"]


def test_optimizer_without_weight_decay():
    assert np.isfinite(DeepSAD(optimizer=torch.optim.Rprop, **FAST).fit(X, Y).offset_)
    with pytest.raises(ValueError, match=r"weight_decay=0.1 must be 0"):
        DeepSAD(optimizer=torch.optim.Rprop, weight_decay=0.1, **FAST).fit(X, Y)


def test_loss_is_read_once_an_epoch(monkeypatch):
    """Reading a loss stalls a GPU, so steps must not."""
    reads = []
    for name in ("item", "cpu", "tolist", "__float__", "__bool__"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, _original=original, _name=name, **kwargs):
            if self.requires_grad or self.grad_fn is not None or self.ndim == 1:
                reads.append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, counted)
    counts = []
    for steps in (20, 200):
        reads.clear()
        DeepSAD(**{**FAST, "max_steps": steps}).fit(X, Y)
        counts.append(len(reads))
    assert counts[0] == counts[1] > 0


# --- failures -----------------------------------------------------------------------------------


def test_loss_that_is_not_finite():
    with pytest.raises(ValueError, match=r"no longer finite in epoch 1.*Lower lr"):
        DeepSAD(standardize=False, **FAST).fit(X * 1e30, Y)


def test_scores_that_are_constant():
    with pytest.warns(ConvergenceWarning, match="same score to every training row"):
        DeepSAD(**FAST).fit(np.ones((30, 4)))


def test_training_cut_short(monkeypatch):
    original = MemberBatches.__iter__
    monkeypatch.setattr(MemberBatches, "__iter__", lambda self: iter(list(original(self))[:-1]))
    with pytest.raises(RuntimeError, match="Training ended after 20 of 40 steps"):
        DeepSAD(**FAST).fit(X, Y)


def test_cost_does_not_grow_with_rows():
    """Counted in rows that go through the network, not in seconds."""
    seen = []

    class Count(Callback):
        def on_batch_end(self, net, batch=None, **kwargs):
            seen.append(batch[0].shape[1])

    for n in (200, 2000):
        seen.clear()
        rows, labels, _ = make_problem(n=n)
        DeepSAD(callbacks=[Count()], **FAST).fit(rows, labels)
        assert sum(seen) == 40 * 128


# --- large tables -------------------------------------------------------------------------------


def test_a_large_table_is_learnt_from_a_sample_with_all_its_labels(monkeypatch):
    monkeypatch.setattr(base_deep, "SAMPLE", 50)
    options = {"max_steps": 3, "batch_size": 16, "n_estimators": 2, "random_state": 0}
    detector = DeepSAD(**options).fit(X, Y)
    rows = rows_to_learn(Y, 50, seed=0)
    assert (Y[rows] == 0).sum() == 50 < (Y == 0).sum()
    assert set(np.flatnonzero(Y)) <= set(rows)
    alone = DeepSAD(**options).fit(X[rows], Y[rows])
    assert_array_equal(detector.score_samples(X), alone.score_samples(X))
    assert detector.offset_ == alone.offset_
    # A budget that reads more rows than the sample holds gets them.
    longer = DeepSAD(**options | {"max_steps": 7}).fit(X, Y)
    monkeypatch.setattr(base_deep, "SAMPLE", 1000)
    everything = DeepSAD(**options | {"max_steps": 7}).fit(X, Y)
    assert_array_equal(longer.score_samples(X), everything.score_samples(X))


def test_out_of_bag_scores_of_a_large_table_have_its_length(monkeypatch):
    monkeypatch.setattr(base_deep, "SAMPLE", 50)
    detector = DeepSAD(batch_size=2, n_estimators=4, random_state=0)
    monkeypatch.setattr(_out_of_bag, "CANDIDATES", (25,))
    detector.fit(X, Y)
    kept = np.zeros(len(X), dtype=bool)
    kept[rows_to_learn(Y, detector._n_unlabeled_to_learn(Y), seed=0)] = True
    assert detector.oob_decision_function_.shape == Y.shape
    assert np.isnan(detector.oob_decision_function_[~kept]).all()
    assert np.isfinite(detector.oob_decision_function_[kept]).sum() > 10


# --- devices ------------------------------------------------------------------------------------


def test_auto_device_falls_back_to_the_cpu():
    expected = DeepSAD(**FAST).fit(X, Y).score_samples(X)
    if not torch.cuda.is_available():
        assert_array_equal(DeepSAD(device="auto", **FAST).fit(X, Y).score_samples(X), expected)


def test_pickled_network_is_on_the_cpu(monkeypatch):
    """Without a GPU at hand: whatever the device, the pickled network has been moved."""
    det = DeepSAD(**FAST).fit(X, Y)
    moved = []
    monkeypatch.setattr(type(det.scoring_module_), "cpu", lambda self: moved.append(True) or self)
    pickle.dumps(det)
    assert moved
