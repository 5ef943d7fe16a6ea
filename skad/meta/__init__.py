"""Meta-estimators: other detectors' scores with a threshold or training rows of one's choice.

Those about a threshold or training rows hand X to the inner estimator as it is, so that missing
values, text columns and data frames are the inner pipeline's business. `ClassifierDetector` and
`VotingDetector` take numbers, as detectors do. All give a seed to what their parts leave unseeded.
"""

from .classifier import ClassifierDetector
from .conformal import ConformalDetector
from .normal_only import NormalOnlyDetector
from .sampled import SampledDetector
from .tuned_threshold import TunedThresholdDetector
from .voting import VotingDetector

__all__ = [
    "ClassifierDetector",
    "ConformalDetector",
    "NormalOnlyDetector",
    "SampledDetector",
    "TunedThresholdDetector",
    "VotingDetector",
]
