"""Deep semi-supervised anomaly detectors for scikit-learn."""

from .detectors.ama import AMA
from .detectors.autoencoder import Autoencoder
from .detectors.deep_sad import DeepSAD
from .detectors.deep_svdd import DeepSVDD
from .detectors.esad import ESAD
from .detectors.ganomaly import GANomaly
from .detectors.ssad import SSAD
from .detectors.ssdgm import SSDGM
from .meta import (
    ClassifierDetector,
    ConformalDetector,
    NormalOnlyDetector,
    SampledDetector,
    TunedThresholdDetector,
    VotingDetector,
)

__version__ = "0.1.0.dev0"

__all__ = [
    "AMA",
    "ESAD",
    "SSAD",
    "SSDGM",
    "Autoencoder",
    "ClassifierDetector",
    "ConformalDetector",
    "DeepSAD",
    "DeepSVDD",
    "GANomaly",
    "NormalOnlyDetector",
    "SampledDetector",
    "TunedThresholdDetector",
    "VotingDetector",
]
