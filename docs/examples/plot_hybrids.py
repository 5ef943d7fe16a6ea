"""
Hybrids: a shallow detector on an autoencoder's code
====================================================

Handwritten digits: zeros are normal, all other digits are anomalies, and a few of them hide among
the unlabelled training images. The detectors of scikit-learn see either the 64 pixels, or the code
of an autoencoder that has been trained on the same images. Such a hybrid is a pipeline, so one grid
search tunes both stages.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.svm import OneClassSVM

from skad import Autoencoder, NormalOnlyDetector
from skad.metrics import roc_auc_score as labeled_auc

X, digit = load_digits(return_X_y=True)
rng = np.random.RandomState(0)
normal, anomalous = rng.permutation(np.flatnonzero(digit == 0)), np.flatnonzero(digit != 0)
anomalous = rng.permutation(anomalous)
train = np.r_[normal[:120], anomalous[:25]]
test = np.r_[normal[120:], anomalous[25:]]
y_train = np.zeros(len(train), dtype=int)  # 0: unlabelled, 10 anomalies among them
y_train[-15:] = -1  # -1: labelled anomalies
is_normal = digit[test] == 0

# %%
# Raw and hybrid
# --------------
# None of these detectors learns from labels, so the labelled anomalies are left out of their
# training; below they tune the parameters. A code is not always better than pixels: it depends on
# the detector, and on parameters that suit the scale of the code.

DETECTORS = {
    "OneClassSVM": OneClassSVM(nu=0.1),
    "IsolationForest": IsolationForest(random_state=0),
    "KernelDensity": KernelDensity(bandwidth="scott"),
}
autoencoder = Autoencoder(
    image_shape=(1, 8, 8),
    hidden_layer_sizes=(8,),
    latent_dim=8,
    n_estimators=1,
    max_steps=150,
    lr=3e-3,
    random_state=0,
)
unlabeled = train[y_train == 0]
aucs = {
    "Autoencoder": roc_auc_score(is_normal, autoencoder.fit(X[unlabeled]).score_samples(X[test]))
}
for name, detector in DETECTORS.items():
    for label, model in {
        f"{name}, pixels": detector,
        f"{name}, code": make_pipeline(autoencoder, detector),
    }.items():
        model.fit(X[unlabeled])
        aucs[label] = roc_auc_score(is_normal, model.score_samples(X[test]))
for label, auc in aucs.items():
    print(f"{label:24s} ROC AUC on new images {auc:.3f}")

# %%
# Tune both stages at once
# ------------------------
# The labelled anomalies, against all other rows, choose the width of the code and the kernel. Both
# stages leave them out of what they are fitted to.


def score(pipeline, X, y):
    """ROC AUC of the labelled anomalies; unlabelled rows stand for normal."""
    return labeled_auc(y, pipeline.score_samples(X))


search = GridSearchCV(
    make_pipeline(autoencoder, NormalOnlyDetector(OneClassSVM(nu=0.1))),
    {
        "autoencoder__latent_dim": [2, 8],
        "normalonlydetector__estimator__gamma": ["scale", 0.1, 1.0],
    },
    scoring=score,
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
).fit(X[train], y_train)
aucs["OneClassSVM, code, tuned"] = roc_auc_score(is_normal, search.score_samples(X[test]))
print(search.best_params_)
print(f"ROC AUC on new images {aucs['OneClassSVM, code, tuned']:.3f}")

# %%

fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
ax.barh(list(aucs), list(aucs.values()), color=["C1" if "code" in a else "C0" for a in aucs])
ax.set(xlim=(0.5, 1), xlabel="ROC AUC on new images (orange: hybrid)")
ax.invert_yaxis()
