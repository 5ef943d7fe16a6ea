"""Splitters that put labelled anomalies into every fold.

scikit-learn's default for detectors is a plain `KFold`: with few or sorted labels some test parts
hold no anomaly, their score is NaN, a mean over folds is NaN, and a search whose every mean is
NaN warns ("One or more of the test scores are non-finite") and then takes its first candidate.
Pass one of these splitters as ``cv=`` instead: they refuse, before anything is fitted, to make a
fold that cannot be scored.
"""

from itertools import pairwise
from numbers import Integral

import numpy as np
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints
from sklearn.utils.validation import _num_samples

from .._labels import check_labels
from .._parameters import Number


class _Splitter(BaseCrossValidator):
    _parameter_constraints = {
        "n_splits": [Number(Integral, 2, None, closed="left")],
        "unlabeled": [StrOptions({"split", "train"})],
        "random_state": ["random_state"],
    }

    def _check_parameters(self):
        """Refuse wrong parameters, when they are set and again when they are used."""
        constraints = self._parameter_constraints
        values = {name: value for name, value in vars(self).items() if name in constraints}
        validate_parameter_constraints(constraints, values, type(self).__name__)


class SemiSupervisedKFold(_Splitter):
    """K folds, each with its even share of every label.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds, at least 2 and at most the number of labelled anomalies.
    unlabeled : {"split", "train"}, default="split"
        "split": unlabelled rows are spread over the folds too, so that the test parts together
        cover every row once, as `cross_val_predict` wants. "train": they are in every training
        part and in no test part; the test parts then need labelled normals.
    shuffle : bool, default=True
        Whether to shuffle the rows of each label before they are assigned to folds.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffle. `HalvingGridSearchCV`, for one, requires an int.

    See Also
    --------
    RepeatedSemiSupervisedKFold : The same, several times over.
    SemiSupervisedTimeSeriesSplit : For rows in the order of time.

    Notes
    -----
    With ``groups`` (customers, patients, machines) the rows of a group stay together; then no
    more folds are possible than groups with a labelled anomaly. With ``unlabeled="train"`` the
    unlabelled rows of a group under test are left out of the training part as well.

    Examples
    --------
    >>> import numpy as np
    >>> from skad.model_selection import SemiSupervisedKFold
    >>> y = np.array([-1, -1, 0, 0, 0, 0, 1, 1])
    >>> for train, test in SemiSupervisedKFold(2, random_state=0).split(np.zeros((8, 1)), y):
    ...     print(np.sort(y[test]))
    [-1  0  0  1]
    [-1  0  0  1]
    """

    _parameter_constraints = {**_Splitter._parameter_constraints, "shuffle": ["boolean"]}
    # `groups` is used when given, so that metadata routing hands it over without being asked.
    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=5, *, unlabeled="split", shuffle=True, random_state=None):
        self.n_splits = n_splits
        self.unlabeled = unlabeled
        self.shuffle = shuffle
        self.random_state = random_state
        self._check_parameters()

    def split(self, X, y=None, groups=None):
        """Yield the row numbers of each training and test part.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Only its number of rows counts.
        y : array-like of shape (n_samples,), default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None is an error.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same value stay in the same fold.

        Yields
        ------
        train, test : ndarray of int

        Raises
        ------
        ValueError
            When some test part would lack anomalies or rows to tell them from. The message says
            what is possible.
        """
        self._check_parameters()
        y = check_labels(y, _num_samples(X))
        if groups is None:
            _check_enough(np.sum(y == -1), self.n_splits, "labelled anomalies (-1)")
        else:
            check_consistent_length(y, groups)
            n_groups = len(np.unique(np.asarray(groups)[y == -1]))
            _check_enough(n_groups, self.n_splits, "groups with a labelled anomaly (-1)")
        fold = self._fold_of_rows(y, groups)
        in_test = y != 0 if self.unlabeled == "train" else np.ones(len(y), dtype=bool)
        self._check_folds(y, fold, in_test)
        for i in range(self.n_splits):
            yield np.flatnonzero(fold != i), np.flatnonzero((fold == i) & in_test)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored, there for compatibility.

        Returns
        -------
        int
        """
        return self.n_splits

    def _check_parameters(self):
        super()._check_parameters()
        if not self.shuffle and self.random_state is not None:
            raise ValueError("random_state has no effect without shuffle: leave it at None.")

    def _fold_of_rows(self, y, groups):
        """Give the number of each row's fold."""
        rng = check_random_state(self.random_state) if self.shuffle else None
        return self._deal_rows(y, rng) if groups is None else self._deal_groups(y, groups, rng)

    def _deal_rows(self, y, rng):
        """Assign rows to folds in turn, label by label without a break."""
        order = np.arange(len(y)) if rng is None else rng.permutation(len(y))
        # Anomalies, normals, unlabelled: the last may be dropped and leave the others even.
        order = order[np.argsort(np.where(y == 0, 2, y)[order], kind="stable")]
        fold = np.empty(len(y), dtype=int)
        fold[order] = np.arange(len(y)) % self.n_splits
        if self.unlabeled == "train":
            fold[y == 0] = -1
        return fold

    def _deal_groups(self, y, groups, rng):
        """Give each group, those with most anomalies first, to the fold that has fewest."""
        _, group = np.unique(groups, return_inverse=True)
        counts = [np.bincount(group, y == -1), np.bincount(group, y == 1), np.bincount(group)]
        counts = np.column_stack(counts)
        order = np.arange(len(counts)) if rng is None else rng.permutation(len(counts))
        order = order[np.lexsort(-counts[order, ::-1].T)]
        totals = np.zeros((self.n_splits, 3))
        fold_of_group = np.empty(len(counts), dtype=int)
        for g in order:
            held = counts[g] > 0
            fold_of_group[g] = np.lexsort(totals[:, held][:, ::-1].T)[0]
            totals[fold_of_group[g]] += counts[g]
        return fold_of_group[group]

    def _check_folds(self, y, fold, in_test):
        """Refuse test parts that hold anomalies and nothing to tell them from."""
        n_empty = sum(not np.any(in_test & (fold == i) & (y != -1)) for i in range(self.n_splits))
        if n_empty:
            raise ValueError(
                f"{n_empty} of {self.n_splits} test parts would hold nothing but anomalies: lower "
                "n_splits, label more normals, or pass unlabeled='split' to score unlabelled rows."
            )


