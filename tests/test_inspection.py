"""Attributions sum to differences of scores, find planted columns, and take any estimator."""

import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    StandardScaler,
)
from torch import nn

import skad
from skad import inspection
from skad.inspection import normal_reference, score_attributions

from .test_common import FAST

with warnings.catch_warnings():
    # shap, while it is imported, uses what matplotlib deprecates.
    warnings.filterwarnings("ignore", category=PendingDeprecationWarning)
    pytest.importorskip("shap")

DEEP = ["DeepSAD", "DeepSVDD", "ESAD", "AMA", "GANomaly", "SSDGM", "Autoencoder"]
rng = np.random.RandomState(0)
X = rng.randn(150, 5) @ rng.randn(5, 5) + 3
X[:20] += 4 * rng.randn(20, 5)
Y = np.r_[-np.ones(10, dtype=int), np.zeros(140, dtype=int)]
SOME = np.r_[X[:4], X[-4:]]


def fitted(name, **options):
    options = {**(FAST if name in DEEP else {}), "random_state": 0, **options}
    return getattr(skad, name)(**options).fit(X, Y)


@pytest.fixture(scope="module")
def detector():
    return fitted("DeepSAD")


def assert_complete(attributions, estimator, rows, background):
    differences = estimator.score_samples(rows) - estimator.score_samples(
        normal_reference(estimator, background)
    )
    sums = np.reshape(attributions, (len(attributions), -1)).sum(axis=1)
    scale = estimator.score_samples(background).std()
    assert np.abs(sums - differences).max() < 1e-3 * scale


def dense_integral(detector, rows, reference, n_steps=3000):
    """Integrated gradients between scaled rows by the midpoint rule, by hand."""
    module = detector.scoring_module_
    rows, start = (module.scaler(torch.from_numpy(part)) for part in (rows, reference))
    total = torch.zeros_like(rows)
    for t in ((torch.arange(n_steps, dtype=torch.float64) + 0.5) / n_steps).split(300):
        points = (start + t[:, None, None] * (rows - start)).flatten(0, 1).requires_grad_()
        (gradients,) = torch.autograd.grad(module.score_scaled(points).sum(), points)
        total += gradients.view(len(t), *rows.shape).sum(0)
    return (total / n_steps * (rows - start)).numpy()


# --- deep detectors -------------------------------------------------------------------------


@pytest.mark.parametrize("name", DEEP)
def test_integrated_gradients(name):
    detector = fitted(name)
    before = detector.score_samples(X)
    attributions = score_attributions(detector, SOME, background=X)
    assert attributions.shape == SOME.shape
    assert attributions.dtype == np.float64
    assert_complete(attributions, detector, SOME, X)
    by_hand = dense_integral(detector, SOME, normal_reference(detector, X))
    scale = np.maximum(1, np.abs(by_hand.sum(axis=1, keepdims=True)))
    # Completeness is not bought by attributions that are wrong one by one.
    assert np.abs((attributions - by_hand) / scale).max() < 2e-3
    # Hardly anything is left to be shared out.
    reference = normal_reference(detector, X)
    *path, origins = inspection._deep_input(detector, SOME, reference)
    assert_array_equal(origins, np.arange(5))
    sums = inspection._integrate(*path).sum(axis=1)
    differences = detector.score_samples(SOME) - detector.score_samples(reference)
    assert np.abs(sums - differences).max() < 1e-3 * detector.score_samples(X).std()
    assert_array_equal(detector.score_samples(X), before)


def test_a_row_like_the_reference_has_no_attributions(detector):
    attributions = score_attributions(detector, X[[50, 51]], background=X[[50]])
    assert_array_equal(attributions[0], np.zeros(5))
    assert np.all(attributions[1] != 0)


def test_huge_cells_are_named(detector):
    rows = X[[60, 61]].copy()
    rows[0, 1], rows[1, 3] = 1e12, -1e300
    attributions = score_attributions(detector, rows, background=X)
    assert_complete(attributions, detector, rows, X)
    assert_array_equal(np.abs(attributions).argmax(axis=1), [1, 3])


