"""Checks of the deep detectors' parameters that go beyond a type and a range."""

import inspect
import math
from functools import partial
from numbers import Integral

import numpy as np
import torch
from skorch.callbacks.scoring import ScoringBase
from torch import nn


def check_sizes(sizes):
    """Bring `hidden_layer_sizes` to a tuple of int."""
    if not _are_counts(sizes) or len(sizes) == 0:
        raise ValueError(
            "hidden_layer_sizes must be 'auto' or a list or tuple of one or more positive "
            f"integers, got {sizes!r}."
        )
    return tuple(int(n) for n in sizes)


def check_image_shape(shape, n_features):
    """Check that `image_shape`, if given, is three counts whose product is n_features."""
    if shape is None:
        return
    if not _are_counts(shape) or len(shape) != 3 or math.prod(map(int, shape)) != n_features:
        raise ValueError(
            f"image_shape={shape!r} does not fit the {n_features} features of X: it must be three "
            "positive integers (channels, height, width), whose product is the number of features."
        )


def _are_counts(values):
    return isinstance(values, (list, tuple, np.ndarray)) and all(
        isinstance(n, Integral) and not isinstance(n, (bool, np.bool_)) and n > 0 for n in values
    )


def check_halvings(image_shape, n_halvings):
    """Check that images can be halved as many times as a network does it."""
    if min(image_shape[1:]) >> n_halvings == 0:
        raise ValueError(
            f"Images of image_shape={tuple(image_shape)} cannot be halved {n_halvings} times, once "
            "per convolution; give fewer hidden_layer_sizes."
        )


def check_device(device):
    """Bring `device` to a torch.device that is available; "auto" takes a GPU where there is one."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device={device!r} is not a torch device: pass 'cpu', 'cuda', 'cuda:1' or 'auto'."
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(
            f"device={str(device)!r} is not supported, because scores are float64: pass 'cpu', "
            "'cuda' or 'auto'."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(device)!r} is not available: torch sees {torch.cuda.device_count()} CUDA "
            "devices. Pass 'cpu', or 'auto' for a GPU where there is one."
        )
    return device


def check_optimizer(optimizer, name="optimizer"):
    """Check that a class makes an optimizer that steps without a closure."""
    made = optimizer.func if isinstance(optimizer, partial) else optimizer
    if isinstance(made, type) and not (
        issubclass(made, torch.optim.Optimizer) and not issubclass(made, torch.optim.LBFGS)
    ):
        raise ValueError(
            f"{name} must be a class of torch.optim that updates each number by its own gradient, "
            f"such as torch.optim.Adam, or a functools.partial of one, got {optimizer!r}."
        )


def optimizer_options(name, optimizer, weight_decay):
    """Options that skorch passes on to an optimizer: weight decay, and the fused step."""
    known = inspect.signature(optimizer).parameters
    if "weight_decay" not in known and weight_decay:
        raise ValueError(f"weight_decay={weight_decay} must be 0: {name}={optimizer!r} has none.")
    options = {"weight_decay": weight_decay} if "weight_decay" in known else {}
    if isinstance(optimizer, type) and "fused" in known:
        options["fused"] = True
    return {f"{name}__{option}": value for option, value in options.items()}


def check_callbacks(callbacks):
    """Check that each callback is one of skorch's and does not ask the net for predictions."""
    for callback in callbacks or ():
        made = callback[1] if isinstance(callback, tuple) and len(callback) == 2 else callback
        if not hasattr(made, "on_epoch_end"):
            raise TypeError(f"callbacks must be skorch callbacks, got {callback!r} among them.")
        if isinstance(made, ScoringBase) or (
            isinstance(made, type) and issubclass(made, ScoringBase)
        ):
            raise ValueError(
                f"callbacks holds {type(made).__name__}, which needs predictions during training; "
                "there are none. Watch train_loss or, with validation_fraction, valid_loss."
            )


def check_module(network, n_features):
    """Check that a user's encoder can be trained and maps rows to codes."""
    if not isinstance(network, nn.Module):
        raise TypeError(f"module({n_features}) must return an nn.Module, got {network!r}.")
    tensors = list(network.parameters())
    faults = {
        "is a TorchScript module, which cannot be copied per member": isinstance(
            network, torch.jit.ScriptModule
        ),
        "has lazy layers; give them their sizes": any(
            isinstance(t, nn.parameter.UninitializedTensorMixin)
            for t in [*tensors, *network.buffers()]
        ),
        "has no parameters to train": not any(t.requires_grad for t in tensors),
        "must have float32 parameters": any(t.dtype != torch.float32 for t in tensors),
    }
    for fault, present in faults.items():
        if present:
            raise ValueError(f"module {fault}, got {network!r}.")
