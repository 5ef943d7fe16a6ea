"""Meta-estimators: the contract, thresholds by brute force, promises by simulation."""

import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.stats import false_discovery_control
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.ensemble import IsolationForest
from sklearn.frozen import FrozenEstimator
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity, LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_inplace_ensure_writeable,
    check_param_validation,
)

from skad import (
    ConformalDetector,
    DeepSAD,
    NormalOnlyDetector,
    SampledDetector,
    TunedThresholdDetector,
)
from skad.base import BaseDetector
from skad.exceptions import LabelConventionWarning, ThresholdWarning
from skad.metrics import average_precision_scorer, roc_auc_score
from skad.model_selection import RepeatedSemiSupervisedKFold, SemiSupervisedKFold

from . import checks
from .checks import global_states

FOREST = IsolationForest(n_estimators=5)
METAS = [
    NormalOnlyDetector(FOREST),
    ConformalDetector(FOREST),
    ConformalDetector(OneClassSVM(), method="cross"),
    TunedThresholdDetector(OneClassSVM()),
    SampledDetector(FOREST, max_samples=90, chunk_size=50),
]
meta_estimators = pytest.mark.parametrize("meta", METAS, ids=str)


class Distance(BaseDetector):
    """Minus the distance to the mean, rounded to make ties; remembers what it was given."""

    def __init__(self, decimals=None, contamination=0.1):
        self.decimals = decimals
        self.contamination = contamination

    def _fit(self, X, y):
        self.y_ = y
        self.mean_ = np.ascontiguousarray(X).mean(axis=0)
        return self._score_samples(X)

    def _score_samples(self, X):
        scores = -np.linalg.norm(np.ascontiguousarray(X) - self.mean_, axis=1)
        return scores if self.decimals is None else np.round(scores, self.decimals)


class Feature(OutlierMixin, BaseEstimator):
    """The first column is the score."""

    def fit(self, X, y=None):
        self.n_features_in_ = np.shape(X)[1]
        return self

    def score_samples(self, X):
        return np.asarray(X)[:, 0]


def make_problem(seed=0, n_anomalies=20):
    rng = np.random.RandomState(seed)
    X = np.r_[rng.randn(n_anomalies, 2) * 3 + 2, rng.randn(300, 2)]
    y = np.repeat([-1, 1, 0], [n_anomalies, 40, 260])
    order = rng.permutation(len(y))
    return X[order], y[order]


# The contract

ON_ALL = [
    checks.check_scores_and_predictions,
    checks.check_higher_is_more_normal,
    checks.check_row_alone_scores_the_same,
    checks.check_no_labels_equals_zeros,
    checks.check_kinds_of_labels,
    checks.check_bad_labels,
    checks.check_label_convention_warning,
    checks.check_fit_predict_uses_labels,
    checks.check_score_is_auc,
    checks.check_kinds_of_X,
    checks.check_input_is_left_alone,
    checks.check_seed_fixes_scores,
    checks.check_global_generators_untouched,
    checks.check_failed_refit_leaves_detector_as_it_was,
    checks.check_copies_score_the_same,
]
ON_CONTAMINATION = [
    checks.check_offset_is_quantile_of_unlabeled,
    checks.check_offset_with_few_unlabeled,
    checks.check_novelty_mode,
    checks.check_threshold_moves_without_refit,
    checks.check_scores_vary,
]


@meta_estimators
@pytest.mark.parametrize("check", ON_ALL)
@pytest.mark.filterwarnings("ignore::skad.exceptions.ThresholdWarning")
def test_contract(check, meta):
    check(clone(meta).set_params(estimator=Distance(), random_state=0))


@pytest.mark.parametrize(
    "meta", [NormalOnlyDetector(Distance()), SampledDetector(Distance(), chunk_size=50)], ids=str
)
@pytest.mark.parametrize("check", ON_CONTAMINATION)
def test_contract_on_contamination(check, meta):
    check(clone(meta))


