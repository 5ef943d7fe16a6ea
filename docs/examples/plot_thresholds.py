"""
Thresholds: when to raise the alarm
===================================

A score ranks rows; a threshold makes alarms of it. Four ways to set it, on the same scores of
handwritten digits: zeros to fours are normal, fives to nines are the anomalies, and thirty of them
are labelled.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skad import ConformalDetector, DeepSAD, TunedThresholdDetector
from skad.datasets import mask_labels
from skad.plotting import ScoreDistributionDisplay

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(X, digit, random_state=1)
options = {"normal_classes": range(5), "pollution": 0.05, "random_state": 0}
rows, y = mask_labels(digit, labeled_anomalies=30, **options)
X = X[rows]

detector = DeepSAD(
    n_estimators=4, max_steps=100, contamination=0.05, random_state=0
).fit(X, y)

# %%
# - `contamination`: flag that share of the unlabelled rows. Needs no label, but a guess.
# - `TunedThresholdDetector`, `f_beta`: the best F1 on labelled anomalies that a detector of another
#   fold has scored.
# - `TunedThresholdDetector`, `recall`: the fewest alarms that find 90 % of the labelled anomalies.
# - `ConformalDetector`: flag at most 2 % of the normal rows, with a guarantee for the average over
#   calibrations.
#
# All take any detector, also one of scikit-learn.

tuned = TunedThresholdDetector(detector, random_state=0).fit(X, y)
recall = TunedThresholdDetector(
    detector, objective="recall", target=0.9, random_state=0
).fit(X, y)
conformal = ConformalDetector(detector, alpha=0.02, random_state=0).fit(X, y)
models = {
    "contamination=0.05": detector,
    "best F1": tuned,
    "90 % found": recall,
    "2 % false alarms": conformal,
}

# %%
# New rows, a twentieth of which are anomalies, say what became of the promises. `f1_score` and
# `balanced_accuracy_score` judge the alarms:

import numpy as np

from skad.metrics import balanced_accuracy_score, f1_score

new, _ = mask_labels(digit_new, labeled_anomalies=0, **options)
X_new, truth = X_new[new], np.where(digit_new[new] < 5, 1, -1)
print(f"{'':18s} alarms   found   false   F1  balanced accuracy")
for name, model in models.items():
    scores = model.decision_function(X_new)
    alarm = scores < 0
    print(
        f"{name:18s} {alarm.sum():6d} {alarm[truth == -1].mean():7.0%}"
        f" {alarm[truth == 1].mean():7.1%} {f1_score(truth, scores):.2f}"
        f" {balanced_accuracy_score(truth, scores):.2f}"
    )

# %%
# Hidden anomalies that are found count as false alarms in the tuning, so the best F1 flags too few
# rows rather than too many. With the recall, unlabelled rows have no say.
#
# The picture: the same scores, four thresholds. Conformal thresholds are taken on a scale of their
# own, since its detector has been fitted on three quarters of the rows; it is drawn where it flags
# as many rows.

scores = detector.score_samples(X_new)
display = ScoreDistributionDisplay.from_predictions(
    truth, scores, threshold=detector.offset_
)
display.line_.set_label("contamination=0.05")
for (name, model), style, color in zip(
    list(models.items())[1:],
    ["-", ":", "-."],
    ["#E69F00", "#009E73", "#CC79A7"],
    strict=True,
):
    share = np.mean(model.decision_function(X_new) < 0)
    display.ax_.axvline(
        np.quantile(scores, share), label=name, linestyle=style, color=color
    )
display.ax_.legend(loc="center left", bbox_to_anchor=(1, 0.5))
display.ax_.set_title("Four thresholds on the same scores")
display.figure_.set_size_inches(10, 4.5)

# %%
# No new fit
# ----------
# A threshold can be moved without another fit: with another objective, or on fresh rows.

tuned.set_params(beta=2.0).fit_threshold()  # recall counts more
print("alarms with beta=2:", (tuned.predict(X_new) == -1).sum())
detector.fit_threshold(X_new, contamination=0.02)
print("alarms with 2 % of new rows:", (detector.predict(X_new) == -1).sum())

# %%
# Without a threshold
# -------------------
# Some metrics judge the order alone, or choose the threshold themselves: what matters if one looks
# at the most suspicious rows first.

from skad import metrics

scores = detector.decision_function(X_new)
for score, parameters in [
    (metrics.roc_auc_score, {}),
    (metrics.partial_roc_auc_score, {"max_fpr": 0.1}),
    (metrics.average_precision_score, {}),
    (metrics.precision_at_k_score, {"k": 20}),
    (metrics.recall_at_fpr_score, {"max_fpr": 0.05}),
]:
    value = score(truth, scores, **parameters)
    print(f"{score.__name__:24s} {value:.3f}  {parameters or ''}")
