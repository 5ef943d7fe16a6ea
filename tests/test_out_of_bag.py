"""The number of steps, chosen by rows that members leave out, and their scores."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, roc_auc_score
from skorch.callbacks import Callback

from skad import DeepSAD
from skad._labels import batch_strata
from skad._net import MemberBatches
from skad._out_of_bag import CANDIDATES, STEPS_IF_FEWER, draw_left_out

from .checks import make_problem

X, Y, TRUTH = make_problem(n=240)
SMALL = {"n_estimators": 4, "hidden_layer_sizes": (16,), "latent_dim": 4, "random_state": 0}


@pytest.fixture(scope="module")
def chosen():
    return DeepSAD(**SMALL).fit(X, Y)


def has_choice(detector):
    return hasattr(detector, "oob_score_")


def test_it_needs_labels_members_and_auto(chosen):
    few = np.where(np.cumsum(Y == -1) <= 2, Y, 0)
    assert has_choice(chosen)
    for options, y in [
        ({"max_steps": 30}, Y),
        ({"n_estimators": 3}, Y),
        ({}, few),
        ({}, None),
        ({}, np.where(Y == 0, 1, Y)[:22]),
    ]:
        fitted = DeepSAD(**{**SMALL, **options}).fit(X[: len(y)] if y is not None else X, y)
        assert has_choice(fitted) == (y is not None and len(y) == 22)
    # What is fixed: few steps for few labels.
    assert DeepSAD(**SMALL).fit(X, few).n_iter_ == STEPS_IF_FEWER
    assert DeepSAD(**{**SMALL, "n_estimators": 3}).fit(X, Y).n_iter_ == 100
    refitted = DeepSAD(**SMALL).fit(X, Y).set_params(max_steps=30).fit(X, Y)
    assert not has_choice(refitted)
    assert not hasattr(refitted, "oob_decision_function_")


def test_each_member_leaves_out_its_own_share_of_each_label():
    left_out = draw_left_out(Y, [0, 1, 2, 3], np.ones(len(Y), dtype=bool))
    for label, share in ((-1, 0.3), (0, 0.2), (1, 0.3)):
        n_rows = np.sum(label == Y)
        assert_array_equal(left_out[:, label == Y].sum(axis=1), round(share * n_rows))
    assert len({mask.tobytes() for mask in left_out}) == 4
    assert_array_equal(left_out[1:2], draw_left_out(Y, [1], np.ones(len(Y), dtype=bool)))
    usable = np.arange(len(Y)) % 2 == 0
    assert not draw_left_out(Y, [0, 1], usable)[:, ~usable].any()


def test_left_out_rows_are_never_drawn():
    left_out = draw_left_out(Y, [0, 1], np.ones(len(Y), dtype=bool))
    numbers = torch.arange(len(Y), dtype=torch.float32)[:, None]
    batches = MemberBatches(
        numbers,
        torch.from_numpy(Y),
        batch_strata(Y, 0.5),
        seeds=[0, 1],
        batch_size=32,
        n_steps=200,
        left_out=left_out,
    )
    seen = np.zeros_like(left_out)
    for _ in range(batches.n_epochs):
        for rows, _ in batches:
            for k in range(2):
                seen[k, rows[k, :, 0].int().numpy()] = True
    assert_array_equal(seen, ~left_out)


def test_mixup_gives_points_between_two_anomalies_of_the_bag():
    left_out = draw_left_out(Y, [0, 1], np.ones(len(Y), dtype=bool))
    line = torch.zeros(len(Y), 2)
    anomalies = np.flatnonzero(Y == -1)
    line[anomalies, 0] = torch.arange(len(anomalies)) / len(anomalies) + 1.0
    batches = MemberBatches(
        line,
        torch.from_numpy(Y),
        batch_strata(Y, 0.5),
        seeds=[0, 1],
        batch_size=32,
        n_steps=40,
        left_out=left_out,
        mixup=0.5,
    )
    given = [set(line[anomalies[~mask[anomalies]], 0].tolist()) for mask in left_out]
    for rows, y in batches:
        for k in range(2):
            values = rows[k, y[k] == -1, 0]
            new = [v for v in values.tolist() if v not in given[k]]
            assert 0 < len(new) <= np.sum((y[k] == -1).numpy()) // 2
            assert min(given[k]) <= min(new) <= max(new) <= max(given[k])
            assert (rows[k, y[k] != -1] == 0).all()


def test_the_model_is_the_snapshot_at_the_chosen_step(chosen, monkeypatch):
    curve = {}
    for epoch in chosen.history_:
        if "oob_average_precision" in epoch:
            steps = 25 * epoch["epoch"]
            pull = 0.2 / np.sum(Y == -1) * np.log2(steps / 75) ** 2
            curve[steps] = epoch["oob_average_precision"] - pull
            assert epoch["oob_average_precision"] == pytest.approx(
                np.mean(epoch["oob_average_precision_members"])
            )
    assert chosen.n_iter_ == max(curve, key=curve.get)
    assert list(curve) == list(CANDIDATES[: len(curve)])
    # Trained to that step alone, it is the same network.
    monkeypatch.setattr("skad.base_deep.CANDIDATES", (chosen.n_iter_,))
    monkeypatch.setattr("skad._out_of_bag.CANDIDATES", (chosen.n_iter_,))
    again = DeepSAD(**SMALL).fit(X, Y)
    assert again.n_iter_ == chosen.n_iter_
    assert_array_equal(again.score_samples(X), chosen.score_samples(X))


def test_training_stops_once_nothing_better_can_come(chosen):
    last = CANDIDATES.index(25 * len(chosen.history_))
    assert CANDIDATES.index(chosen.n_iter_) <= last
    few = np.where(np.cumsum(Y == -1) <= 3, Y, 0)  # three labels decide next to nothing
    det = DeepSAD(**SMALL).fit(X, few)
    assert det.n_iter_ in (50, 100)
    assert len(det.history_) <= 8


def test_out_of_bag_scores_equal_a_loop(chosen):
    left_out = draw_left_out(Y, chosen.member_seeds_, np.ones(len(Y), dtype=bool))
    raw, usual = chosen._member_scores(X).numpy(), Y != -1
    expected = np.full(len(X), np.nan)
    for i in range(len(X)):
        scores = [
            (raw[k, i] - np.median(raw[k, usual])) / raw[k, usual].std()
            for k in range(4)
            if left_out[k, i]
        ]
        if scores:
            expected[i] = -np.mean(scores) - chosen.offset_
    assert_allclose(chosen.oob_decision_function_, expected, rtol=1e-10)
    assert 0 < np.isnan(expected).mean() < 0.6
    seen = ~np.isnan(expected)
    assert chosen.oob_score_ == pytest.approx(roc_auc_score(Y[seen] == -1, -expected[seen]))
    precision = [
        average_precision_score(Y[m] == -1, s[m]) for m, s in zip(left_out, raw, strict=True)
    ]
    best = chosen.history_[chosen.n_iter_ // 25 - 1]["oob_average_precision"]
    assert np.mean(precision) == pytest.approx(best, abs=1e-6)


def test_out_of_bag_scores_are_honest_where_training_scores_are_not():
    """Labels that mean nothing: the training rows look well told apart, left-out ones do not."""
    rng = np.random.RandomState(0)
    rows, y = rng.randn(300, 20), np.zeros(300, dtype=int)
    y[:20] = -1
    honest, training = [], []
    for seed in range(3):
        det = DeepSAD(random_state=seed).fit(rows, y)
        honest.append(det.oob_score_)
        training.append(det.score(rows, y))
    assert np.mean(training) > 0.8
    assert 0.3 < np.mean(honest) < 0.65


class Stop(Callback):
    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            raise KeyboardInterrupt


def test_callbacks_and_validation_rows_act_as_ever():
    stopped = DeepSAD(callbacks=[Stop()], **SMALL).fit(X, Y)
    assert len(stopped.history_) == 3
    assert stopped.n_iter_ in (25, 50)
    det = DeepSAD(validation_fraction=0.2, **SMALL).fit(X, Y)
    assert np.isfinite(det.history_[:, "valid_loss"]).all()
    assert has_choice(det)


def test_biases_where_anomalies_are_labelled():
    def names(**options):
        y = options.pop("y", Y)
        module = DeepSAD(**SMALL, max_steps=2, **options).fit(X, y).scoring_module_
        return [name for name, _ in module.network.named_parameters() if "bias" in name]

    assert names()
    assert names(bias=True, y=None)
    assert not names(bias=False)
    assert not names(y=None, batch_norm=True)
    assert not names(y=None)
    assert not names(loss="inverse")