@meta_estimators
@pytest.mark.filterwarnings("ignore::skad.exceptions.LabelConventionWarning")
@pytest.mark.filterwarnings("ignore::skad.exceptions.ThresholdWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_scikit_learn_checks(meta):
    results = check_estimator(meta, on_skip=None)
    assert len(results) > 40
    assert {r["status"] for r in results} == {"passed"}


@meta_estimators
@pytest.mark.filterwarnings("ignore::skad.exceptions.LabelConventionWarning")
@pytest.mark.filterwarnings("ignore::skad.exceptions.ThresholdWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize(
    "check",
    [
        check_dataframe_column_names_consistency,
        check_param_validation,
        check_inplace_ensure_writeable,
    ],
)
def test_optional_scikit_learn_checks(check, meta):
    check(type(meta).__name__, meta)


@meta_estimators
def test_sign_and_type_of_scores(meta):
    X, y = make_problem()
    meta = clone(meta).fit(X, y)
    decision, scores = meta.decision_function(X), meta.score_samples(X)
    assert decision.dtype == scores.dtype == np.float64
    assert np.array_equal(decision, scores - meta.offset_)
    assert np.array_equal(meta.predict(X), np.where(decision < 0, -1, 1))
    assert decision[y == -1].mean() < decision[y == 1].mean()
    assert meta.score(X, y) > 0.8
    one_by_one = np.concatenate([meta.decision_function(X[i : i + 1]) for i in range(20)])
    assert_allclose(one_by_one, decision[:20], rtol=0, atol=1e-12)


@meta_estimators
def test_seeds(meta):
    X, y = make_problem()
    before = checks.global_states(), np.random.get_state()[2]
    first, second = (
        clone(meta).set_params(random_state=0).fit(X, y).decision_function(X) for _ in range(2)
    )
    fresh = [clone(meta).fit(X, y).decision_function(X) for _ in range(2)]
    assert np.array_equal(first, second)
    assert (checks.global_states(), np.random.get_state()[2]) == before
    assert not np.array_equal(*fresh)


def test_a_seed_of_the_inner_detector_is_kept():
    X, y = make_problem()
    inner = make_pipeline(StandardScaler(), IsolationForest(n_estimators=5, random_state=3))
    meta = NormalOnlyDetector(inner, random_state=0).fit(X, y)
    assert meta.estimator_[-1].random_state == 3
    assert inner[-1].random_state == 3
    inner.set_params(isolationforest__random_state=None)
    meta = NormalOnlyDetector(inner, random_state=5).fit(X, y)
    assert meta.estimator_[-1].random_state == 5
    assert inner[-1].random_state is None


@meta_estimators
def test_unchanged_when_fit_raises(meta):
    X, y = make_problem()
    meta = clone(meta).fit(X, y)
    before = dict(vars(meta))
    for bad_X, bad_y, match in [
        (X, -np.ones(len(X), dtype=int), "All rows are labelled -1"),
        (np.full_like(X, np.nan), y, "NaN"),
        (X, y[1:], "y has 319 labels but X has 320 rows"),
    ]:
        if "NaN" in match and not isinstance(meta.estimator, OneClassSVM):
            continue  # IsolationForest takes NaN
        with pytest.raises(ValueError, match=match):
            meta.fit(bad_X, bad_y)
        assert vars(meta) == before


@meta_estimators
def test_x_reaches_the_inner_detector_untouched(meta):
    """A frame with missing cells, for a pipeline that imputes, also in a search."""
    X, y = make_problem()
    X = pd.DataFrame(X, columns=["a", "b"]).mask(np.random.RandomState(0).rand(*X.shape) < 0.1)
    inner = make_pipeline(SimpleImputer(), StandardScaler(), meta.estimator)
    meta = clone(meta).set_params(estimator=inner)
    meta.fit(X, y)
    assert list(meta.feature_names_in_) == ["a", "b"]
    assert meta.n_features_in_ == 2
    with pytest.raises(ValueError, match="feature names"):
        meta.predict(X[["b", "a"]])
    meta.fit(np.asarray(X), y)
    assert not hasattr(meta, "feature_names_in_")
    search = GridSearchCV(
        meta,
        {"estimator__simpleimputer__strategy": ["mean", "median"]},
        cv=SemiSupervisedKFold(3, random_state=0),
        scoring=average_precision_scorer,
    ).fit(X, y)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (320,)


@meta_estimators
def test_last_step_of_a_pipeline_and_pickle(meta):
    X, y = make_problem()
    pipeline = make_pipeline(StandardScaler(), clone(meta)).fit(X, y)
    copy = pickle.loads(pickle.dumps(pipeline))
    assert np.array_equal(copy.decision_function(X), pipeline.decision_function(X))


@meta_estimators
@pytest.mark.filterwarnings("ignore::skad.exceptions.ThresholdWarning")
def test_convention_warning_comes_once_and_only_when_due(meta):
    X, y = make_problem()
    meta = clone(meta).set_params(estimator=Distance())
    meta.fit(X, y)  # warnings are errors: no part of y may raise one
    with pytest.warns(LabelConventionWarning) as record:
        meta.fit(X, np.abs(y))
    assert [r.category for r in record].count(LabelConventionWarning) == 1


def test_an_inner_detector_without_scores_is_refused():
    for detector in [LocalOutlierFactor(), StandardScaler()]:
        with pytest.raises(ValueError, match="'fit' and 'score_samples'"):
            NormalOnlyDetector(detector).fit([[0.0], [1.0]])


# NormalOnlyDetector


@pytest.mark.parametrize("unlabeled, kept", [("as_normal", [0, 1]), ("ignore", [1])])
def test_labelled_anomalies_are_dropped(unlabeled, kept):
    X, y = make_problem()
    meta = NormalOnlyDetector(Distance(), unlabeled=unlabeled).fit(X, y)
    rows = np.isin(y, kept)
    assert np.array_equal(meta.estimator_.y_, y[rows])
    assert np.array_equal(meta.estimator_.mean_, X[rows].mean(axis=0))
    assert np.mean(meta.predict(X[y == 0]) == -1) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "detector",
    [
        OneClassSVM(),
        IsolationForest(random_state=0),
        LocalOutlierFactor(novelty=True),
        KernelDensity(),
    ],
)
def test_dropping_the_anomalies_helps(detector):
    """A tight cluster of labelled anomalies passes for normal unless it is left out."""
    rng = np.random.RandomState(0)
    X = np.r_[rng.randn(200, 2), rng.randn(60, 2) / 5 + 5]
    y = np.repeat([0, -1], [200, 60])
    meta = NormalOnlyDetector(detector).fit(X, y)
    assert meta.score(X, y) > 0.99
    naive = clone(detector).fit(X).score_samples(X)
    assert roc_auc_score(y, naive) < 0.9
    assert np.mean(meta.predict(X[200:]) == -1) == 1


