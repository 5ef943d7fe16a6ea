"""What the displays share: axes, colours, names."""

# Drawn in this order; the colours can be told apart by the colour-blind.
LABELS = {0: ("unlabelled", "0.6"), 1: ("labelled normal", "C0"), -1: ("labelled anomaly", "C3")}


def pyplot():
    """Import matplotlib when something is drawn."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("Plots need matplotlib: pip install 'skad[plot]'.") from error
    return plt


class Display:
    """Base of the displays."""

    def _set_axes(self, ax):
        if ax is None:
            _, ax = pyplot().subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure


def name_of(estimator):
    """Name of an estimator, or of the last step of a pipeline."""
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__
