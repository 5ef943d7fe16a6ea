"""Label masking by counting, conversions, and ADBench from a server on loopback."""

import hashlib
import http.server
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skad.datasets import adbench, fetch_adbench, from_binary_labels, mask_labels


def truth(n_anomalies, n_normals, seed=0):
    y = np.repeat([-1, 1], [n_anomalies, n_normals])
    return np.random.RandomState(seed).permutation(y)


def counts(labels):
    return [int(np.sum(labels == label)) for label in (-1, 0, 1)]


# mask_labels


@pytest.mark.parametrize("anomalies, n_known", [(3, 3), (0, 0), (0.25, 10), (0.29, 11), (1.0, 40)])
@pytest.mark.parametrize("normals, n_normals", [(0, 0), (7, 7), (0.29, 29), (0.001, 1), (1.0, 100)])
def test_counts_and_shares_are_exact_and_labels_true(anomalies, n_known, normals, n_normals):
    y = truth(40, 100)
    rows, labels = mask_labels(
        y, labeled_anomalies=anomalies, labeled_normals=normals, random_state=0
    )
    assert np.array_equal(rows, np.arange(140))
    assert counts(labels) == [n_known, 140 - n_known - n_normals, n_normals]
    assert np.all(labels[labels != 0] == y[rows][labels != 0])


@pytest.mark.parametrize("pollution", [0.0, 0.1, 1 / 3])
@pytest.mark.parametrize("n_known", [0, 5])
def test_pollution_leaves_out_anomalies_only(pollution, n_known):
    y = truth(90, 120)
    rows, labels = mask_labels(
        y, labeled_anomalies=n_known, labeled_normals=20, pollution=pollution, random_state=0
    )
    assert len(np.unique(rows)) == len(rows)
    assert np.all(np.diff(rows) > 0)
    assert np.sum(y[rows] == 1) == 120
    n_hidden = np.sum(y[rows][labels == 0] == -1)
    assert n_hidden == int(pollution / (1 - pollution) * 100 + 1e-9)
    assert counts(labels) == [n_known, 100 + n_hidden, 20]


@pytest.mark.parametrize(
    "n_normals, n_anomalies, pollution, n_known, n_rows",
    [
        (231, 39, 0.0, 2, 233),
        (993, 105, 0.0, 10, 1003),
        (2639, 1221, 0.0, 26, 2665),
        (3439, 42, 0.0, 34, 3473),
        (27351, 2106, 0.0, 276, 27627),
        (2207, 55, 0.0, 22, 2229),
    ],
)
def test_splits_of_the_deep_sad_paper(n_normals, n_anomalies, pollution, n_known, n_rows):
    """One labelled row in a hundred rows of the problem, as the official sampler counts it."""
    rows, labels = mask_labels(
        truth(n_anomalies, n_normals),
        labeled_anomalies=0.01,
        pollution=pollution,
        share_of="rows",
        random_state=0,
    )
    assert counts(labels)[0] == n_known
    assert len(rows) == n_rows


@pytest.mark.parametrize("normals", [0.1, 60])
@pytest.mark.parametrize("anomalies", [0.05, 30])
@pytest.mark.parametrize("pollution", [None, 0.1])
def test_shares_of_all_rows_hold_in_the_result(normals, anomalies, pollution):
    y = truth(300, 600)
    rows, labels = mask_labels(
        y,
        labeled_anomalies=anomalies,
        labeled_normals=normals,
        pollution=pollution,
        share_of="rows",
        random_state=0,
    )
    for value, label in [(anomalies, -1), (normals, 1)]:
        n = np.sum(labels == label)
        assert n == value if isinstance(value, int) else abs(n - value * len(rows)) <= 1
    assert np.sum(y[rows] == 1) == 600
    if pollution is not None:
        assert abs(np.mean(y[rows][labels == 0] == -1) - pollution) < 0.003


