"""Tables larger than memory: the sample, sources of chunks, the detector on them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import DeepSAD, SampledDetector, VotingDetector
from skad._chunks import as_chunks
from skad._sampling import RowSample, cut_for, row_keys
from skad.exceptions import LabelConventionWarning

from .checks import make_problem

DEEP = DeepSAD(n_estimators=2, max_steps=5, hidden_layer_sizes=(8,), random_state=0)
X, Y, _ = make_problem(n=600)
COLUMNS = list("abcde")
FRAME = pd.DataFrame(X, columns=COLUMNS)


# --- the sample ---------------------------------------------------------------------------------


def naive_sample(y, max_samples, seed):
    """The definition: all labelled rows, and the unlabelled ones with the smallest keys."""
    keys = row_keys(seed, 0, len(y))
    free = np.flatnonzero(y == 0)
    return np.sort(np.r_[np.flatnonzero(y), free[np.argsort(keys[free])[:max_samples]]])


def cuts(n, rng):
    """Bounds of chunks of random sizes, some of them empty."""
    return np.r_[0, np.sort(rng.integers(0, n + 1, rng.integers(0, 20))), n]


@pytest.mark.parametrize("max_samples", [1, 50, 499, 10_000])
@pytest.mark.parametrize(
    "table", [X, FRAME, pl.DataFrame(FRAME)], ids=["array", "pandas", "polars"]
)
def test_the_sample_does_not_depend_on_the_cuts(max_samples, table):
    expected = naive_sample(Y, max_samples, seed=3)
    rng = np.random.default_rng(0)
    for trial in range(6):
        bounds = cuts(len(X), rng)
        cut = cut_for(max_samples, np.sum(Y == 0)) if trial % 2 else np.uint64(2**64 - 1)
        parts = [RowSample(max_samples, 3, cut) for _ in range(3)]
        for k, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
            parts[k % 3].add(table[start:stop], Y[start:stop], int(start))
        rows, sampled, y = parts[2].merge(parts[0]).merge(parts[1]).result()
        assert_array_equal(rows, expected)
        assert_array_equal(y, Y[rows])
        assert_array_equal(np.asarray(sampled), X[rows])
        assert type(sampled) is type(table)


def test_keys_depend_on_seed_and_row_number_alone():
    keys = row_keys(1, 0, 1000)
    for start in range(9):
        assert_array_equal(row_keys(1, start, 100), keys[start : start + 100])
    assert_array_equal(row_keys(1, 10**12 + 3, 5)[1:], row_keys(1, 10**12 + 4, 4))
    assert len(np.unique(np.r_[keys, row_keys(2, 0, 1000)])) == 2000


def test_the_sample_is_uniform():
    """Each row, and each pair of neighbours, is drawn as often as chance has it."""
    n, m, n_trials = 40, 10, 1500
    drawn = np.zeros((n_trials, n))
    for seed in range(n_trials):
        sample = RowSample(m, seed).add(np.zeros((25, 1)), None, 0).add(np.zeros((15, 1)), None, 25)
        drawn[seed, sample.result()[0]] = 1
    assert_array_equal(drawn.sum(1), m)
    error = np.sqrt(m / n * (1 - m / n) / n_trials)
    assert np.abs(drawn.mean(0) - m / n).max() < 4.5 * error
    pairs = (drawn[:, 1:] * drawn[:, :-1]).mean(0)
    p = m / n * (m - 1) / (n - 1)
    assert np.abs(pairs - p).max() < 4.5 * np.sqrt(p / n_trials)


def test_memory_of_the_sample_is_bounded():
    sample, most = RowSample(100, 0), 0
    for start in range(0, 20_000, 50):
        sample.add(np.zeros((50, 1)), None, start)
        most = max(most, sum(len(part[0]) for part in sample.parts))
    assert most <= 250
    assert len(sample.result()[0]) == 100


def test_cut_leaves_enough_rows():
    for n, m in [(100, 1), (10_000, 100), (10_000, 9_900), (10**6, 1000)]:
        for seed in range(20 if n < 10**6 else 2):
            below = np.sum(row_keys(seed, 0, n) <= cut_for(m, n))
            assert m <= below <= min(n, m + 16 * np.sqrt(m) + 100)


# --- sources ------------------------------------------------------------------------------------


def in_chunks(size, labels=True):
    def chunks():
        for start in range(0, len(X), size):
            rows = slice(start, start + size)
            yield (X[rows], Y[rows]) if labels else X[rows]

    return chunks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve Parquet files of two row groups, the first without rows; labels in the middle."""
    pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("rows")
    bounds = np.r_[0, np.linspace(0, len(X), 12, dtype=int)]
    frame = FRAME.assign(label=Y)[["a", "label", "b", "c", "d", "e"]]
    for k, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        frame[start:stop].to_parquet(path / f"part.{k}.parquet", row_group_size=30)
    return path