def test_no_labelled_normal_to_fit_on():
    X, y = make_problem()
    with pytest.raises(ValueError, match="leaves no row to fit on"):
        NormalOnlyDetector(Distance(), unlabeled="ignore").fit(X, np.minimum(y, 0))


# ConformalDetector


def brute_force_p(meta, X):
    """The definition, row by row."""
    n = sum(map(len, meta.calibration_scores_))
    count = np.zeros(len(X))
    for detector, calibration in zip(meta.estimators_, meta.calibration_scores_, strict=True):
        count += np.sum(calibration[None, :] <= detector.score_samples(X)[:, None], axis=1)
    return (1 + count) / (1 + n)


@pytest.mark.parametrize("method", ["split", "cross"])
@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.29, 1 / 3, 0.5, 0.9])
def test_negative_exactly_where_p_is_at_most_alpha(method, decimals, alpha):
    X, y = make_problem()
    meta = ConformalDetector(
        Distance(decimals), alpha=alpha, method=method, calibration_size=0.4, random_state=0
    ).fit(X, y)
    p = meta.p_values(X)
    assert np.array_equal(p, brute_force_p(meta, X))
    assert np.array_equal(meta.decision_function(X) < 0, p <= alpha)
    assert 0 < np.mean(p <= alpha) < 1
    assert np.isfinite(meta.offset_)


