"""Plots of detectors and partly labelled data, as scikit-learn's Displays.

The data stay on the display, so that `plot` draws again without computing again; the artists are
kept as attributes ending in ``_``. matplotlib is imported when something is drawn.
"""

from .attribution import AttributionDisplay
from .curves import PrecisionRecallDisplay, RocCurveDisplay
from .label_gain import LabelGainDisplay
from .latent_space import LatentSpaceDisplay
from .score_distribution import ScoreDistributionDisplay
from .training_curve import TrainingCurveDisplay

__all__ = [
    "AttributionDisplay",
    "LabelGainDisplay",
    "LatentSpaceDisplay",
    "PrecisionRecallDisplay",
    "RocCurveDisplay",
    "ScoreDistributionDisplay",
    "TrainingCurveDisplay",
]
