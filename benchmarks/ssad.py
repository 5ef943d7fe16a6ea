"""SSAD's figures: is the optimum right, how fast, how good, and the path for long tables.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.ssad [part ...]

Parts: right, fast, scoring, quality, large; all without an argument. Each part writes
benchmarks/results/ssad_<part>.csv. Times are medians of runs taken in turns within one process.
"""

import sys
import time
import warnings

import numpy as np
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import average_precision_score
from sklearn.svm import OneClassSVM

from benchmarks.problems import few_labels, load
from benchmarks.protocol import evaluate, mean, write
from skad import SSAD
from tests.detectors import test_ssad as problems


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(functions, repeats=3):
    """Median seconds of each function; runs alternate, so that a slow moment hits all."""
    return np.median([[seconds(f) for f in functions] for _ in range(repeats)], axis=0)


def right(n_problems=200):
    """Random problems: feasible, duality gap and objective against an interior-point solver."""
    rows, seed = [], 0
    while len(rows) < n_problems:
        X, y, parameters = problems.make_problem(seed)
        seed += 1
        detector = SSAD(tol=1e-10, **parameters)
        if not problems.is_feasible(detector, y):
            continue
        duration = seconds(lambda d=detector, X=X, y=y: d.fit(X, y))
        K, box = problems.kernel_matrix(detector, X), problems.boxes(detector, y)
        beta = problems.reference_solution(K, y, box, detector.kappa)
        reference = beta @ K @ beta / 2
        scale = max(reference, 1e-4 * np.mean(np.diag(K)))
        try:
            objective, f = problems.check_optimal(detector, X, y)
        except AssertionError:
            objective, f = np.nan, np.nan
        rows.append(
            {
                "seed": seed - 1,
                "rows": len(y),
                "feasible_and_gap_below_1e-6": bool(np.isfinite(objective)),
                "reference_is_feasible": abs(beta.sum() - 1) < 1e-6,
                "objective_error": (objective - reference) / scale,
                "f_error": np.max(np.abs(f - K @ beta)) / np.sqrt(np.mean(np.diag(K)) * scale),
                "steps": detector.n_iter_,
                "seconds": duration,
            }
        )
    solved = sum(row["feasible_and_gap_below_1e-6"] for row in rows)
    print(f"right: {solved} of {len(rows)} feasible with a gap below 1e-6;", end=" ")
    compared = [row for row in rows if row["reference_is_feasible"]]
    worst = max(row["objective_error"] for row in compared)
    print(f"largest excess over {len(compared)} reference objectives {worst:.1e}")
    return rows


