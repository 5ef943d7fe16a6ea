"""The papers' protocols: which rows are seen, which labels, which are tested.

Tables (`odds`): of normals and of anomalies 60 % of the rows are for training; scaled by
statistics of all of them; 1 % of the rows that are used are labelled anomalies, the rest normals.
Training rows are those of Deep SAD's public code for the same seed; test rows are those that it
leaves over. The code itself tests on a second split, which shares rows with the training part (see
the page on the papers in the docs).

Images: `SETTINGS` names the settings; in each, the k-th combination of classes makes a problem.
Combinations are in a fixed shuffled order, in which every ten have each class once as the normal
one, so that the first ones are a fair sample of all.
"""

from functools import cache, partial

import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skad.datasets import mask_labels

from .problems import Problem, data_folder, load

ODDS = ["arrhythmia", "cardio", "satellite", "satimage-2", "shuttle", "thyroid"]
IMAGES = ["mnist", "fashion_mnist"]
IMAGE_SHAPE = (1, 28, 28)


def odds(name, seed, labeled=0.01):
    """Make a problem of a table: the tabular protocol of the Deep SAD paper, held out."""
    X, y = load(name, "odds")
    rng = np.random.RandomState(seed)
    parts = [
        train_test_split(np.flatnonzero(y == kind), test_size=0.4, random_state=rng)
        for kind in (0, 1)
    ]
    train, test = map(np.concatenate, zip(*parts, strict=True))
    scaler = make_pipeline(StandardScaler(), MinMaxScaler()).fit(X[train])
    rows, labels = mask_labels(
        y[train],
        labeled_anomalies=labeled,
        pollution=0,
        share_of="rows",
        normal_classes=0,
        random_state=rng,
    )
    X_train, X_test = scaler.transform(X[train][rows]), scaler.transform(X[test])
    return Problem(X_train, labels, X_test, y[test] == 1)


@cache
def images(name):
    """Flattened images in [0, 1], their classes, and which are of the official test part."""
    with np.load(data_folder() / "images" / f"{name}.npz") as archive:
        X, kind, is_test = archive["X"], archive["y"], archive["is_test"]
    return X.reshape(len(X), -1).astype(np.float32) / 255, kind, is_test.astype(bool)


def pairs():
    """List all 90 pairs of a normal and another class, each ten with every class once as both."""
    rng = np.random.RandomState(0)
    shifts = rng.permutation(np.arange(1, 10))
    return [
        (int(normal), int((normal + shift) % 10))
        for shift in shifts
        for normal in rng.permutation(10)
    ]


def one_class(name, k, labeled=0.0, pollution=0.0, n_known=1):
    """One class is normal: the k-th pair of it and a labelled class, or of it and a seed.

    With `n_known` other than 1, that many labelled classes are drawn.
    """
    X, kind, is_test = images(name)
    normal, other = pairs()[k]
    known = [other]
    if n_known != 1:
        rest = np.setdiff1d(np.arange(10), normal)
        known = np.random.RandomState(k).choice(rest, max(n_known, 1), replace=False).tolist()
    rows, labels = mask_labels(
        kind[~is_test],
        labeled_anomalies=labeled if n_known else 0,
        pollution=pollution,
        share_of="rows",
        normal_classes=normal,
        known_classes=known,
        random_state=k,
    )
    return Problem(X[~is_test][rows], labels, X[is_test], kind[is_test] != normal)


def class_out(name, k, labeled=0.0):
    """One class is anomalous: GANomaly's protocol, 80 % of all normals for training.

    `labeled` is a share of the anomalies, which are labelled and not tested.
    """
    X, kind, _ = images(name)
    anomaly = np.random.RandomState(0).permutation(10)[k]
    rng = np.random.RandomState(k)
    normals = rng.permutation(np.flatnonzero(kind != anomaly))
    anomalies = rng.permutation(np.flatnonzero(kind == anomaly))
    n_normals, n_labeled = int(0.8 * len(normals)), int(labeled * len(anomalies))
    train = np.r_[normals[:n_normals], anomalies[:n_labeled]]
    test = np.r_[normals[n_normals:], anomalies[n_labeled:]]
    labels = np.repeat([0, -1], [n_normals, n_labeled])
    return Problem(X[train], labels, X[test], kind[test] == anomaly)


def other_set(name, k):
    """All classes of one set are normal, the test part of the other set anomalous: AMA's protocol.

    k is a seed for the detector alone.
    """
    X, _, is_test = images(name)
    other, _, other_is_test = images(IMAGES[1 - IMAGES.index(name)])
    X_test = np.concatenate([X[is_test], other[other_is_test]])
    anomaly = np.repeat([False, True], [is_test.sum(), other_is_test.sum()])
    return Problem(X[~is_test], np.zeros(np.sum(~is_test), dtype=int), X_test, anomaly)


SHARES = (0, 0.01, 0.05, 0.1, 0.2)
# Setting: (problem of a data set and k, number of combinations).
LABELS = {f"(i) {share:.0%} labelled": (partial(one_class, labeled=share), 90) for share in SHARES}
POLLUTION = {
    f"(ii) {share:.0%} polluted": (partial(one_class, labeled=0.05, pollution=share), 90)
    for share in SHARES[1:]  # none is "(i) 5% labelled"
}
KNOWN_CLASSES = {
    f"(iii) {n_known} known": (
        partial(one_class, labeled=0.05, pollution=0.1, n_known=n_known),
        90,
    )
    for n_known in (0, 1, 2, 3, 5)
}
CLASS_OUT = {
    "class out": (class_out, 10),
    "class out, 5% labelled": (partial(class_out, labeled=0.05), 10),
}
OTHER_SET = {"other set": (other_set, 10)}
SETTINGS = LABELS | POLLUTION | KNOWN_CLASSES | CLASS_OUT | OTHER_SET
