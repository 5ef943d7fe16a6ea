"""
Tuning with few labels
======================

A grid search needs folds that hold labelled anomalies, and a score that copes with unlabelled rows.
`SemiSupervisedKFold` makes the folds; without `scoring`, a detector's own `score` is the ROC AUC of
the labelled anomalies against all other rows.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import SSAD
from skad.datasets import from_binary_labels, mask_labels
from skad.model_selection import SemiSupervisedKFold

X, benign = load_breast_cancer(return_X_y=True)
truth = from_binary_labels(benign, anomaly=0)
X, X_new, truth, truth_new = train_test_split(X, truth, random_state=0)
rows, y = mask_labels(
    truth, labeled_anomalies=12, pollution=0.1, random_state=0
)

search = GridSearchCV(
    make_pipeline(StandardScaler(), SSAD()),
    {
        "ssad__nu": [0.05, 0.1, 0.2, 0.4],
        "ssad__gamma": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3],
    },
    cv=SemiSupervisedKFold(4, random_state=0),
).fit(X[rows], y)
print(search.best_params_)

# %%
# The truth is known here, so the choice can be checked: on the left what the search saw, with
# twelve labelled anomalies; on the right the ROC AUC on new rows, of which all labels are known.
# The choice is framed in both.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

candidates = search.cv_results_["params"]
aucs = [
    clone(search.estimator)
    .set_params(**params)
    .fit(X[rows], y)
    .score(X_new, truth_new)
    for params in candidates
]
gammas, nus = search.param_grid["ssad__gamma"], search.param_grid["ssad__nu"]
fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for ax, values, title in [
    (axes[0], search.cv_results_["mean_test_score"], "Cross-validation"),
    (axes[1], aucs, "New rows, all labels known"),
]:
    grid = np.reshape(values, (len(gammas), len(nus)))
    image = ax.imshow(grid.T, cmap="cividis", aspect="auto", origin="lower")
    for (i, j), value in np.ndenumerate(grid):
        dark = value < (grid.min() + grid.max()) / 2
        ax.text(i, j, f"{value:.3f}", ha="center", c="w" if dark else "k")
    i, j = np.divmod(search.best_index_, len(nus))
    frame = plt.Rectangle((i - 0.5, j - 0.5), 1, 1, fill=False, ec="r", lw=3)
    ax.add_patch(frame)
    ax.set(xticks=range(len(gammas)), xticklabels=gammas, xlabel="gamma")
    ax.set(yticks=range(len(nus)), yticklabels=nus, ylabel="nu")
    ax.set_title(f"ROC AUC: {title}")
print(f"chosen {aucs[search.best_index_]:.3f}, best possible {max(aucs):.3f}")

# %%
# Several metrics
# ---------------
# Each metric of `skad.metrics` has a scorer. With few labels choose by the ROC AUC, and look at the
# others: unlabelled rows stand for normals in all of them, but only the ROC AUC keeps the order of
# the candidates on average, when anomalies hide among those.

from sklearn.model_selection import cross_validate

from skad import metrics

scorers = {
    "ROC AUC": metrics.roc_auc_scorer,
    "partial ROC AUC": metrics.partial_roc_auc_scorer,
    "average precision": metrics.average_precision_scorer,
    "precision at k": metrics.precision_at_k_scorer,
    "recall at 5 % false alarms": metrics.recall_at_fpr_scorer,
    "F1": metrics.f1_scorer,
    "balanced accuracy": metrics.balanced_accuracy_scorer,
}
result = cross_validate(
    search.best_estimator_, X[rows], y, cv=search.cv, scoring=scorers
)
print(f"{'':28s} four folds   new rows")
for name, scorer in scorers.items():
    mean = result[f"test_{name}"].mean()
    new = scorer(search.best_estimator_, X_new, truth_new)
    print(f"{name:28s} {mean:10.3f} {new:10.3f}")

# %%
# The columns differ not only by luck: among the new rows anomalies are far more common, and in the
# folds hidden ones count as false alarms when they are found.
#
# How sure is the choice?
# -----------------------
# Twelve anomalies in four folds are three a fold. Folds drawn anew tell how much a mean depends on
# their luck.

from sklearn.model_selection import cross_val_score

from skad.model_selection import RepeatedSemiSupervisedKFold

cv = RepeatedSemiSupervisedKFold(n_splits=4, n_repeats=10, random_state=0)
for params in (search.best_params_, {"ssad__nu": 0.05, "ssad__gamma": 0.3}):
    model = clone(search.estimator).set_params(**params)
    scores = cross_val_score(model, X[rows], y, cv=cv).reshape(10, 4)
    repeats = scores.mean(axis=1)
    print(f"{params}: {repeats.mean():.3f} +- {repeats.std():.3f}")
