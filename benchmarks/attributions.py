"""Whether attributions name the columns in which anomalies differ, how exact and how fast they are.

Planted: 1,000 correlated normal rows with 20 columns and 40 anomalies, of which 20 are labelled,
shifted by 4 standard deviations in 2, 3 or 5 columns; `top` is the share of 50 new anomalies whose
most negative attributions are in just these columns. Speed: processor seconds for 100 rows with 30
columns. `missing` is how far the sum of the gradients stays, at worst, from the difference of the
scores before what is missing is shared out, and `error` afterwards, both in standard deviations of
the training scores.

    OMP_NUM_THREADS=1 python -m benchmarks.attributions
"""

import time

import numpy as np

from skad import AMA, ESAD, SSAD, SSDGM, Autoencoder, DeepSAD, DeepSVDD, GANomaly, inspection
from skad.inspection import normal_reference, score_attributions

from .protocol import write

DETECTORS = (DeepSAD, ESAD, SSAD, AMA, GANomaly, SSDGM, DeepSVDD, Autoencoder)
N_SEEDS = 5
N_TURNS = 5


def planted(seed, n_planted, n_features=20):
    """Make training rows, labels, new anomalies and the planted columns."""
    rng = np.random.RandomState(seed)
    mix = np.eye(n_features) + 0.7 * rng.randn(n_features, n_features) / n_features**0.5
    columns = np.sort(rng.choice(n_features, n_planted, replace=False))
    shift = 4 * rng.choice([-1, 1], n_planted) * np.linalg.norm(mix, axis=0)[columns]

    def rows(n, shift):
        made = rng.randn(n, n_features) @ mix
        made[:, columns] += shift
        return made

    y = np.repeat([-1, 0], [20, 1020])
    return np.r_[rows(40, shift), rows(1000, 0)], y, rows(50, shift), columns


def share_on_top(method, n_planted):
    """Share of new anomalies whose lowest attributions are the planted columns'."""
    shares = []
    for seed in range(N_SEEDS):
        X, y, new, columns = planted(seed, n_planted)
        detector = method(random_state=seed).fit(X, y)
        attributions = score_attributions(detector, new, background=X)
        top = np.sort(np.argsort(attributions, axis=1)[:, :n_planted], axis=1)
        shares.append((top == columns).all(axis=1).mean())
    return float(np.mean(shares))


def speed_and_error(method):
    """Median processor seconds for 100 rows with 30 columns, and errors of the sums."""
    X, y, new, _ = planted(0, 3, n_features=30)
    rows = np.r_[new, X[-50:]]
    detector = method(random_state=0).fit(X, y)
    seconds = []
    for _ in range(N_TURNS + 1):
        start = time.process_time()
        attributions = score_attributions(detector, rows, background=X)
        seconds.append(time.process_time() - start)
    reference = normal_reference(detector, X)
    differences = detector.score_samples(rows) - detector.score_samples(reference)
    errors = {"error": attributions.sum(axis=1) - differences}
    if hasattr(detector, "scoring_module_"):
        *path, _ = inspection._deep_input(detector, rows, reference)
        errors["missing"] = inspection._integrate(*path).sum(axis=1) - differences
    spread = detector.score_samples(X).std()
    result = {key: float(np.abs(value).max() / spread) for key, value in errors.items()}
    return {"seconds": float(np.median(seconds[1:])), **result}  # the first turn warms up


if __name__ == "__main__":
    results = []
    for method in DETECTORS:
        row = {"detector": method.__name__, **speed_and_error(method)}
        row |= {f"top_{k}": share_on_top(method, k) for k in (2, 3, 5)}
        print(row, flush=True)
        results.append(row)
    write("attributions.csv", results)
