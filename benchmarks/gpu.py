"""CPU against GPU: rows scored per second, seconds of a fit, milliseconds of a training step.

    OMP_NUM_THREADS=2 python -m benchmarks.gpu

Writes benchmarks/results/gpu.csv; without a GPU there are only the CPU's lines. Data are random:
what they hold does not matter here.
"""

import argparse
import csv
import time
from itertools import product
from pathlib import Path

import numpy as np
import torch

from skad import AMA, ESAD, DeepSAD, GANomaly

from .protocol import results_path, versions

NETWORKS = {"128": ((128,), 64), "256-128": ((256, 128), 64)}
ON_CPU = 50_000  # rows; the rate hardly depends on their number


def table(n, n_features, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)).astype(np.float32)
    y = np.zeros(n, dtype=int)
    y[:30] = -1
    X[:60] += 2
    return X, y


def seconds(function, repeats=3):
    """Median time of a call, after one that warms up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def scoring(device):
    for n_features, members, network in product((30, 300), (1, 8, 16), NETWORKS):
        sizes, latent = NETWORKS[network]
        X, y = table(2000, n_features)
        detector = DeepSAD(
            n_estimators=members,
            hidden_layer_sizes=sizes,
            latent_dim=latent,
            max_steps=10,
            device=device,
            random_state=0,
        ).fit(X, y)
        for n in (1, 1000, 100_000, 1_000_000):
            if n > 1000 and device == "cpu":
                n = ON_CPU if members * n_features < 2000 else 10_000
            if n * n_features > 1e8:
                continue
            X, _ = table(n, n_features)
            taken = seconds(lambda: detector.score_samples(X))  # noqa: B023
            yield {"what": "score", "rows": n, "columns": n_features, "members": members} | {
                "network": network,
                "seconds": taken,
                "per_second": n / taken,
            }
            if n in (ON_CPU, 10_000):
                break


def fits(device):
    for n, n_features in ((2000, 30), (100_000, 30), (2000, 1000)):
        X, y = table(n, n_features)
        for method in (DeepSAD, ESAD, AMA, GANomaly):
            detector = method(device=device, random_state=0)
            taken = seconds(lambda: detector.fit(X, y), repeats=1 if device == "cpu" else 3)  # noqa: B023
            yield {"what": f"fit {method.__name__}", "rows": n, "columns": n_features} | {
                "members": detector.n_estimators,
                "network": "default",
                "seconds": taken,
                "per_second": detector.n_iter_ / taken,
            }


def images(device):
    """A training step on images, batch 256: what some more steps cost."""
    X = np.random.default_rng(0).random((2000, 784), dtype=np.float32)
    y = np.zeros(2000, dtype=int)
    y[:30] = -1
    few, many = (5, 15) if device == "cpu" else (20, 120)
    for method, members in product((DeepSAD, ESAD, AMA, GANomaly), (1, 4)):
        options = {"image_shape": (1, 28, 28), "batch_size": 256, "n_estimators": members}
        taken = {}
        for steps in (few, many):
            detector = method(**options, max_steps=steps, device=device, random_state=0)
            taken[steps] = seconds(lambda: detector.fit(X, y), repeats=3)  # noqa: B023
        step = (taken[many] - taken[few]) / (many - few)
        yield {"what": f"step {method.__name__}", "rows": 256, "columns": 784} | {
            "members": members,
            "network": "LeNet" if method in (DeepSAD, ESAD) else "DCGAN",
            "seconds": step,
            "per_second": 256 / step,
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=results_path("gpu.csv"))
    output = parser.parse_args().output
    torch.set_num_threads(2)
    rows = []
    for device in ["cuda", "cpu"] if torch.cuda.is_available() else ["cpu"]:
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU, 2 threads"
        for run in (images, scoring, fits):
            for row in run(device):
                rows.append({"device": name, **row, "versions": versions()})
                print(*list(rows[-1].values())[:-1], flush=True)
                with output.open("w", newline="") as file:
                    writer = csv.DictWriter(file, rows[0])
                    writer.writeheader()
                    writer.writerows(rows)
