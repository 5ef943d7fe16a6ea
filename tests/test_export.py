"""Fitted detectors as ONNX graphs, through skops, and behind a web service."""

import copy
import functools
import importlib.util
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from torch import nn

import skad
from skad.base_deep import BaseDeepDetector
from skad.export import SKOPS_TYPES, to_onnx

from .test_common import CONFIGURATIONS, FAST

DEEP = [
    name
    for name in skad.__all__
    if isinstance(getattr(skad, name), type) and issubclass(getattr(skad, name), BaseDeepDetector)
]
IMAGE_SHAPE = (1, 8, 8)


def make_rows(n=1000):
    """Float32 rows, far ones among them, and labels."""
    rng = np.random.RandomState(0)
    X = rng.randn(n, 5) * [1, 10, 1e3, 0.1, 1] + [0, 50, 0, 0, 0]
    X[:20] *= 6
    y = np.zeros(n, dtype=int)
    y[:5] = -1
    return X.astype(np.float32), y


def make_images(n=1000):
    rng = np.random.RandomState(0)
    X = rng.rand(n, 64) * 255
    X[:20, :32] = 255
    y = np.zeros(n, dtype=int)
    y[:5] = -1
    return X.astype(np.float32), y


def make_deep(name, kind="table", **options):
    options = {**FAST, "max_steps": 5, "n_estimators": 1, "random_state": 0, **options}
    if kind == "image":
        options = {**options, "image_shape": IMAGE_SHAPE, "hidden_layer_sizes": (4, 2)}
    return getattr(skad, name)(**options)


@pytest.fixture(scope="module", autouse=True)
def _exporter_that_reads_its_operators_once():
    """Torch reads them anew for each graph, which takes longer than the rest."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        read = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
        patch.setattr(ONNXRegistry, "from_torchlib", read)
        yield


# --- ONNX ---------------------------------------------------------------------------------------


def check_graph(estimator, X):
    """Scores agree to 1e-5 of their spread, and labels wherever that cannot change them."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(to_onnx(estimator).SerializeToString())
    expected = estimator.decision_function(X)
    tolerance = 1e-5 * expected.std()
    for rows in (slice(0, 1), slice(0, 1000)):
        scores, labels = session.run(["decision_function", "label"], {"X": X[rows]})
        assert scores.shape == labels.shape == expected[rows].shape
        assert np.abs(scores - expected[rows]).max() <= tolerance
        sure = np.abs(expected[rows]) > tolerance
        assert_array_equal(labels[sure], np.where(expected[rows] < 0, -1, 1)[sure])
    assert set(labels) == {-1, 1}


# torch takes seconds to export a network. All by hand: SKAD_ALL_EXPORTS=1 pytest ...
ALL = "SKAD_ALL_EXPORTS" in os.environ
IMAGES = DEEP if ALL else ["DeepSAD", "GANomaly"]
# DeepSAD's for tables is exported to a file below, and is DeepSVDD's.
TABLES = DEEP if ALL else [name for name in DEEP if name not in ("DeepSAD", "DeepSVDD")]


@pytest.mark.parametrize(
    "name, kind", [*((name, "table") for name in TABLES), *((name, "image") for name in IMAGES)]
)
def test_onnx_of_deep_detectors(name, kind):
    pytest.importorskip("onnxscript")
    X, y = make_rows() if kind == "table" else make_images()
    options = {
        "n_estimators": 2 if name == "DeepSAD" else 1,
        # DeepSVDD pulls all rows to the center: soon its scores differ by little but rounding.
        "max_steps": 5 if name == "DeepSVDD" else 25,
    }
    check_graph(make_deep(name, kind, **options).fit(X, y), X)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "poly", "gamma": "scale", "degree": 2, "coef0": 0.1},
        {"kernel": "linear"},
    ],
    ids=str,
)
def test_onnx_of_ssad(options):
    pytest.importorskip("onnxscript")
    X, y = make_rows()
    detector = skad.SSAD(**options, max_samples=200, random_state=0).fit(X, y)
    check_graph(detector.fit_threshold(X, contamination=0.3), X)


