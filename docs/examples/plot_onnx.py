"""
Serving through ONNX: no Python needed
======================================

`to_onnx` writes a fitted detector as one file: scaling, networks and the threshold are inside.
Where the file is used, neither skad nor torch is installed, only an ONNX runtime, which there is
for C++, Java, JavaScript and phones as well.
"""

import onnxruntime
from sklearn.datasets import load_breast_cancer

from skad import DeepSAD
from skad.datasets import from_binary_labels, mask_labels
from skad.export import to_onnx

X, benign = load_breast_cancer(return_X_y=True)
truth = from_binary_labels(benign, anomaly=0)
rows, y = mask_labels(
    truth, labeled_anomalies=10, pollution=0.1, random_state=0
)

detector = DeepSAD(random_state=0).fit(X[rows], y)
model = to_onnx(detector).SerializeToString()  # a path writes a file
session = onnxruntime.InferenceSession(model)

# %%
# The graph takes float32 rows and gives scores and labels.

X_new = X.astype("float32")
scores, labels = session.run(None, {"X": X_new})
print(f"file   {len(model) / 1000:.0f} kB")
print("scores", scores[:4].round(3))
print("labels", labels[:4])

# %%
# Same answers, sooner
# --------------------
# Scores agree up to rounding. A single row comes back much faster, because nothing is validated and
# no Python runs in between.

import time

import matplotlib.pyplot as plt
import numpy as np

expected = detector.decision_function(X_new)
row, seconds = X_new[:1], {}
for name, score in [
    ("skad", lambda: detector.decision_function(row)),
    ("ONNX", lambda: session.run(None, {"X": row})),
]:
    score()
    times = []
    for _ in range(50):
        start = time.perf_counter()
        score()
        times.append(time.perf_counter() - start)
    seconds[name] = np.median(times)
print(f"largest difference {np.abs(scores - expected).max():.1e}")

fig, axes = plt.subplots(
    1, 2, figsize=(10, 4), width_ratios=[1.3, 1], layout="constrained"
)
anomaly = truth == -1
axes[0].axline((0, 0), slope=1, color="0.7", zorder=0)
for part, marker, color, label in [
    (~anomaly, "o", "#0072B2", "benign"),
    (anomaly, "^", "#D55E00", "malignant"),
]:
    options = {"s": 18, "alpha": 0.6, "color": color, "label": label}
    axes[0].scatter(expected[part], scores[part], marker=marker, **options)
axes[0].set(xlabel="skad's decision_function", ylabel="ONNX runtime's")
axes[0].set_title("The same scores")
axes[0].legend()
bars = axes[1].barh(
    list(seconds), [1e3 * s for s in seconds.values()], color="#56B4E9"
)
axes[1].bar_label(bars, fmt="%.2f ms", padding=4)
axes[1].margins(x=0.25)
axes[1].set(xlabel="milliseconds, median of 50")
axes[1].set_title("Time to score one row")

# %%
# The threshold in the file is the one that the detector had when it was written. Move it with
# `fit_threshold`, and write the file again.

detector.fit_threshold(X[rows], y, contamination=0.02)
_, fewer = onnxruntime.InferenceSession(
    to_onnx(detector).SerializeToString()
).run(None, {"X": X_new})
print("alarms before and after:", (labels == -1).sum(), (fewer == -1).sum())