def test_images():
    options = {"image_shape": (2, 4, 4), "hidden_layer_sizes": (4,), "max_steps": 10}
    images = rng.rand(60, 32)
    detector = skad.Autoencoder(**{**FAST, **options}, random_state=0).fit(images)
    attributions = score_attributions(detector, images[:3], background=images)
    assert attributions.shape == (3, 2, 4, 4)
    assert_complete(attributions, detector, images[:3], images)
    by_hand = dense_integral(detector, images[:3], normal_reference(detector, images))
    assert_allclose(attributions.reshape(3, 32), by_hand, atol=2e-3)


def test_torch_settings_and_generators_of_the_caller(detector):
    expected = score_attributions(detector, SOME, background=X)
    shallow = fitted("SSAD")
    expected_shallow = score_attributions(shallow, SOME, background=X)
    np.random.seed(7)
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    with torch.inference_mode():
        assert_array_equal(score_attributions(detector, SOME, background=X), expected)
    assert_array_equal(score_attributions(shallow, SOME, background=X), expected_shallow)
    assert_array_equal(np.random.get_state()[1], states[0])
    assert torch.equal(torch.get_rng_state(), states[1])


class Jumps(nn.Module):
    """Linear, with jumps that gradients do not see."""

    def __init__(self, n_features):
        super().__init__()
        self.linear = nn.Linear(n_features, 2)

    def forward(self, x):
        code = self.linear(x)
        return code + 5 * code.round()


def test_gradients_that_miss_the_score_are_reported():
    detector = fitted("DeepSAD", module=Jumps, hidden_layer_sizes="auto", latent_dim="auto")
    with pytest.warns(ConvergenceWarning, match="attributions of . rows are not accurate"):
        attributions = score_attributions(detector, SOME, background=X)
    assert_complete(attributions, detector, SOME, X)


# --- pipelines that end in a deep detector ------------------------------------------------------


def deep_pipeline(*steps):
    return make_pipeline(*steps, skad.DeepSAD(**FAST, random_state=0))


def gradients(pipeline, rows, background):
    attributions = score_attributions(
        pipeline, rows, background=background, method="integrated_gradients"
    )
    assert_complete(attributions, pipeline, rows, background)
    return attributions


def test_steps_that_keep_columns_apart():
    pipeline = deep_pipeline(MinMaxScaler(), FunctionTransformer(lambda rows: rows[:, ::-1]))
    attributions = gradients(pipeline.fit(X, Y), SOME, X)
    assert_array_equal(score_attributions(pipeline, SOME, background=X), attributions)
    rows, background = (pipeline[:-1].transform(part) for part in (SOME, X))
    alone = score_attributions(pipeline[-1], rows, background=background)
    assert_allclose(attributions[:, ::-1], alone, atol=1e-6)


def test_columns_made_of_one_column_are_summed():
    table = np.where(rng.rand(150, 3) < 0.2, np.nan, np.round(2 * X[:, :3]))
    steps = make_column_transformer(
        (make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), [2, 0]),
        (make_pipeline(SimpleImputer(), KBinsDiscretizer(3, encode="onehot-dense")), [1]),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of KBinsDiscretizer's quantiles
        pipeline = deep_pipeline(steps).fit(table, Y)
    attributions = gradients(pipeline, table[:10], table)
    reference = pipeline[:-1].transform(normal_reference(pipeline, table))
    alone = score_attributions(
        pipeline[-1], pipeline[:-1].transform(table[:10]), background=reference
    )
    assert alone.shape == (10, 7)
    expected = np.c_[alone[:, [1, 3]].sum(1), alone[:, 4:].sum(1), alone[:, [0, 2]].sum(1)]
    assert_allclose(attributions, expected, atol=1e-4)  # what is missing is shared out


def largest_of_two(rows):
    return np.c_[rows, rows[:, :2].max(axis=1)]


def product_of_two(rows):
    return np.c_[rows, rows[:, 0] * rows[:, 1]]


@pytest.mark.parametrize(
    "mixes", [PCA(), *map(FunctionTransformer, (largest_of_two, product_of_two))]
)
def test_columns_made_of_several_columns_take_permutations(mixes):
    """Also where changes of one column alone do not tell: 0 times 0, or the larger of two."""
    table = np.r_[np.zeros((1, 2)), np.ones((1, 2)), X[:, :2]]
    pipeline = deep_pipeline(mixes).fit(table, np.r_[0, 0, Y])
    rows, background = table[1:2], table[:1]
    with pytest.raises(ValueError, match="each of whose columns depends on one column of X"):
        gradients(pipeline, rows, background)
    assert_array_equal(
        score_attributions(pipeline, rows, background=background),
        score_attributions(pipeline, rows, background=background, method="permutation"),
    )


