"""Data: problems with few labels, other label conventions, and the ADBench tables."""

from .adbench import fetch_adbench
from .labels import from_binary_labels, mask_labels

__all__ = ["fetch_adbench", "from_binary_labels", "mask_labels"]
