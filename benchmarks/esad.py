"""ESAD's figures, one sub-command each: odds, steadiness.

SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.esad odds

Tables go to benchmarks/results/esad_*.csv.
"""

import argparse

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from skad import ESAD

from .problems import few_labels, load
from .protocol import write

# Held-out AUC of the official Deep SAD code on the same split rule, five seeds, and the AUC of
# ESAD's paper, whose test rows may not be held out.
OFFICIAL_DEEP_SAD = {
    "arrhythmia": 0.732,
    "cardio": 0.980,
    "satellite": 0.912,
    "satimage-2": 0.997,
    "shuttle": 0.996,
    "thyroid": 0.996,
}
PUBLISHED_ESAD = {
    "arrhythmia": 0.852,
    "cardio": 0.988,
    "satellite": 0.925,
    "satimage-2": 0.999,
    "shuttle": 0.991,
}


def odds_problem(name, seed):
    """Split 60/40 per class, no pollution, labelled anomalies 1 % of the training rows."""
    X, y = load(name, "odds")
    rng = np.random.RandomState(seed)
    normals, anomalies = (rng.permutation(np.flatnonzero(y == k)) for k in (0, 1))
    n_normal, n_anomalous = (int(0.6 * len(rows)) for rows in (normals, anomalies))
    n_labeled = max(1, int(n_normal * 0.01 / 0.99))
    train = np.r_[normals[:n_normal], anomalies[:n_labeled]]
    test = np.r_[normals[n_normal:], anomalies[n_anomalous:]]
    y_train = np.r_[np.zeros(n_normal, dtype=int), -np.ones(n_labeled, dtype=int)]
    return X[train], y_train, X[test], y[test] == 1


def run_odds(args):
    """The six sets of the Deep SAD paper, truly held out."""
    rows = []
    for name in OFFICIAL_DEEP_SAD:
        for seed in args.seeds:
            X, y, X_test, anomaly = odds_problem(name, seed)
            detector = ESAD(random_state=seed).fit(X, y)
            auc = roc_auc_score(anomaly, -detector.decision_function(X_test))
            rows.append({"dataset": name, "seed": seed, "auc": auc})
    write("esad_odds.csv", rows)
    table = pd.DataFrame(rows).groupby("dataset").auc.agg(["mean", "std"])
    table["official_deep_sad"] = pd.Series(OFFICIAL_DEEP_SAD)
    table["published_esad"] = pd.Series(PUBLISHED_ESAD)
    print(table.round(4).to_string())
    print(table.mean().round(4).to_dict())


def run_steadiness(args):
    """Spread of AUC over seeds of the detector, on one split; a loss that is not finite raises."""
    rows = []
    for name in ("6_cardio", "38_thyroid", "30_satellite", "40_vowels", "29_Pima"):
        X, y, X_test, anomaly, *_ = few_labels(name, 0)
        for seed in args.seeds:
            detector = ESAD(random_state=seed).fit(X, y)
            auc = roc_auc_score(anomaly, -detector.decision_function(X_test))
            rows.append({"dataset": name, "seed": seed, "auc": auc})
    write("esad_steadiness.csv", rows)
    for n_seeds in (10, 20):
        table = pd.DataFrame([row for row in rows if row["seed"] < n_seeds])
        print(n_seeds, "seeds")
        print(table.groupby("dataset").auc.agg(["mean", "std", "count"]).round(4).to_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = {
        "odds": (run_odds, 5),
        "steadiness": (run_steadiness, 20),
    }
    parser.add_argument("command", choices=commands)
    parser.add_argument("--seeds", type=int, nargs="*")
    args = parser.parse_args()
    run, n_seeds = commands[args.command]
    args.seeds = args.seeds or range(n_seeds)
    run(args)
