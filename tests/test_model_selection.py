"""Splitters, alone and in scikit-learn's and Optuna's searches."""

import warnings
from inspect import signature

import numpy as np
import pytest
import sklearn
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skad import DeepSAD
from skad.metrics import average_precision_scorer, roc_auc_scorer
from skad.model_selection import (
    RepeatedSemiSupervisedKFold,
    SemiSupervisedKFold,
    SemiSupervisedTimeSeriesSplit,
)

SPLITTERS = [RepeatedSemiSupervisedKFold, SemiSupervisedKFold, SemiSupervisedTimeSeriesSplit]


def make_labels(n_anomalies, n_normals, n_unlabelled, seed=None):
    y = np.repeat([-1, 1, 0], [n_anomalies, n_normals, n_unlabelled])
    return y if seed is None else np.random.RandomState(seed).permutation(y)


def make_problem(seed=0, normals=True):
    """Overlapping anomalies, a few labelled, rows sorted by label."""
    rng = np.random.RandomState(seed)
    X = np.r_[rng.randn(12, 3) + 2.5, rng.randn(12, 3), rng.randn(120, 3)]
    return X, np.repeat([-1, 1 if normals else 0, 0], [12, 12, 120])


def folds(splitter, y, groups=None):
    return list(splitter.split(np.zeros((len(y), 1)), y, groups))


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("sizes", [(5, 0, 20), (13, 7, 101), (9, 30, 0), (6, 2, 3)])
def test_every_label_and_every_row_is_spread_evenly(seed, shuffle, sizes):
    y = make_labels(*sizes, seed)
    splitter = SemiSupervisedKFold(5, shuffle=shuffle, random_state=seed if shuffle else None)
    tested = np.zeros(len(y), dtype=int)
    counts = []
    for train, test in folds(splitter, y):
        tested[test] += 1
        assert np.array_equal(np.sort(np.r_[train, test]), np.arange(len(y)))
        counts.append([np.sum(y[test] == label) for label in (-1, 0, 1)] + [len(test)])
    assert np.all(tested == 1)
    assert np.all(np.ptp(counts, axis=0) <= 1)


def test_unlabelled_rows_stay_in_training():
    y = make_labels(6, 8, 30, seed=0)
    tested = np.zeros(len(y), dtype=int)
    for train, test in folds(SemiSupervisedKFold(3, unlabeled="train", random_state=0), y):
        tested[test] += 1
        assert set(np.flatnonzero(y == 0)) <= set(train)
        assert not set(train) & set(test)
        assert np.sum(y[test] == -1) == 2
        assert np.sum(y[test] == 1) >= 2
    assert np.array_equal(tested, y != 0)


def test_seed_decides():
    y = make_labels(6, 8, 30)
    test_parts = [
        np.concatenate([test for _, test in folds(SemiSupervisedKFold(3, random_state=seed), y)])
        for seed in (0, 0, 1)
    ]
    assert np.array_equal(test_parts[0], test_parts[1])
    assert not np.array_equal(test_parts[0], test_parts[2])


@pytest.mark.parametrize("n_anomalies", [2, 4])
def test_largest_possible_n_splits_is_named_and_possible(n_anomalies):
    y = make_labels(n_anomalies, 10, 30)
    with pytest.raises(ValueError, match=f"the largest possible n_splits is {n_anomalies}"):
        folds(SemiSupervisedKFold(5), y)
    assert len(folds(SemiSupervisedKFold(n_anomalies), y)) == n_anomalies


@pytest.mark.parametrize("y", [make_labels(0, 5, 30), make_labels(1, 5, 30), np.zeros(9, int)])
def test_too_few_anomalies_for_any_split(y):
    with pytest.raises(ValueError, match="label at least 2 anomalies"):
        folds(SemiSupervisedKFold(2), y)


def test_test_parts_without_normals_are_refused():
    y = make_labels(6, 2, 30)
    with pytest.raises(ValueError, match=r"1 of 3 test parts .* pass unlabeled='split'"):
        folds(SemiSupervisedKFold(3, unlabeled="train"), y)
    assert len(folds(SemiSupervisedKFold(2, unlabeled="train"), y)) == 2
    with pytest.raises(ValueError, match="1 of 3 test parts"):
        folds(SemiSupervisedKFold(3), make_labels(6, 2, 0))


