"""Dask: lazy collections, equal to memory's; one model per worker; searches; killed workers."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from importlib import import_module
from itertools import chain
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import DeepSAD, NormalOnlyDetector, SampledDetector
from skad.exceptions import LabelConventionWarning
from skad.model_selection import SemiSupervisedKFold

from .checks import make_problem

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")
# Dask's own, of pandas's new version.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

from skad import distributed as skad_dask  # noqa: E402

FAST = {"n_estimators": 2, "max_steps": 5, "hidden_layer_sizes": (8,), "random_state": 0}
DEEP = DeepSAD(**FAST)
DETECTOR = SampledDetector(DEEP, max_samples=100, random_state=1)
X, Y, _ = make_problem(n=600)
COLUMNS = list("abcde")
FRAME = pd.DataFrame(X, columns=COLUMNS, index=np.arange(600) + 7)
# Before a task is run on a worker that starts anew, torch is imported, which takes most of a minute
# on a machine that is busy otherwise. What hangs does so for ever.
PATIENCE = 300
METHODS = ["score_samples", "decision_function", "predict"]
SIZES = (0, 150, 1, 249, 0, 200)


def array(known=True):
    """X as a Dask array: chunks of several sizes, two of them empty, columns in two blocks."""
    whole = da.from_array(X, chunks=(SIZES, (2, 3)))
    if not known:
        whole._chunks = ((np.nan,) * len(SIZES), whole.chunks[1])
    return whole


def frame():
    """X and labels as a Dask data frame of unknown divisions with empty partitions."""
    whole = dd.from_pandas(FRAME.assign(label=Y), npartitions=5).clear_divisions()
    return dd.concat([whole.partitions[:2], whole[whole.a > 1e9], whole.partitions[2:]])


def labels(chunks):
    return da.from_array(Y, chunks=chunks)


@pytest.fixture(scope="module")
def expected():
    return clone(DETECTOR).fit(X, Y)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes; none is left behind."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "120s"}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
            silence_logs=100,
        ) as cluster,
    ):
        yield cluster
        processes = [nanny.pid for nanny in cluster.workers.values()]
    assert not [pid for pid in processes if psutil.pid_exists(pid)]


@pytest.fixture
def client(cluster):
    with distributed.Client(cluster, set_as_default=True) as client:
        client.wait_for_workers(2, timeout=120)
        client.run(import_module, "skad")  # takes seconds, which are not to be measured
        yield client


def assert_same_fit(detector, expected):
    assert detector.offset_ == expected.offset_
    assert_array_equal(detector.sample_indices_, expected.sample_indices_)
    rows = FRAME if hasattr(detector, "feature_names_in_") else X
    assert_array_equal(detector.score_samples(rows), expected.score_samples(X))


# --- on threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_lazy_results_of_the_right_kind(expected, method):
    kind = np.int64 if method == "predict" else np.float64
    answers = getattr(expected, method)(X)
    for known in (True, False):
        lazy = getattr(skad_dask, method)(expected, array(known))
        assert isinstance(lazy, da.Array)
        assert lazy.ndim == 1
        assert lazy.dtype == lazy._meta.dtype == kind
        computed = lazy.compute()
        assert computed.dtype == kind
        assert_array_equal(computed, answers)
    fitted = clone(DETECTOR).fit(FRAME, Y)
    lazy = getattr(skad_dask, method)(fitted, frame())
    assert isinstance(lazy, dd.Series)
    assert lazy.dtype == kind
    assert lazy.name == method
    computed = lazy.compute()
    pd.testing.assert_series_equal(computed, pd.Series(answers, FRAME.index, name=method))
    with_scores = frame().assign(score=lazy).compute()  # goes back to its rows
    assert_array_equal(with_scores.score, answers)


def test_any_detector_and_pipelines():
    for detector in (
        make_pipeline(StandardScaler(), DEEP),
        NormalOnlyDetector(IsolationForest(n_estimators=5, random_state=0)),
        IsolationForest(n_estimators=5, random_state=0),
    ):
        fitted = clone(detector).fit(FRAME, Y)
        for method in METHODS:
            lazy = getattr(skad_dask, method)(fitted, frame())
            # In others' threads scikit-learn's forests warn.
            computed = lazy.compute(scheduler="synchronous")
            assert_array_equal(computed, getattr(fitted, method)(FRAME))
        with dask.config.set(scheduler="synchronous"):
            whole = skad_dask.fit(detector, frame(), "label")
        assert_array_equal(whole.score_samples(FRAME), fitted.score_samples(FRAME))


@pytest.mark.parametrize("max_samples", [100, 10_000])
def test_fit_equals_the_one_in_memory(max_samples):
    detector = clone(DETECTOR).set_params(max_samples=max_samples)
    labelled, alone = clone(detector).fit(X, Y), clone(detector).fit(X)
    unknown = labels((SIZES,))
    unknown._chunks = ((np.nan,) * len(SIZES),)
    for rows, y, same in [
        (array(), labels(100), labelled),
        (array(), unknown, labelled),
        (array(known=False), labels((SIZES,)), labelled),
        (frame(), "label", labelled),
        (frame()[COLUMNS], frame()["label"], labelled),
        (array(), None, alone),
        (array(known=False), None, alone),
        (frame()[COLUMNS], None, alone),
    ]:
        assert_same_fit(skad_dask.fit(detector, rows, y), same)
    assert not hasattr(detector, "offset_")


def test_parquet(expected, tmp_path):
    frame().to_parquet(tmp_path)
    stored = dd.read_parquet(tmp_path)
    fitted = skad_dask.fit(DETECTOR, tmp_path, "label")
    assert_same_fit(fitted, expected)
    assert_same_fit(skad_dask.fit(DETECTOR, stored[COLUMNS], stored["label"]), expected)
    assert_same_fit(clone(DETECTOR).fit(tmp_path, "label"), expected)
    with_scores = stored.assign(score=skad_dask.score_samples(fitted, stored))
    assert_array_equal(with_scores.score.compute(), expected.score_samples(X))
    scores = skad_dask.decision_function(fitted, str(tmp_path))
    scores.to_frame().to_parquet(tmp_path / "scores")
    written = pd.read_parquet(tmp_path / "scores")
    assert_array_equal(written["decision_function"], expected.decision_function(X))


def test_labels_are_judged_as_a_whole():
    with pytest.warns(LabelConventionWarning, match="taken as normal"):
        skad_dask.fit(DETECTOR, array(), da.from_array(np.abs(Y), chunks=50))
    with pytest.raises(ValueError, match="All rows are labelled -1"):
        skad_dask.fit(DETECTOR, array(), da.from_array(-np.ones(600), chunks=50))


def test_errors_say_what_to_do(expected):
    vector = da.from_array(Y, chunks=100)
    for bad, y, error, message in [
        (X, None, TypeError, "dask.array.from_array"),
        (vector, None, ValueError, "rows and columns"),
        (array(), Y, TypeError, "y must be None or, like X, a Dask array.*ndarray for a Array"),
        (frame(), vector, TypeError, "of a Dask data frame: a Series"),
        (array(), "label", ValueError, "not the name of a column"),
        (frame(), "target", ValueError, "not the name of a column"),
        (array(known=False), labels(50), ValueError, "y has 12 chunks but X has 6"),
        (array(known=False), labels(100), ValueError, "labels but X has"),
        (array(), labels(100) > 0, ValueError, "booleans"),
    ]:
        with pytest.raises(error, match=message):
            skad_dask.fit(DETECTOR, bad, y)
    with pytest.raises(ValueError, match="max_samples"):
        skad_dask.fit(SampledDetector(max_samples=0), array())
    with pytest.raises(TypeError, match=r"skad\.distributed"):
        clone(DETECTOR).fit(array())
    fitted = clone(DETECTOR).fit(FRAME, Y)
    with pytest.raises(ValueError, match=r"lacks the columns \['e'\]"):
        skad_dask.predict(fitted, frame()[["a", "b", "c", "d"]])


# --- on a cluster -------------------------------------------------------------------------------


def in_worker():
    return multiprocessing.parent_process() is not None


def die_once(grave):
    """Kill this process, if it is a worker and the first to come here."""
    if in_worker():
        try:
            os.close(os.open(grave, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


class Mortal(DeepSAD):
    """Kills a worker process, once, where it is fitted or asked for scores."""

    grave: str = ""
    dies_in: str = ""

    def fit(self, X, y=None):
        if self.dies_in == "fit":
            die_once(self.grave)
        return super().fit(X, y)

    def score_samples(self, X):
        if self.dies_in == "score_samples":
            die_once(self.grave)
        return super().score_samples(X)


class Counted(DeepSAD):
    """Writes down which process loads it."""

    log: str = ""

    def __setstate__(self, state):
        super().__setstate__(state)
        with Path(self.log).open("a") as file:
            file.write(f"{os.getpid()}\n")


def test_cluster_gives_the_same(client, expected):
    for rows, y in [(array(), labels(100)), (frame(), "label")]:
        assert_same_fit(skad_dask.fit(DETECTOR, rows, y), expected)
    lazy = skad_dask.predict(expected, array())
    assert_array_equal(lazy.compute(), expected.predict(X))


def test_each_worker_gets_the_model_once(client, tmp_path):
    log = tmp_path / "log"
    detector = Counted(**FAST, log=str(log)).fit(FRAME, Y)
    many = dd.from_pandas(FRAME, npartitions=40)
    for rows in (many, da.from_array(X, chunks=(15, 5))):
        skad_dask.score_samples(detector, rows).compute()
        loads = log.read_text().split()
        log.unlink()
        in_workers = [pid for pid in loads if pid != str(os.getpid())]
        assert 1 <= len(in_workers) <= 2
        assert len(set(in_workers)) == len(in_workers)
        assert len(loads) <= 3  # one is the scheduler, which is in this process


def search_on_cluster(search):
    """Rows and folds go to every worker once, before the search; nothing is lost with a worker."""
    folds = list(search.cv.split(X, Y))
    with joblib.parallel_config("dask", scatter=[X, Y, *chain.from_iterable(folds)]):
        return clone(search).set_params(cv=folds).fit(X, Y)


def test_search_equals_the_one_in_this_process(client, monkeypatch):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), DEEP),
        {"deepsad__lr": [1e-3, 1e-2], "deepsad__eta": [0.5, 2.0]},
        cv=SemiSupervisedKFold(3, random_state=0),
    )
    alone = clone(search).set_params(n_jobs=1).fit(X, Y)
    calls, scatter = [], distributed.Client.scatter
    monkeypatch.setattr(
        distributed.Client,
        "scatter",
        lambda self, data, **options: calls.append(options) or scatter(self, data, **options),
    )
    assert_same_search(search_on_cluster(search), alone)
    assert calls == [{"broadcast": True}]


def assert_same_search(search, expected):
    for name, values in expected.cv_results_.items():
        if "time" not in name:
            assert_array_equal(search.cv_results_[name], values, err_msg=name)
    assert_array_equal(search.decision_function(X), expected.decision_function(X))


def test_search_on_ray():
    ray = pytest.importorskip("ray")
    register_ray = pytest.importorskip("ray.util.joblib").register_ray
    ray.init(num_cpus=2, include_dashboard=False)
    register_ray()
    search = GridSearchCV(DEEP, {"eta": [0.5, 2.0]}, cv=SemiSupervisedKFold(2, random_state=0))
    with joblib.parallel_config("ray"):
        on_ray = clone(search).fit(X, Y)
    assert_same_search(on_ray, clone(search).fit(X, Y))
    ray.shutdown()


# --- faults -------------------------------------------------------------------------------------


def test_killed_while_scoring(client, tmp_path, expected):
    grave = tmp_path / "grave"
    mortal = Mortal(**FAST, grave=str(grave), dies_in="score_samples").fit(X, Y)
    lazy = skad_dask.score_samples(mortal, da.from_array(X, chunks=(50, 5)))
    scores = client.compute(lazy).result(timeout=PATIENCE)
    assert grave.exists()
    assert_array_equal(scores, clone(DEEP).fit(X, Y).score_samples(X))


def test_killed_while_fitting(client, tmp_path, expected):
    """Once while the sample is drawn, once while the threshold is taken."""
    graves = str(tmp_path / "sample"), str(tmp_path / "threshold")
    rows = da.from_array(X, chunks=(50, 5)).map_blocks(
        lambda block: (die_once(graves[0]), block)[1], meta=X[:0]
    )
    mortal = Mortal(**FAST, grave=graves[1], dies_in="score_samples")
    start = time.monotonic()
    fitted = skad_dask.fit(clone(DETECTOR).set_params(estimator=mortal), rows, labels(50))
    assert time.monotonic() - start < PATIENCE
    assert all(map(os.path.exists, graves))
    assert_same_fit(fitted, expected)


def test_killed_while_searching(client, tmp_path):
    grave = tmp_path / "grave"
    search = GridSearchCV(
        Mortal(**FAST, grave=str(grave), dies_in="fit"),
        {"eta": [0.5, 1.0, 2.0]},
        cv=SemiSupervisedKFold(2, random_state=0),
    )
    start = time.monotonic()
    on_cluster = search_on_cluster(search)
    assert time.monotonic() - start < PATIENCE
    assert grave.exists()
    assert_same_search(on_cluster, clone(search).fit(X, Y))


def test_a_lost_scheduler_is_a_clear_error(expected, tmp_path):
    address = tmp_path / "scheduler.json"
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        + ["--port", "0", "--no-dashboard", "--scheduler-file", str(address)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with distributed.Client(scheduler_file=str(address), timeout=60):
            threading.Timer(0.5, scheduler.kill).start()
            start = time.monotonic()
            with pytest.raises(Exception, match="lost the connection to the scheduler"):
                skad_dask.fit(DETECTOR, array(), labels(100))
            assert time.monotonic() - start < PATIENCE
    finally:
        scheduler.kill()
        scheduler.wait()
