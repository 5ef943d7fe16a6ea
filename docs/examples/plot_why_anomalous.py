"""
Why is this row anomalous?
==========================

An alarm without a reason is a bad alarm. `AttributionDisplay` splits a row's score among its
columns, in comparison with a normal reference. Here a wine raises the alarm; the columns of the
table keep their names.
"""

from sklearn.datasets import load_wine

from skad import DeepSAD
from skad.datasets import mask_labels
from skad.plotting import AttributionDisplay

X, grower = load_wine(return_X_y=True, as_frame=True)
rows, y = mask_labels(
    grower,
    labeled_anomalies=5,
    pollution=0.1,
    normal_classes=[0, 1],
    random_state=0,
)
X, grower = X.iloc[rows], grower.iloc[rows]

detector = DeepSAD(n_estimators=4, random_state=0).fit(X, y)
scores = detector.decision_function(X)
row = X[y == 0].iloc[[scores[y == 0].argmin()]]
display = AttributionDisplay.from_estimator(
    detector,
    row,
    background=X,
    name="The most suspicious wine",
    max_features=6,
)
display.figure_.set_size_inches(9, 4.5)

# %%
# Read it from top to bottom: the score starts at that of the reference (dotted) and each bar takes
# it further, red to the left for what makes the wine unusual, until it is that of this wine
# (black).
#
# All alarms at once
# ------------------
# One point a wine: columns at the top matter most, and the colour says whether a large or a small
# value is what lowers the score.

alarms = X[scores < 0]
swarm = AttributionDisplay.from_estimator(
    detector,
    alarms,
    background=X,
    name=f"{len(alarms)} alarms",
    max_features=6,
)
swarm.figure_.set_size_inches(9, 4.5)

# %%
# The numbers
# -----------
# The reference is a row of medians, each of the half of the table that scores most normal. The
# attributions of a row sum to the difference of the two scores.

import pandas as pd

from skad.inspection import normal_reference, score_attributions

reference = normal_reference(detector, X)
(attribution,) = score_attributions(detector, row, background=X)
table = pd.DataFrame(
    {
        "this wine": row.iloc[0],
        "reference": reference.iloc[0],
        "attribution": attribution,
    }
).sort_values("attribution")
print(table.head(6).round(2))
gap = detector.score_samples(row) - detector.score_samples(reference)
print(f"\nsum {attribution.sum():.3f}, difference of the scores {gap[0]:.3f}")

# %%
# Any detector can be explained this way, also a pipeline or one of scikit-learn's; then shap's
# permutations take the place of integrated gradients, and more time.