def test_classes():
    digits = np.random.RandomState(0).randint(0, 10, 1000)
    rows, labels = mask_labels(
        digits,
        normal_classes=[0, 1],
        known_classes=7,
        labeled_anomalies=20,
        labeled_normals=5,
        pollution=0.2,
        random_state=0,
    )
    assert set(digits[rows][labels == -1]) == {7}
    assert set(digits[rows][labels == 1]) <= {0, 1}
    hidden = digits[rows][(labels == 0)]
    assert len(set(hidden[hidden > 1])) > 4  # other classes hide among the unlabelled rows
    assert abs(np.mean(hidden > 1) - 0.2) < 0.01
    named = np.where(digits == 0, "good", "bad")
    assert counts(mask_labels(named, normal_classes="good", labeled_anomalies=3)[1])[0] == 3


def test_mask_is_seeded():
    y = truth(40, 100)
    first, second, third = (mask_labels(y, random_state=seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, third)


def test_every_anomaly_has_the_same_chance():
    y = truth(10, 20)
    drawn = sum(mask_labels(y, labeled_anomalies=3, random_state=i)[1] == -1 for i in range(300))
    assert drawn[y == 1].sum() == 0
    assert np.all(np.abs(drawn[y == -1] / 300 - 0.3) < 4 * np.sqrt(0.3 * 0.7 / 300))


@pytest.mark.parametrize(
    "params, match",
    [
        ({"labeled_anomalies": 41}, "asks for 41 rows, but y holds only 40 anomalies"),
        ({"labeled_normals": 101}, "lower it to at most 100"),
        ({"labeled_anomalies": -1}, "'labeled_anomalies' parameter .* Got -1"),
        ({"labeled_anomalies": 1.5}, "'labeled_anomalies' parameter .* Got 1.5"),
        ({"labeled_normals": True}, "'labeled_normals' parameter .* Got True"),
        ({"labeled_normals": "3"}, "'labeled_normals' parameter .* Got '3'"),
        ({"pollution": 1.0}, "'pollution' parameter .* Got 1.0"),
        ({"pollution": False}, "'pollution' parameter .* Got False"),
        ({"random_state": "0"}, "'random_state' parameter .* Got '0'"),
        ({"pollution": 0.5}, "hidden anomalies, but only 38 are left.*at most 0.2753"),
        ({"share_of": "all"}, "'share_of' parameter .* Got 'all'"),
        ({"normal_classes": 3}, r"normal_classes holds \[3\], but y only \[-1  1\]"),
        ({"known_classes": [-1, 1]}, r"known_classes holds normal classes: \[1\]"),
        ({"share_of": "rows", "labeled_anomalies": 1.0, "pollution": 0.0}, "no place"),
        ({"share_of": "rows", "labeled_anomalies": 0.5}, "asks for 70 rows"),
    ],
)
def test_impossible_masks(params, match):
    with pytest.raises(ValueError, match=match):
        mask_labels(truth(40, 100), **params)


def test_the_pollution_named_as_largest_is_possible():
    rows, labels = mask_labels(truth(40, 100), pollution=0.2753, random_state=0)
    assert counts(labels) == [2, 137, 0]
    assert len(rows) == 139


def test_mask_refuses_other_labels():
    with pytest.raises(ValueError, match="pass normal_classes, or convert 0/1"):
        mask_labels([0, 1, 1, 0])
    with pytest.raises(ValueError, match="pass normal_classes"):
        mask_labels([True, True])
    for missing in (np.array([0, 1, np.nan]), [0, 1, None], pd.Series([0, 1, None], dtype="Int64")):
        with pytest.raises(ValueError, match="missing values.*which class they stand for"):
            mask_labels(missing, normal_classes=0)


# from_binary_labels


@pytest.mark.parametrize(
    "y, params, expected",
    [
        ([0, 1, 0], {}, [1, -1, 1]),
        ([False, True, False], {}, [1, -1, 1]),
        ([0.0, 1.0], {"rest": "unlabeled"}, [0, -1]),
        ([0, 0], {}, [1, 1]),
        ([1, 1], {}, [-1, -1]),
        (["n", "a"], {"anomaly": "a"}, [1, -1]),
        ([2, 4, 2], {"anomaly": 4}, [1, -1, 1]),
        ([-1, 1], {"anomaly": -1}, [-1, 1]),
        ([1, 2, 2], {"anomaly": 2}, [1, -1, -1]),
        ([1, 2, 2], {"anomaly": 1}, [-1, 1, 1]),
        ([-1, 1, 1], {"anomaly": 1}, [1, -1, -1]),
    ],
)
def test_binary_labels(y, params, expected):
    assert np.array_equal(from_binary_labels(y, **params), expected)
    assert np.array_equal(from_binary_labels(np.array(y, dtype=object), **params), expected)


@pytest.mark.parametrize(
    "y, params, match",
    [
        ([0, 1, 2], {}, "3 distinct values"),
        ([-1, 1, 1], {}, "pass -y to fit"),
        ([0.0, np.nan], {}, "missing values"),
        (["a", None], {"anomaly": "a"}, "missing values"),
        (["n", "a"], {"anomaly": "A"}, "anomaly='A' does not occur in y"),
        (["n", "a"], {}, "which one is the anomaly"),
        (["0", "1"], {}, "which one is the anomaly"),
        ([1, 2], {}, "which one is the anomaly"),
        ([0, 255], {}, "which one is the anomaly"),
        ([2, 2], {}, "which one is the anomaly"),
        ([-1, 0], {}, "anomaly already"),
        ([0, "1"], {}, "which one is the anomaly"),
        ([0, 1], {"anomaly": [1]}, "does not occur"),
        (pd.Series([True, None], dtype="boolean"), {}, "missing values"),
        ([0, 1], {"rest": "unlabelled"}, "'rest' parameter .* Got 'unlabelled'"),
        ([[0, 1], [1, 0]], {}, "1d array"),
    ],
)
def test_binary_labels_that_cannot_be_read(y, params, match):
    with pytest.raises(ValueError, match=match):
        from_binary_labels(y, **params)


# fetch_adbench


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serve a folder on loopback in place of the real host; the cache is a temporary one."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=folder)
    ) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(adbench, "ADBENCH_URL", f"http://127.0.0.1:{httpd.server_port}")
        monkeypatch.setattr(adbench, "N_TRIES", 1)
        monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
        monkeypatch.delenv("SKAD_DATA", raising=False)
        yield folder
        httpd.shutdown()


