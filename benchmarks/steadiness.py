"""How much does the seed alone matter? One split, 5 % of the anomalies labelled, several seeds.

The standard deviation of the average precision over seeds, by table; printed is its median.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.steadiness [n_seeds]
"""

import sys

import numpy as np
from sklearn.metrics import average_precision_score

from skad import DeepSAD, VotingDetector

from .problems import dataset_names, few_labels
from .protocol import write


def main(n_seeds=4):
    rows = []
    for detector in (DeepSAD, VotingDetector):
        for name in dataset_names():
            problem = few_labels(name, 0, 0.05)
            found = []
            for seed in range(int(n_seeds)):
                fitted = detector(random_state=seed).fit(problem.X, problem.y)
                scores = fitted.decision_function(problem.X_test)
                found.append(average_precision_score(problem.anomaly, -scores))
            spread = {"mean": np.mean(found), "standard_deviation": np.std(found, ddof=1)}
            rows.append({"detector": detector.__name__, "dataset": name, **spread})
        spreads = [row["standard_deviation"] for row in rows[-len(dataset_names()) :]]
        print(f"{detector.__name__}: median {np.median(spreads):.4f}, largest {max(spreads):.3f}")
    write("steadiness.csv", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
