import random

import numpy as np
import pytest
import torch

from skad._random import (
    MemberNoise,
    draw_seed,
    member_seeds,
    preserve_global_generators,
    seed_everything,
)

from .checks import global_states


def test_global_generators_are_put_back_even_after_an_error():
    before = global_states()
    with pytest.raises(ZeroDivisionError), preserve_global_generators():
        seed_everything(3)
        torch.rand(2), np.random.rand(2), random.random()
        _ = 1 / 0
    assert global_states() == before


def test_seeds():
    assert draw_seed(5) == draw_seed(np.int64(5)) == 5
    assert draw_seed(None) != draw_seed(None)
    assert draw_seed(np.random.RandomState(0)) == draw_seed(np.random.RandomState(0))
    seeds = member_seeds(7, 5)
    assert seeds[0] == 7
    assert len(set(seeds)) == 5
    assert member_seeds(7, 3) == seeds[:3]
    assert not set(seeds) & set(member_seeds(8, 5))


def test_noise_of_a_member_depends_on_its_seed_alone():
    both, one = MemberNoise([1, 2]), MemberNoise([2])
    for draw in ("normal", "uniform"):
        together, alone = getattr(both, draw)(4, 3), getattr(one, draw)(4, 3)
        assert together.shape == (2, 4, 3)
        assert torch.equal(together[1:], alone)
        assert not torch.equal(together[0], together[1])
    assert torch.equal(both.permutation(6)[1:], one.permutation(6))
