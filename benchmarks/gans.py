"""AMA and GANomaly: few labels on 24 data sets, steadiness, 20 seeds.

Writes csv files to benchmarks/results.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.gans tables|steady|seeds
"""

import sys

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from skad import AMA, DeepSAD, GANomaly

from .protocol import dataset_names, evaluate, few_labels, mean, write

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


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