@pytest.mark.parametrize("n", [9, 19, 28, 99])
def test_p_equal_to_alpha_is_flagged(n):
    """alpha (n + 1) is a whole number, up to rounding, so that p = alpha occurs."""
    X = np.arange(n, dtype=float)[:, None]
    for k in range(1, n + 1):
        meta = ConformalDetector(FrozenEstimator(Feature().fit(X)), alpha=k / (n + 1)).fit(X)
        assert np.sum(meta.predict(X - 0.5) == -1) == k
        assert np.sum(meta.predict(X) == -1) == k - 1


def test_cross_decision_is_the_rth_largest_gap(monkeypatch):
    X, y = make_problem()
    meta = ConformalDetector(Distance(), method="cross", cv=3, alpha=0.1, random_state=0)
    meta.fit(X, y)
    pairs = list(zip(meta.estimators_, meta.calibration_scores_, strict=True))
    gaps = np.concatenate([d.score_samples(X)[:, None] - c[None, :] for d, c in pairs], axis=1)
    r = int(0.1 * 301)
    assert_allclose(meta.decision_function(X), np.sort(gaps, axis=1)[:, -r], rtol=0, atol=1e-12)
    many = np.tile(X, (200, 1))  # more than one chunk
    assert np.array_equal(meta.decision_function(many), np.tile(meta.decision_function(X), 200))


@pytest.mark.parametrize("method", ["split", "cross"])
def test_parts_that_calibrate(method):
    X, y = make_problem()
    meta = ConformalDetector(Distance(), method=method, cv=4, random_state=0).fit(X, y)
    calibrating = sum(map(len, meta.calibration_scores_))
    assert calibrating == (75 if method == "split" else 300)
    for detector, scores in zip(meta.estimators_, meta.calibration_scores_, strict=True):
        assert len(scores) == 75
        assert len(detector.y_) == 320 - 75
        assert np.sum(detector.y_ == -1) == 20  # no labelled anomaly calibrates
    normals = ConformalDetector(Distance(), method=method, unlabeled="ignore", random_state=0)
    normals.set_params(alpha=0.1, calibration_size=0.5).fit(X, y)
    assert sum(map(len, normals.calibration_scores_)) == (20 if method == "split" else 40)
    assert np.sum(normals.estimators_[0].y_ == 0) == 260


@pytest.mark.parametrize("method", ["split", "cross"])
@pytest.mark.parametrize("n", [4, 10, 38])
def test_too_few_calibration_rows(method, n):
    rng = np.random.RandomState(0)
    X = rng.randn(n, 2)
    meta = ConformalDetector(Distance(), method=method, alpha=0.02, random_state=0)
    with pytest.warns(ThresholdWarning, match="at least 49 calibration rows, got"):
        meta.fit(X)
    new = np.r_[X, rng.randn(200, 2) * 10, [[1e3, 0], [1e150, 0]]]
    decision = meta.decision_function(new)
    assert np.isfinite(meta.offset_)
    assert np.all(decision >= 0)
    assert meta.p_values(new).min() > 0.02
    # The order of the scores is still there, to the digits that the wide margin leaves.
    scores = [d.score_samples(new) for d in meta.estimators_]
    if method == "split":
        assert np.array_equal(np.argsort(decision[:-1]), np.argsort(scores[0][:-1]))
    assert decision[-3] > decision[-2] >= decision[-1]


