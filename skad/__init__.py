"""Deep semi-supervised anomaly detectors for scikit-learn."""

__version__ = "0.1.0.dev0"

from .detectors.ssad import SSAD

__all__ = ["SSAD"]
