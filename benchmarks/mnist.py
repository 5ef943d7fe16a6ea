"""MNIST: digit 8 is normal, one other digit is labelled as anomalous, all ten are tested.

6,000 training rows, 5 % of them labelled anomalies; GANomaly drops those, as its paper does. Times
include nothing but `fit`. Writes results/mnist.csv, and pictures of reconstructions.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=2 python -m benchmarks.mnist [labelled digit ...]
"""

import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from skad import AMA, ESAD, GANomaly

from .problems import data_folder
from .protocol import write

DETECTORS = {
    "ESAD": ESAD(image_shape=(1, 28, 28), random_state=0),
    "AMA": AMA(image_shape=(1, 28, 28), random_state=0),
    "GANomaly": GANomaly(image_shape=(1, 28, 28), anomaly_weight=0, random_state=0),
}


def mnist_problem(normal=8, anomaly=0, n_train=6000, labeled_share=0.05, n_test=3000, seed=0):
    """X_train, y_train, X_test and the digits of the test rows."""
    with np.load(data_folder() / "images" / "mnist.npz") as archive:
        X, digit, is_test = archive["X"], archive["y"], archive["is_test"]
    rng = np.random.RandomState(seed)
    test = rng.permutation(np.flatnonzero(is_test))[:n_test]
    n_labeled = round(labeled_share * n_train)
    normals = rng.permutation(np.flatnonzero(~is_test & (digit == normal)))[: n_train - n_labeled]
    labeled = rng.permutation(np.flatnonzero(~is_test & (digit == anomaly)))[:n_labeled]
    X = X.reshape(len(X), -1)
    X_train, X_test = (X[rows].astype(np.float32) for rows in (np.r_[normals, labeled], test))
    y_train = np.r_[np.zeros(len(normals), dtype=int), -np.ones(len(labeled), dtype=int)]
    return X_train, y_train, X_test, digit[test]


def draw_reconstructions(title, detector, X, digit, labeled):
    """Draw normals, labelled and never labelled anomalies above what the first member makes."""
    from matplotlib import pyplot as plt

    unseen = next(d for d in (1, 2) if d != labeled)
    picks = np.concatenate([np.flatnonzero(digit == d)[:6] for d in (8, labeled, unseen)])
    module = detector.scoring_module_
    rows = module.scaler(torch.tensor(X[picks], dtype=torch.float64)).float()
    rows = rows.expand(detector.n_estimators, -1, -1)
    fakes = module.network.decoder(module.network.encoder(rows))[0]
    figure, axes = plt.subplots(2, len(picks), figsize=(len(picks) * 0.6, 1.8))
    for axis, image in zip(axes.flat, [*rows[0], *fakes], strict=True):
        axis.imshow(image.reshape(28, 28), cmap="gray", vmin=rows.min(), vmax=rows.max())
        axis.axis("off")
    anomalies = f"{labeled} (labelled anomaly), {unseen} (never labelled)"
    figure.suptitle(f"{title}: 8 (normal), {anomalies}; below, their reconstructions", fontsize=9)
    path = Path(__file__).parent / "results" / f"mnist_{title.lower()}.png"
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    results = []
    for labeled in map(int, sys.argv[1:] or (0,)):
        X, y, X_test, digit = mnist_problem(anomaly=labeled)
        for title, detector in DETECTORS.items():
            start = time.perf_counter()
            detector.fit(X, y)
            fit_s = time.perf_counter() - start
            auc = roc_auc_score(digit != 8, -detector.decision_function(X_test))
            results.append(
                {"detector": title, "labeled_digit": labeled, "auc": auc, "fit_s": fit_s}
            )
            print(results[-1], flush=True)
            write("mnist.csv", results)
            draw_reconstructions(title, detector, X_test, digit, labeled)