class RepeatedSemiSupervisedKFold(_Splitter):
    """`SemiSupervisedKFold` several times over, shuffled anew each time.

    With a handful of labelled anomalies the result of one set of folds is noisy; the mean over
    several is less so.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    n_repeats : int, default=10
        How often to make them.
    unlabeled : {"split", "train"}, default="split"
        What to do with unlabelled rows, as in `SemiSupervisedKFold`.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffles.

    Examples
    --------
    >>> from skad.model_selection import RepeatedSemiSupervisedKFold
    >>> RepeatedSemiSupervisedKFold(n_splits=5, n_repeats=3).get_n_splits()
    15
    """

    _parameter_constraints = {
        **_Splitter._parameter_constraints,
        "n_repeats": [Number(Integral, 1, None, closed="left")],
    }
    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits=5, *, n_repeats=10, unlabeled="split", random_state=None):
        self.n_splits = n_splits
        self.n_repeats = n_repeats
        self.unlabeled = unlabeled
        self.random_state = random_state
        self._check_parameters()

    def split(self, X, y=None, groups=None):
        """Yield the row numbers of each training and test part.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Only its number of rows counts.
        y : array-like of shape (n_samples,), default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None is an error.
        groups : array-like of shape (n_samples,), default=None
            Rows with the same value stay in the same fold.

        Yields
        ------
        train, test : ndarray of int

        Raises
        ------
        ValueError
            As in `SemiSupervisedKFold.split`.
        """
        self._check_parameters()
        rng = check_random_state(self.random_state)
        for _ in range(self.n_repeats):
            folds = SemiSupervisedKFold(
                self.n_splits, unlabeled=self.unlabeled, random_state=rng.randint(2**31)
            )
            yield from folds.split(X, y, groups)

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of folds of all repeats.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored, there for compatibility.

        Returns
        -------
        int
        """
        return self.n_splits * self.n_repeats


class SemiSupervisedTimeSeriesSplit(_Splitter):
    """Train on the past, test on the next stretch, with labelled anomalies in each.

    Rows must be in the order of time. The time line is cut into ``n_splits + 1`` stretches with
    an equal number of labelled anomalies; split i trains on the first i and tests on the next.

    Parameters
    ----------
    n_splits : int, default=5
        Number of splits, at least 1 and below the number of labelled anomalies.
    unlabeled : {"split", "train"}, default="split"
        "split": the test parts hold every row of their stretch. "train": only labelled ones.
    gap : int, default=0
        Rows to leave out between the training part and the test part.

    Examples
    --------
    >>> from skad.model_selection import SemiSupervisedTimeSeriesSplit
    >>> y = [0, -1, 0, 0, -1, 0, 0, 0, -1, 0]
    >>> for train, test in SemiSupervisedTimeSeriesSplit(2).split(y, y):
    ...     print(train, test)
    [0 1 2] [3 4 5]
    [0 1 2 3 4 5] [6 7 8 9]
    """

    _parameter_constraints = {
        **_Splitter._parameter_constraints,
        "n_splits": [Number(Integral, 1, None, closed="left")],
        "gap": [Number(Integral, 0, None, closed="left")],
    }

    def __init__(self, n_splits=5, *, unlabeled="split", gap=0):
        self.n_splits = n_splits
        self.unlabeled = unlabeled
        self.gap = gap
        self._check_parameters()

    def split(self, X, y=None, groups=None):
        """Yield the row numbers of each training and test part.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows in the order of time.
        y : array-like of shape (n_samples,), default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None is an error.
        groups : object, default=None
            Ignored, there for compatibility.

        Yields
        ------
        train, test : ndarray of int

        Raises
        ------
        ValueError
            When some part would lack anomalies or rows to tell them from.
        """
        self._check_parameters()
        y = check_labels(y, _num_samples(X))
        anomalies = np.flatnonzero(y == -1)
        _check_enough(len(anomalies) - 1, self.n_splits, "labelled anomalies (-1) but the first")
        stretches = np.array_split(anomalies, self.n_splits + 1)
        cuts = [(a[-1] + b[0] + 1) // 2 for a, b in pairwise(stretches)]
        for start, stop in zip(cuts, [*cuts[1:], len(y)], strict=True):
            train, test = np.arange(max(start - self.gap, 0)), np.arange(start, stop)
            if self.unlabeled == "train":
                test = test[y[test] != 0]
            if not np.any(y[test] != -1) or not np.any(y[train] != -1):
                raise ValueError(
                    f"Rows {start} to {stop - 1} or those before them hold nothing but anomalies. "
                    "Lower n_splits or gap, or pass unlabeled='split'."
                )
            yield train, test

    def get_n_splits(self, X=None, y=None, groups=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object, default=None
            Ignored, there for compatibility.

        Returns
        -------
        int
        """
        return self.n_splits


def _check_enough(n_available, n_splits, what):
    if n_available >= n_splits:
        return
    if n_available < 2:
        cure = "label at least 2 anomalies (in different groups, if there are groups)"
    else:
        cure = f"the largest possible n_splits is {n_available}"
    raise ValueError(f"n_splits={n_splits} but y holds only {n_available} {what}: {cure}.")
