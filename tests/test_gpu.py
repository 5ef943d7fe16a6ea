"""On a GPU every deep detector trains without stalling it, and scores as on a CPU."""

import pickle
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from skorch.callbacks import Callback

import skad
from skad import _scoring
from skad._ambient import full_precision
from skad.base_deep import BaseDeepDetector

from .checks import make_problem
from .test_common import FAST

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
DEEP = [getattr(skad, name) for name in sorted(skad.__all__)]
DEEP = [c for c in DEEP if isinstance(c, type) and issubclass(c, BaseDeepDetector)]
TABLES = [(cls, {}) for cls in DEEP] + [(skad.ESAD, {"score_type": "standardized"})]
IMAGES = [
    (cls, {"image_shape": (1, 8, 8), "hidden_layer_sizes": (4, 8)})
    for cls in DEEP
    if cls is not skad.SSDGM
]
CASES = [pytest.param(c, o, id=f"{c.__name__}-{len(o)}") for c, o in TABLES + IMAGES]
X, Y, TRUTH = make_problem(n_features=64)


def fitted(cls, options, **more):
    return cls(random_state=0, **FAST | options | more).fit(X, Y)


def when_waiting(mode):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a prototype, says torch
        torch.cuda.set_sync_debug_mode(mode)


class NoStall(Callback):
    """Makes torch raise where a training step waits for the GPU."""

    def on_batch_begin(self, net, **kwargs):
        when_waiting("error")

    def on_batch_end(self, net, **kwargs):
        when_waiting("default")


@needs_gpu
@pytest.mark.parametrize("cls, options", CASES)
def test_scores_on_a_gpu_are_those_on_a_cpu(cls, options):
    detector = fitted(cls, options, device="cuda")
    scores = detector.score_samples(X)
    loaded = pickle.loads(pickle.dumps(detector))
    assert {p.device.type for p in loaded.scoring_module_.parameters()} == {"cpu"}
    assert_allclose(loaded.score_samples(X), scores, rtol=0, atol=2e-5 * scores.std())
    many = np.concatenate([X] * 100)
    assert_array_equal(detector.score_samples(many)[-len(X) :], scores)
    assert_array_equal(detector.score_samples(X[3:4]), scores[3:4])


@needs_gpu
@pytest.mark.parametrize("cls, options", CASES)
def test_training_on_a_gpu_is_the_same_up_to_rounding(cls, options):
    steps = {"max_steps": 2}
    # The same batches and initial weights; random numbers drawn on the device differ.
    there, here = (fitted(cls, options | steps, device=d).history_ for d in ("cuda", "cpu"))
    if cls not in (skad.ESAD, skad.SSDGM, skad.AMA):
        assert_allclose(there[0]["train_loss"], here[0]["train_loss"], rtol=1e-3)
    again = fitted(cls, options | steps, device="cuda").history_
    assert_allclose(again[0]["train_loss"], there[0]["train_loss"], rtol=1e-3)


@needs_gpu
@pytest.mark.parametrize("cls, options", CASES)
def test_no_step_waits_for_the_gpu(cls, options):
    fitted(cls, options)  # what is done once per process may wait
    try:
        fitted(cls, options, device="cuda", callbacks=[NoStall()])
    finally:
        when_waiting("default")


@needs_gpu
def test_tf32_is_off_inside_and_back_outside():
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    before, seen = [kind.allow_tf32 for kind in kinds], []

    class Look(Callback):
        def on_train_end(self, net, **kwargs):
            seen.extend(kind.allow_tf32 for kind in kinds)

    fitted(skad.DeepSAD, {}, device="cuda", callbacks=[Look()])
    assert seen == [False, False]
    assert [kind.allow_tf32 for kind in kinds] == before


def test_tf32_comes_back_when_the_last_thread_leaves():
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [kind.allow_tf32 for kind in kinds]
    assert any(before)  # cuDNN's default
    first, second = full_precision(), full_precision()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert not any(kind.allow_tf32 for kind in kinds)
    second.__exit__(None, None, None)
    assert [kind.allow_tf32 for kind in kinds] == before


def test_out_of_memory_halves_the_block(monkeypatch):
    """A device that holds 64 rows only, played by the CPU."""
    detector = fitted(skad.DeepSAD, {})
    expected, module = detector.score_samples(X), detector.scoring_module_
    network = module.network.forward

    def small_device(rows):
        if rows.shape[1] > 64:
            raise torch.cuda.OutOfMemoryError("played")
        return network(rows)

    monkeypatch.setattr(module.network, "forward", small_device)
    monkeypatch.setattr(_scoring, "on_cpu", lambda tensor: False)
    module.gpu_block = 128
    with pytest.warns(RuntimeWarning, match="only 64 rows"):
        scores = detector.score_samples(X)
    assert module.gpu_block == 64
    assert_allclose(scores, expected, rtol=1e-6)
    with monkeypatch.context() as patch, pytest.raises(torch.cuda.OutOfMemoryError):
        patch.setattr(module.network, "forward", lambda rows: small_device(rows.repeat(1, 3, 1)))
        module.gpu_block = 32
        detector.score_samples(X)
