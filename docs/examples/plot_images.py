"""
Images: where is the anomaly?
=============================

Handwritten digits of 8 x 8 pixels: zeros are normal. With `image_shape` a detector uses a small
convolutional network, and `score_attributions` says what each pixel adds to the score.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skad import ESAD
from skad.datasets import mask_labels
from skad.plotting import AttributionDisplay

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(X, digit, random_state=0)
rows, y = mask_labels(
    digit,
    labeled_anomalies=20,
    pollution=0.1,
    normal_classes=0,
    random_state=0,
)
X = X[rows]

detector = ESAD(
    image_shape=(1, 8, 8), n_estimators=2, max_steps=300, random_state=0
).fit(X, y)
first = [np.flatnonzero(digit_new == d)[0] for d in (0, 1, 2, 5, 6, 7, 8, 9)]
display = AttributionDisplay.from_estimator(
    detector, X_new[first], background=X, name="A zero, and seven other digits"
)

# %%
# Red pixels lower the score, blue ones raise it. Most of the red is ink in the middle, where a zero
# is empty. The attributions of an image sum to its score minus that of the reference, an
# image of typical zeros.

from skad.inspection import normal_reference, score_attributions

attributions = score_attributions(detector, X_new[first], background=X)
reference = normal_reference(detector, X)
gap = detector.score_samples(X_new[first]) - detector.score_samples(reference)
print("shape         ", attributions.shape)
print("sums          ", attributions.sum(axis=(1, 2, 3)).round(2))
print("score minus it", gap.round(2))

# %%
# How well are new images told apart, digit by digit? Nothing here has seen them.

import matplotlib.pyplot as plt
from sklearn.metrics import roc_auc_score

scores = detector.score_samples(X_new)
zero = digit_new == 0
others = range(1, 10)
aucs = [
    roc_auc_score(zero[part], scores[part])
    for part in (zero | (digit_new == d) for d in others)
]
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.bar(others, aucs, color="#0072B2")
ax.set(xticks=others, ylim=(0.5, 1), xlabel="digit", ylabel="ROC AUC")
ax.set_title("Each digit against the zeros")
