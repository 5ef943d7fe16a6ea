"""Splitters, alone and in scikit-learn's and Optuna's searches."""

import warnings
from inspect import signature

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
)
from sklearn.model_selection import cross_val_predict as sklearn_cross_val_predict
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skad import ConformalDetector, DeepSAD, NormalOnlyDetector, TunedThresholdDetector
from skad.exceptions import LabelConventionWarning
from skad.metrics import average_precision_score, average_precision_scorer, roc_auc_scorer
from skad.model_selection import (
    RepeatedSemiSupervisedKFold,
    SemiSupervisedKFold,
    SemiSupervisedTimeSeriesSplit,
    cross_val_predict,
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
    out_of_fold = sklearn_cross_val_predict(OneClassSVM(), X, y, cv=cv)
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


# --- cross_val_predict --------------------------------------------------------------------------


class Memory(OutlierMixin, BaseEstimator):
    """Scores are the first column on a scale of each model's own; 5 is a row seen in training."""

    def fit(self, X, y=None):
        self.seen_, self.y_ = np.asarray(X), y
        self.scale_, self.shift_ = 1 + np.sum(self.seen_[:, 1]) ** 2, 1000 * self.seen_[:, 2].sum()
        return self

    def score_samples(self, X):
        return np.asarray(X)[:, 0] * self.scale_ + self.shift_

    def decision_function(self, X):
        return self.score_samples(X) - self.shift_

    def predict(self, X):
        seen = [row.tolist() in self.seen_.tolist() for row in np.asarray(X)]
        return np.where(seen, 5, -1)


@pytest.mark.parametrize("method", ["decision_function", "score_samples"])
def test_fold_scores_come_to_one_scale(method):
    """Scales that differ by more than anomalies do; what is left is the column's order."""
    X, y = make_problem()
    scores = cross_val_predict(Memory(), X, y, method=method)
    cv = SemiSupervisedKFold(5, random_state=0)
    locations, spreads, expected = [], [], np.empty(len(y))
    for train, test in cv.split(X, y):
        model = Memory().fit(X[train])
        usual = getattr(model, method)(X[train][y[train] != -1])
        locations.append(np.median(usual))
        spreads.append(np.std(usual))
        expected[test] = (getattr(model, method)(X[test]) - locations[-1]) / spreads[-1]
    np.testing.assert_allclose(scores, expected * np.mean(spreads) + np.mean(locations))
    assert np.corrcoef(scores, X[:, 0])[0, 1] > 0.99
    assert np.ptp(spreads) > np.mean(spreads) / 2


def test_unaligned_scores_are_worse():
    X, y = make_problem()
    X = -X  # anomalies are low in each column
    aligned = cross_val_predict(Memory(), X, y, method="score_samples")
    unaligned = np.empty(len(y))
    for train, test in SemiSupervisedKFold(5, random_state=0).split(X, y):
        unaligned[test] = Memory().fit(X[train]).score_samples(X[test])
    one_scale = average_precision_score(y, X[:, 0])
    assert average_precision_score(y, aligned) > one_scale - 0.05
    assert average_precision_score(y, unaligned) < one_scale - 0.2


@pytest.mark.parametrize("n_anomalies", [0, 1, 3, 12])
@pytest.mark.parametrize("cv", [None, 3])
def test_no_row_is_scored_by_a_model_that_has_seen_it(n_anomalies, cv):
    """Also where there are fewer labelled anomalies than folds."""
    X, y = make_problem(normals=False)
    y[n_anomalies:] = 0
    assert np.all(cross_val_predict(Memory(), X, y, cv=cv, method="predict") == -1)


def test_no_labels_equals_zeros():
    X, _ = make_problem()
    forest = IsolationForest(n_estimators=5, random_state=0)
    scores = cross_val_predict(forest, X)
    assert np.array_equal(scores, cross_val_predict(forest, X, np.zeros(len(X), dtype=int)))
    assert len(np.unique(scores)) > len(X) / 2


def test_labels_reach_every_fold():
    X, y = make_problem()
    detector = DeepSAD(max_steps=20, n_estimators=2, hidden_layer_sizes=(8,), random_state=0)
    with_labels = average_precision_score(y, cross_val_predict(detector, X, y))
    without = average_precision_score(y, cross_val_predict(detector, X))
    assert with_labels > without


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), OneClassSVM()),
        NormalOnlyDetector(KernelDensity()),
        LocalOutlierFactor(novelty=True),
        TunedThresholdDetector(OneClassSVM(), random_state=0),
        ConformalDetector(OneClassSVM(), method="cross", random_state=0),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_any_detector_in_any_number_of_jobs(estimator):
    X, y = make_problem()
    before = clone(estimator).get_params()
    scores = cross_val_predict(estimator, X, y)
    assert scores.shape == (len(y),)
    assert scores.dtype == np.float64
    with joblib.parallel_config("threading"):
        assert np.array_equal(cross_val_predict(estimator, X.tolist(), list(y), n_jobs=2), scores)
    assert average_precision_score(y, scores) > 0.4
    assert set(cross_val_predict(estimator, X, y, method="predict")) <= {-1, 1}
    assert str(estimator.get_params()) == str(before)


