"""Seed inside, restore outside: the only place that touches global random generators.

Whatever can have its own generator does; what cannot, such as the initial weights of torch's
layers, is drawn by one thread at a time.
"""

import random
import threading
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state

_lock = threading.RLock()
_inside = []  # one entry per thread in `preserve_global_generators`, with the states it found


def draw_seed(random_state):
    """Turn a scikit-learn `random_state` into one int seed, leaving global generators alone."""
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))


def member_seeds(seed, n_members):
    """Seeds of the members; the first is `seed`, so one member alone is the plain detector."""
    children = np.random.SeedSequence(seed).generate_state(n_members - 1)
    return [seed, *(int(s) for s in children)]


@contextmanager
def preserve_global_generators():
    """Put Python's, numpy's and torch's global generators back as they were found.

    Of several threads inside, the last to leave puts back what the first has found.
    """
    with _lock:
        found = random.getstate(), np.random.get_state(), torch.get_rng_state()
        _inside.append(_inside[0] if _inside else found)
    try:
        yield
    finally:
        with _lock:
            found = _inside.pop()
            if not _inside:
                random.setstate(found[0])
                np.random.set_state(found[1])
                torch.set_rng_state(found[2])


@contextmanager
def own_global_generators(device="cpu"):
    """Let only one thread use the global generators, and put them back afterwards.

    Torch's default dtype, which is process-wide too, is float32 inside.
    """
    cuda = torch.device(device).type == "cuda"
    with _lock, preserve_global_generators():
        dtype, state = torch.get_default_dtype(), cuda and torch.cuda.get_rng_state(device)
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            if cuda:
                torch.cuda.set_rng_state(state, device)


def seed_everything(seed, device="cpu"):
    """Seed every global generator; only ever called inside `preserve_global_generators`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


class MemberNoise:
    """Random tensors with a leading member axis, each member's part from its own seed."""

    def __init__(self, seeds, device="cpu"):
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def normal(self, *shape):
        """Draw standard normal numbers of shape (n_members, *shape)."""
        return self._stack(torch.randn, shape, dtype=torch.float32)

    def uniform(self, *shape):
        """Draw numbers from [0, 1), of shape (n_members, *shape)."""
        return self._stack(torch.rand, shape, dtype=torch.float32)

    def permutation(self, n):
        """Draw a permutation of n for each member, (n_members, n)."""
        return self._stack(torch.randperm, (n,))

    def _stack(self, draw, shape, **options):
        parts = [draw(*shape, generator=g, device=g.device, **options) for g in self.generators]
        return torch.stack(parts)