def publish(monkeypatch, path, name="38_thyroid", with_sha256=True):
    """Make the pinned table say that this file is the right one."""
    content = path.read_bytes()
    entry = {
        "file": name,
        "bytes": str(len(content)),
        "git_blob_sha1": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest() if with_sha256 else "",
    }
    monkeypatch.setattr(adbench, "_adbench_entry", lambda asked: entry)


def save(path, seed=0, n=30):
    rng = np.random.RandomState(seed)
    X, y = rng.randn(n, 4).astype(np.float32), (rng.rand(n) < 0.3).astype(np.int8)
    np.savez(path, X=X, y=y)
    return X, y


@pytest.mark.parametrize("with_sha256", [True, False])
@pytest.mark.parametrize("data_home", [None, "home"])
def test_download_and_cache(server, tmp_path, monkeypatch, with_sha256, data_home):
    X, y = save(server / "38_thyroid.npz")
    publish(monkeypatch, server / "38_thyroid.npz", with_sha256=with_sha256)
    if data_home:
        data_home = tmp_path / "home"
    bunch = fetch_adbench("thyroid", data_home=data_home)
    assert np.array_equal(bunch.data, X)
    assert np.array_equal(bunch.target, np.where(y == 1, -1, 1))
    folder = (data_home or tmp_path / "cache") / "adbench"
    assert bunch.filename == str(folder / "38_thyroid.npz")
    assert [path.name for path in folder.iterdir()] == ["38_thyroid.npz"]
    (server / "38_thyroid.npz").unlink()  # from now on there is only the cache
    again = fetch_adbench("thyroid", data_home=data_home, return_X_y=True)
    assert np.array_equal(again[0], X)


def test_as_frame(server, monkeypatch):
    X, _ = save(server / "38_thyroid.npz")
    publish(monkeypatch, server / "38_thyroid.npz")
    bunch = fetch_adbench("thyroid", as_frame=True)
    assert list(bunch.frame.columns) == [*bunch.feature_names, "target"]
    assert np.array_equal(bunch.data.to_numpy(), X)
    assert bunch.target.name == "target"
    data, target = fetch_adbench("thyroid", as_frame=True, return_X_y=True)
    assert data.equals(bunch.data)
    assert target.equals(bunch.target)


