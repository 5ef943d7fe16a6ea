"""ClassifierDetector: scores by hand, out-of-bag honesty, balance, cleaning."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

from skad import ClassifierDetector

from ..checks import make_problem

FOREST = ExtraTreesClassifier(20, bootstrap=True, min_samples_leaf=2, random_state=0)


def make_noise(seed=0, n=400, n_labeled=60):
    """Labels that have nothing to do with the rows: whatever is learnt is learnt by heart."""
    X = np.random.RandomState(seed).randn(n, 5)
    return X, np.where(np.arange(n) < n_labeled, -1, 0)


def make_tail(seed=0, n=600):
    """Anomalies that differ by degrees, a few of them labelled."""
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 6)
    truth = np.where(rng.rand(n) < 0.2, -1, 1)
    X[truth == -1] += 1.5
    return X, np.where((truth == -1) & (np.cumsum(truth == -1) <= 15), -1, 0), truth


def test_scores_of_a_forest_by_hand():
    X, y, _ = make_problem()
    detector = ClassifierDetector(FOREST).fit(X, y)
    expected = np.zeros(len(X))
    target = (y != -1).astype(int)
    for tree, rows in zip(
        detector.estimator_, detector.estimator_.estimators_samples_, strict=True
    ):
        weights = compute_sample_weight("balanced", target, indices=rows)[rows]
        leaves = tree.apply(X)
        for leaf in np.unique(leaves):
            inside = leaves[rows] == leaf
            normal = weights[inside & (target[rows] == 1)].sum()
            anomaly = weights[inside & (target[rows] == 0)].sum()
            expected[leaves == leaf] += np.log((normal + 1) / (anomaly + 1))
    assert_allclose(detector.score_samples(X), expected / 20, rtol=1e-12)


def test_scores_do_not_tie_where_probabilities_do():
    rng = np.random.RandomState(0)
    X, y = np.r_[rng.randn(10, 5) + 3, rng.randn(300, 5)], np.repeat([-1, 0], [10, 300])
    forest = clone(FOREST).set_params(n_estimators=50, min_samples_leaf=1)
    detector = ClassifierDetector(forest).fit(X, y)
    fresh = rng.randn(1000, 5)
    fresh = fresh[detector.estimator_.predict_proba(fresh)[:, 0] == 0]
    assert len(fresh) > 50
    assert len(np.unique(detector.score_samples(fresh))) > 0.9 * len(fresh)
    far = ClassifierDetector(LogisticRegression()).fit(X, y)
    assert np.all(np.diff(far.score_samples(np.arange(1, 200)[:, None] * np.ones(5))) < 0)


@pytest.mark.parametrize(
    "classifier, expected",
    [
        (LogisticRegression(), lambda c, X: c.predict_log_proba(X) @ [-1, 1]),
        (make_pipeline(StandardScaler(), SVC()), lambda c, X: c.decision_function(X)),
        (HistGradientBoostingClassifier(), lambda c, X: c.decision_function(X)),
        (GaussianNB(), lambda c, X: np.diff(np.log(c.predict_proba(X) + 1e-6))[:, 0]),
        (KNeighborsClassifier(), lambda c, X: np.diff(np.log(c.predict_proba(X) + 1e-6))[:, 0]),
        (BaggingClassifier(), lambda c, X: np.diff(np.log(c.predict_proba(X) + 1e-6))[:, 0]),
    ],
    ids=["logistic", "pipeline", "boosting", "bayes", "neighbours", "bagging"],
)
def test_any_classifier(classifier, expected):
    X, y, truth = make_problem()
    detector = ClassifierDetector(classifier, random_state=0).fit(X, y)
    assert roc_auc_score(truth, detector.score_samples(X)) > 0.9
    assert_allclose(detector.score_samples(X), expected(detector.estimator_, X), atol=1e-8)
    assert not hasattr(detector, "oob_decision_function_")
    assert np.isfinite(clone(detector).fit(X).score_samples(X)).all()


@pytest.mark.parametrize("classifier", [LogisticRegression(), GaussianNB()], ids=str)
def test_both_classes_weigh_the_same(classifier):
    X, y, _ = make_problem()
    X = np.ascontiguousarray(X[:, :1])
    target = np.where(y == -1, 0, 1)
    weight = compute_sample_weight("balanced", target)
    naive = clone(classifier).fit(X, target, sample_weight=weight)
    detector = ClassifierDetector(classifier).fit(X, y)
    assert_allclose(detector.estimator_.predict_proba(X), naive.predict_proba(X), atol=1e-6)
    if "class_weight" in classifier.get_params():
        given = clone(classifier).set_params(class_weight={0: 1.0, 1: 3.0})
        assert ClassifierDetector(given).fit(X, y).estimator_.class_weight == {0: 1.0, 1: 3.0}
        assert classifier.class_weight is None


def test_out_of_bag_scores_by_hand():
    X, y, _ = make_problem()
    detector = ClassifierDetector(clone(FOREST).set_params(n_estimators=3)).fit(X, y)
    sums, counts = np.zeros(len(X)), np.zeros(len(X))
    for k, rows in enumerate(detector.estimator_.estimators_samples_):
        outside = np.setdiff1d(np.arange(len(X)), rows)
        scores = np.array(list(detector._scores_by_tree(X)))[k]
        sums[outside] += scores[outside]
        counts[outside] += 1
    seen = counts > 0
    assert not seen.all()
    assert_array_equal(np.isnan(detector.oob_decision_function_), ~seen)
    expected = sums[seen] / counts[seen] - detector.offset_
    assert_allclose(detector.oob_decision_function_[seen], expected, rtol=1e-12)


def test_out_of_bag_scores_are_honest():
    """On labels without a meaning they are no better than chance; training scores are perfect."""
    found, forest = [], ClassifierDetector()._balanced_estimator().set_params(n_estimators=50)
    for seed in range(5):
        X, y = make_noise(seed)
        detector = ClassifierDetector(forest, random_state=seed).fit(X, y)
        found.append(detector.oob_score_)
        assert detector.score(X, y) > 0.95
        seen = detector.oob_decision_function_
        assert detector.oob_score_ == pytest.approx(roc_auc_score(y == -1, -seen))
    assert abs(np.mean(found) - 0.5) < 0.06


@pytest.mark.parametrize("forest", [ExtraTreesClassifier, RandomForestClassifier])
def test_trees_leave_one_of_two_anomalies_out(forest):
    """Forests whose draws follow class weights would draw both for nearly every tree."""
    X, y = make_noise(n_labeled=2)
    detector = ClassifierDetector(forest(50, bootstrap=True, random_state=0)).fit(X, y)
    left_out = [0 not in rows for rows in detector.estimator_.estimators_samples_]
    assert np.mean(left_out) == pytest.approx(np.exp(-1), abs=0.2)
    assert not np.isnan(detector.oob_decision_function_[:2]).any()


def test_trees_that_have_seen_no_anomaly_have_no_say_out_of_bag():
    """They score all rows as more normal than other trees do: a single anomaly would come last."""
    rng = np.random.RandomState(0)
    X, y = np.r_[rng.randn(1, 4) + 8, rng.randn(300, 4)], np.repeat([-1, 0], [1, 300])
    detector = ClassifierDetector(random_state=0).fit(X, y)
    assert_array_equal(np.isnan(detector.oob_decision_function_), y == -1)
    assert not hasattr(detector, "oob_score_")
    X, y = np.r_[X[:1] + 0.1, X], np.r_[-1, y]
    assert ClassifierDetector(random_state=0).fit(X, y).oob_score_ > 0.95


def test_out_of_bag_scores_only_where_there_are_some():
    X, y, _ = make_problem()
    detector = ClassifierDetector(random_state=0).fit(X, y)
    assert detector.fit(X).oob_decision_function_.shape == (len(X),)
    assert not hasattr(detector, "oob_score_")
    detector.set_params(estimator=RandomForestClassifier(5, bootstrap=False)).fit(X, y)
    assert not hasattr(detector, "oob_decision_function_")


def test_cleaning_drops_the_most_suspicious_unlabelled_rows():
    X, y, truth = make_tail()
    plain = ClassifierDetector(FOREST).fit(X, y)
    clean = ClassifierDetector(FOREST, clean=0.5).fit(X, y)
    n_dropped = int(0.5 / np.sqrt(15) * np.sum(y == 0))
    assert plain.estimator_[0].tree_.n_node_samples[0] <= len(X)
    assert len(clean.estimator_.estimators_samples_[0]) == len(X) - n_dropped
    unlabeled = y == 0
    gain = [roc_auc_score(truth[unlabeled], d.score_samples(X)[unlabeled]) for d in (plain, clean)]
    assert gain[1] > gain[0]
    with pytest.raises(ValueError, match=r"clean needs out-of-bag scores.*bootstrap=True"):
        ClassifierDetector(LogisticRegression(), clean=0.1).fit(X, y)


def test_without_labels_it_learns_where_rows_are_dense():
    rng = np.random.default_rng(0)
    line = rng.normal(size=(300, 1))
    X = line + 0.1 * rng.normal(size=(300, 4))
    off_the_line, far_out = rng.permuted(X, axis=0)[:50], 5 * line[:50] + np.zeros(4)
    detector = ClassifierDetector(random_state=0).fit(X)
    scores = detector.score_samples(np.r_[X, off_the_line, far_out[np.abs(line[:50, 0]) > 1]])
    assert roc_auc_score(np.arange(len(scores)) < 300, scores) > 0.9


class Blind(ClassifierMixin, BaseEstimator):
    """Scores that are no numbers."""

    def fit(self, X, y):
        return self

    def decision_function(self, X):
        return np.full(len(X), np.nan)


def test_scores_that_are_no_numbers():
    X, y, _ = make_problem()
    with pytest.raises(ValueError, match=r"Blind gives scores that are not finite. Scale"):
        ClassifierDetector(Blind()).fit(X, y)


def test_parameters_of_the_classifier_are_validated():
    X, y, _ = make_problem()
    with pytest.raises(ValueError, match="'n_estimators' parameter of ExtraTrees"):
        ClassifierDetector(ExtraTreesClassifier(-1)).fit(X, y)
