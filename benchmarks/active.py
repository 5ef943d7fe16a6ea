"""Which rows to label next: anomalies found, and what the labels are worth.

An analyst is shown 100 rows of a table's training part, 5 at a time, from no labels at the start;
isolation forest chooses until the first anomaly is found. "found" is how many anomalies were among
the rows shown, "ap" the average precision on the test part, both after so many labels.

The loops that learn are compared with isolation forest's top rows, all chosen at once, and with
random rows: DeepSAD learns from those in the end, too, so that "ap" compares labels. The strategy
and the detector were chosen on every second table in the order of names, and are confirmed on the
others, which is what is run by default. The stored results are those of seeds 0 and 1.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.active [n_jobs] [n_seeds]
"""

import sys
import warnings

import numpy as np
from joblib import Parallel, delayed

from skad import ClassifierDetector, DeepSAD
from skad.active import simulate

from .problems import dataset_names, few_labels
from .protocol import write

BUDGET, BATCH = 100, 5
STEPS = 100  # a choice by rows left out takes six times as long, which a loop has no time for
LOOPS = {
    "random rows": (DeepSAD(max_steps=STEPS), "random", BUDGET),
    "isolation forest's top rows": (DeepSAD(max_steps=STEPS), "top", BUDGET),
    "classifier, top": (ClassifierDetector(), "top", BATCH),
    "DeepSAD, top": (DeepSAD(max_steps=STEPS), "top", BATCH),
    "DeepSAD, mixed": (DeepSAD(max_steps=STEPS), "mixed", BATCH),
    "DeepSAD, diverse": (DeepSAD(max_steps=STEPS), "diverse", BATCH),
}


def measure(name, seed):
    warnings.simplefilter("ignore")  # members of a few steps may be judged hardly trained
    rows, problem = [], few_labels(name, seed, 0)
    for loop, (detector, strategy, batch_size) in LOOPS.items():
        result = simulate(
            detector,
            problem.X,
            np.where(problem.truth, -1, 1),
            BUDGET,
            batch_size=batch_size,
            strategy=strategy,
            X_test=problem.X_test,
            y_test=np.where(problem.anomaly, -1, 1),
            random_state=seed,
        )
        found = np.r_[0, result.n_found][result.n_labeled]
        for n, k, ap in zip(result.n_labeled, found, result.average_precision, strict=True):
            if n % 20 == 0:
                row = {"dataset": name, "seed": seed, "loop": loop, "labels": int(n)}
                rows.append({**row, "found": int(k), "ap": float(ap)})
    return rows


def main(n_jobs=1, n_seeds=5, chosen_on=False):
    names, rows = dataset_names()[0 if chosen_on else 1 :: 2], []
    for seed in range(int(n_seeds)):
        for part in Parallel(int(n_jobs))(delayed(measure)(name, seed) for name in names):
            rows += part
        write("active_chosen_on.csv" if chosen_on else "active.csv", rows)
        report(rows, names)


def report(rows, names):
    last = [row for row in rows if row["labels"] == BUDGET]
    base = found_by(last, "isolation forest's top rows", names)
    for loop in LOOPS:
        found = found_by(last, loop, names)
        ap = np.mean([row["ap"] for row in last if row["loop"] == loop])
        print(
            f"{loop:28s} found {found.mean():5.1f}, {found.mean() / base.mean():.2f} times "
            f"isolation forest's, more on {np.sum(found > base)} of {len(names)}, AP {ap:.3f}",
            flush=True,
        )


def found_by(rows, loop, names):
    """Anomalies found per table, mean over seeds."""
    return np.array(
        [
            np.mean([r["found"] for r in rows if (r["dataset"], r["loop"]) == (n, loop)])
            for n in names
        ]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
