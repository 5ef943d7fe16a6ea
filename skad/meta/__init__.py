"""Meta-estimators: other detectors' scores with a threshold or training rows of one's choice.

All of them hand X to the inner estimator as it is, so that missing values, text columns and data
frames are the inner pipeline's business, and give a seed to whatever it leaves unseeded.
"""

from .conformal import ConformalDetector
from .normal_only import NormalOnlyDetector
from .tuned_threshold import TunedThresholdDetector

__all__ = ["ConformalDetector", "NormalOnlyDetector", "TunedThresholdDetector"]
