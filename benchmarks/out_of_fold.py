"""Do out-of-fold scores say how good a detector is on rows that it has not seen?

"held_out" is the average precision on the test part. "aligned" is that of `cross_val_predict` on
the training rows, against their true labels; "unaligned" that of the same folds' scores as they
come. Folds train on four fifths of the few labels, so that a little less is to be expected.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.out_of_fold [n_seeds]
"""

import sys
import warnings

import numpy as np
from sklearn.metrics import average_precision_score

from skad import ClassifierDetector, DeepSAD
from skad.model_selection import out_of_fold

from .problems import dataset_names, few_labels
from .protocol import mean, write

DETECTORS = {
    "ClassifierDetector": lambda seed: ClassifierDetector(random_state=seed),
    "DeepSAD": lambda seed: DeepSAD(random_state=seed),
}


def measure(detector, name, seed, labeled_share):
    """Take the steps of `cross_val_predict` one by one, for the scores before they are aligned."""
    problem = few_labels(name, seed, labeled_share)
    X, y = problem.X, problem.y
    splits = out_of_fold._checked_splits(None, X, y, None)
    folds = [
        out_of_fold._fit_and_predict(detector, X, y, *split, seed, "decision_function")
        for split in splits
    ]
    fitted = detector.fit(X, y)
    order = np.argsort(np.concatenate([test for _, test in splits]))

    def precision(parts):
        return average_precision_score(problem.truth, -np.concatenate(parts)[order])

    return {
        "labeled_anomalies": int(np.sum(y == -1)),
        "held_out": average_precision_score(
            problem.anomaly, -fitted.decision_function(problem.X_test)
        ),
        "aligned": precision(out_of_fold._on_one_scale(folds)),
        "unaligned": precision([scores for scores, *_ in folds]),
    }


def main(n_seeds=3, labeled_share=0.1):
    warnings.simplefilter("ignore")  # a fold with one label may be judged hardly trained
    rows = []
    for detector, make in DETECTORS.items():
        for name in dataset_names()[::3]:
            for seed in range(int(n_seeds)):
                result = measure(make(seed), name, seed, float(labeled_share))
                rows.append({"detector": detector, "dataset": name, "seed": seed, **result})
        found = [row for row in rows if row["detector"] == detector]
        figures = [mean(found, key) for key in ("held_out", "aligned", "unaligned")]
        print(
            "{}: AP held out {:.3f}, out of fold {:.3f}, unaligned {:.3f}".format(
                detector, *figures
            )
        )
    write("out_of_fold.csv", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