def test_onnx_of_far_support_vectors():
    """A row between two support vectors that are near each other and far from the center."""
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    X = np.r_[np.random.RandomState(0).randn(50, 2), [[4e9, 0], [4e9, 0]]].astype(np.float32)
    X[-1, 1] = 1
    detector = skad.SSAD(gamma=1.0).fit(X)
    session = onnxruntime.InferenceSession(to_onnx(detector).SerializeToString())
    rows = np.array([[4e9, 0.5], [4e9, 3], [0, 0]], dtype=np.float32)
    expected = detector.decision_function(rows)
    assert len(set(expected)) == 3
    np.testing.assert_allclose(session.run(None, {"X": rows})[0], expected, rtol=1e-12)


def test_onnx_of_pipelines_and_thresholds():
    pytest.importorskip("skl2onnx")
    X, y = make_rows()
    X[:, 0] = np.arange(len(X)) % 3
    columns = ColumnTransformer(
        [
            ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), [0]),
            ("number", make_pipeline(SimpleImputer(), StandardScaler()), [1, 2]),
        ],
        remainder="passthrough",
    )
    detector = skad.SSAD(max_samples=200, random_state=0)  # exported in less time than a network
    check_graph(make_pipeline(columns, "passthrough", detector).fit(X, y), X)
    inner = make_pipeline(StandardScaler(), PCA(3), detector)
    tuned = skad.TunedThresholdDetector(inner, random_state=0).fit(X, y)
    assert tuned.offset_ != tuned.estimator_[-1].offset_
    check_graph(tuned, X)


def test_onnx_file_loads_without_skad_and_torch(tmp_path, capfd):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    X, y = make_rows()
    detector = make_deep("DeepSAD", n_estimators=2, max_steps=25).fit(X, y)
    assert type(detector.scoring_module_.network) is type(
        make_deep("DeepSVDD").fit(X, y).scoring_module_.network
    )
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    with torch.inference_mode():
        model = to_onnx(detector, tmp_path / "detector.onnx")
    assert capfd.readouterr() == ("", "")
    assert logger.level == level
    written = (tmp_path / "detector.onnx").read_bytes()
    assert written == model.SerializeToString()
    assert str(Path(skad.__file__).parent).encode() not in written
    X[0, 0] = np.nan
    np.save(tmp_path / "X.npy", X)
    script = (
        "import sys; sys.modules.update(dict.fromkeys(['skad', 'torch', 'sklearn', 'onnx']))\n"
        "import numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession('detector.onnx')\n"
        "scores, labels = session.run(None, {'X': numpy.load('X.npy')})\n"
        "numpy.savez('result.npz', scores=scores, labels=labels)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    with np.load(tmp_path / "result.npz") as result:
        expected = detector.decision_function(X[1:])
        assert np.abs(result["scores"][1:] - expected).max() < 1e-5 * expected.std()
        assert np.isnan(result["scores"][0])
        assert result["labels"][0] == -1
        assert_array_equal(result["labels"][1:], np.where(expected < 0, -1, 1))


def test_onnx_refusals():
    pytest.importorskip("skl2onnx")
    X, y = make_rows(60)
    deep = make_deep("DeepSAD")
    for unfitted in (deep, skad.NormalOnlyDetector(deep), make_pipeline(StandardScaler(), deep)):
        with pytest.raises(NotFittedError):
            to_onnx(unfitted)
    with pytest.raises(TypeError, match="deep detector or SSAD.*got IsolationForest in Pipe"):
        to_onnx(make_pipeline(StandardScaler(), IsolationForest()).fit(X))
    with pytest.raises(TypeError, match="got VotingDetector"):
        to_onnx(skad.VotingDetector([("deep", deep)]).fit(X, y))
    with pytest.raises(TypeError, match="steps before the detector.*FunctionTransformer"):
        to_onnx(make_pipeline(FunctionTransformer(np.abs), deep).fit(X, y))
    missing = np.where(np.arange(5) == np.arange(60)[:, None], np.nan, X)
    # skl2onnx forgets the columns of the indicator.
    with pytest.raises(TypeError, match="steps before the detector"):
        to_onnx(make_pipeline(SimpleImputer(add_indicator=True), deep).fit(missing, y))
    with pytest.raises(ValueError, match="'rbf', 'poly' or 'linear', got 'precomputed'"):
        to_onnx(skad.SSAD(kernel="precomputed").fit(np.eye(60), y))


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "skl2onnx"])
def test_onnx_names_the_extra(package, monkeypatch):
    pytest.importorskip("skl2onnx")
    X, y = make_rows(60)
    detector = make_pipeline(StandardScaler(), make_deep("DeepSAD")).fit(X, y)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}.*pip install 'skad\[onnx\]'"):
        to_onnx(detector)


