"""
A committee, and anomalies of a kind nobody has labelled
========================================================

A classifier learns the anomalies that were labelled. What of those that look different? Handwritten
zeros to fours are normal; labels are only ever given to fives and sixes, while sevens, eights and
nines are anomalies as well. `VotingDetector` averages detectors that err in different ways.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skad import VotingDetector
from skad.datasets import mask_labels

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(X, digit, random_state=0)
rows, y = mask_labels(
    digit,
    labeled_anomalies=12,
    pollution=0.05,
    normal_classes=range(5),
    known_classes=[5, 6],
    random_state=0,
)

committee = VotingDetector(random_state=0).fit(X[rows], y)

# %%
# As it comes the committee has four members: two networks, trees, and a classifier on kernel
# features; with 30 labelled anomalies it would have gradient boosting, too. How well does each tell
# the two kinds of anomaly from new normals?

import matplotlib.pyplot as plt
from sklearn.metrics import roc_auc_score

normal = digit_new < 5
kinds = {
    "labelled kinds": np.isin(digit_new, [5, 6]),
    "kinds never labelled": digit_new > 6,
}
models = {"committee": committee} | dict(committee.named_estimators_)
aucs = {}
for kind, anomaly in kinds.items():
    part = normal | anomaly
    aucs[kind] = [
        roc_auc_score(normal[part], model.score_samples(X_new[part]))
        for model in models.values()
    ]
    cells = (f"{n} {a:.3f}" for n, a in zip(models, aucs[kind], strict=True))
    print(f"{kind}:", ", ".join(cells))

fig, ax = plt.subplots(figsize=(8, 4), layout="constrained")
place = np.arange(len(models))
for shift, (kind, values), marker, color in zip(
    (-0.1, 0.1), aucs.items(), "os", ("#0072B2", "#D55E00"), strict=True
):
    options = {"color": color, "linewidth": 5, "alpha": 0.4}
    ax.hlines(place + shift, 0.5, values, **options)
    ax.plot(values, place + shift, marker, color=color, ms=9, label=kind)
ax.set(yticks=place, yticklabels=models, xlim=(0.5, 1.01))
ax.set(xlabel="ROC AUC on new images")
ax.set_title("Labelled kinds and others, by member")
ax.invert_yaxis()
fig.legend(loc="outside lower center", ncols=2)

# %%
# All members know the kinds that were labelled. The trees and the kernel classifier know little
# else; the networks also measure how far a row is from the bulk of the table. The committee keeps
# most of what the networks know, because its classifiers have a limit: they may accuse a row, but
# what they find very normal counts no more than what they find fairly normal.
#
# A committee of your own
# -----------------------
# Any detectors and classifiers can be members, with weights and limits. Here two classifiers and
# one member that knows no labels, without limits and with the classifiers' set to half a
# standard deviation below the median; then with more weight for the member that knows no labels.

from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import ClassifierDetector, NormalOnlyDetector

logistic = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
boosting = HistGradientBoostingClassifier(max_iter=30)
neighbors = LocalOutlierFactor(novelty=True)
members = [
    ("logistic", ClassifierDetector(logistic)),
    ("boosting", ClassifierDetector(boosting)),
    ("neighbors", NormalOnlyDetector(neighbors)),
]
limited = [-0.5, -0.5, np.inf]
for weights, limits in [
    ([1, 1, 0], None),
    ([1, 1, 1], None),
    ([1, 1, 1], limited),
    ([1, 1, 6], limited),
]:
    own = VotingDetector(
        members, weights=weights, limits=limits, random_state=0
    )
    own.fit(X[rows], y)
    cells = []
    for kind, anomaly in kinds.items():
        part = normal | anomaly
        auc = roc_auc_score(normal[part], own.score_samples(X_new[part]))
        cells.append(f"{kind} {auc:.3f}")
    print(f"weights {weights}, limits {limits}:", ", ".join(cells))
