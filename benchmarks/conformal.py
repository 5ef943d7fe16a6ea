"""Does ConformalDetector keep its promises? And how fast are p-values?

Each of 200 repeats draws exchangeable normals: 400 to fit and calibrate on and 400 fresh ones. A
rate is kept when its mean is at most the promise plus two standard errors over the repeats.
"false alarms" is the share of fresh normals flagged at alpha. "p-value law" is the largest excess
of P(p <= t) over t for t = .01 to .99, in standard errors. "false discoveries" is the share of
false alarms among the alarms of Benjamini-Hochberg over batches of 180 normals and 20 anomalies.
"cross" promises only twice as much; its comparison with the same target is there to be seen.
Problems: real normals without replacement, Gaussians, and counts with heavy ties.

    SKAD_DATA=path/to/data OMP_NUM_THREADS=1 python -m benchmarks.conformal
"""

import time

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skad import ConformalDetector

from .problems import load
from .protocol import write

REAL = ["2_annthyroid", "23_mammography", "30_satellite", "32_shuttle"]
ALPHAS = np.array([0.01, 0.05, 0.1])
GRID = np.arange(1, 100) / 100
FDRS = np.array([0.05, 0.1, 0.2])
N_REPEATS = 200


def sampler(problem):
    """A function of (rng, n_normals, n_anomalies) that draws both."""
    if problem == "gaussian":
        return lambda rng, n, m: (rng.normal(size=(n, 5)), rng.normal(3, 1, size=(m, 5)))
    if problem == "counts":
        return lambda rng, n, m: (
            rng.poisson(1, (n, 3)).astype(float),
            rng.poisson(4, (m, 3)).astype(float),
        )
    X, y = load(problem)
    normals, anomalies = X[y == 0], X[y == 1]
    return lambda rng, n, m: (
        normals[rng.choice(len(normals), n, replace=False)],
        anomalies[rng.choice(len(anomalies), m, replace=False)],
    )


def measure(problem, method):
    draw = sampler(problem)
    alarms, law, discoveries = [], [], []
    for seed in range(N_REPEATS):
        normals, anomalies = draw(np.random.default_rng(seed), 800, 20)
        detector = ConformalDetector(
            make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
            alpha=0.05,
            method=method,
            calibration_size=0.5,
            random_state=seed,
        ).fit(normals[:400])
        p = detector.p_values(normals[400:])
        alarms.append(np.mean(p[:, None] <= ALPHAS, axis=0))
        law.append(np.mean(p[:, None] <= GRID, axis=0))
        batch = np.r_[normals[400:580], anomalies]
        flagged = [detector.predict_batch(batch, fdr=fdr) == -1 for fdr in FDRS]
        discoveries.append([f[:180].sum() / max(f.sum(), 1) for f in flagged])
    yield from rows("false alarms", problem, method, ALPHAS, alarms)
    yield from rows("false discoveries", problem, method, FDRS, discoveries)
    excess, error = np.mean(law, axis=0) - GRID, np.std(law, axis=0) / np.sqrt(N_REPEATS)
    worst = np.argmax(excess / np.maximum(error, 1e-12))
    yield row(
        "p-value law", problem, method, GRID[worst], GRID[worst] + excess[worst], error[worst]
    )


def rows(measure, problem, method, targets, values):
    means, errors = np.mean(values, axis=0), np.std(values, axis=0) / np.sqrt(N_REPEATS)
    for target, mean, error in zip(targets, means, errors, strict=True):
        yield row(measure, problem, method, target, mean, error)


def row(measure, problem, method, target, mean, error):
    return {
        "measure": measure,
        "problem": problem,
        "method": method,
        "target": round(float(target), 3),
        "mean": round(float(mean), 5),
        "standard_error": round(float(error), 5),
        "kept": bool(mean <= target + 2 * error),
    }


class FirstColumn(OneClassSVM):
    """The first column is the score, so that only the p-values take time."""

    def fit(self, X, y=None):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def score_samples(self, X):
        return X[:, 0]


def speed():
    rng = np.random.default_rng(0)
    calibration, scores = rng.normal(size=(100_000, 1)), rng.normal(size=(1_000_000, 1))
    detector = ConformalDetector(FrozenEstimator(FirstColumn())).fit(calibration)
    seconds = []
    for _ in range(5):
        start = time.process_time()
        detector.p_values(scores)
        seconds.append(time.process_time() - start)
    return min(seconds)


def main():
    seconds = speed()
    print(f"p-values of 1,000,000 scores, 100,000 calibration scores: {seconds:.2f} s (CPU)")
    results = []
    for problem in [*REAL, "gaussian", "counts"]:
        for method in ("split", "cross"):
            results.extend(measure(problem, method))
            for result in results[-7:]:
                print(*result.values(), sep="  ", flush=True)
    write("conformal.csv", results)


if __name__ == "__main__":
    main()
