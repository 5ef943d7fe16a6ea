"""Warnings that skad issues."""

__all__ = ["LabelConventionWarning", "ThresholdWarning"]


class LabelConventionWarning(UserWarning):
    """Labels look as if 1 meant anomaly; in skad +1 means normal and -1 anomaly."""


class ThresholdWarning(UserWarning):
    """The rows are too few for the threshold that was asked for."""