def test_smallest_number_of_calibration_rows_is_enough():
    for alpha, n in [(0.01, 99), (0.05, 19), (0.1, 9), (0.3, 3), (1 / 3, 2)]:
        X = np.arange(n, dtype=float)[:, None]
        frozen = FrozenEstimator(Feature().fit(X))
        meta = ConformalDetector(frozen, alpha=alpha).fit(X)
        assert meta.predict([[-1.0]]) == [-1]
        with pytest.warns(ThresholdWarning, match=f"at least {n} calibration rows, got {n - 1}"):
            meta.fit(X[1:])


def test_no_row_to_calibrate_on():
    X, y = make_problem()
    with pytest.raises(ValueError, match="at least 2 rows that stand for normals, got 0"):
        ConformalDetector(Distance(), unlabeled="ignore").fit(X, np.minimum(y, 0))


@pytest.mark.parametrize("method", ["split", "cross"])
def test_conformal_threshold_without_refit(method):
    X, y = make_problem()
    meta = ConformalDetector(Distance(), method=method, random_state=0).fit(X, y)
    detectors = meta.estimators_
    meta.set_params(alpha=0.2).fit_threshold()
    other = ConformalDetector(Distance(), method=method, random_state=0, alpha=0.2).fit(X, y)
    assert meta.estimators_ is detectors
    assert meta.offset_ == other.offset_
    assert (meta.offset_ == 0) == (method == "cross")
    assert np.array_equal(meta.decision_function(X), other.decision_function(X))


def test_conformal_threshold_from_fresh_rows():
    X, y = make_problem()
    meta = ConformalDetector(Distance(), random_state=0, alpha=0.1).fit(X, y)
    fresh, labels = make_problem(1)
    meta.fit_threshold(fresh, labels)
    frozen = ConformalDetector(FrozenEstimator(meta.estimators_[0]), alpha=0.1).fit(fresh, labels)
    assert len(meta.calibration_scores_[0]) == 300
    assert meta.offset_ == frozen.offset_
    before = dict(vars(meta))
    with pytest.raises(ValueError, match="No row of X stands for a normal"):
        meta.set_params(unlabeled="ignore").fit_threshold(fresh)
    assert vars(meta) == {**before, "unlabeled": "ignore"}
    cross = ConformalDetector(Distance(), method="cross").fit(X, y)
    with pytest.raises(ValueError, match="method='split'"):
        cross.fit_threshold(fresh)


def false_alarm_rates(method, decimals, alphas, n_repeats=100):
    """Mean and standard error of the rate of normals flagged, and all their p-values."""
    rng = np.random.RandomState(0)
    rates, p_values = [], []
    for seed in range(n_repeats):
        X = rng.standard_t(3, (120, 3))
        y = np.r_[np.full(10, -1), np.zeros(110, dtype=int)]
        meta = ConformalDetector(
            Distance(decimals), alpha=0.1, method=method, calibration_size=0.5, random_state=seed
        ).fit(X, y)
        p = meta.p_values(rng.standard_t(3, (100, 3)))
        rates.append([np.mean(p <= alpha) for alpha in alphas])
        p_values.append(p)
    rates = np.array(rates)
    return rates.mean(axis=0), rates.std(axis=0) / np.sqrt(n_repeats), np.array(p_values)


@pytest.mark.parametrize("decimals", [None, 0])
def test_split_keeps_its_promise(decimals):
    alphas = np.array([0.02, 0.05, 0.1, 0.3, 0.5, 0.8])
    mean, standard_error, p = false_alarm_rates("split", decimals, alphas)
    assert np.all(mean <= alphas + 2 * standard_error)
    if decimals is None:  # without ties the promise is sharp
        assert np.all(mean >= alphas - 1 / 56 - 3 * standard_error)
    assert np.unique(p).size > 5


