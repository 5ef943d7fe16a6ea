"""Deep semi-supervised anomaly detectors for scikit-learn."""

from .detectors.ama import AMA
from .detectors.deep_sad import DeepSAD
from .detectors.deep_svdd import DeepSVDD
from .detectors.ganomaly import GANomaly

__version__ = "0.1.0.dev0"

__all__ = ["AMA", "DeepSAD", "DeepSVDD", "GANomaly"]
