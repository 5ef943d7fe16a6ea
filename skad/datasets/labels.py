"""Labels: a few left of the ground truth, and those of other conventions."""

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import RealNotInt, StrOptions, validate_params

from .._labels import plain_array
from .._parameters import Number

MISSING = "say which class they stand for"
COUNT_OR_SHARE = [
    Number(Integral, 0, None, closed="left"),
    Number(RealNotInt, 0, 1, closed="both"),
]


@validate_params(
    {
        "labeled_anomalies": COUNT_OR_SHARE,
        "labeled_normals": COUNT_OR_SHARE,
        "pollution": [Number(Real, 0, 1, closed="left"), None],
        "share_of": [StrOptions({"class", "rows"})],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def mask_labels(
    y,
    *,
    labeled_anomalies=0.05,
    labeled_normals=0,
    pollution=None,
    share_of="class",
    normal_classes=None,
    known_classes=None,
    random_state=None,
):
    """Make a problem with few labels out of ground truth.

    Some anomalies and normals are drawn to keep their label; all other rows become unlabelled.
    No row is drawn twice and no normal is left out; anomalies are left out only to meet
    `pollution`.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Ground truth: -1 anomaly, +1 normal; or, with `normal_classes`, the class of each row.
    labeled_anomalies : int or float, default=0.05
        How many anomalies keep their label: a number (int) or a share (float in [0, 1]). A share
        is rounded down, but a share above 0 labels at least one row.
    labeled_normals : int or float, default=0
        How many normals keep theirs.
    pollution : float in [0, 1), default=None
        Share of anomalies among the unlabelled rows, met by leaving out anomalies. None: leave
        out none.
    share_of : {"class", "rows"}, default="class"
        What shares refer to: all anomalies or all normals of `y`, or all rows of the resulting
        problem, as in the Deep SAD paper.
    normal_classes : scalar or array-like, default=None
        The values of `y` that are normal; every other value is an anomaly. None: `y` must be in
        {-1, +1}.
    known_classes : scalar or array-like, default=None
        The anomaly classes of `y` that labels are drawn from; anomalies of other classes can only
        be hidden. None: all of them.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.

    Returns
    -------
    rows : ndarray of shape (n_rows,), int
        The rows of `y` that make up the problem, in ascending order: use ``X[rows]``.
    labels : ndarray of shape (n_rows,), int
        Their labels: -1 labelled anomaly, 0 unlabelled, +1 labelled normal.

    Raises
    ------
    ValueError
        When `y` cannot be read or does not hold the rows that were asked for; the message says
        what is possible.

    Examples
    --------
    >>> from skad.datasets import mask_labels
    >>> truth = [1, 1, 1, 1, -1, -1, -1, -1]
    >>> rows, labels = mask_labels(truth, labeled_anomalies=1, labeled_normals=2, random_state=0)
    >>> [int((labels == label).sum()) for label in (-1, 0, 1)]
    [1, 5, 2]
    >>> rows, labels = mask_labels(truth, labeled_anomalies=1, pollution=0.2, random_state=0)
    >>> rows
    array([0, 1, 2, 3, 4, 6])
    """
    known, unknown, normal = _split_truth(y, normal_classes, known_classes)
    n_anomalies, n_normals = len(known) + len(unknown), len(normal)
    share_a, count_a = _share_and_count(labeled_anomalies)
    share_n, count_n = _share_and_count(labeled_normals)
    if share_of == "class":
        size_a, size_n = n_anomalies, n_normals
    elif pollution is None:
        size_a = size_n = n_anomalies + n_normals
    else:
        # size = labelled rows + unlabelled normals / (1 - pollution), each labelled count being
        # share * size + count, solved for size: no normal is left out.
        weight = 1 - share_a - share_n + share_n / (1 - pollution)
        if weight <= 0:
            raise ValueError("The shares of all rows leave no place for the normals: lower them.")
        size_a = size_n = (count_a + count_n + (n_normals - count_n) / (1 - pollution)) / weight
    n_known = count_a + _round_down(share_a, size_a)
    n_labeled_normals = count_n + _round_down(share_n, size_n)
    _check_available("labeled_anomalies", n_known, len(known), "anomalies of a known class")
    _check_available("labeled_normals", n_labeled_normals, n_normals, "normals")

    rng = check_random_state(random_state)
    known, normal = rng.permutation(known), rng.permutation(normal)
    hidden = rng.permutation(np.r_[known[n_known:], unknown])
    if pollution is not None:
        n_unlabeled_normals = n_normals - n_labeled_normals
        n_hidden = int(pollution / (1 - pollution) * n_unlabeled_normals + 1e-9)
        if n_hidden > len(hidden):
            largest = len(hidden) / max(len(hidden) + n_unlabeled_normals, 1)
            raise ValueError(
                f"pollution={pollution} asks for {n_hidden} hidden anomalies, but only "
                f"{len(hidden)} are left: label fewer anomalies, or lower pollution to at most "
                f"{np.floor(largest * 1e4) / 1e4}."
            )
        hidden = hidden[:n_hidden]
    labels = np.zeros(n_anomalies + n_normals, dtype=int)
    labels[known[:n_known]], labels[normal[:n_labeled_normals]] = -1, 1
    rows = np.sort(np.r_[known[:n_known], hidden, normal])
    return rows, labels[rows]


def _split_truth(y, normal_classes, known_classes):
    """Row numbers of anomalies of known classes, of other anomalies, and of normals."""
    y = plain_array(y, MISSING)
    y = np.array(y.tolist()) if y.dtype.kind == "O" else y
    classes = np.unique(y)
    if normal_classes is None:
        normal_classes = [1]
        if y.dtype.kind == "b" or not np.isin(y, (-1, 1)).all():
            raise ValueError(
                f"y holds {classes[:10]}, but ground truth is -1 (anomaly) and +1 (normal): "
                "pass normal_classes, or convert 0/1 by from_binary_labels."
            )
    for name, values in [("normal_classes", normal_classes), ("known_classes", known_classes)]:
        strange = [] if values is None else np.setdiff1d(values, classes)
        if len(strange):
            raise ValueError(f"{name} holds {strange}, but y only {classes[:20]}.")
    normal = np.isin(y, normal_classes)
    known = ~normal if known_classes is None else np.isin(y, known_classes)
    if np.any(known & normal):
        raise ValueError(f"known_classes holds normal classes: {np.unique(y[known & normal])}.")
    return np.flatnonzero(known), np.flatnonzero(~known & ~normal), np.flatnonzero(normal)


def _share_and_count(value):
    """Read a share (float) or a count (int); the other one is 0."""
    return (0.0, int(value)) if isinstance(value, Integral) else (float(value), 0)


def _round_down(share, size):
    """Share of size in whole rows, at least one if there is a share at all."""
    if share == 0:
        return 0
    return max(1, int(share * size + 1e-9))  # .29 * 100 is a little less than 29


def _check_available(name, n_asked, n_available, what):
    if n_asked > n_available:
        raise ValueError(
            f"{name} asks for {n_asked} rows, but y holds only {n_available} {what}: lower it to "
            f"at most {n_available}."
        )


@validate_params(
    {"rest": [StrOptions({"normal", "unlabeled"})]}, prefer_skip_nested_validation=True
)
def from_binary_labels(y, *, anomaly=None, rest="normal"):
    """Turn 0/1 labels, or two named classes, into skad's labels.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        At most two distinct values, bool and text included.
    anomaly : scalar, default=None
        The value that stands for an anomaly. None: 1 or True, if y holds nothing but 0 and 1 or
        bool. Of any other two values, such as 1 and 2, the anomaly must be named.
    rest : {"normal", "unlabeled"}, default="normal"
        What the other value stands for.

    Returns
    -------
    ndarray of shape (n_samples,), int
        -1 for anomalies; +1 for the rest if it is normal, 0 if it is unlabelled.

    Raises
    ------
    ValueError
        When y holds more than two values, missing ones, not the one that is named, or, if none
        is named, others than 0 and 1.

    Examples
    --------
    >>> from skad.datasets import from_binary_labels
    >>> from_binary_labels([0, 0, 1])
    array([ 1,  1, -1])
    >>> from_binary_labels([1, 2, 1], anomaly=2)
    array([ 1, -1,  1])
    >>> from_binary_labels(["ok", "fraud", "ok"], anomaly="fraud", rest="unlabeled")
    array([ 0, -1,  0])
    """
    y = plain_array(y, MISSING)
    values = set(y.tolist())
    if len(values) > 2:
        raise ValueError(
            f"y holds {len(values)} distinct values, such as {sorted(map(str, values))[:5]}; at "
            "most two can be read. For more classes see mask_labels(normal_classes=...)."
        )
    if anomaly is None and -1 in values:
        raise ValueError(
            "y holds -1, which is skad's label of an anomaly already. If so, pass y to fit as it "
            "is; if 1 is the anomaly and -1 the normal, pass -y to fit."
        )
    if anomaly is None and not values <= {0, 1}:
        raise ValueError(f"y holds {values}, not 0 and 1: say which one is the anomaly=...")
    if anomaly is not None and anomaly not in list(values):
        raise ValueError(f"anomaly={anomaly!r} does not occur in y, which holds {values}.")
    return np.where(y == (1 if anomaly is None else anomaly), -1, 1 if rest == "normal" else 0)