WRONG = {
    "n_splits": [0, -1, 2.0, True, "5", None],
    "unlabeled": ["test", None, 1],
    "shuffle": ["yes", 1, None],
    "random_state": [-1, 0.5, "0"],
    "n_repeats": [0, -1, 2.0, True, "5", None],
    "gap": [-3, 0.5, True, "1", None],
}


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_wrong_parameters_are_refused_by_name(splitter):
    y = make_labels(6, 6, 6)
    for name in signature(splitter).parameters:
        for value in WRONG[name]:
            match = f"'{name}' parameter of {splitter.__name__} must be"
            with pytest.raises((ValueError, TypeError), match=match):
                splitter(**{name: value})
            changed = splitter(2)
            setattr(changed, name, value)
            with pytest.raises((ValueError, TypeError), match=match):
                folds(changed, y)


def test_a_seed_without_shuffle_is_refused():
    with pytest.raises(ValueError, match="random_state has no effect"):
        SemiSupervisedKFold(shuffle=False, random_state=0)
    with pytest.raises(ValueError, match="n_splits"):
        SemiSupervisedKFold(1)


def test_labels_are_checked():
    with pytest.raises(ValueError, match=r"-1 \(anomaly\)"):
        folds(SemiSupervisedKFold(2), np.array([-1, 2, 0, 0]))


def grouped(seed, n_groups=40):
    """Groups of very unequal size, a third of them with anomalies."""
    rng = np.random.RandomState(seed)
    y, groups = [], []
    for g in range(n_groups):
        size = rng.randint(1, 30)
        labels = rng.choice([0, 1], size)
        if g % 3 == 0:
            labels[: rng.randint(1, size + 1)] = -1
        y.extend(labels)
        groups.extend([f"machine {g}"] * size)
    return np.array(y), np.array(groups)


@pytest.mark.parametrize("unlabeled", ["split", "train"])
@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_together(seed, unlabeled):
    y, groups = grouped(seed)
    splitter = SemiSupervisedKFold(5, unlabeled=unlabeled, random_state=seed)
    anomalies, tested = [], np.zeros(len(y), dtype=int)
    for train, test in folds(splitter, y, groups):
        assert not set(groups[train]) & set(groups[test])
        assert np.any(y[test] == -1)
        assert np.any(y[test] != -1)
        anomalies.append(np.sum(y[test] == -1))
        tested[test] += 1
    assert np.array_equal(tested, (y != 0) if unlabeled == "train" else np.ones(len(y)))
    largest = max(np.sum(y[groups == g] == -1) for g in set(groups))
    assert np.ptp(anomalies) <= largest


def test_groups_with_anomalies_limit_the_folds():
    y = np.r_[[-1] * 9, [0] * 30]
    groups = np.r_[[0, 0, 0, 1, 1, 1, 2, 2, 2], np.arange(30)]
    with pytest.raises(ValueError, match="the largest possible n_splits is 3"):
        folds(SemiSupervisedKFold(4), y, groups)
    assert len(folds(SemiSupervisedKFold(3), y, groups)) == 3
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        folds(SemiSupervisedKFold(3), y, groups[1:])


def test_repeats_are_different_and_seeded():
    y = make_labels(6, 8, 30)
    splitter = RepeatedSemiSupervisedKFold(3, n_repeats=4, random_state=0)
    parts = folds(splitter, y)
    assert len(parts) == splitter.get_n_splits() == 12
    repeats = {tuple(np.concatenate([test for _, test in parts[i : i + 3]])) for i in (0, 3, 6, 9)}
    assert len(repeats) == 4
    for (_, a), (_, b) in zip(parts, folds(splitter, y), strict=True):
        assert np.array_equal(a, b)
    for train, test in folds(RepeatedSemiSupervisedKFold(2, unlabeled="train"), y):
        assert np.all(y[test] != 0)
        assert np.sum(y[train] == 0) == 30


@pytest.mark.parametrize("unlabeled", ["split", "train"])
@pytest.mark.parametrize("gap", [0, 3])
def test_time_series_split_never_trains_on_the_future(unlabeled, gap):
    y = make_labels(12, 60, 200, seed=0)
    parts = folds(SemiSupervisedTimeSeriesSplit(5, unlabeled=unlabeled, gap=gap), y)
    assert len(parts) == 5
    for train, test in parts:
        assert train.max() + gap < test.min()
        assert np.sum(y[test] == -1) == 2
        assert np.any(y[train] == -1)
        assert (unlabeled == "train") != np.any(y[test] == 0)
    if unlabeled == "split":
        assert np.array_equal(
            np.concatenate([test for _, test in parts]), np.arange(parts[0][1][0], len(y))
        )