# --- any other estimator --------------------------------------------------------------------


class Product(BaseEstimator):
    """Score with an interaction of the first two columns."""

    def score_samples(self, X):
        return X[:, 0] * X[:, 1] + 3 * X[:, 2]


def test_permutation_gives_shapley_values():
    rows, (start,) = X[:6, :3], X[20:21, :3]
    attributions = score_attributions(Product(), rows, background=start[None])
    first = (rows[:, 0] - start[0]) * (rows[:, 1] + start[1]) / 2
    second = (rows[:, 1] - start[1]) * (rows[:, 0] + start[0]) / 2
    assert_allclose(attributions, np.c_[first, second, 3 * (rows[:, 2] - start[2])], atol=1e-10)


@pytest.mark.parametrize(
    "estimator",
    [
        skad.SSAD(random_state=0),
        IsolationForest(n_estimators=10, random_state=0),
        KernelDensity(bandwidth=2.0),
        skad.NormalOnlyDetector(skad.DeepSAD(**FAST, random_state=0)),
        skad.ClassifierDetector(random_state=0),
        make_pipeline(PCA(), skad.DeepSAD(**FAST, random_state=0)),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_permutation(estimator):
    estimator.fit(X, Y)
    attributions = score_attributions(estimator, SOME[:2], background=X)
    assert attributions.shape == (2, 5)
    assert_complete(attributions, estimator, SOME[:2], X)


def test_both_methods_agree_on_what_matters(detector):
    gradients = score_attributions(detector, X[:3], background=X)
    permutations = score_attributions(detector, X[:3], background=X, method="permutation")
    assert_complete(permutations, detector, X[:3], X)
    assert not np.array_equal(gradients, permutations)
    for one, other in zip(gradients, permutations, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.9


@pytest.mark.parametrize("make_frame", [pd.DataFrame, pl.DataFrame])
def test_data_frames_with_text_and_missing_values(make_frame):
    """Columns that a pipeline makes of one input column count as that column."""
    n = 120
    height = np.where(np.arange(n) % 10 == 1, np.nan, rng.randn(n))
    cells = {
        "color": np.where(np.arange(n) % 3 == 0, "blue", "red").astype(object),
        "count": np.arange(n) % 7,
        "height": height,
    }
    cells["color"][:4], cells["height"][4:8] = "black", np.nan
    y = np.r_[-np.ones(4, dtype=int), np.zeros(n - 4, dtype=int)]
    frame = make_frame(cells)
    pipeline = make_pipeline(
        make_column_transformer(
            (OneHotEncoder(sparse_output=False), ["color"]),
            (SimpleImputer(add_indicator=True), ["height"]),
            ("passthrough", ["count"]),
        ),
        skad.DeepSAD(**FAST, random_state=0),
    )
    pipeline.fit(frame, y)
    for method in ("integrated_gradients", "permutation"):
        attributions = score_attributions(pipeline, frame[:8], background=frame, method=method)
        assert attributions.shape == (8, 3)
        assert_complete(attributions, pipeline, frame[:8], frame)
        assert_array_equal(attributions[:4].argmin(axis=1), np.zeros(4))
    reference = normal_reference(pipeline, frame)
    assert type(reference) is type(frame)
    assert list(reference["color"]) == ["red"]
    assert reference["count"].dtype == frame["count"].dtype


# --- planted columns ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["DeepSAD", "ESAD", "SSAD"])
def test_planted_columns_are_on_top(name):
    rng = np.random.RandomState(1)
    planted = [2, 7, 11]

    def anomalies(n):
        rows = rng.randn(n, 20)
        rows[:, planted] += [4, -4, 4]
        return rows

    rows = np.r_[anomalies(15), rng.randn(400, 20)]
    y = np.r_[-np.ones(15, dtype=int), np.zeros(400, dtype=int)]
    options = {"n_estimators": 4, "max_steps": 100} if name != "SSAD" else {}
    detector = getattr(skad, name)(**options, random_state=0).fit(rows, y)
    attributions = score_attributions(detector, anomalies(20), background=rows)
    top = np.sort(np.argsort(attributions, axis=1)[:, :3], axis=1)
    assert np.mean((top == planted).all(axis=1)) >= 0.9


# --- the reference --------------------------------------------------------------------------


class FirstColumn(BaseEstimator):
    def score_samples(self, X):
        return -np.abs(np.asarray(X)[:, 0].astype(float))


def test_normal_reference_is_the_median_of_the_normal_half():
    rows = np.array([[9, 0], [1, 5], [0, 1], [2, 3], [8, 0], [7, 0]])
    reference = normal_reference(FirstColumn(), rows)
    assert_array_equal(reference, [[1, 3]])
    assert reference.dtype == rows.dtype
    assert_array_equal(normal_reference(FirstColumn(), rows[:1]), rows[:1])
    assert_array_equal(normal_reference(FirstColumn(), rows.tolist()), [[1, 3]])


@pytest.mark.parametrize(
    "values, expected",
    [
        ([1.0, np.nan, 3.0, 2.0], 2.0),
        ([np.nan, 1.0, np.nan, np.nan], np.nan),
        (["b", "a", "b", None], "b"),
        (pd.Categorical(["b", "a", "b", "c"]), "b"),
        (pd.array([3, None, 1, 2], dtype="Int64"), 2),
        ([True, False, True, True], True),
    ],
)
def test_typical_values(values, expected):
    frame = pd.DataFrame({"score": [0.0] * 4 + [1.0] * 4, "other": list(values) * 2})
    if hasattr(values, "dtype"):
        frame["other"] = frame["other"].astype(values.dtype)
    frame.index = np.arange(8)[::-1]
    reference = normal_reference(FirstColumn(), frame)
    assert reference["other"].dtype == frame["other"].dtype
    assert_array_equal(reference["other"][0], expected)


def test_background(detector):
    by_default = score_attributions(detector, X)
    assert_array_equal(by_default, score_attributions(detector, X, background=X))
    reference = normal_reference(detector, X)
    assert_array_equal(by_default, score_attributions(detector, X, background=reference))
    other = score_attributions(detector, SOME, background=X[:1])
    differences = detector.score_samples(SOME) - detector.score_samples(X[:1])
    assert_allclose(other.sum(axis=1), differences, rtol=1e-9, atol=1e-9)


def test_alarms_are_no_background(detector):
    alarms = X[detector.predict(X) == -1]
    assert len(alarms) >= 10
    with pytest.raises(ValueError, match="Pass rows that are mostly normal"):
        score_attributions(detector, alarms)
    with pytest.raises(ValueError, match="Got 1 rows, 0 of them anomalies"):
        score_attributions(detector, X[-1:])
    with pytest.raises(ValueError, match="Got 4 rows"):
        score_attributions(KernelDensity().fit(X), X[:8])


# --- wrong arguments ------------------------------------------------------------------------


def test_wrong_arguments(detector):
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.raises(ValueError, match=r"method must be a str among .* got 'shap'"):
        score_attributions(detector, X, method="shap")
    with pytest.raises(ValueError, match="needs a deep detector.*IsolationForest"):
        forest = IsolationForest(n_estimators=5).fit(X)
        score_attributions(forest, X, method="integrated_gradients")
    with pytest.raises(TypeError, match="with score_samples, got StandardScaler"):
        score_attributions(StandardScaler().fit(X), X)
    with pytest.raises(NotFittedError):
        score_attributions(skad.DeepSAD(), X)
    with pytest.raises(ValueError, match="5 columns of X, in their order, got 4"):
        score_attributions(detector, X, background=X[:, :4])
    with pytest.raises(TypeError, match="same kind as X, got a DataFrame and a ndarray"):
        score_attributions(detector, X, background=frame)
    with pytest.raises(ValueError, match="in their order"):
        named = skad.DeepSAD(**FAST).fit(frame)
        score_attributions(named, frame, background=frame[list("edcba")])
    with pytest.raises(ValueError, match="have rows and columns, got shape"):
        score_attributions(detector, X, background=X[0])
    with pytest.raises(TypeError, match="sparse"):
        score_attributions(forest, sparse.csr_matrix(X))
    with pytest.raises(ValueError, match="not finite cannot be explained"):
        score_attributions(KernelDensity(kernel="tophat").fit(X), X + 100, background=X)


def test_missing_shap_is_named(detector, monkeypatch):
    for name in [n for n in sys.modules if n.partition(".")[0] == "shap"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"shap: pip install 'skad\[explain\]'"):
        score_attributions(detector, X, method="permutation")
