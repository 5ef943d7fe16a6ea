"""AMA and GANomaly: steadiness, 20 seeds.

Writes csv files to benchmarks/results.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.gans steady|seeds
"""

import sys

import numpy as np
from sklearn.metrics import roc_auc_score

from skad import AMA, GANomaly

from .problems import few_labels
from .protocol import write

METHODS = {"AMA": AMA, "GANomaly": GANomaly}


def steady(n_seeds=10):
    """Spread of the AUC over random states, on one split."""
    rows = []
    for title, method in METHODS.items():
        for name in ("6_cardio", "38_thyroid", "30_satellite"):
            X, y, X_test, anomaly, *_ = few_labels(name, 0, 0.05)
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