@pytest.mark.parametrize("decimals", [None, 0])
def test_cross_keeps_its_promise(decimals):
    alphas = np.array([0.05, 0.1, 0.3])
    mean, standard_error, _ = false_alarm_rates("cross", decimals, alphas, n_repeats=60)
    assert np.all(mean <= 2 * alphas + 2 * standard_error)
    assert np.all(mean > 0)


def test_hidden_anomalies_make_it_cautious():
    rng = np.random.RandomState(0)
    clean, hidden = rng.randn(400, 2), rng.randn(40, 2) + 6
    rates = []
    for X in (clean, np.r_[clean, hidden]):
        meta = ConformalDetector(Distance(), alpha=0.05, random_state=0).fit(X)
        rates.append(np.mean(meta.predict(rng.randn(2000, 2)) == -1))
    assert rates[1] < rates[0] / 2


@pytest.mark.parametrize("method", ["bh", "by"])
@pytest.mark.parametrize("decimals", [None, 1])
def test_false_discovery_rate_over_batches(method, decimals):
    rng = np.random.RandomState(0)
    false_share, found = [], []
    for _ in range(100):
        frozen = FrozenEstimator(Distance(decimals).fit(rng.randn(50, 2)))
        meta = ConformalDetector(frozen).fit(rng.randn(300, 2))
        batch = np.r_[rng.randn(90, 2), rng.randn(10, 2) + 6]
        alarm = meta.predict_batch(batch, fdr=0.2, method=method) == -1
        assert np.array_equal(
            alarm, false_discovery_control(meta.p_values(batch), method=method) <= 0.2
        )
        false_share.append(alarm[:90].sum() / max(alarm.sum(), 1))
        found.append(alarm[90:].mean())
    assert np.mean(false_share) <= 0.2 + 2 * np.std(false_share) / 10
    assert np.mean(found) > 0.5
    with pytest.raises(ValueError, match="fdr must be a float in the range .* got 1"):
        meta.predict_batch(batch, fdr=1)


# TunedThresholdDetector


def brute_force_objective(scores, y, offset, objective, beta):
    alarm, anomaly = scores < offset, y == -1
    found, false = np.sum(alarm & anomaly), np.sum(alarm & ~anomaly)
    if objective == "f_beta":
        return (1 + beta**2) * found / (beta**2 * anomaly.sum() + found + false)
    return false / np.sum(~anomaly), found / anomaly.sum()


def all_offsets(scores):
    """One offset between any two distinct scores, and beyond both ends."""
    distinct = np.unique(scores)
    return np.r_[distinct[0], (distinct[1:] + distinct[:-1]) / 2, distinct[-1] + 1]


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("unlabeled", ["as_normal", "ignore"])
@pytest.mark.parametrize("beta", [0.3, 1, 3])
def test_f_beta_is_the_best_there_is(decimals, unlabeled, beta):
    X, y = make_problem()
    meta = TunedThresholdDetector(
        Distance(decimals), beta=beta, unlabeled=unlabeled, random_state=0
    ).fit(X, y)
    rows = (meta.cv_labels_ != 0) | (unlabeled == "as_normal")
    scores, labels = meta.cv_scores_[rows], meta.cv_labels_[rows]
    reached = brute_force_objective(scores, labels, meta.offset_, "f_beta", beta)
    best = max(
        brute_force_objective(scores, labels, o, "f_beta", beta) for o in all_offsets(scores)
    )
    assert reached == pytest.approx(best, abs=1e-12)
    assert 0 < reached < 1


@pytest.mark.parametrize("decimals", [None, 0])
@pytest.mark.parametrize("target", [0.0, 0.05, 0.3, 1.0])
def test_rates_by_brute_force(decimals, target):
    X, y = make_problem()
    meta = TunedThresholdDetector(
        Distance(decimals), objective="fpr", target=target, random_state=0
    ).fit(X, y)
    scores, labels = meta.cv_scores_, meta.cv_labels_
    rates = [brute_force_objective(scores, labels, o, "", 1) for o in all_offsets(scores)]
    fpr, recall = brute_force_objective(scores, labels, meta.offset_, "", 1)
    assert fpr <= target
    assert recall == max(r for f, r in rates if f <= target)
    meta.set_params(objective="recall").fit_threshold()
    fpr, recall = brute_force_objective(scores, labels, meta.offset_, "", 1)
    assert recall >= target
    assert fpr == min(f for f, r in rates if r >= target)
    assert np.isfinite(meta.offset_)


