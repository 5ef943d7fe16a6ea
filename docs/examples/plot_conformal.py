"""
Conformal p-values: alarms with a promise
=========================================

`ConformalDetector` holds rows back and calibrates any detector on them. A new row gets a p-value,
the share of held-back rows that look no more normal. Then false alarms can be promised: at most the
share `alpha` of normal rows is flagged, or at most the share `fdr` of all alarms is false.

The rows are drawn from a known distribution, because a promise about averages is only seen in many
repetitions: normal rows from ten correlated columns, anomalies with three of them shifted.
"""

import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import SSAD, ConformalDetector

rng = np.random.default_rng(0)
mix = rng.normal(size=(10, 10))


def draw(n_normal, n_anomalies):
    """Draw normal rows, then anomalies."""
    X = rng.normal(size=(n_normal + n_anomalies, 10)) @ mix
    X[n_normal:, :3] += 12
    return X


X, y = draw(800, 10), np.repeat([0, -1], [800, 10])
detector = make_pipeline(StandardScaler(), SSAD(nu=0.05))
conformal = ConformalDetector(
    detector, alpha=0.05, calibration_size=0.5, random_state=0
).fit(X, y)

# %%
# New rows: 1,000 normals and 50 anomalies. The p-values of normals are spread about evenly,
# whatever the detector; those of anomalies are small.

import matplotlib.pyplot as plt

X_new, anomaly = draw(1000, 50), np.repeat([False, True], [1000, 50])
p = conformal.p_values(X_new)
fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
bins = np.linspace(0, 1, 21)
axes[0].hist(p[~anomaly], bins, color="#56B4E9", label="normal")
axes[0].hist(
    p[anomaly], bins, color="#D55E00", hatch="//", alpha=0.8, label="anomaly"
)
axes[0].set(xlabel="p-value", ylabel="new rows")
axes[0].set_title("p-values of new rows")
axes[0].legend()

# Promised against measured, over calibrations on fresh rows. The fitted
# detector stays as it is.
alphas = np.array([0.01, 0.02, 0.05, 0.1, 0.2])
rates = []
for _ in range(30):
    conformal.fit_threshold(draw(400, 0))
    p_normal = conformal.p_values(draw(500, 0))
    rates.append((p_normal[:, None] <= alphas).mean(axis=0))
mean, deviation = np.mean(rates, axis=0), np.std(rates, axis=0)
axes[1].plot([0, 0.2], [0, 0.2], color="0.6", label="the promise")
axes[1].errorbar(alphas, mean, deviation, fmt="o", color="#0072B2", capsize=4)
axes[1].set(xlabel="alpha", ylabel="share of normal rows flagged")
axes[1].set_title("False alarms, promised and measured")
axes[1].legend()
for a, m in zip(alphas, mean, strict=True):
    print(f"alpha {a:.2f}: {m:.3f} of the normal rows flagged on average")

# %%
# False discoveries
# -----------------
# Where anomalies are rare, a small share of the normals may still be most of the alarms.
# `predict_batch` looks at a whole batch and bounds the expected share of false ones among its
# alarms.

conformal.fit_threshold(draw(2000, 0))
alarms = {"predict, alpha=0.05": conformal.predict(X_new) == -1}
for fdr in (0.3, 0.1):
    name = f"predict_batch, fdr={fdr}"
    alarms[name] = conformal.predict_batch(X_new, fdr=fdr) == -1
for name, alarm in alarms.items():
    print(
        f"{name:24s} {alarm.sum():4d} alarms, {alarm[anomaly].sum():3d} right,"
        f" {np.mean(~anomaly[alarm]):4.0%} false"
    )

# %%
# This is one batch; the promise holds for the mean over many. Over 30 of them:

for fdr in (0.3, 0.1):
    shares = []
    for _ in range(30):
        conformal.fit_threshold(draw(1000, 0))
        alarm = conformal.predict_batch(draw(500, 25), fdr=fdr) == -1
        shares.append(alarm[:500].sum() / max(alarm.sum(), 1))
    print(f"fdr={fdr}: a share of {np.mean(shares):.3f} is false on average")
