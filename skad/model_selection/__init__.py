"""Splitters, out-of-fold scores, and scores against the number of labels."""

from .curves import label_gain_curve
from .out_of_fold import cross_val_predict
from .splitters import (
    RepeatedSemiSupervisedKFold,
    SemiSupervisedKFold,
    SemiSupervisedTimeSeriesSplit,
)

__all__ = [
    "RepeatedSemiSupervisedKFold",
    "SemiSupervisedKFold",
    "SemiSupervisedTimeSeriesSplit",
    "cross_val_predict",
    "label_gain_curve",
]