def assert_same_fit(detector, expected):
    assert detector.offset_ == expected.offset_
    assert_array_equal(detector.sample_indices_, expected.sample_indices_)
    assert_array_equal(detector.score_samples(X), expected.score_samples(X))


@pytest.mark.parametrize("max_samples", [100, 10_000])
def test_every_source_gives_the_same(max_samples, folder, tmp_path):
    detector = SampledDetector(DEEP, max_samples=max_samples, random_state=1)
    expected = clone(detector).fit(X, Y)
    assert_array_equal(expected.sample_indices_, naive_sample(Y, max_samples, 1))
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    detector.set_params(chunk_size=37)
    for table, y in [(X, Y), (mapped, Y), (mapped[:], Y.tolist()), (in_chunks(53), None)]:
        assert_same_fit(clone(detector).fit(table, y), expected)
    for table, y in [
        (FRAME, Y),
        (pl.DataFrame(FRAME), Y),
        (folder, "label"),
        (str(folder), "label"),
    ]:
        fitted = clone(detector).fit(table, y)
        assert list(fitted.feature_names_in_) == COLUMNS
        assert_array_equal(fitted.score_samples(FRAME), expected.score_samples(X))
        assert fitted.offset_ == expected.offset_
    for rows in (folder, lambda: iter([FRAME[:100], FRAME[100:]])):
        assert_array_equal(fitted.score_samples(rows), expected.score_samples(X))
        assert_array_equal(fitted.predict(rows), expected.predict(X))
    assert expected.score(in_chunks(70, labels=False), Y) == expected.score(X, Y)


def test_labels_of_parquet_as_an_array(folder):
    pipeline = make_pipeline(ColumnTransformer([("kept", "passthrough", COLUMNS)]), DEEP)
    detector = SampledDetector(pipeline, max_samples=50, chunk_size=20, random_state=0)
    by_name = clone(detector).fit(folder, "label")
    by_array = clone(detector).fit(folder, Y)  # the column of labels is there, and is dropped
    assert_array_equal(by_array.sample_indices_, by_name.sample_indices_)
    assert_array_equal(by_array.score_samples(folder), by_name.score_samples(FRAME))


def test_a_sample_of_all_rows_is_the_plain_fit():
    pipeline = make_pipeline(StandardScaler(), DEEP)
    for plain in (DEEP, pipeline, VotingDetector([("a", DEEP), ("b", DEEP)], random_state=0)):
        expected = clone(plain).fit(X, Y)
        detector = SampledDetector(plain, chunk_size=100).fit(X, Y)
        assert_array_equal(detector.decision_function(X), expected.decision_function(X))
    seeded = SampledDetector(clone(DEEP).set_params(random_state=None), random_state=5).fit(X, Y)
    expected = clone(DEEP).set_params(random_state=5).fit(X, Y)
    assert_array_equal(seeded.decision_function(X), expected.decision_function(X))


def test_it_is_fitted_on_the_sample_and_its_threshold_is_of_all_rows():
    detector = SampledDetector(DEEP, max_samples=60, contamination=0.2, random_state=0).fit(X, Y)
    rows = detector.sample_indices_
    assert len(rows) == 60 + np.sum(Y != 0)
    alone = clone(DEEP).fit(X[rows], Y[rows])
    assert_array_equal(detector.score_samples(X), alone.score_samples(X))
    assert detector.offset_ == alone.fit_threshold(X, Y, contamination=0.2).offset_
    assert np.mean(detector.predict(X)[Y == 0] == -1) == pytest.approx(0.2, abs=1 / 500)


def test_default_estimator_and_its_seed():
    detector = SampledDetector(random_state=0).fit(X[:200], Y[:200])
    assert_array_equal(
        detector.decision_function(X),
        DeepSAD(random_state=0).fit(X[:200], Y[:200]).decision_function(X),
    )


def test_processes_give_the_same(folder, tmp_path):
    np.save(tmp_path / "X.npy", X)
    detector = SampledDetector(DEEP, max_samples=90, chunk_size=50, random_state=0)
    expected = clone(detector).fit(FRAME, Y)
    parallel = clone(detector).set_params(n_jobs=2).fit(folder, "label")
    assert parallel.offset_ == expected.offset_
    for rows in (FRAME, folder):
        assert_array_equal(parallel.score_samples(rows), expected.score_samples(FRAME))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_array_equal(
        clone(parallel).fit(mapped, Y).score_samples(mapped), expected.score_samples(FRAME)
    )


@pytest.mark.parametrize(
    "n_rows, size, n_parts", [(600, 50, 5), (600, 7, 4), (3, 50, 4), (0, 5, 2)]
)
def test_parts_hold_each_row_once_with_its_label(n_rows, size, n_parts):
    parts = as_chunks(X[:n_rows], Y[:n_rows], size).split(n_parts)
    assert 1 <= len(parts) <= n_parts
    chunks = [chunk for part in parts for chunk in part]
    assert_array_equal(np.concatenate([c[1] for c in chunks]), X[:n_rows])
    assert_array_equal(np.concatenate([c[2] for c in chunks]), Y[:n_rows])
    assert [c[0] for c in chunks] == np.cumsum([0, *[len(c[1]) for c in chunks[:-1]]]).tolist()


