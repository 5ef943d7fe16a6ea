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
