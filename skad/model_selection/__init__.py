"""Splitters, and scores against the number of labels, for partly labelled data."""

from .curves import label_gain_curve
from .splitters import (
    RepeatedSemiSupervisedKFold,
    SemiSupervisedKFold,
    SemiSupervisedTimeSeriesSplit,
)

__all__ = [
    "RepeatedSemiSupervisedKFold",
    "SemiSupervisedKFold",
    "SemiSupervisedTimeSeriesSplit",
    "label_gain_curve",
]
