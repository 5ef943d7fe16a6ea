"""What scikit-learn's and skorch's clothes cost, against a hand-written torch loop.

Same networks, batches, steps, loss, optimiser and clipping; fit and loop alternate in one process
on one thread, and ratios are medians over pairs. The loop does not learn a scaling or a threshold;
fit does. Writes benchmarks/results/overhead.csv.

    OMP_NUM_THREADS=1 python -m benchmarks.overhead
"""

import time

import numpy as np
import torch

from skad import DeepSAD
from skad._net import MAX_GRAD_NORM

from .protocol import write

N_ROWS, N_FEATURES, WIDTH, CODE = 5000, 36, 128, 64
STEPS, BATCH = 1000, 128
N_PAIRS = 9


def bare_fit(X, y, n_members):
    """Train Deep SAD the way one would write it by hand."""
    torch.manual_seed(0)
    rows, labels = torch.from_numpy(X).float(), torch.from_numpy(y)
    bound = [1 / n**0.5 for n in (N_FEATURES, WIDTH)]
    shapes = [(n_members, N_FEATURES, WIDTH), (n_members, WIDTH, CODE)]
    w1, w2 = (
        torch.empty(s).uniform_(-b, b).requires_grad_() for s, b in zip(shapes, bound, strict=True)
    )

    def distance(x):
        return (
            (torch.bmm(torch.nn.functional.leaky_relu(torch.bmm(x, w1)), w2) - c).square().sum(-1)
        )

    c = 0.1
    optimizer = torch.optim.Adam([w1, w2], lr=5e-4)
    anomalies, rest = np.flatnonzero(y == -1), np.flatnonzero(y == 0)
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        picks = [
            rng.choice(anomalies, (n_members, BATCH // 2)),
            rng.choice(rest, (n_members, BATCH // 2)),
        ]
        index = torch.from_numpy(np.concatenate(picks, axis=1))
        d, t = distance(rows[index]), labels[index]
        p = torch.sqrt(d + 1) - 1
        loss = torch.where(t < 0, -torch.log(-torch.expm1(-p - 1e-6)), p).mean(-1)
        optimizer.zero_grad()
        loss.sum().backward()
        norm = sum(w.grad.square().sum((1, 2)) for w in (w1, w2)).sqrt()
        factor = (MAX_GRAD_NORM / (norm + 1e-6)).clamp(max=1).view(-1, 1, 1)
        for w in (w1, w2):
            w.grad.mul_(factor)
        optimizer.step()


def bare_scores(detector, scaled):
    """Forward pass alone, on rows that are scaled already."""
    with torch.no_grad():
        for chunk in scaled.split(1024):
            detector.scoring_module_.network(chunk.expand(detector.n_estimators, -1, -1))


def ratio(one, other):
    """Median of paired time ratios, after a warm-up."""
    ratios = []
    for pair in range(N_PAIRS + 1):
        times = []
        for function in (one, other):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        if pair:
            ratios.append(times[0] / times[1])
    return float(np.median(ratios))


def measure(n_members):
    rng = np.random.RandomState(0)
    X = rng.randn(N_ROWS, N_FEATURES)
    y = np.zeros(N_ROWS, dtype=np.int8)
    y[:20] = -1
    options = {"max_steps": STEPS, "bias": False, "mixup": 0.0}  # as the bare loop
    detector = DeepSAD(n_estimators=n_members, random_state=0, **options)
    fit = ratio(lambda: detector.fit(X, y), lambda: bare_fit(X, y, n_members))
    X = np.tile(X, (4, 1))
    scaled = detector.scoring_module_.scaler(torch.from_numpy(X)).float()
    score = ratio(lambda: detector.score_samples(X), lambda: bare_scores(detector, scaled))
    return {"members": n_members, "fit": round(fit, 3), "score": round(score, 3)}


if __name__ == "__main__":
    results = [measure(n_members) for n_members in (1, 8)]
    for row in results:
        print("{members} members: fit {fit} x the bare loop, scoring {score} x".format(**row))
    write("overhead.csv", results)
