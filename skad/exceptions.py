"""Warnings that skad issues."""

__all__ = ["LabelConventionWarning"]


class LabelConventionWarning(UserWarning):
    """Labels look as if 1 meant anomaly; in skad +1 means normal and -1 anomaly."""
