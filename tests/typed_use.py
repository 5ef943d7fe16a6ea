"""What a type checker makes of a user's code: `make lint` runs mypy on it, nothing runs it."""

import numpy as np

from skad import ConformalDetector, DeepSAD, VotingDetector
from skad.active import query
from skad.datasets import from_binary_labels
from skad.model_selection import SemiSupervisedKFold, cross_val_predict

X, y = np.zeros((10, 2)), from_binary_labels(np.repeat([0, 1], 5))
detector = DeepSAD(lr=1e-3, max_steps=100, latent_dim="auto", random_state=0).fit(X, y)
detector.decision_function(X)
VotingDetector([("deep", DeepSAD())], n_jobs=2)
ConformalDetector(detector, alpha=0.1, method="cross").fit(X).predict_batch(X, fdr=0.1)
cross_val_predict(detector, X, y, cv=SemiSupervisedKFold(3, random_state=0))
query(detector, X, y, n=5, strategy="diverse")

# A wrong type is found: else mypy says that the comment is not needed. A wrong name is not, because
# scikit-learn, from which detectors inherit, has no types.
DeepSAD(max_steps="many")  # type: ignore[arg-type]
ConformalDetector(detector, method="none")  # type: ignore[arg-type]
