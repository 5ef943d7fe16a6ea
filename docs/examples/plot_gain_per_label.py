"""
How many labels do I need?
==========================

Label a few anomalies, and see what each further one is worth on rows that the detector has not
seen. Wines of two growers are normal here, those of the third one are the anomalies.
"""

from sklearn.datasets import load_wine
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import SSAD, ClassifierDetector, DeepSAD, NormalOnlyDetector
from skad.datasets import from_binary_labels
from skad.plotting import LabelGainDisplay

X, grower = load_wine(return_X_y=True)
truth = from_binary_labels(grower == 1)  # 71 anomalies: -1
detectors = {
    "DeepSAD": DeepSAD(n_estimators=4, max_steps=100, random_state=0),
    "SSAD": make_pipeline(StandardScaler(), SSAD(random_state=0)),
    "ClassifierDetector": ClassifierDetector(random_state=0),
    "IsolationForest": NormalOnlyDetector(IsolationForest(), random_state=0),
}
display = LabelGainDisplay.from_estimators(
    detectors, X, truth, n_labeled=(0, 1, 3, 10), n_repeats=3, random_state=0
)

display.ax_.set_title("Average precision by number of labelled anomalies")
display.figure_.set_size_inches(8, 4.5)

# %%
# The line is the mean over repeats, the band one standard deviation. Hidden anomalies stay among
# the unlabelled rows: all but the labelled ones, as in a table of which few rows have been looked
# at. Where the curve turns flat, further labels of this kind teach little.
#
# Your own table
# --------------
# Of your own table you know some labels, not the truth: pass y with zeros for unlabelled rows. Then
# each repeat holds labelled anomalies out, and unlabelled rows stand for normals.
# `label_gain_curve` gives the numbers without the picture, here with another metric: the share of
# the 10 most suspicious held-out rows that are anomalies.

import numpy as np

from skad.metrics import make_detector_scorer, precision_at_k_score
from skad.model_selection import label_gain_curve

rng = np.random.default_rng(0)
known = rng.permutation(np.flatnonzero(truth == -1))[:30]
y = np.zeros(len(X), dtype=int)
y[known] = -1
n_labeled = (0, 1, 5, 20)
curves = label_gain_curve(
    {name: detectors[name] for name in ("SSAD", "IsolationForest")},
    X,
    y,
    n_labeled=n_labeled,
    scoring=make_detector_scorer(precision_at_k_score, k=10),
    random_state=0,
)
print(f"{'labelled anomalies':18s}", *(f"{n:5d}" for n in n_labeled))
for name, scores in curves.items():
    print(f"{name:18s}", *(f"{p:5.2f}" for p in scores.mean(axis=0)))

# %%
# These are lower than the truth, since hidden anomalies among the ten count as false alarms; they
# do so for every detector.
#
# A public table
# --------------
# The same picture of a table of ADBench, which is downloaded once (so this block is not run here)::
#
#     from skad.datasets import fetch_adbench
#
#     X, truth = fetch_adbench("thyroid", return_X_y=True)
#     LabelGainDisplay.from_estimators(detectors, X, truth, random_state=0)