# --- skops --------------------------------------------------------------------------------------

TREE = "sklearn.tree._tree.Tree"
FOREST = IsolationForest(n_estimators=5)


def skops_cases():
    for name in DEEP:
        yield make_deep(name, max_steps=2), "table"
        options = {"spectral_norm": True} if name == "AMA" else {}
        yield make_deep(name, "image", max_steps=2, **options), "image"
    trees = skad.ClassifierDetector(ExtraTreesClassifier(5))
    others = [make_deep("DeepSAD", standardize=False, n_estimators=2)]
    others += [skad.SSAD(**options) for options in CONFIGURATIONS["SSAD"]]
    others += [
        skad.ConformalDetector(make_deep("ESAD"), method="cross", cv=2),
        skad.NormalOnlyDetector(FOREST),
        skad.SampledDetector(make_deep("DeepSAD")),
        skad.TunedThresholdDetector(make_pipeline(StandardScaler(), skad.SSAD())),
        skad.VotingDetector([("trees", trees), ("deep", make_deep("DeepSAD"))]),
    ]
    for detector in others:
        yield detector.set_params(random_state=0), "table"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # after two steps
@pytest.mark.filterwarnings("ignore::skad.exceptions.ThresholdWarning")
def test_skops_round_trips():
    sio = pytest.importorskip("skops.io")
    tables, images, needed, seen = make_rows(60), make_images(60), set(), set()
    for detector, kind in skops_cases():
        X, y = tables if kind == "table" else images
        data = sio.dumps(detector.fit(X, y))
        types = set(sio.get_untrusted_types(data=data))
        assert types <= {*SKOPS_TYPES, TREE}
        loaded = sio.loads(data, trusted=[*SKOPS_TYPES, TREE])
        assert_array_equal(loaded.decision_function(X), detector.decision_function(X))
        if isinstance(detector, BaseDeepDetector):
            assert_array_equal(loaded.transform(X), detector.transform(X))
        needed |= types
        seen.add(type(detector).__name__)
    assert needed == {*SKOPS_TYPES, TREE}  # none is trusted in vain
    assert seen | {"ClassifierDetector"} == {
        name for name in skad.__all__ if isinstance(getattr(skad, name), type)
    }


def test_skops_refuses_types_that_are_not_trusted():
    sio = pytest.importorskip("skops.io")
    from skops.io.exceptions import UntrustedTypesFoundException

    X, y = make_rows(60)
    data = sio.dumps(make_deep("DeepSAD").fit(X, y))
    with pytest.raises(UntrustedTypesFoundException, match="skad.detectors.deep_sad.DeepSAD"):
        sio.loads(data)
    sio.loads(data, trusted=SKOPS_TYPES).fit(X, y)
    other = sio.dumps(make_deep("DeepSAD", optimizer=torch.optim.SGD).fit(X, y))
    with pytest.raises(UntrustedTypesFoundException, match="SGD"):
        sio.loads(other, trusted=SKOPS_TYPES)
    forest = sio.dumps(skad.NormalOnlyDetector(FOREST, random_state=0).fit(X))
    with pytest.raises(UntrustedTypesFoundException, match="Tree"):
        sio.loads(forest, trusted=SKOPS_TYPES)


class Encoder(nn.Sequential):
    def __init__(self, n_features):
        super().__init__(nn.Linear(n_features, 4, bias=False))


