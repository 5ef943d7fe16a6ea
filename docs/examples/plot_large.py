"""
A table that is never in memory
===============================

50,000 rows come chunk by chunk from a function, as they would from files.
One pass draws a uniform sample, keeps every labelled row, and a detector
learns from it; a second pass takes the threshold from all rows. The data
are generated, so that a chunk can be made when it is asked for: anomalies
lie off the plane that the normal rows share.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import average_precision_score

from skad import DeepSAD, SampledDetector

PLANE = np.random.default_rng(0).normal(size=(3, 8))


def make_chunk(number, n_rows=5000, n_labeled=4):
    rng = np.random.default_rng(number)
    anomaly = rng.random(n_rows) < 0.02
    noise = 0.2 * rng.normal(size=(n_rows, 8))
    X = rng.normal(size=(n_rows, 3)) @ PLANE + noise
    X[anomaly] += rng.normal(size=(anomaly.sum(), 8))
    y = np.zeros(n_rows, dtype=int)
    y[np.flatnonzero(anomaly)[:n_labeled]] = -1
    return X, y, anomaly


def chunks():
    for number in range(10):
        X, y, _ = make_chunk(number)
        yield X, y


# %%
# The function itself is given to `fit`, because it is run twice. Samples of
# different sizes show what is lost by not looking at every row.

X_new, _, anomaly = make_chunk(number=99, n_rows=20_000)
sizes = [100, 1000, 10_000, 50_000]
precision, flagged = [], []
for size in sizes:
    inner = DeepSAD(n_estimators=2, max_steps=150, random_state=0)
    detector = SampledDetector(inner, max_samples=size, random_state=0)
    detector.fit(chunks)
    scores = detector.decision_function(X_new)
    precision.append(average_precision_score(anomaly, -scores))
    flagged.append((scores < 0).mean())
    print(
        f"{size:6d} rows: average precision {precision[-1]:.3f}, "
        f"{flagged[-1]:.1%} of new rows flagged"
    )

# %%

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.semilogx(sizes, precision, marker="o", color="#0072B2")
ax.set(
    title="What a sample of 50,000 rows is worth",
    xlabel="unlabelled rows that the detector learns from",
    ylabel="average precision on new rows",
    ylim=(0, 1),
)
ax.grid(alpha=0.3)