def satimage(n):
    """The reference problem: n rows of satimage-2, a few labelled anomalies."""
    X, truth = load("31_satimage-2")
    chosen = np.random.RandomState(0).permutation(len(X))[:n]
    X, truth = X[chosen].astype(float), truth[chosen]
    y = np.zeros(n, dtype=int)
    y[np.flatnonzero(truth)[: max(5, n // 100)]] = -1
    return (X - X.min(axis=0)) / np.ptp(X, axis=0), y


def fast():
    """Against the interior-point solver and against OneClassSVM."""
    rows = []
    for n in (200, 500, 1000, 2000, 3000):
        X, y = satimage(n)
        for C_unlabeled in (1.0, None):
            detector = SSAD(C_unlabeled=C_unlabeled, nu=0.1, tol=1e-8)
            answer = {}

            def reference(detector=detector, X=X, y=y, answer=answer):
                K = problems.kernel_matrix(detector, X)
                box = problems.boxes(detector, y)
                answer["beta"], answer["K"] = problems.reference_solution(K, y, box, 1.0), K

            repeats = 3 if n <= 1000 else 1
            ours, theirs = medians([lambda d=detector, X=X, y=y: d.fit(X, y), reference], repeats)
            f = answer["K"] @ answer["beta"]
            ours_f = detector.score_samples(X)
            beta = np.zeros(n)
            beta[detector.support_] = detector.dual_coef_[0]
            rows.append(
                {
                    "against": "clarabel",
                    "rows": n,
                    "C_unlabeled": C_unlabeled or "1 / (nu n)",
                    "seconds": ours,
                    "their_seconds": theirs,
                    "speedup": theirs / ours,
                    "objective_error": beta @ ours_f / (answer["beta"] @ f) - 1,
                    "f_error": np.max(np.abs(f - ours_f)),
                }
            )
            print("fast:", rows[-1])
    X = np.random.RandomState(0).randn(20000, 20)
    detector, svm = SSAD(nu=0.1, gamma="scale", tol=3e-6, max_samples=20000), OneClassSVM(nu=0.1)
    ours, theirs = medians([lambda: detector.fit(X), lambda: svm.fit(X)])
    f_error = np.max(np.abs(detector.score_samples(X) - svm.score_samples(X) / 2000))
    rows.append(
        dict(zip(rows[0], ("OneClassSVM", 20000, "1 / (nu n)", ours, theirs), strict=False))
        | {"speedup": theirs / ours, "objective_error": "", "f_error": f_error}
    )
    print("fast:", rows[-1])
    X[:1000] += 1.5
    y = np.zeros(20000, dtype=int)
    y[:200], y[-200:] = -1, 1
    for name, parameters in (
        ("defaults", {}),
        ("all rows", {"max_samples": 20000}),
        ("all rows, C_unlabeled=1", {"max_samples": 20000, "C_unlabeled": 1.0}),
    ):
        duration = seconds(lambda p=parameters: SSAD(**p).fit(X, y))
        rows.append({"against": name + " with labels", "rows": 20000, "seconds": duration})
        print("fast:", rows[-1])
    return rows


def scoring():
    """100,000 rows against 2,000 support vectors."""
    X = np.random.RandomState(0).randn(100000, 20)
    detector = SSAD(nu=0.1, max_samples=20000).fit(X[:20000])
    duration = medians([lambda: detector.score_samples(X)])[0]
    print(f"scoring: {len(detector.support_)} support vectors, {duration:.2f} s")
    return [{"support": len(detector.support_), "rows": len(X), "seconds": duration}]


def quality():
    """The few-label protocol on all data sets; odd ones (in name order) chose the defaults."""
    rows = evaluate(lambda seed: SSAD(random_state=seed))
    names = sorted({row["dataset"] for row in rows})
    for title, part in (("chosen on", names[0::2]), ("read on", names[1::2]), ("all", names)):
        part = [row for row in rows if row["dataset"] in part]
        print(f"quality, {title}: AUC {mean(part, 'auc'):.3f}, AP {mean(part, 'ap'):.3f}")
    svm = evaluate(lambda seed: WithoutLabels())
    print(f"quality, OneClassSVM: AUC {mean(svm, 'auc'):.3f}, AP {mean(svm, 'ap'):.3f}")
    return rows


class WithoutLabels(OneClassSVM):
    def __init__(self):
        super().__init__(nu=0.1)

    def fit(self, X, y):
        return super().fit(X)


def large():
    """A sample solved exactly, against a Nystroem map with the linear problem; a million rows."""
    rows = []
    for name in ("10_cover", "32_shuttle", "23_mammography", "5_campaign"):
        X, y, X_test, anomaly, *_ = few_labels(name, 0, max_rows=20000)
        for method, fit in (
            ("exact", lambda X, y: SSAD(max_samples=20000).fit(X, y)),
            ("default sample", lambda X, y: SSAD(random_state=0).fit(X, y)),
            ("Nystroem 500", nystroem),
        ):
            start = time.perf_counter()
            score = -fit(X, y).score_samples(X_test)
            duration = time.perf_counter() - start
            ap = average_precision_score(anomaly, score)
            rows.append({"dataset": name, "method": method, "ap": ap, "seconds": duration})
            print("large:", rows[-1])
    X = np.random.RandomState(0).randn(1_000_000, 20)
    X[:20000] += 1.5
    y = np.zeros(len(X), dtype=int)
    y[:500] = -1
    duration = seconds(lambda: SSAD(random_state=0).fit(X, y))
    rows.append({"dataset": "a million rows", "method": "default", "seconds": duration})
    print("large:", rows[-1])
    return rows


class nystroem:
    """Nystroem features, and SSAD with a linear kernel on them."""

    def __init__(self, X, y):
        self.map = Nystroem(gamma=1 / X.var(axis=0).sum(), n_components=500, random_state=0)
        Z = self.map.fit_transform(X)
        self.detector = SSAD(kernel="linear").fit(Z, y)

    def score_samples(self, X):
        return self.detector.score_samples(self.map.transform(X))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    parts = {part.__name__: part for part in (right, fast, scoring, quality, large)}
    for part in sys.argv[1:] or parts:
        write(f"ssad_{part}.csv", parts[part]())
