"""AMA and GANomaly: few labels on 24 data sets, steadiness, 20 seeds, MNIST.

Writes csv files and pictures of reconstructions to benchmarks/results.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.gans tables|steady|seeds|images
"""

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from skad import AMA, DeepSAD, GANomaly

from .protocol import data_folder, dataset_names, evaluate, few_labels, mean, write

METHODS = {"AMA": AMA, "GANomaly": GANomaly}
DETECTORS = {
    "AMA, labels": (lambda seed: AMA(random_state=seed), 0.05),
    "GANomaly, no labels": (lambda seed: GANomaly(random_state=seed), 0.0),
    "AMA, no labels": (lambda seed: AMA(random_state=seed), 0.0),
    "GANomaly, labels": (lambda seed: GANomaly(random_state=seed), 0.05),
    "DeepSAD, labels": (lambda seed: DeepSAD(random_state=seed), 0.05),
    "IsolationForest": (lambda seed: IsolationForest(random_state=seed), 0.0),
}


def tables(*seeds):
    """Few labels; means over all sets, the half that chose the defaults and the other half."""
    names = dataset_names()
    halves = {"all": names, "chosen on": names[::2], "held out": names[1::2]}
    rows = []
    for seed in map(int, seeds or (0, 1, 2)):
        for title, (make, share) in DETECTORS.items():
            found = evaluate(make, names, (seed,), share)
            rows += [{"detector": title, "labeled_share": share, **row} for row in found]
            write(f"gans_tables_{'_'.join(seeds)}.csv" if seeds else "gans_tables.csv", rows)
            for half, members in halves.items():
                mine = [r for r in rows if r["detector"] == title and r["dataset"] in members]
                figures = [mean(mine, key) for key in ("auc", "ap", "fit_s")]
                print(
                    "{:20s} {:10s} {:.3f} {:.3f} {:.2f} s".format(title, half, *figures), flush=True
                )


def steady(n_seeds=10):
    """Spread of the AUC over random states, on one split."""
    rows = []
    for title, method in METHODS.items():
        for name in ("6_cardio", "38_thyroid", "30_satellite"):
            X, y, X_test, anomaly, _ = few_labels(name, 0, 0.05)
            aucs = []
            for seed in range(n_seeds):
                score = -method(random_state=seed).fit(X, y).decision_function(X_test)
                aucs.append(roc_auc_score(anomaly, score))
                rows.append({"detector": title, "dataset": name, "seed": seed, "auc": aucs[-1]})
            print(f"{title} {name}: AUC {np.mean(aucs):.3f}, sd {np.std(aucs):.4f}", flush=True)
            write("gans_steady.csv", rows)


def seeds(n_seeds=20):
    """Train 20 seeds a set: members are independent, so as many members. Errors are not caught."""
    rows = []
    for title, method in METHODS.items():
        for name in ("6_cardio", "38_thyroid", "30_satellite", "2_annthyroid", "23_mammography"):
            X, y, *_ = few_labels(name, 0, 0.05)
            history = method(n_estimators=n_seeds, random_state=0).fit(X, y).history_
            for loss in ("train_loss_members", "train_critic_loss_members"):
                values = np.array(history[:, loss])
                rows.append(
                    {
                        "detector": title,
                        "dataset": name,
                        "loss": loss,
                        "finite": bool(np.isfinite(values).all()),
                        "lowest": float(values.min()),
                        "highest": float(values.max()),
                        "restarts": sum(len(row.get("restarts", ())) for row in history),
                    }
                )
                print(rows[-1], flush=True)
            write("gans_seeds.csv", rows)


def images(*titles):
    """MNIST: 8 is normal, 300 labelled anomalies are 0, all digits are tested."""
    with np.load(data_folder() / "images" / "mnist.npz") as archive:
        X, digit, is_test = archive["X"], archive["y"], archive["is_test"]
    X = X.reshape(len(X), -1).astype(np.float32)
    eights, zeros = np.flatnonzero(~is_test & (digit == 8)), np.flatnonzero(~is_test & (digit == 0))
    train = np.r_[zeros[:300], eights[:5700]]
    y = np.where(digit[train] == 8, 0, -1)
    test = np.r_[
        np.flatnonzero(is_test & (digit == 8)), np.flatnonzero(is_test & (digit != 8))[::4]
    ]
    rows = []
    for title in titles or METHODS:
        labels = y if title == "AMA" else None
        used = train if title == "AMA" else train[y == 0]
        start = time.perf_counter()
        detector = METHODS[title](image_shape=(1, 28, 28), random_state=0).fit(X[used], labels)
        fit_s = time.perf_counter() - start
        score = -detector.decision_function(X[test])
        auc = roc_auc_score(digit[test] != 8, score)
        rows.append({"detector": title, "auc": auc, "fit_s": fit_s})
        print(rows[-1], flush=True)
        write("gans_images.csv", rows)
        draw(detector, X[test], digit[test], title)


def draw(detector, X, digit, title):
    """Picture of one image of each digit above its reconstruction."""
    from matplotlib import pyplot as plt

    rows = X[[np.flatnonzero(digit == d)[0] for d in range(10)]]
    scaled = next(detector._scaled_chunks(rows)).expand(detector.n_estimators, -1, -1)
    fakes = detector.network_.decoder(detector.network_.encoder(scaled))[0]
    figure, axes = plt.subplots(2, 10, figsize=(10, 2.3))
    for axis, image in zip(axes.flat, [*scaled[0], *fakes], strict=True):
        axis.imshow(image.reshape(28, 28), cmap="gray", vmin=-1, vmax=1)
        axis.axis("off")
    figure.suptitle(f"{title}: test images and their reconstructions (8 is normal)")
    path = Path(__file__).parent / "results" / f"{title.lower()}_mnist.png"
    figure.savefig(path, dpi=60)
    plt.close(figure)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
