"""The few-label protocol: which rows are seen, which labels, and how a detector is judged.

Per data set: at most 5,000 rows (stratified, seed 0), a stratified 70/30 split (seed), min-max
scaling learnt on the training part, a share of the training anomalies labelled -1 (at least one),
every other training row unlabelled, so the unlabelled rows are polluted. Judged on the test part:
ROC AUC and average precision (AP) with the anomaly as the positive class.

Run a benchmark from the repository's root, with the data folder in SKAD_DATA:

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.few_labels
"""

import csv
import os
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler


def data_folder():
    """Folder with the data sets, from the environment variable SKAD_DATA."""
    folder = os.environ.get("SKAD_DATA")
    if not folder:
        raise SystemExit("Set SKAD_DATA to the folder that holds adbench/, odds/, images/.")
    return Path(folder)


def dataset_names(group="adbench"):
    """Names of a group's data sets, in alphabetical order."""
    return sorted(path.stem for path in (data_folder() / group).glob("*.npz"))


def load(name, group="adbench"):
    """Load X and y (1 = anomaly) of a data set."""
    with np.load(data_folder() / group / f"{name}.npz") as archive:
        return archive["X"], archive["y"]


def few_labels(name, seed, labeled_share=0.05, max_rows=5000):
    """Make one problem: X_train, y_train in {-1, 0}, X_test, anomaly_test (bool), truth_train."""
    X, y = load(name)
    if len(X) > max_rows:
        X, _, y, _ = train_test_split(X, y, train_size=max_rows, stratify=y, random_state=0)
    X_train, X_test, truth_train, truth_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    scaler = MinMaxScaler().fit(X_train)
    anomalies = np.flatnonzero(truth_train)
    n_labeled = max(1, round(labeled_share * len(anomalies)))
    labeled = np.random.RandomState(seed).choice(anomalies, n_labeled, replace=False)
    y_train = np.zeros(len(X_train), dtype=int)
    if labeled_share > 0:
        y_train[labeled] = -1
    X_train, X_test = scaler.transform(X_train), scaler.transform(X_test)
    return X_train, y_train, X_test, truth_test == 1, truth_train == 1


def evaluate(make_detector, names=None, seeds=(0, 1, 2), labeled_share=0.05):
    """Fit ``make_detector(seed)`` on every problem; a list of dicts, one per data set and seed."""
    rows = []
    for name in names if names is not None else dataset_names():
        for seed in seeds:
            X, y, X_test, anomaly, _ = few_labels(name, seed, labeled_share)
            start = time.perf_counter()
            detector = make_detector(seed).fit(X, y)
            fit_s = time.perf_counter() - start
            score = -detector.decision_function(X_test)
            rows.append(
                {
                    "dataset": name,
                    "seed": seed,
                    "auc": roc_auc_score(anomaly, score),
                    "ap": average_precision_score(anomaly, score),
                    "fit_s": fit_s,
                }
            )
    return rows


def mean(rows, key):
    """Mean of one column over data sets and seeds."""
    return float(np.mean([row[key] for row in rows]))


def write(name, rows):
    """Write a list of dicts to benchmarks/results as csv."""
    path = Path(__file__).parent / "results" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()})
