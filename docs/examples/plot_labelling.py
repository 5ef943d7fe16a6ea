"""
Labelling in a loop
===================

You can look at forty rows. Which ones? `query` picks rows to label next, the detector learns from
the answers, and picks again. Handwritten digits: zeros to fours are normal, and others hide among
them; a single one is known.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skad import DeepSAD
from skad.active import query
from skad.datasets import mask_labels

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(
    X, digit, test_size=0.3, random_state=0
)
options = {"normal_classes": range(5), "pollution": 0.07, "random_state": 0}
rows, y = mask_labels(digit, labeled_anomalies=1, **options)
X, digit = X[rows], digit[rows]
truth = np.where(digit < 5, 1, -1)

detector = DeepSAD(n_estimators=2, max_steps=100, random_state=0)
for _ in range(8):
    detector.fit(X, y)
    shown = query(detector, X, y, n=5)
    y[shown] = truth[shown]  # the analyst's answer
    found = (truth[shown] == -1).sum()
    print(f"{found} anomalies, digits {digit[shown]}")

# %%
# Was that a good way to choose? `simulate` plays the analyst on a table whose truth is known. A
# query shows the most suspicious rows ("top"), suspicious rows of different kinds ("diverse"),
# those near the threshold ("uncertain"), or any ("random").

import matplotlib.pyplot as plt

from skad.active import simulate

new, _ = mask_labels(digit_new, labeled_anomalies=0, **options)
X_new, truth_new = X_new[new], np.where(digit_new[new] < 5, 1, -1)
styles = {
    "top": ("#0072B2", "-"),
    "diverse": ("#E69F00", "--"),
    "uncertain": ("#009E73", "-."),
    "random": ("#000000", ":"),
}
results = {
    strategy: simulate(
        detector,
        X,
        truth,
        budget=40,
        strategy=strategy,
        X_test=X_new,
        y_test=truth_new,
        random_state=0,
    )
    for strategy in styles
}
fig, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for strategy, result in results.items():
    color, style = styles[strategy]
    options = {"color": color, "linestyle": style, "label": strategy}
    shown = np.arange(1, len(result.rows) + 1)
    axes[0].plot(shown, result.n_found, linewidth=2, **options)
    axes[1].plot(
        result.n_labeled, result.average_precision, linewidth=2, **options
    )
    print(f"{strategy:10s} {result.n_found[-1]:3d} anomalies in 40 rows")
print(f"hidden anomalies: {(truth == -1).sum()} in {len(truth)} rows")
axes[0].plot([0, 40], [0, 40], color="0.8", zorder=0)
axes[0].set(xlabel="rows shown", ylabel="anomalies found")
axes[0].set_title("Discovery")
axes[1].set(xlabel="labelled rows", ylabel="average precision")
axes[1].set_title("What was learnt, on other rows")
axes[0].legend()

# %%
# The grey line is the best that is possible: an anomaly in every row shown. Finding anomalies and
# learning from them are two aims; that a strategy is best for one does not make it so for the
# other. This is one run of each: take several before you choose.
#
# Which anomalies are in my training table?
# -----------------------------------------
# A detector has seen its training rows, as normals, and may score them too well.
# `cross_val_predict` scores each row by a model that has not been trained on it. How much that
# matters depends on the detector; here it hardly does.

from skad.metrics import roc_auc_score
from skad.model_selection import cross_val_predict

hidden = y == 0
inside = detector.fit(X, y).decision_function(X)
outside = cross_val_predict(detector, X, y)
for name, scores in [("trained on", inside), ("left out", outside)]:
    auc = roc_auc_score(truth[hidden], scores[hidden])
    print(f"ROC AUC of unlabelled rows, {name}: {auc:.3f}")