@pytest.mark.parametrize("with_sha256", [True, False])
@pytest.mark.parametrize("damage", ["truncated", "other", "error page"])
def test_wrong_downloads_are_not_kept(server, tmp_path, monkeypatch, with_sha256, damage):
    path = server / "38_thyroid.npz"
    save(path)
    publish(monkeypatch, path, with_sha256=with_sha256)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "other":
        save(path, seed=1)
    else:
        path.write_text("<html>Not found, with status 200</html>")
    with pytest.raises(OSError, match="pass its folder as data_home"):
        fetch_adbench("thyroid")
    assert not list((tmp_path / "cache" / "adbench").iterdir())


def test_missing_on_the_server_and_no_network(server, monkeypatch):
    save(server / "other.npz")
    publish(monkeypatch, server / "other.npz")
    with pytest.raises(OSError, match="404.*pass its folder as data_home or in SKAD_DATA"):
        fetch_adbench("thyroid")
    monkeypatch.setattr(adbench, "ADBENCH_URL", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(OSError, match="could not be downloaded"):
        fetch_adbench("thyroid")
    with pytest.raises(OSError, match="Pass download_if_missing=True, or the folder"):
        fetch_adbench("thyroid", download_if_missing=False)


@pytest.fixture
def stalling_server():
    """Send the first half of a file and then nothing, for ever; count the calls."""
    calls = []
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            calls.append(self.path)
            if "silent" not in self.path:
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"x" * 500)
                self.wfile.flush()
            done.wait()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", calls
        done.set()
        httpd.shutdown()


@pytest.mark.parametrize("way", ["silent", "half"])
def test_a_server_that_falls_silent(stalling_server, tmp_path, monkeypatch, way):
    url, calls = stalling_server
    monkeypatch.setattr(adbench, "ADBENCH_URL", f"{url}/{way}")
    monkeypatch.setattr(adbench, "TIMEOUT", 0.2)
    monkeypatch.setattr(adbench, "PAUSE", 0)
    with pytest.raises(OSError, match="could not be downloaded .*timed out"):
        fetch_adbench("thyroid", data_home=tmp_path)
    assert len(calls) == 3
    assert not list((tmp_path / "adbench").iterdir())


def test_a_killed_download_leaves_nothing(stalling_server, tmp_path):
    url, calls = stalling_server
    script = (
        "import sys; from skad.datasets import adbench; adbench.ADBENCH_URL = sys.argv[1];"
        "adbench.fetch_adbench('thyroid', data_home=sys.argv[2])"
    )
    root = Path(__file__).parents[1]
    child = subprocess.Popen([sys.executable, "-c", script, f"{url}/half", tmp_path], cwd=root)
    while not calls:
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    child.kill()
    child.wait()
    assert not list((tmp_path / "adbench").iterdir())