def test_time_series_split_errors():
    y = make_labels(4, 20, 0, seed=0)
    with pytest.raises(ValueError, match="the largest possible n_splits is 3"):
        folds(SemiSupervisedTimeSeriesSplit(4), y)
    with pytest.raises(ValueError, match="nothing but anomalies"):
        folds(SemiSupervisedTimeSeriesSplit(2), make_labels(6, 1, 0))


GRIDS = [
    (DeepSAD(n_estimators=2, max_steps=10, random_state=0), {"eta": [1.0, 5.0]}),
    (IsolationForest(n_estimators=10, random_state=0), {"max_samples": [16, 64]}),
    (OneClassSVM(), {"nu": [0.05, 0.3]}),
]


@pytest.mark.parametrize("detector, grid", GRIDS)
@pytest.mark.parametrize("normals", [True, False])
def test_grid_search_without_nan(detector, grid, normals):
    X, y = make_problem(normals=normals)
    pipeline = make_pipeline(StandardScaler(), detector)
    name = pipeline.steps[-1][0]
    grid = {f"{name}__{key}": values for key, values in grid.items()}
    search = GridSearchCV(
        pipeline,
        grid,
        cv=SemiSupervisedKFold(5),
        scoring={"auc": roc_auc_scorer, "ap": average_precision_scorer},
        refit="ap",
        n_jobs=2,
    ).fit(X, y)
    for name in ("auc", "ap"):
        scores = [search.cv_results_[f"split{i}_test_{name}"] for i in range(5)]
        assert np.shape(scores) == (5, 2)
        assert np.isfinite(scores).all()
    assert search.best_score_ > 0.5


def test_halving_search_over_training_steps():
    X, y = make_problem()
    search = HalvingGridSearchCV(
        make_pipeline(StandardScaler(), DeepSAD(n_estimators=2, random_state=0)),
        {"deepsad__eta": [1.0, 2.0, 5.0]},
        resource="deepsad__max_steps",
        min_resources=5,
        max_resources=15,
        cv=SemiSupervisedKFold(3, random_state=0),
        scoring=average_precision_scorer,
        random_state=0,
    ).fit(X, y)
    assert set(search.cv_results_["n_resources"]) == {5, 15}
    assert search.best_estimator_[-1].n_iter_ == 15
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_random_search():
    X, y = make_problem()
    search = RandomizedSearchCV(
        OneClassSVM(),
        {"nu": [0.05, 0.3]},
        n_iter=2,
        cv=SemiSupervisedKFold(3),
        scoring=average_precision_scorer,
        random_state=0,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_optuna_search():
    optuna = pytest.importorskip("optuna")
    integration = pytest.importorskip("optuna_integration")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    X, y = make_problem()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the searcher is experimental, and uses old options
        search = integration.OptunaSearchCV(
            OneClassSVM(),
            {"nu": optuna.distributions.FloatDistribution(0.01, 0.5)},
            cv=SemiSupervisedKFold(3, random_state=0),
            scoring=average_precision_scorer,
            n_trials=3,
            random_state=0,
        ).fit(X, y)
    assert np.isfinite([trial.value for trial in search.trials_]).all()


def test_cross_val_predict_covers_every_row():
    X, y = make_problem()
    cv = SemiSupervisedKFold(5, random_state=0)
    out_of_fold = cross_val_predict(OneClassSVM(), X, y, cv=cv)
    for train, test in cv.split(X, y):
        assert np.array_equal(out_of_fold[test], OneClassSVM().fit(X[train]).predict(X[test]))


@pytest.mark.parametrize("routing", [False, True])
def test_groups_reach_the_splitter_from_a_search(routing):
    X, y = make_problem()
    groups = np.arange(len(y)) // 2
    with sklearn.config_context(enable_metadata_routing=routing):
        search = GridSearchCV(
            OneClassSVM(), {"nu": [0.1]}, cv=SemiSupervisedKFold(7), scoring=roc_auc_scorer
        )
        # 12 anomalies in 6 groups: only who sees the groups can refuse.
        with pytest.raises(ValueError, match="the largest possible n_splits is 6"):
            search.fit(X, y, groups=groups)


@pytest.mark.filterwarnings("default")
def test_what_happens_without_our_splitter():
    """Sorted labels and plain folds: every mean is NaN, and both sides say so."""
    X, y = make_problem()
    search = GridSearchCV(OneClassSVM(), {"nu": [0.1, 0.2]}, cv=KFold(5), scoring=roc_auc_scorer)
    with (
        pytest.warns(UndefinedMetricWarning, match="SemiSupervisedKFold"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
    ):
        search.fit(X, y)
    assert np.isnan(search.cv_results_["mean_test_score"]).all()
