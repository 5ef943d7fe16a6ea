"""
Decision boundaries: what each detector makes of five labels
============================================================

Normal rows lie on two half-moons. Five anomalies between the tips are labelled (red triangles), ten
more of all kinds hide among the unlabelled rows (small dots). The darker a place, the fewer normal
rows score as low as it does; the black line is the threshold, outside of which a row is flagged.

The data are made up, because only two columns can be drawn: look at the shapes, and elsewhere for
who is better.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.ensemble import IsolationForest

from skad import (
    AMA,
    ESAD,
    SSAD,
    SSDGM,
    Autoencoder,
    ClassifierDetector,
    DeepSAD,
    DeepSVDD,
    GANomaly,
    NormalOnlyDetector,
    VotingDetector,
)

rng = np.random.default_rng(0)
X = make_moons(290, noise=0.08, random_state=0)[0]
hidden = rng.uniform([-1.8, -1.3], [2.8, 1.8], size=(10, 2))
labeled = rng.normal([0.5, 0.25], 0.07, size=(5, 2))
X, y = np.r_[X, hidden, labeled], np.repeat([0, -1], [300, 5])

DETECTORS = {
    "learns from labels": [
        DeepSAD(random_state=0),
        ESAD(random_state=0),
        AMA(n_estimators=2, random_state=0),
        SSDGM(n_estimators=2, random_state=0),
        GANomaly(n_estimators=2, random_state=0),
        SSAD(nu=0.1, gamma=3.0),
        ClassifierDetector(random_state=0),
        VotingDetector(random_state=0),
    ],
    "no use for labels": [
        DeepSVDD(random_state=0),
        Autoencoder(latent_dim=1, random_state=0),
        NormalOnlyDetector(IsolationForest(), random_state=0),
    ],
}
for detectors in DETECTORS.values():
    for detector in detectors:
        detector.fit(X, y)

# %%
# Those that learn from labels cut the labelled place out of what is normal, each in the way of its
# network, kernel or trees. `SSDGM` and `ClassifierDetector` are classifiers at heart and know that
# one place alone; most others also flag what is far from all rows. The last three leave the
# labelled anomalies out: what lies between the moons is normal or not, whatever the labels say.

xx, yy = np.meshgrid(np.linspace(-1.9, 2.9, 90), np.linspace(-1.4, 1.9, 70))
grid = np.c_[xx.ravel(), yy.ravel()]
fig, axes = plt.subplots(3, 4, figsize=(12, 8), layout="constrained")
fig.suptitle("Decision boundaries of every detector on two moons")
panels = iter(axes.flat)
for kind, detectors in DETECTORS.items():
    for detector in detectors:
        ax = next(panels)
        train = np.sort(detector.decision_function(X[y == 0]))
        scores = detector.decision_function(grid).reshape(xx.shape)
        share = np.searchsorted(train, scores) / len(train)
        levels = [-0.01, 0.02, 0.1, 0.25, 0.5, 1.01]
        ax.contourf(xx, yy, share, levels, cmap="Blues_r", alpha=0.8)
        ax.contour(xx, yy, scores, [0], colors="k", linewidths=1.5)
        ax.plot(*X[y == 0].T, ".", color="k", markersize=2)
        ax.plot(*X[y == -1].T, "^", color="#D55E00", markeredgecolor="w")
        ax.set(xticks=[], yticks=[])
        name = type(detector).__name__
        if name == "NormalOnlyDetector":
            name = "IsolationForest"
        ax.set_title(f"{name}: {kind}", fontsize=9)
for ax in panels:
    ax.set_axis_off()
