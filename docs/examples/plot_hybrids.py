"""
Hybrids: a shallow detector on an autoencoder's code
====================================================

Handwritten digits: zeros are normal, all other digits are anomalies, and a few of them hide among
the unlabelled training images. The detectors of scikit-learn see either the 64 pixels, or the code
of an autoencoder that has been trained on the same images. Such a hybrid is a pipeline, so one grid
search tunes both stages.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

from skad import Autoencoder
from skad.datasets import mask_labels

X, digit = load_digits(return_X_y=True)
X, X_new, digit, digit_new = train_test_split(X, digit, random_state=0)
rows, y = mask_labels(
    digit,
    labeled_anomalies=15,
    pollution=0.08,
    normal_classes=0,
    random_state=0,
)
X = X[rows]
unlabeled = X[y == 0]

autoencoder = Autoencoder(
    image_shape=(1, 8, 8),
    hidden_layer_sizes=(8,),
    latent_dim=8,
    n_estimators=1,
    max_steps=150,
    lr=3e-3,
    random_state=0,
)
hybrid = make_pipeline(autoencoder, OneClassSVM(nu=0.1)).fit(unlabeled)

# %%
# Pixels or code
# --------------
# None of these detectors learns from labels, so the labelled anomalies are left out of their
# training; below they tune the parameters. A code is not always better than pixels: it depends on
# the detector, and on parameters that suit the scale of the code.

import matplotlib.pyplot as plt
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KernelDensity

detectors = {
    "OneClassSVM": OneClassSVM(nu=0.1),
    "IsolationForest": IsolationForest(random_state=0),
    "KernelDensity": KernelDensity(bandwidth="scott"),
}
is_normal = digit_new == 0
fitted = hybrid[0]  # one autoencoder for all
aucs = {
    "Autoencoder alone": roc_auc_score(is_normal, fitted.score_samples(X_new))
}
for name, detector in detectors.items():
    for kind, model in {
        "pixels": detector,
        "code": make_pipeline(FrozenEstimator(fitted), detector),
    }.items():
        scores = model.fit(unlabeled).score_samples(X_new)
        aucs[f"{name}, {kind}"] = roc_auc_score(is_normal, scores)

fig, ax = plt.subplots(figsize=(8, 3.8), layout="constrained")
for name, auc in aucs.items():
    style = {"color": "#56B4E9"}
    if name.endswith(", code"):
        style = {"color": "#E69F00", "hatch": "//", "edgecolor": "w"}
    ax.bar_label(ax.barh(name, auc, **style), fmt="%.3f", padding=3)
ax.set(xlim=(0.5, 1.04), xlabel="ROC AUC on new images")
ax.set_title("Pixels (plain) and codes (hatched)")
ax.invert_yaxis()

# %%
# Tune both stages at once
# ------------------------
# The labelled anomalies, against all other rows, choose the width of the code and the kernel. With
# `NormalOnlyDetector` the last stage leaves them out of what it is fitted to, as the autoencoder
# does by itself.

from sklearn.model_selection import GridSearchCV

from skad import NormalOnlyDetector
from skad.model_selection import SemiSupervisedKFold

search = GridSearchCV(
    make_pipeline(autoencoder, NormalOnlyDetector(OneClassSVM(nu=0.1))),
    {
        "autoencoder__latent_dim": [2, 8],
        "normalonlydetector__estimator__gamma": ["scale", 1.0],
    },
    cv=SemiSupervisedKFold(3, random_state=0),
).fit(X, y)
auc = roc_auc_score(is_normal, search.score_samples(X_new))
print(search.best_params_)
print(f"ROC AUC on new images {auc:.3f}")