def test_no_row_is_scored_by_a_model_that_has_seen_its_group():
    X, y = make_problem()
    groups = np.arange(len(y)) // 2

    class Groups(Memory):
        def predict(self, X):
            return np.where(np.isin(np.asarray(X)[:, 1], self.seen_[:, 1]), 5, -1)

    X[:, 1] = groups
    together = cross_val_predict(Groups(), X, y, groups=groups, method="predict")
    assert np.all(together == -1)
    assert np.any(cross_val_predict(Groups(), X, y, method="predict") == 5)
    few = np.where(np.arange(len(y)) < 2, -1, 0)  # both anomalies in one group
    assert np.all(cross_val_predict(Groups(), X, few, groups=groups, method="predict") == -1)


def test_infinite_scores_do_not_spoil_the_scale():
    X, y = make_problem()
    X = np.r_[X, [[50.0, 50.0, 50.0]]]
    y = np.r_[y, 0]
    tophat = KernelDensity(kernel="tophat", bandwidth=1.5)
    scores = cross_val_predict(tophat, X, y, method="score_samples")
    assert np.isfinite(scores).all()
    usual = scores > -1e90
    assert not usual[-1]
    assert len(np.unique(scores[usual])) > 20


def test_convention_warning_comes_once():
    X, _ = make_problem()
    y = np.where(np.arange(len(X)) < 20, 1, 0)
    with pytest.warns(LabelConventionWarning) as caught:
        cross_val_predict(OneClassSVM(), X, y)
    assert len(caught) == 1


def test_constant_scores():
    class Constant(Memory):
        def score_samples(self, X):
            return np.full(len(X), 3.0)

    X, y = make_problem()
    assert np.all(cross_val_predict(Constant(), X, y, method="score_samples") == 3)


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"method": "transform"}, ValueError, "method must be .*got 'transform'"),
        ({"estimator": LocalOutlierFactor()}, TypeError, "must have decision_function"),
        ({"estimator": StandardScaler()}, TypeError, "must have decision_function"),
        ({"cv": 1}, ValueError, "n_splits"),
        ({"cv": RepeatedSemiSupervisedKFold(3, n_repeats=2)}, ValueError, "in 288 places"),
        ({"cv": [(range(9, 144), range(9))]}, ValueError, "of 144 rows it tests 9"),
        ({"cv": [(range(144), range(144))]}, ValueError, "144 are under test"),
        ({"cv": []}, ValueError, "it tests 0"),
        ({"groups": np.zeros(144)}, ValueError, "0 training rows"),
        ({"groups": np.zeros(3)}, ValueError, "inconsistent numbers of samples"),
        ({"y": np.zeros(3)}, ValueError, "3 labels but X has 144 rows"),
    ],
)
def test_wrong_arguments_of_cross_val_predict(change, error, message):
    X, y = make_problem()
    with pytest.raises(error, match=message):
        cross_val_predict(**{"estimator": OneClassSVM(), "X": X, "y": y[::-1], **change})
