"""Do out-of-bag scores say how good a detector is on rows that it has not seen?

"held_out" is the ROC AUC on the test part, mapped to what it would be against unlabelled rows: with
a share p of hidden anomalies among them an area A becomes (1 - p) A + p / 2. "out_of_bag" is
`oob_score_`, "training" the same of the training rows' own scores.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.out_of_bag [n_seeds]
"""

import sys

import numpy as np

from skad import ClassifierDetector, DeepSAD

from .problems import dataset_names, few_labels
from .protocol import mean, write


def measure(detector, problem):
    fitted, hidden = detector.fit(problem.X, problem.y), problem.y == 0
    if not hasattr(fitted, "oob_score_"):
        return None
    p = np.mean(problem.truth[hidden])
    held_out = fitted.score(problem.X_test, np.where(problem.anomaly, -1, 1))
    return {
        "labeled_anomalies": int(np.sum(problem.y == -1)),
        "held_out": (1 - p) * held_out + p / 2,
        "out_of_bag": fitted.oob_score_,
        "training": fitted.score(problem.X, problem.y),
    }


def main(n_seeds=3, labeled_share=0.1):
    rows = []
    for detector in (ClassifierDetector, DeepSAD):
        found = []
        for name in dataset_names():
            for seed in range(int(n_seeds)):
                problem = few_labels(name, seed, float(labeled_share))
                if result := measure(detector(random_state=seed), problem):
                    found.append(
                        {"detector": detector.__name__, "dataset": name, "seed": seed, **result}
                    )
        figures = [mean(found, key) for key in ("held_out", "out_of_bag", "training")]
        print(
            "{}, {} fits: AUC held out {:.3f}, out of bag {:.3f}, of training rows {:.3f}".format(
                detector.__name__, len(found), *figures
            )
        )
        rows += found
    write("out_of_bag.csv", rows)


if __name__ == "__main__":
    main(*sys.argv[1:])
