"""Deep semi-supervised anomaly detectors for scikit-learn."""

from .detectors.deep_sad import DeepSAD
from .detectors.deep_svdd import DeepSVDD

__version__ = "0.1.0.dev0"

__all__ = ["DeepSAD", "DeepSVDD"]