def test_out_of_fold_scores_are_out_of_fold():
    X, y = make_problem()
    cv = SemiSupervisedKFold(4, random_state=0)
    meta = TunedThresholdDetector(Distance(), cv=cv).fit(X, y)
    expected = [
        Distance().fit(X[train], y[train]).score_samples(X[test]) for train, test in cv.split(X, y)
    ]
    assert np.array_equal(meta.cv_scores_, np.concatenate(expected))
    assert len(meta.estimator_.y_) == len(y)
    repeated = RepeatedSemiSupervisedKFold(3, n_repeats=2, random_state=0)
    assert len(TunedThresholdDetector(Distance(), cv=repeated).fit(X, y).cv_scores_) == 2 * len(y)


def test_rate_on_fresh_rows():
    rates = []
    for seed in range(40):
        X, y = make_problem(seed)
        meta = TunedThresholdDetector(
            Distance(), objective="fpr", target=0.1, random_state=seed
        ).fit(X, y)
        fresh, labels = make_problem(1000 + seed)
        rates.append(np.mean(meta.predict(fresh[labels >= 0]) == -1))
    assert abs(np.mean(rates) - 0.1) <= 3 * np.std(rates) / np.sqrt(40)


def test_fewer_anomalies_than_folds():
    X, y = make_problem(n_anomalies=3)
    assert len(TunedThresholdDetector(Distance()).fit(X, y).cv_scores_) == len(y)


@pytest.mark.parametrize("n_anomalies", [0, 1])
def test_nothing_to_tune_on(n_anomalies):
    X, y = make_problem(n_anomalies=n_anomalies)
    y = np.minimum(y, 0)
    meta = TunedThresholdDetector(Distance())
    with pytest.warns(ThresholdWarning, match="ConformalDetector, which needs no anomaly"):
        meta.fit(X, y)
    assert np.sum(meta.predict(X[y == 0]) == -1) == 30
    with pytest.raises(ValueError, match="needs labelled anomalies"):
        meta.fit_threshold()
    fresh, labels = make_problem(1)
    meta.fit_threshold(fresh, labels)
    assert meta.predict(fresh[labels == -1]).mean() < 0


def test_target_is_required_by_rates():
    X, y = make_problem()
    for objective in ("fpr", "recall"):
        with pytest.raises(ValueError, match="needs a target"):
            TunedThresholdDetector(Distance(), objective=objective).fit(X, y)


# --- infinite scores, parallel fits -------------------------------------------------------------


