"""The competitors of the Deep SAD paper under the few-label protocol: raw, hybrid and generative.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.baselines [SEED ...]

writes benchmarks/results/baselines.csv: a row for each data set, seed (0, 1 and 2 by default) and
method. A hybrid is a shallow detector on an autoencoder's codes, the same for all hybrids of a data
set. Shallow detectors that cannot use labels are fitted without the labelled anomalies.
"""

import sys
import time

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.svm import OneClassSVM

from skad import SSAD, SSDGM, Autoencoder

from .problems import dataset_names, few_labels
from .protocol import mean, write

MIN_AUC = 0.75  # the bar for SSDGM, on at least half of the data sets

SHALLOW = {
    "ocsvm": lambda seed: OneClassSVM(nu=0.1),
    "iforest": lambda seed: IsolationForest(random_state=seed),
    "kde": lambda seed: GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(-2, 1, 7)}, cv=3),
    "ssad": lambda seed: SSAD(random_state=seed),
}
DEEP = {
    "autoencoder": lambda seed: Autoencoder(random_state=seed),
    "ssdgm": lambda seed: SSDGM(random_state=seed),
}


def timed_fit(detector, X, y):
    start = time.perf_counter()
    detector.fit(X, y)
    return detector, time.perf_counter() - start


def compare(name, seed):
    """Yield (method, test scores, seconds of fit) for one problem."""
    X, y, X_test, anomaly, *_ = few_labels(name, seed)
    spaces = {"": (X, X_test, 0.0)}
    for method, make in DEEP.items():
        detector, seconds = timed_fit(make(seed), X, y)
        yield method, anomaly, detector.score_samples(X_test), seconds
        if method == "autoencoder":
            spaces["hybrid_"] = detector.transform(X), detector.transform(X_test), seconds
    for prefix, (Z, Z_test, seconds_before) in spaces.items():
        for method, make in SHALLOW.items():
            seen = np.full(len(y), True) if method == "ssad" else y != -1
            detector, seconds = timed_fit(make(seed), Z[seen], y[seen])
            yield prefix + method, anomaly, detector.score_samples(Z_test), seconds_before + seconds


def main(seeds):
    rows = []
    for name in dataset_names():
        for seed in seeds:
            for method, anomaly, scores, seconds in compare(name, seed):
                auc = roc_auc_score(anomaly, -scores)
                ap = average_precision_score(anomaly, -scores)
                found = {"auc": auc, "ap": ap, "fit_s": seconds}
                rows.append({"dataset": name, "seed": seed, "method": method, **found})
        print(name, flush=True)
        write("baselines.csv", rows)
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        aucs = np.reshape([row["auc"] for row in mine], (-1, len(seeds)))
        reached = [int((sets >= MIN_AUC).sum()) for sets in aucs.T]
        figures = [mean(mine, key) for key in ("auc", "ap", "fit_s")]
        print(
            "{:16s} AUC {:.3f}  AP {:.3f}  fit {:.2f} s".format(method, *figures),
            f" AUC >= {MIN_AUC} on {reached} of {len(aucs)} sets, seed by seed",
        )


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [0, 1, 2])
