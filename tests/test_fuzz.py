"""Any finite numbers and legal labels: finite scores, or an error that says why; never NaN."""

import os
import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

import skad
from skad.base_deep import BaseDeepDetector
from skad.exceptions import LabelConventionWarning

TINY = {"max_steps": 3, "n_estimators": 2, "hidden_layer_sizes": (4,), "latent_dim": 2}
DETECTORS = [
    cls(random_state=0, **(TINY if issubclass(cls, BaseDeepDetector) else {}))
    for cls in (getattr(skad, name) for name in skad.__all__)
    if "contamination" in cls._parameter_constraints
    and cls not in (skad.NormalOnlyDetector, skad.ClassifierDetector, skad.VotingDetector)
]
TREES = skad.ClassifierDetector(ExtraTreesClassifier(5, bootstrap=True), random_state=0)
DETECTORS += [
    TREES,
    skad.ClassifierDetector(LogisticRegression(), random_state=0),
    skad.VotingDetector([("deep", skad.DeepSAD(**TINY)), ("trees", TREES)], random_state=0),
]
FAR = [-1.7e308, -1e30, -1.0, 0.0, 5e-324, 1e-160, 1e3, 1e154, 1.7e308]
# More by hand: SKAD_FUZZ_EXAMPLES=3000 pytest tests/test_fuzz.py
N_EXAMPLES = int(os.environ.get("SKAD_FUZZ_EXAMPLES", 25))


@st.composite
def tables(draw):
    """Columns of one magnitude each, from subnormal to 1e300, or constant, or with a huge cell."""
    n_rows, n_columns = draw(st.integers(2, 12)), draw(st.integers(1, 4))
    rng = np.random.RandomState(draw(st.integers(0, 2**16)))
    X = rng.randn(n_rows, n_columns)
    for j in range(n_columns):
        kind = draw(
            st.sampled_from(["plain", "scaled", "constant", "integers", "huge cell", "equal"])
        )
        power = draw(st.integers(-320, 300))
        if kind == "scaled":
            X[:, j] *= 10.0**power
        elif kind == "constant":
            X[:, j] = 10.0**power
        elif kind == "integers":
            X[:, j] = rng.randint(0, 3, n_rows)
        elif kind == "huge cell":
            X[draw(st.integers(0, n_rows - 1)), j] = draw(st.sampled_from(FAR))
        elif kind == "equal":
            X[:, j] = X[0, 0] + 1e-17 * rng.randint(0, 2, n_rows)
    if draw(st.booleans()):
        X = X[rng.randint(0, n_rows, n_rows)]  # duplicates
    labels = st.sampled_from([-1, 0, 0, 0, 1])
    return X, np.array(draw(st.lists(labels, min_size=n_rows, max_size=n_rows)))


@settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize="SKAD_FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(tables(), st.sampled_from(range(len(DETECTORS))))
def test_finite_numbers_give_finite_scores(table, which):
    X, y = table
    detector = clone(DETECTORS[which])
    new = np.array([[far] * X.shape[1] for far in FAR] + [X[0], -X[-1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", LabelConventionWarning)
        try:
            detector.fit(X, y)
        except ValueError as error:
            assert len(str(error)) > 30  # noqa: PT017
            assert not hasattr(detector, "offset_")
            return
        for rows in (X, new):
            scores = detector.decision_function(rows)
            assert scores.dtype == np.float64
            assert np.isfinite(scores).all()
            assert set(detector.predict(rows)) <= {-1, 1}
