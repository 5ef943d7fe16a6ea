"""
Five labels: Deep SAD against unsupervised detectors
====================================================

Breast-cancer tissue samples: benign ones are normal, a few malignant ones hide among them. Nobody
has labelled anything but five malignant samples. This is what they are worth.
"""

import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skad import DeepSAD

N_SEEDS = 10
ANOMALY_RATE = 0.12
N_LABELED = 5

DETECTORS = {
    "DeepSAD, 5 labels": lambda seed: DeepSAD(random_state=seed),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "OneClassSVM": lambda seed: make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
}


def make_problem(seed):
    """Thin out the malignant samples, split, and hide all labels but a few."""
    X, benign = load_breast_cancer(return_X_y=True)
    rng = np.random.RandomState(seed)
    malignant = rng.permutation(np.flatnonzero(benign == 0))
    n_malignant = round(ANOMALY_RATE * benign.sum() / (1 - ANOMALY_RATE))
    rows = np.r_[np.flatnonzero(benign == 1), malignant[:n_malignant]]
    X, anomaly = X[rows], benign[rows] == 0
    X_train, X_test, hidden, anomaly_test = train_test_split(
        X, anomaly, test_size=0.5, stratify=anomaly, random_state=seed
    )
    y_train = np.zeros(len(X_train), dtype=int)  # 0: unlabelled
    y_train[np.flatnonzero(hidden)[:N_LABELED]] = -1  # -1: a labelled anomaly
    return X_train, y_train, X_test, anomaly_test


# %%
# Fit each detector on the same rows, and evaluate it on rows that it has not seen.

results = {name: [] for name in DETECTORS}
pooled = {name: ([], []) for name in DETECTORS}
for seed in range(N_SEEDS):
    X_train, y_train, X_test, anomaly = make_problem(seed)
    for name, make in DETECTORS.items():
        start = time.perf_counter()
        detector = make(seed)
        if isinstance(detector, DeepSAD):
            detector.fit(X_train, y_train)
        else:  # no use for labels: at least keep the known anomalies out
            detector.fit(X_train[y_train == 0])
        seconds = time.perf_counter() - start
        score = -detector.decision_function(X_test)  # higher = more anomalous
        metrics = roc_auc_score(anomaly, score), average_precision_score(anomaly, score), seconds
        results[name].append(metrics)
        ranks = score.argsort().argsort() / len(score)  # comparable across seeds
        pooled[name][0].append(anomaly)
        pooled[name][1].append(ranks)

print(f"{'':20s} {'ROC AUC':>15s} {'avg. precision':>15s} {'fit':>9s}")
for name, rows in results.items():
    (auc, ap, seconds), (auc_sd, ap_sd, _) = np.mean(rows, axis=0), np.std(rows, axis=0)
    print(f"{name:20s} {auc:7.3f} ± {auc_sd:.3f} {ap:7.3f} ± {ap_sd:.3f} {seconds:7.2f} s")

# %%
# How many of the flagged samples are malignant, for a given share of them found?

fig, (ax, ax_scores) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for name, (truth, ranks) in pooled.items():
    precision, recall, _ = precision_recall_curve(np.concatenate(truth), np.concatenate(ranks))
    ap = np.mean([row[1] for row in results[name]])
    ax.plot(recall, precision, label=f"{name} (AP {ap:.2f})", lw=2)
ax.axhline(anomaly.mean(), color="grey", ls=":", label="guessing")
ax.set(
    xlabel="share of malignant samples found",
    ylabel="share of flagged samples that are malignant",
    title=f"{N_LABELED} labelled anomalies against none, {N_SEEDS} splits",
    ylim=(0, 1.02),
)
ax.legend(loc="lower left")

detector = DeepSAD(random_state=seed).fit(X_train, y_train)
decision = detector.decision_function(X_test)
shown = np.clip(decision, -8, None)
bins = np.linspace(shown.min(), shown.max(), 40)
ax_scores.hist(shown[~anomaly], bins, alpha=0.7, label="benign")
ax_scores.hist(shown[anomaly], bins, alpha=0.7, label="malignant")
ax_scores.axvline(0, color="black", ls="--", lw=1, label="threshold")
ax_scores.set(
    xlabel="decision_function on unseen samples (negative: anomaly)",
    ylabel="samples",
    title="DeepSAD's scores, last split",
)
ax_scores.legend()
if "__file__" in globals():
    path = Path("demo.png")
    fig.savefig(path, dpi=120)
    print(f"\nPicture: {path}")
