"""ESAD's steadiness: the spread of its AUC over 20 seeds, on one split of each of five tables.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.esad

A loss that is not finite raises. Figures go to benchmarks/results/esad_steadiness.csv.
"""

import pandas as pd
from sklearn.metrics import roc_auc_score

from skad import ESAD

from .problems import few_labels
from .protocol import write


def main(n_seeds=20):
    rows = []
    for name in ("6_cardio", "38_thyroid", "30_satellite", "40_vowels", "29_Pima"):
        X, y, X_test, anomaly, *_ = few_labels(name, 0)
        for seed in range(n_seeds):
            detector = ESAD(random_state=seed).fit(X, y)
            auc = roc_auc_score(anomaly, -detector.decision_function(X_test))
            rows.append({"dataset": name, "seed": seed, "auc": auc})
    write("esad_steadiness.csv", rows)
    for n in (n_seeds // 2, n_seeds):
        table = pd.DataFrame([row for row in rows if row["seed"] < n])
        print(n, "seeds")
        print(table.groupby("dataset").auc.agg(["mean", "std", "count"]).round(4).to_string())


if __name__ == "__main__":
    main()
