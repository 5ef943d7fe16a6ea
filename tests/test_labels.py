"""Labels of other libraries' conventions: which are warned about."""

import warnings

import numpy as np
import pytest

from skad._labels import check_training_labels
from skad.exceptions import LabelConventionWarning

Y = np.repeat([-1, 0, 1], [4, 90, 6])
ANOMALY = Y == -1


@pytest.mark.parametrize("dtype", [int, np.uint8, float])
@pytest.mark.parametrize(
    "habit",
    [
        1 * ANOMALY,
        1 + ANOMALY,
        255 * ANOMALY,
        np.where(ANOMALY, 2, 0),
        np.abs(2 * Y),
        np.arange(len(Y)) % 5 + 1,
        np.full(len(Y), 2),
    ],
    ids=lambda habit: str(np.unique(habit)),
)
def test_habits_elsewhere_are_warned_about(habit, dtype):
    with pytest.warns(LabelConventionWarning, match="taken as normal.*from_binary_labels"):
        labels = check_training_labels(habit.astype(dtype), len(Y))
    np.testing.assert_array_equal(labels, habit > 0)


@pytest.mark.parametrize(
    "meant",
    [
        None,
        0 * Y,
        np.ones_like(Y),
        Y,
        -np.abs(Y),
        np.where(ANOMALY, -1, 1),
        np.where(ANOMALY, -1, 0),
    ],
    ids=["none", "zeros", "normals", "all kinds", "no normals", "no unlabelled", "anomalies"],
)
def test_labels_meant_for_skad_are_not(meant):
    with warnings.catch_warnings():
        warnings.simplefilter("error", LabelConventionWarning)
        labels = check_training_labels(meant, len(Y))
    np.testing.assert_array_equal(labels, 0 * Y if meant is None else meant)
