"""
Latent space: what labels do to the codes
=========================================

A deep detector encodes each row, and `transform` gives the codes. Handwritten zeros to fours are
normal; fives to nines are the anomalies. Deep SAD is fitted without any label, and with 20 labelled
anomalies.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

from skad import DeepSAD
from skad.datasets import mask_labels
from skad.plotting import LatentSpaceDisplay

X, digit = load_digits(return_X_y=True)
rows, y = mask_labels(
    digit,
    labeled_anomalies=20,
    pollution=0.1,
    normal_classes=range(5),
    random_state=0,
)
X, anomaly = X[rows], digit[rows] > 4
detectors = {
    "No labels": DeepSAD(random_state=0).fit(X),
    "20 labels": DeepSAD(random_state=0).fit(X, y),
}

fig, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
fig.suptitle("Codes of Deep SAD, without and with labels")
for (name, detector), pair in zip(detectors.items(), axes, strict=True):
    LatentSpaceDisplay.from_estimator(detector, X, y, name=name, axes=pair)

# %%
# Without labels the codes of all rows crowd around the centre. Labels push their kind away from it,
# and with them hidden anomalies that look alike. Drawn are the first two principal components of
# all members' codes; the score itself is the distance to the centre in all dimensions.

from sklearn.metrics import roc_auc_score

hidden = y == 0
for name, detector in detectors.items():
    codes = detector.transform(X)
    scores = detector.score_samples(X[hidden])
    auc = roc_auc_score(anomaly[hidden], -scores)
    spread = np.linalg.norm(codes - codes.mean(axis=0), axis=1)
    ratio = np.median(spread[hidden & anomaly]) / np.median(spread[~anomaly])
    print(f"{name}: codes {codes.shape}, ROC AUC of the hidden {auc:.3f}")
    print(f"   hidden anomalies lie {ratio:.1f} times as far out as normals")

# %%
# Codes are ordinary columns, so what comes after them is a pipeline:
# :ref:`sphx_glr_auto_examples_plot_hybrids.py`.
