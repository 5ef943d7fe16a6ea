"""The problems that detectors are judged on: which rows are seen, which labels, which are tested.

Tables (few_labels): at most 5,000 rows (stratified, seed 0), a stratified 70/30 split (seed),
min-max scaling learnt on the training part, some training anomalies labelled -1 (at least one),
every other training row unlabelled, so the unlabelled rows are polluted.

Unknown kinds (unknown_kind): one kind of anomaly labelled, judged on the kinds never labelled.
"""

import gzip
import io
import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder

# Categories of NSL-KDD's attacks (Tavallaee et al., 2009); all others are r2l and u2r.
KDD_CATEGORIES = {
    "dos": "back land neptune pod smurf teardrop apache2 udpstorm processtable mailbomb worm",
    "probe": "satan ipsweep nmap portsweep mscan saint",
}
KDD_TEXT = ["protocol_type", "service", "flag"]
KDD_LABELS = ["attack", "difficulty", "y"]
PAIRS = [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (9, 0)]  # normal class, labelled class
UNKNOWN_KINDS = [f"nsl_kdd, {kind} labelled" for kind in KDD_CATEGORIES] + [
    f"{images}, {normal} normal, {labeled} labelled"
    for images in ("mnist", "fashion_mnist")
    for normal, labeled in PAIRS
]


class Problem(NamedTuple):
    """Training rows with labels, test rows with the truth.

    `kept` leaves out, where it is given, the test rows of the kind that was labelled.
    """

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    anomaly: np.ndarray
    truth: np.ndarray | None = None
    kept: np.ndarray | None = None


def data_folder():
    """Folder with the data sets, from the environment variable SKAD_DATA."""
    folder = os.environ.get("SKAD_DATA")
    if not folder:
        raise SystemExit("Set SKAD_DATA to the folder that holds adbench/, odds/, images/.")
    return Path(folder)


def dataset_names(group="adbench"):
    """Names of a group's data sets, in alphabetical order."""
    return sorted(path.stem for path in (data_folder() / group).glob("*.npz"))


@cache
def load(name, group="adbench"):
    """Load X and y (1 = anomaly) of a data set."""
    with np.load(data_folder() / group / f"{name}.npz") as archive:
        return archive["X"], archive["y"]


def few_labels(
    name, seed, labeled=0.05, *, labeled_normals=0.0, wrong=0.0, group="adbench", max_rows=5000
):
    """Make a problem of a table.

    `labeled` is a share of the training anomalies or, as an integer, their number; 0 is none.
    `labeled_normals` is a share of the training normals; `wrong` the share of the labelled
    anomalies that are normal rows.
    """
    X, y = load(name, group)
    if len(X) > max_rows:
        X, _, y, _ = train_test_split(X, y, train_size=max_rows, stratify=y, random_state=0)
    X_train, X_test, truth_train, truth_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=seed
    )
    scaler = MinMaxScaler().fit(X_train)
    anomalies, normals = np.flatnonzero(truth_train == 1), np.flatnonzero(truth_train == 0)
    n_labeled = round(labeled * len(anomalies)) if isinstance(labeled, float) else labeled
    n_labeled = min(max(1, n_labeled), len(anomalies)) if labeled else 0
    rng = np.random.RandomState(seed)
    drawn = rng.choice(anomalies, n_labeled, replace=False)
    y_train = np.zeros(len(X_train), dtype=int)
    y_train[drawn] = -1
    others = rng.permutation(normals)
    n_wrong = round(wrong * n_labeled)
    y_train[drawn[:n_wrong]] = 0
    y_train[others[:n_wrong]] = -1
    y_train[others[n_wrong : n_wrong + round(labeled_normals * len(normals))]] = 1
    return Problem(
        scaler.transform(X_train),
        y_train,
        scaler.transform(X_test),
        truth_test == 1,
        truth_train == 1,
    )


def unknown_kind(name, seed):
    """Make one of the UNKNOWN_KINDS: 20 anomalies of one kind labelled, judged on the others."""
    source, *words = name.replace(",", "").split()
    if source == "nsl_kdd":
        return _unknown_attacks(words[0], seed)
    return _unknown_classes(source, int(words[0]), int(words[2]), seed)


def _unknown_attacks(category, seed):
    """10,000 normal connections, 300 hidden attacks of every kind, 20 labelled of one category."""
    train, test = _kdd("nsl_kdd_train"), _kdd("nsl_kdd_test")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train["text"])
    rng = np.random.RandomState(seed)
    kind = np.isin(train["attack"], KDD_CATEGORIES[category].split())
    normals = rng.choice(np.flatnonzero(train["attack"] == "normal"), 10_000, replace=False)
    labeled = rng.choice(np.flatnonzero(kind), 20, replace=False)
    attacks = np.setdiff1d(np.flatnonzero(train["attack"] != "normal"), labeled)
    rows = np.concatenate([normals, rng.choice(attacks, 300, replace=False), labeled])
    y = np.zeros(len(rows), dtype=int)
    y[-20:] = -1
    X = np.hstack([train["numbers"], encoder.transform(train["text"])])[rows]
    X_test = np.hstack([test["numbers"], encoder.transform(test["text"])])
    scaler = MinMaxScaler().fit(X)
    known = np.isin(test["attack"], KDD_CATEGORIES[category].split())
    return Problem(
        scaler.transform(X),
        y,
        scaler.transform(X_test),
        test["attack"] != "normal",
        train["attack"][rows] != "normal",
        ~known,
    )


@cache
def _kdd(name):
    """Columns of numbers and of text, and the attacks' names."""
    text = gzip.decompress((data_folder() / "mixed" / f"{name}.csv.gz").read_bytes()).decode()
    table = np.genfromtxt(io.StringIO(text), delimiter=",", names=True, dtype=None, encoding=None)
    numbers = [n for n in table.dtype.names if n not in KDD_TEXT + KDD_LABELS]
    return {
        "numbers": np.column_stack([table[n].astype(float) for n in numbers]),
        "text": np.column_stack([table[n] for n in KDD_TEXT]),
        "attack": table["attack"],
    }


def _unknown_classes(source, normal, labeled, seed):
    """2,000 images of one class, 20 labelled of another, as 64 principal components."""
    with np.load(data_folder() / "images" / f"{source}.npz") as archive:
        X, kind, is_test = archive["X"], archive["y"], archive["is_test"]
    rng = np.random.RandomState(seed)
    usual = rng.choice(np.flatnonzero((kind == normal) & ~is_test), 2000, replace=False)
    unusual = rng.choice(np.flatnonzero((kind == labeled) & ~is_test), 20, replace=False)
    rows = np.concatenate([usual, unusual])
    y = np.repeat([0, -1], [2000, 20])
    flat = X.reshape(len(X), -1) / 255
    pca = PCA(64, random_state=seed).fit(flat[rows])
    test = np.flatnonzero(is_test)
    return Problem(
        pca.transform(flat[rows]),
        y,
        pca.transform(flat[test]),
        kind[test] != normal,
        y == -1,
        kind[test] != labeled,
    )
