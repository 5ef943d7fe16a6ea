"""
Quick start: ten labels, one detector
=====================================

Tissue samples of the breast: benign ones are normal, malignant ones are the anomalies. Most samples
are unlabelled, malignant ones hide among them, and ten malignant ones are known. Labels are **0 for
unlabelled, -1 for a labelled anomaly** and +1 for a labelled normal.
"""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from skad import DeepSAD
from skad.datasets import from_binary_labels, mask_labels

X, benign = load_breast_cancer(return_X_y=True, as_frame=True)
truth = from_binary_labels(benign, anomaly=0)  # -1 malignant, +1 benign
X, X_new, truth, truth_new = train_test_split(X, truth, random_state=0)
rows, y = mask_labels(
    truth, labeled_anomalies=10, pollution=0.1, random_state=0
)
X = X.iloc[rows]

detector = DeepSAD(random_state=0).fit(X, y)

# %%
# Scores come as from any detector of scikit-learn: the higher, the more normal, and `predict` says
# -1 where `decision_function` is negative.

scores = detector.decision_function(X_new)
print("scores  ", scores[:5].round(2))
print("labels  ", detector.predict(X_new)[:5])
print(f"ROC AUC  {detector.score(X_new, truth_new):.3f}")

# %%
# How well are new samples told apart? On the left their scores, in the middle and on the right what
# one gets for moving the threshold. An isolation forest, which knows no labels, is the baseline; it
# is fitted without the known anomalies.

import matplotlib.pyplot as plt
from sklearn.ensemble import IsolationForest

from skad import NormalOnlyDetector
from skad.plotting import (
    PrecisionRecallDisplay,
    RocCurveDisplay,
    ScoreDistributionDisplay,
)

forest = NormalOnlyDetector(IsolationForest(), random_state=0).fit(X, y)

fig, axes = plt.subplots(1, 3, figsize=(13, 4.2), layout="constrained")
ScoreDistributionDisplay.from_estimator(
    detector, X_new, truth_new, name="Scores of new samples", ax=axes[0]
)
for name, model, style in [
    ("DeepSAD", detector, {"color": "#0072B2", "linewidth": 2}),
    ("IsolationForest", forest, {"color": "#D55E00", "linestyle": "--"}),
]:
    options = {"name": name, **style}
    RocCurveDisplay.from_estimator(
        model, X_new, truth_new, ax=axes[1], **options
    )
    PrecisionRecallDisplay.from_estimator(
        model, X_new, truth_new, ax=axes[2], **options
    )
axes[1].set_title("ROC curve")
axes[2].set_title("Precision and recall")
