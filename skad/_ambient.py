"""Torch settings of the caller do not reach into fit and scoring."""

import threading
from contextlib import ExitStack, contextmanager
from functools import wraps

import torch

DEVICES = ("cpu", "cuda")


_lock = threading.Lock()
_inside = []  # one entry per thread in `full_precision`, with the settings it found


@contextmanager
def full_precision():
    """Let a GPU compute in float32 where it may be set to round to TF32, as cuDNN is by default.

    The settings are process-wide: of several threads inside, the last to leave puts back what the
    first has found.
    """
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn
    with _lock:
        _inside.append(_inside[0] if _inside else [kind.allow_tf32 for kind in kinds])
        for kind in kinds:
            kind.allow_tf32 = False
    try:
        yield
    finally:
        with _lock:
            found = _inside.pop()
            if not _inside:
                for kind, allowed in zip(kinds, found, strict=True):
                    kind.allow_tf32 = allowed


def plain_torch(function):
    """Keep inference mode, disabled gradients, autocast, TF32 and default device out of a function.

    The default dtype is process-wide, so it is not touched: tensors are made with a dtype.
    """

    @wraps(function)
    def call(*args, **kwargs):
        undo = [torch.autocast(k, enabled=False) for k in DEVICES if torch.is_autocast_enabled(k)]
        if torch.is_inference_mode_enabled():
            undo.append(torch.inference_mode(False))
        if not torch.is_grad_enabled():
            undo.append(torch.enable_grad())
        # Asked of a tensor: get_default_device() of torch 2.6 knows nothing of `with torch.device`.
        if torch.empty(0).device.type != "cpu":
            undo.append(torch.device("cpu"))
        if torch.cuda.is_available():
            undo.append(full_precision())
        if not undo:
            return function(*args, **kwargs)
        with ExitStack() as stack:
            for context in undo:
                stack.enter_context(context)
            return function(*args, **kwargs)

    return call