@pytest.mark.parametrize("module", [Encoder, Encoder(5)], ids=["class", "instance"])
def test_skops_refuses_a_network_of_the_users(module):
    sio = pytest.importorskip("skops.io")
    X, y = make_rows(60)
    detector = skad.DeepSAD(module=module, max_steps=2, random_state=0)
    for saved in (detector, detector.fit(X, y), skad.VotingDetector([("deep", detector)])):
        with pytest.raises(TypeError, match=r"module=.*pickle or joblib"):
            sio.dumps(saved)
    for other in (pickle.loads(pickle.dumps(detector)), copy.deepcopy(detector)):
        assert type(other.module) is type(module)
        assert_array_equal(other.score_samples(X), detector.score_samples(X))


def test_a_mapped_file_is_loaded(tmp_path):
    joblib = pytest.importorskip("joblib")
    X, y = make_rows(60)
    for detector in (make_deep("DeepSAD").fit(X, y), skad.SSAD().fit(X, y)):
        joblib.dump(detector, tmp_path / "detector")
        mapped = joblib.load(tmp_path / "detector", mmap_mode="r")
        assert_array_equal(mapped.score_samples(X), detector.score_samples(X))


# --- the service --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service():
    pytest.importorskip("fastapi")
    path = Path(__file__).parents[1] / "docs" / "examples" / "service.py"
    spec = importlib.util.spec_from_file_location("service", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(service, tmp_path):
    sio = pytest.importorskip("skops.io")
    with warnings.catch_warnings():
        # It wants the client of another package than some versions of it know.
        warnings.filterwarnings("ignore", "Using `httpx` with", category=Warning)
        testclient = pytest.importorskip("fastapi.testclient", exc_type=RuntimeError)
    X, y = make_rows()
    detector = make_deep("DeepSAD").fit(X, y)
    sio.dump(detector, tmp_path / "detector.skops")
    with testclient.TestClient(service.make_app(tmp_path / "detector.skops")) as client:
        yield client, detector, X


def score(client, rows):
    response = client.post("/score", json={"rows": rows.tolist()})
    assert response.status_code == 200, response.text
    return response.json()


def test_service_scores_one_row_and_a_batch(client):
    client, detector, X = client
    for rows in (X[:1], X[:300]):
        expected = detector.decision_function(rows.astype(np.float64))
        answer = score(client, rows.astype(np.float64))
        assert answer["decision_function"] == expected.tolist()
        assert answer["label"] == np.where(expected < 0, -1, 1).tolist()


N_REQUESTS = int(os.environ.get("SKAD_REQUESTS", 200))  # by hand: SKAD_REQUESTS=2000 pytest ...


def test_service_in_threads(client):
    client, detector, X = client
    X = X.astype(np.float64)
    expected, answers = detector.decision_function(X), {}

    def ask(k):
        for i in range(k, N_REQUESTS, 8):
            (answers[i],) = score(client, X[i % 1000][None])["decision_function"]

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answers[i] for i in range(N_REQUESTS)] == [
        expected[i % 1000] for i in range(N_REQUESTS)
    ]


def test_service_moves_the_threshold_without_a_refit(client):
    client, detector, X = client
    rows = X.astype(np.float64)
    before = score(client, rows)
    new = {"rows": rows.tolist(), "contamination": 0.3}
    response = client.put("/threshold", json=new)
    offset = detector.offset_
    assert response.json()["offset"] == detector.fit_threshold(rows, contamination=0.3).offset_
    after = score(client, rows)
    assert np.mean(np.array(after["label"]) == -1) == pytest.approx(0.3)
    moved = np.subtract(before["decision_function"], after["decision_function"])
    np.testing.assert_allclose(moved, detector.offset_ - offset, atol=1e-12)


def test_service_explains_what_it_refuses(client):
    client, _, X = client
    response = client.post("/score", json={"rows": X[:2, :3].tolist()})
    assert response.status_code == 422
    assert "3 features" in response.json()["detail"]
    assert client.post("/score", json={"rows": []}).status_code == 422
    assert (
        client.put("/threshold", json={"rows": X.tolist(), "contamination": 2}).status_code == 422
    )