@pytest.mark.parametrize(
    "meta",
    [
        NormalOnlyDetector(KernelDensity(kernel="tophat", bandwidth=0.5)),
        NormalOnlyDetector(KernelDensity(kernel="tophat", bandwidth=0.5), unlabeled="ignore"),
        ConformalDetector(KernelDensity(kernel="tophat", bandwidth=0.5), random_state=0),
        ConformalDetector(KernelDensity(kernel="tophat"), method="cross", random_state=0),
        TunedThresholdDetector(KernelDensity(kernel="tophat", bandwidth=0.5), random_state=0),
    ],
    ids=lambda meta: f"{type(meta).__name__}-{meta.unlabeled}-{getattr(meta, 'method', '')}",
)
def test_infinite_scores_stay_finite_in_their_order(meta):
    """A tophat density is 0, and its logarithm minus infinity, away from all training rows."""
    X, y = make_problem()
    y[-100:] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ThresholdWarning)  # there is nothing below minus infinity
        meta.fit(X, y)
    inside, far = X[y == 1][:50], np.full((3, 2), 1e6)
    decision = meta.decision_function(np.r_[inside, far])
    assert np.isfinite(decision).all()
    assert decision[-3:].max() < decision[:50].min()
    assert len(np.unique(decision[:50])) > 5  # far below, finite scores would tie
    assert 0 <= meta.score(X, y) <= 1
    assert set(meta.predict(X)) <= {-1, 1}


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("method", ["split", "cross"])
def test_finite_scores_keep_their_order_when_nothing_can_be_flagged(method, alpha):
    """Too few rows, or so many infinite scores that the threshold would lie among them."""
    X = np.r_[np.full(60, -np.inf), np.full(20, np.inf), np.arange(220.0)][:, None]
    new = np.r_[np.linspace(-5, 230, 50), np.inf, -np.inf][:, None]
    meta = ConformalDetector(Feature(), method=method, alpha=alpha, random_state=0)
    with pytest.warns(ThresholdWarning, match="Nothing will be flagged"):
        meta.fit(X)
    decision = meta.decision_function(new)
    assert np.isfinite(decision).all()
    assert np.all(np.diff(decision[:51]) > 0)
    assert 0 <= decision[-1] < decision[0]


@pytest.mark.parametrize("infinite", [-np.inf, np.inf])
@pytest.mark.parametrize(
    "meta",
    [
        NormalOnlyDetector(Feature()),
        TunedThresholdDetector(Feature(), random_state=0),
        TunedThresholdDetector(Feature(), objective="recall", target=1.0, random_state=0),
    ],
    ids=["normal-only", "f_beta", "recall"],
)
def test_a_threshold_is_never_infinite(meta, infinite):
    X = np.r_[np.full(280, infinite), np.arange(40.0)][:, None]
    y = np.tile([-1, 0, 0, 0], 80)
    new = np.r_[-np.inf, np.linspace(-5, 45, 50), np.inf][:, None]
    decision = meta.fit(X, y).decision_function(new)
    assert np.isfinite(decision).all()
    assert np.all(np.diff(decision) > 0)


class GivesNaN(BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def score_samples(self, X):
        return np.full(len(X), np.nan)


def test_scores_that_are_no_numbers():
    X, y = make_problem()
    with pytest.raises(ValueError, match="GivesNaN.score_samples gives NaN"):
        NormalOnlyDetector(GivesNaN()).fit(X, y)


@pytest.mark.parametrize(
    "meta",
    [
        ConformalDetector(IsolationForest(n_estimators=5), method="cross", cv=3, random_state=0),
        TunedThresholdDetector(DeepSAD(n_estimators=1, max_steps=5), cv=2, random_state=0),
    ],
    ids=lambda meta: type(meta).__name__,
)
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_parallel_fits_equal_those_one_after_the_other(meta, backend):
    X, y = make_problem()
    expected, before = clone(meta).fit(X, y), global_states()
    with joblib.parallel_config(backend):
        parallel = clone(meta).set_params(n_jobs=2).fit(X, y)
    assert global_states() == before
    assert np.array_equal(parallel.decision_function(X), expected.decision_function(X))


@pytest.mark.parametrize("fdr", ["a", True, 0, 1, None])
def test_wrong_arguments_of_methods(fdr):
    X, y = make_problem()
    detector = ConformalDetector(IsolationForest(n_estimators=5), random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="fdr must be"):
        detector.predict_batch(X, fdr=fdr)
    with pytest.raises(ValueError, match="cv=.* gives no split"):
        TunedThresholdDetector(IsolationForest(n_estimators=5), cv=[]).fit(X, y)
    with pytest.warns(ThresholdWarning, match=r"needs at least 1e\+300 calibration rows, got 75"):
        ConformalDetector(IsolationForest(n_estimators=5), alpha=1e-320).fit(X, y)
