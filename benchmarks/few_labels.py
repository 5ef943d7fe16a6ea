"""Few labels on 24 data sets: DeepSAD with its defaults, beside what everybody has.

Writes one row per data set, seed and detector to benchmarks/results/few_labels.csv, and prints
means.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.few_labels
"""

import sys

from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.svm import OneClassSVM

from skad import DeepSAD, DeepSVDD

from .protocol import evaluate, mean, write


class UnlabeledAsNormal(ExtraTreesClassifier):
    """A classifier that takes unlabelled rows as normal: costs nothing, and everyone has it."""

    def decision_function(self, X):
        return -self.predict_proba(X)[:, 0]


DETECTORS = {
    "DeepSAD": lambda seed: DeepSAD(random_state=seed),
    "DeepSAD, inverse loss": lambda seed: DeepSAD(loss="inverse", random_state=seed),
    "DeepSAD, 1 member": lambda seed: DeepSAD(n_estimators=1, random_state=seed),
    "DeepSVDD": lambda seed: DeepSVDD(random_state=seed),
    "ExtraTrees, unlabelled as normal": lambda seed: UnlabeledAsNormal(
        200,
        bootstrap=True,
        class_weight="balanced_subsample",
        min_samples_leaf=2,
        random_state=seed,
    ),
    "IsolationForest": lambda seed: IsolationForest(random_state=seed),
    "OneClassSVM": lambda seed: OneClassSVM(),
}


def main(labeled_share=0.05):
    rows = []
    for name, make in DETECTORS.items():
        found = evaluate(make, labeled_share=labeled_share)
        rows += [{"detector": name, "labeled_share": labeled_share, **row} for row in found]
        figures = [mean(found, key) for key in ("auc", "ap", "fit_s")]
        print("{:34s} AUC {:.3f}  AP {:.3f}  fit {:.2f} s".format(name, *figures), flush=True)
    write("few_labels.csv", rows)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