def test_a_write_that_fails_leaves_nothing(server, tmp_path, monkeypatch):
    save(server / "38_thyroid.npz")
    publish(monkeypatch, server / "38_thyroid.npz")

    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(adbench.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch_adbench("thyroid", data_home=tmp_path / "home")
    assert not list((tmp_path / "home" / "adbench").iterdir())


def test_data_home_that_is_no_folder(tmp_path):
    path = tmp_path / "38_thyroid.npz"
    save(path)
    with pytest.raises(OSError, match="data_home=.* is a file: pass the folder it is in"):
        fetch_adbench("thyroid", data_home=path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "adbench").touch()
    with pytest.raises(OSError, match="could not be downloaded"):
        fetch_adbench("thyroid", data_home=tmp_path / "home")


@pytest.mark.parametrize(
    "params",
    [
        {"name": []},
        {"name": 38},
        {"name": None},
        {"data_home": 1},
        {"download_if_missing": "no"},
        {"return_X_y": 1},
        {"as_frame": "pandas"},
    ],
)
def test_wrong_parameters_are_refused_by_name(params):
    (name,) = params
    with pytest.raises(ValueError, match=f"'{name}' parameter of fetch_adbench must be"):
        fetch_adbench(**{"name": "thyroid", **params})


@pytest.mark.parametrize(
    "X, match",
    [
        (np.array([["1", "2"], ["3", "4"]]), "finite numbers in X, got dtype <U1"),
        (np.array([["2020", "2021"]] * 2, dtype="M8[Y]"), "got dtype datetime64"),
        (np.full((2, 2), 1j), "got dtype complex"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "got missing or infinite values"),
        (np.array([[1.0, np.inf], [0.0, 1.0]]), "got missing or infinite values"),
    ],
)
def test_local_tables_of_other_things_than_numbers(tmp_path, X, match):
    np.savez(tmp_path / "38_thyroid.npz", X=X, y=[0, 1])
    with pytest.raises(ValueError, match=match):
        fetch_adbench("thyroid", data_home=tmp_path)


@pytest.mark.parametrize("subfolder", ["", "adbench"])
@pytest.mark.parametrize("by", ["data_home", "SKAD_DATA"])
def test_a_local_folder_is_taken_as_it_is(tmp_path, monkeypatch, subfolder, by):
    """Re-saved files have other hashes than the original."""
    (tmp_path / subfolder).mkdir(exist_ok=True)
    X, _ = save(tmp_path / subfolder / "38_thyroid.npz")
    data_home = str(tmp_path) if by == "data_home" else None
    monkeypatch.setenv("SKAD_DATA", str(tmp_path) if by == "SKAD_DATA" else "/nowhere")
    found, _ = fetch_adbench("38_thyroid", data_home=data_home, return_X_y=True)
    assert np.array_equal(found, X)


class Bomb:
    """Unpickling an instance raises."""

    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "38_thyroid.npz"
    np.savez(path, X=np.array([[Bomb()]], dtype=object), y=np.zeros(1))
    with pytest.raises(ValueError, match="re-save it as plain numbers"):
        fetch_adbench("thyroid", data_home=tmp_path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="re-save it as plain numbers"):
        fetch_adbench("thyroid", data_home=tmp_path)


def test_local_files_that_are_no_table(tmp_path):
    path = tmp_path / "38_thyroid.npz"
    save(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="Delete it to download it again"):
        fetch_adbench("thyroid", data_home=tmp_path)
    for arrays in [
        {"X": np.zeros((3, 2)), "y": np.zeros(2)},
        {"X": np.zeros(3), "y": np.zeros(3)},
        {"X": np.zeros((3, 2)), "y": np.arange(3)},
        {"X": np.zeros((3, 2)), "y": ["0", "1", "0"]},
        {"X": np.zeros((3, 2)), "y": np.array([0, 1, 0], dtype="M8[D]")},
    ]:
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match="must hold X of shape"):
            fetch_adbench("thyroid", data_home=tmp_path)
    np.savez(path, X=np.zeros((3, 2)))
    with pytest.raises(ValueError, match="cannot be read as a table"):
        fetch_adbench("thyroid", data_home=tmp_path)


def test_names():
    entry = adbench._adbench_entry("thyroid")
    assert entry == adbench._adbench_entry("38_thyroid")
    assert int(entry["bytes"]) == 39882
    with pytest.raises(ValueError, match=r"Did you mean 'thyroid'\? There are: ALOI, .* yeast"):
        fetch_adbench("tyroid")
    for number, name in [(1, "ALOI"), (22, "magic.gamma"), (31, "satimage-2"), (47, "yeast")]:
        assert adbench._adbench_entry(name)["file"] == f"{number}_{name}"


def test_table_of_files():
    """47 sets, each with the hash of its git blob, four without sha256."""
    listed = str(pytest.raises(ValueError, fetch_adbench, "?").value).split("There are: ")[1]
    entries = [adbench._adbench_entry(name.rstrip(".")) for name in listed.split(", ")]
    assert [int(entry["file"].split("_")[0]) for entry in entries] == list(range(1, 48))
    assert all(len(entry["git_blob_sha1"]) == 40 for entry in entries)
    assert sorted(len(entry["sha256"]) for entry in entries) == [0] * 4 + [64] * 43
