"""The member axis: networks are written for one member, and K of them are trained as one.

`stack_members` turns K networks into one whose input and output have a leading axis of length K.
"""

import copy
import warnings
from itertools import chain

import torch
from torch import nn
from torch.func import functional_call, vmap

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
# From this many inputs on, the product is transposed: its gradient then has the weights' own
# layout, which saves a copy. Narrow layers are slower that way.
WIDE = 500
# Layers that treat every row, or every number, separately, whatever the leading axes.
_AXIS_FREE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid)


def stack_members(members):
    """Stack K networks of the same structure into one, with a leading axis of length K.

    Linear layers become one batched matrix product, which is much faster than a loop. A class that
    sets ``member_axis = True`` promises that its own forward works with leading axes, so only its
    children are stacked. Anything else goes through vmap as a whole.
    """
    first = members[0]
    if type(first) in _AXIS_FREE:
        return first
    if type(first) is nn.Linear:
        return StackedLinear(members)
    if type(first) is nn.BatchNorm1d:
        return StackedBatchNorm1d(members)
    if getattr(first, "member_axis", False) or _only_known_layers(first):
        stacked = copy.copy(first)
        for attribute in ("_parameters", "_buffers", "_modules"):
            setattr(stacked, attribute, dict(getattr(first, attribute)))
        for name in first._modules:
            stacked._modules[name] = stack_members([m._modules[name] for m in members])
        _stack_tensors(stacked, members, recurse=False)
        return stacked
    return VmappedMembers(members)


def _only_known_layers(module):
    """Whether a Sequential holds only layers that have a batched version, each used once."""
    layers = list(module.children())
    known = (nn.Linear, nn.BatchNorm1d, *_AXIS_FREE)
    parameters = [p for layer in layers for p in layer.parameters()]
    return (
        type(module) is nn.Sequential
        and len(layers) == len(module)
        and all(type(layer) in known for layer in layers)
        and len(parameters) == len({id(p) for p in parameters})
    )


def _stack_tensors(target, members, recurse=True):
    """Replace the parameters and buffers of `target` by the members' ones, stacked."""
    for kind in ("named_parameters", "named_buffers"):
        sources = [dict(getattr(member, kind)(recurse=recurse)) for member in members]
        for name, tensor in getattr(target, kind)(recurse=recurse):
            tensor.data = torch.stack([source[name].data for source in sources])


class StackedLinear(nn.Module):
    """K linear layers at once, (K, n_rows, n_in) to (K, n_rows, n_out)."""

    def __init__(self, members):
        super().__init__()
        self.weight, self.bias = copy.deepcopy(members[0].weight), copy.deepcopy(members[0].bias)
        _stack_tensors(self, members)

    def forward(self, x):
        """Multiply each member's rows by its own weights."""
        if self.weight.shape[2] > WIDE:
            product = torch.bmm(self.weight, x.mT).mT
            return product if self.bias is None else product + self.bias.unsqueeze(1)
        if self.bias is None:
            return torch.bmm(x, self.weight.mT)
        return torch.baddbmm(self.bias.unsqueeze(1), x, self.weight.mT)

    def effective_weight(self):
        """Weights as they are applied, (K, n_out, n_in)."""
        return self.weight


class StackedBatchNorm1d(nn.BatchNorm1d):
    """K batch normalisations at once, over (K, n_rows, n_features)."""

    def __init__(self, members):
        nn.Module.__init__(self)
        vars(self).update(vars(copy.deepcopy(members[0])))
        _stack_tensors(self, members)

    def forward(self, x):
        """Normalise each member's columns by its own statistics."""
        rows_first = x.transpose(0, 1).flatten(1)
        normalised = nn.functional.batch_norm(
            rows_first,
            self.running_mean.flatten(),
            self.running_var.flatten(),
            None if self.weight is None else self.weight.flatten(),
            None if self.bias is None else self.bias.flatten(),
            self.training,
            self.momentum,
            self.eps,
        )
        return normalised.unflatten(1, (len(x), -1)).transpose(0, 1)


class VmappedMembers(nn.Module):
    """K networks of any kind at once, through torch's vmap (or one after the other), to train.

    Holds one network whose tensors carry the leading axis; slices of them are put in for a call,
    so it cannot be shared by threads; what `unstack` returns can. On a CPU convolutions go one
    after the other, which measures about twice as fast as vmap.
    """

    def __init__(self, members):
        super().__init__()
        self.net = copy.deepcopy(members[0])
        self.n_members = len(members)
        self.convolves = any(isinstance(m, CONVOLUTIONS) for m in self.net.modules())
        refusal = getattr(members[0], "vmap_refusal", None)
        self.one_by_one = self.n_members == 1 or refusal is not None
        if self.n_members > 1 and refusal is not None:
            warnings.warn(
                f"torch's vmap refuses the given module ({refusal}); its {self.n_members} members "
                "are trained one after the other, which is slower.",
                stacklevel=2,
            )
        _stack_tensors(self.net, members)

    def forward(self, x):
        """Apply member k's network to ``x[k]``."""
        state = dict(chain(self.net.named_parameters(), self.net.named_buffers()))
        if not self.one_by_one and not (self.convolves and x.device.type == "cpu"):
            return vmap(self._call, randomness="different")(state, x)
        slices = [{name: t[k] for name, t in state.items()} for k in range(len(x))]
        return torch.stack([self._call(s, rows) for s, rows in zip(slices, x, strict=True)])

    def _call(self, state, rows):
        return functional_call(self.net, state, (rows,))

    def unstack(self):
        """List the members' networks, no longer stacked."""
        networks = [copy.deepcopy(self.net) for _ in range(self.n_members)]
        for kind in ("named_parameters", "named_buffers"):
            stacked = dict(getattr(self.net, kind)())
            for k, network in enumerate(networks):
                for name, tensor in getattr(network, kind)():
                    tensor.data = stacked[name].data[k].clone()
        return networks


def find_training_traits(network, rows):
    """Find out whether a network draws random numbers in training, and whether vmap takes it."""
    state = torch.get_rng_state()
    copy.deepcopy(network)(rows[0])
    if not torch.equal(state, torch.get_rng_state()):
        network.draws_in_training = True
    network.vmap_refusal = None
    try:
        VmappedMembers([network, network])(rows)
    except RuntimeError as refusal:
        network.vmap_refusal = str(refusal)
    torch.set_rng_state(state)
