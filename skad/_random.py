"""Seed inside, restore outside: the only place that touches global random generators."""

import random
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.utils import check_random_state


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
    """Put Python's, numpy's and torch's global generators back as they were found."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def seed_everything(seed):
    """Seed every global generator; only ever called inside `preserve_global_generators`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class MemberNoise:
    """Random tensors with a leading member axis, each member's part from its own seed."""

    def __init__(self, seeds, device="cpu"):
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def normal(self, *shape):
        """Draw standard normal numbers of shape (n_members, *shape)."""
        return self._stack(torch.randn, shape)

    def uniform(self, *shape):
        """Draw numbers from [0, 1), of shape (n_members, *shape)."""
        return self._stack(torch.rand, shape)

    def permutation(self, n):
        """Draw a permutation of n for each member, (n_members, n)."""
        return self._stack(torch.randperm, (n,))

    def _stack(self, draw, shape):
        return torch.stack([draw(*shape, generator=g, device=g.device) for g in self.generators])