def test_parts_of_parquet_with_labels_as_an_array(folder):
    for n_parts in (1, 3, 100):
        parts = as_chunks(folder, Y, 11).split(n_parts)
        chunks = [chunk for part in parts for chunk in part]
        assert_array_equal(np.concatenate([c[1][COLUMNS] for c in chunks]), X)
        assert_array_equal(np.concatenate([c[2] for c in chunks]), Y)
        assert [c[0] for c in chunks] == np.cumsum([0, *[len(c[1]) for c in chunks[:-1]]]).tolist()


def test_threshold_moves_without_refit(folder):
    detector = SampledDetector(DEEP, random_state=0).fit(folder, "label")
    before = detector.offset_
    assert detector.fit_threshold(folder, "label", contamination=0.4) is detector
    assert np.sum(detector.predict(FRAME)[Y == 0] == -1) == round(0.4 * np.sum(Y == 0))
    assert detector.fit_threshold(folder, "label").offset_ == before


def test_labels_are_judged_as_a_whole(folder):
    """Chunks with 0 and +1 alone are nothing to warn about; a whole table of them is."""
    detector = SampledDetector(DEEP, chunk_size=50)
    order = np.argsort(Y, kind="stable")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.fit(X[order], Y[order])
        detector.fit(lambda: ((X[k : k + 50], Y[k : k + 50]) for k in range(0, 600, 50)))
    with pytest.warns(LabelConventionWarning, match="taken as normal"):
        detector.fit(lambda: [(X[:300], 0 * Y[:300]), (X[300:], 0 * Y[300:] + 1)])
    with pytest.raises(ValueError, match="All rows are labelled -1"):
        detector.fit(lambda: [(X[:300], -np.ones(300)), (X[300:], -np.ones(300))])
    with pytest.raises(ValueError, match="booleans"):
        detector.fit(lambda: [(X, Y == 0)])


def test_bad_sources_say_what_to_do(tmp_path):
    pytest.importorskip("pyarrow")
    detector = SampledDetector(DEEP, chunk_size=100, random_state=0).fit(X, Y)
    before = dict(vars(detector))
    (tmp_path / "text.parquet").write_text("no Parquet")
    chunks = iter([X, X])
    for bad, y, error, message in [
        ("nowhere", None, ValueError, "'nowhere' is no Parquet file or folder"),
        (tmp_path, None, ValueError, "is no Parquet file or folder"),
        (lambda: chunks, None, ValueError, "gave 1200 rows and then 0: a function must return"),
        (lambda: [X], Y, ValueError, "let it yield pairs"),
        (lambda: [X[0]], None, ValueError, "A chunk of X must have rows and columns"),
        (lambda: [], None, ValueError, "X has no rows"),
        (lambda: [(X, Y[1:])], None, ValueError, "y has 599 labels but X has 600 rows"),
        (X, Y[1:], ValueError, "y has 599 labels but X has 600 rows"),
        (X, "label", ValueError, "1d array"),
    ]:
        with pytest.raises(error, match=message):
            detector.fit(bad, y)
        assert vars(detector) == before
    FRAME.to_parquet(tmp_path / "text.parquet")
    with pytest.raises(ValueError, match=r"y='label' is none of the columns \['a'"):
        detector.fit(tmp_path, "label")
    with pytest.raises(ValueError, match="y has 599 labels but X has 600 rows"):
        detector.fit(tmp_path, Y[1:])


def test_mapped_pages_are_given_back(tmp_path):
    """Read from end to end, a mapped file leaves next to nothing in this process's memory."""
    path = tmp_path / "big.npy"
    np.save(path, np.zeros((2**20, 8)))
    mapped = np.load(path, mmap_mode="r")

    def resident_mb():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[2]) * 4096 / 2**20  # pages of files

    before = resident_mb()
    total = sum(chunk.sum() for _, chunk, _ in as_chunks(mapped, None, 2**14))
    assert total == 0
    assert resident_mb() - before < 16
    assert mapped.sum() == 0


def test_a_writable_copy_of_a_file_keeps_its_changes(tmp_path):
    np.save(tmp_path / "X.npy", X)
    changed = np.load(tmp_path / "X.npy", mmap_mode="c")
    changed[:] += 1
    list(as_chunks(changed, None, 100))
    assert_array_equal(changed, X + 1)


def test_another_detector_and_pickle(folder):
    forest = SampledDetector(IsolationForest(n_estimators=5), max_samples=100, random_state=0)
    forest.fit(folder, "label")
    again = pickle.loads(pickle.dumps(forest))
    assert_array_equal(again.predict(folder), forest.predict(FRAME))
