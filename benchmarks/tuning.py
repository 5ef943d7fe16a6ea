"""Does tuning on a handful of labels pay? Twelve Deep SADs, chosen by cross-validation.

The data sets are the eight smallest tables of data/adbench (rows x features, at most 5,000 rows)
that leave at least five labelled anomalies at 5 % under the protocol, so that five folds are
possible. The folds are `SemiSupervisedKFold(5)`; a configuration is chosen by the mean of a score
over the test parts, in which unlabelled rows, hidden anomalies among them, stand for normals: once
for each of four scores. The rival knows the truth of the test parts, on the same folds and fits.
Then each choice is fitted on all training rows and judged by average precision on held-out rows.
A problem takes about half a minute on one core.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.tuning
"""

import time

import numpy as np
from sklearn.model_selection import ParameterGrid

from skad import DeepSAD
from skad.metrics import (
    average_precision_score,
    partial_roc_auc_score,
    precision_at_k_score,
    roc_auc_score,
)
from skad.model_selection import SemiSupervisedKFold

from .problems import few_labels
from .protocol import write

SETS = [
    "29_Pima",
    "4_breastw",
    "2_annthyroid",
    "6_cardio",
    "32_shuttle",
    "27_PageBlocks",
    "12_fault",
    "30_satellite",
]
DEFAULT = {"loss": "hypersphere", "lr": 5e-4, "max_steps": 100}
GRID = list(
    ParameterGrid(
        {"loss": ["hypersphere", "inverse"], "lr": [2.5e-4, 5e-4, 2e-3], "max_steps": [30, 100]}
    )
)
SCORES = {
    "ap": average_precision_score,
    "roc_auc": roc_auc_score,
    "partial_auc": partial_roc_auc_score,
    "precision_at_k": precision_at_k_score,
}


def run_problem(name, seed):
    X, y, X_test, anomaly, truth, _ = few_labels(name, seed)
    truth, truth_test = np.where(truth, -1, 1), np.where(anomaly, -1, 1)
    few, full, held_out = [], [], []
    start = time.perf_counter()
    for params in GRID:
        by_few, by_all = [], []
        for train, test in SemiSupervisedKFold(5, random_state=seed).split(X, y):
            detector = DeepSAD(random_state=seed, **params).fit(X[train], y[train])
            scores = detector.decision_function(X[test])
            by_few.append([score(y[test], scores) for score in SCORES.values()])
            by_all.append(average_precision_score(truth[test], scores))
        few.append(np.mean(by_few, axis=0))
        full.append(np.mean(by_all))
        detector = DeepSAD(random_state=seed, **params).fit(X, y)
        scores = detector.decision_function(X_test)
        held_out.append(average_precision_score(truth_test, scores))
    return {
        "dataset": name,
        "seed": seed,
        "labeled_anomalies": int(np.sum(y == -1)),
        "default": held_out[GRID.index(DEFAULT)],
        **{f"by_{name}": held_out[i] for name, i in zip(SCORES, np.argmax(few, 0), strict=True)},
        "by_ap_all_labels": held_out[int(np.argmax(full))],
        "best_in_hindsight": max(held_out),
        "mean_of_all": float(np.mean(held_out)),
        "search_s": time.perf_counter() - start,
    }


def main():
    rows = []
    for seed in range(3):
        for name in SETS:
            rows.append(run_problem(name, seed))
            print(
                {k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()},
                flush=True,
            )
            write("tuning.csv", rows)
    for column in list(rows[0])[3:-1]:
        print(f"{column:20s}{np.mean([row[column] for row in rows]):.4f}")


if __name__ == "__main__":
    main()
