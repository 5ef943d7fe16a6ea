"""
Your own network
================

`module` takes any encoder that torch can write: a class or function that is called with the number
of columns. Here rows are recordings of 64 points, and what is odd about the odd ones, a short dent,
may sit anywhere. A convolution over time looks for it everywhere, which the built-in network of
fully connected layers has to learn from examples.

The recordings are made up, so that nothing but the place of the dent differs.
"""

import numpy as np
from torch import nn

from skad import DeepSAD


class Convolutions(nn.Sequential):
    """Two convolutions over time, and the strongest answer of each channel."""

    def __init__(self, n_features):
        super().__init__(
            nn.Unflatten(1, (1, n_features)),
            nn.Conv1d(1, 8, 9, bias=False),
            nn.LeakyReLU(),
            nn.Conv1d(8, 16, 9, bias=False),
            nn.AdaptiveMaxPool1d(1),
            nn.Flatten(),
        )


def recordings(n, n_odd, rng):
    """Noisy waves at any phase; a short dent at any place in the last."""
    time, phase = np.arange(64), rng.uniform(0, 2 * np.pi, (n, 1))
    X = np.sin(time / 8 + phase) + rng.normal(0, 0.15, (n, 64))
    place = rng.uniform(8, 56, (n_odd, 1))
    X[n - n_odd :] -= np.exp(-((time - place) ** 2) / 2)
    return X


rng = np.random.default_rng(0)
X, y = recordings(600, 10, rng), np.repeat([0, -1], [590, 10])
options = {"n_estimators": 4, "max_steps": 400, "random_state": 0}

own = DeepSAD(module=Convolutions, validation_fraction=0.2, **options)
own.fit(X, y)

# %%
# Against the built-in network, on new recordings: what they look like, and how they score.

import matplotlib.pyplot as plt

from skad.plotting import RocCurveDisplay, TrainingCurveDisplay

builtin = DeepSAD(**options).fit(X, y)
X_new, truth = recordings(600, 60, rng), np.repeat([1, -1], [540, 60])

fig, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
axes[0].plot(X_new[0] + 2.5, color="#0072B2", label="normal")
axes[0].plot(X_new[-1], color="#D55E00", linestyle="--", label="odd")
axes[0].set(xlabel="time", yticks=[], ylim=(-2.5, 5.2))
axes[0].legend(loc="upper right")
axes[0].set_title("Two recordings")
for name, model, style in [
    ("convolutions", own, {"color": "#0072B2", "linewidth": 2}),
    ("built-in", builtin, {"color": "#D55E00", "linestyle": "--"}),
]:
    RocCurveDisplay.from_estimator(
        model, X_new, truth, name=name, ax=axes[1], **style
    )
axes[1].set_title("New recordings")
TrainingCurveDisplay.from_estimator(own, name="Training", ax=axes[2])

# %%
# The right panel is the loss over the training, of each member network and of the rows that
# `validation_fraction` kept from it: look there when a network of your own does not learn.
#
# Scaling, batches, members and the score are as with the built-in network; so are pickles, and
# `transform`, which gives the codes.

size = sum(weights.numel() for weights in Convolutions(64).parameters())
print("codes of two recordings:", own.transform(X_new[:2]).shape)
print("weights of a member:    ", size)

# %%
# Without labelled anomalies leave biases out, as above: with them Deep SAD could map every row to
# the centre of its latent space.
