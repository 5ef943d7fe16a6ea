"""Fitted networks in a detector's state: arrays and plain objects, which skops takes too."""

import copy
from itertools import chain

import numpy as np
import torch
from torch import nn

from ._ambient import plain_torch


def without_tensors(module):
    """Copy a built-in module with None in place of its tensors; they follow by name, as arrays."""
    tensors = dict(chain(module.named_parameters(), module.named_buffers()))
    skeleton = copy.deepcopy(module, {id(tensor): None for tensor in tensors.values()})
    return skeleton, {name: tensor.numpy() for name, tensor in tensors.items()}


@plain_torch
def with_tensors(skeleton, arrays):
    """Put the tensors back; the arrays may be read-only, as those of a mapped file are."""
    for name, array in arrays.items():
        owner, _, leaf = name.rpartition(".")
        owner, tensor = skeleton.get_submodule(owner), torch.from_numpy(np.array(array))
        if leaf in owner._parameters:
            tensor = nn.Parameter(tensor, requires_grad=False)
        setattr(owner, leaf, tensor)
    return skeleton


class PickleOnly:
    """Holds a user's own module: pickle and copy take it as ever, skops raises a clear error."""

    def __init__(self, module):
        self.module = module

    def __reduce_ex__(self, protocol):  # called by pickle and copy
        return PickleOnly, (self.module,)

    def __reduce__(self):  # called by skops
        raise TypeError(
            "skops cannot hold a network of your own (module=...), whose code it does not know: "
            "save this detector with pickle or joblib."
        )
