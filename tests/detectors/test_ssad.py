import pickle
import warnings

import clarabel
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import pairwise_kernels
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import OneClassSVM
from sklearn.utils.estimator_checks import (
    check_estimator,
)

from skad import SSAD
from skad.detectors import _ssad_solver
from skad.detectors._ssad_solver import feasible_masses
from skad.exceptions import LabelConventionWarning

TIGHT = 1e-10


def make_problem(seed):
    """A random problem: kernel, labels, boxes and degeneracies all vary with the seed."""
    rng = np.random.RandomState(seed)
    n, d = rng.choice([5, 20, 60, 150]), rng.choice([1, 2, 5, 20])
    X = rng.randn(n, d) + rng.choice([0, 1, 4])
    if rng.rand() < 0.3:  # duplicates
        X = X[rng.randint(0, max(n // 4, 1), n)]
    if rng.rand() < 0.2:
        X = np.round(X)
    kernel = ["rbf", "linear", "poly", "precomputed", "callable"][seed % 5]
    parameters = {"kernel": kernel, "degree": 2, "coef0": float(rng.choice([0, 1]))}
    if kernel == "rbf":
        parameters["gamma"] = rng.choice([1e-3, 1, 30])
    if kernel == "precomputed":
        X = pairwise_kernels(X, metric="rbf", gamma=1 / d)
    if kernel == "callable":
        parameters["kernel"] = laplacian
    y = np.zeros(n, dtype=int)
    labels = rng.choice(["none", "one", "anomalies", "normals", "both", "all"])
    if labels == "one":
        y[rng.randint(n)] = rng.choice([-1, 1])
    if labels in ("anomalies", "both"):
        y[rng.permutation(n)[: max(1, n // 10)]] = -1
    if labels in ("normals", "both"):
        y[rng.permutation(n)[: max(1, n // 8)]] = 1
    if labels == "all":
        y = rng.choice([-1, 1], n)
        y[0] = 1
    for name, label in (("C_unlabeled", 0), ("C_normal", 1), ("C_anomaly", -1)):
        m = max(np.sum(y == label), 1)
        parameters[name] = float(rng.choice([1, 2 / m, 10 / m, 100]))
    parameters["kappa"] = float(rng.choice([0, 0.3, 1, 2]))
    return X, y, parameters


def laplacian(A, B):
    return pairwise_kernels(A, B, metric="laplacian", gamma=0.3)


def kernel_matrix(detector, X):
    if detector.kernel == "precomputed":
        return X
    if callable(detector.kernel):
        return detector.kernel(X, X)
    options = {}
    if detector.kernel in ("rbf", "poly"):
        columns = 1 / (X.var(axis=0)[np.ptp(X, axis=0) > 0].sum() or 1)
        options["gamma"] = columns if detector.gamma == "columns" else detector.gamma
    if detector.kernel == "poly":
        options |= {"degree": detector.degree, "coef0": detector.coef0}
    return pairwise_kernels(X, metric=detector.kernel, **options)


def boxes(detector, y):
    nu_box = 1 / (detector.nu * max(np.sum(y == 0), 1))
    unlabeled = nu_box if detector.C_unlabeled is None else detector.C_unlabeled
    return np.where(y == 0, unlabeled, np.where(y > 0, detector.C_normal, detector.C_anomaly))


def is_feasible(detector, y):
    """Whether weights exist, by linear programming."""
    capacity = [boxes(detector, y)[y == label].sum() for label in (0, 1, -1)]
    kappa = detector.kappa if np.any(y) else 0
    bounds = [(0, c) for c in capacity]
    return linprog(np.zeros(3), [[0, -1, -1]], [-kappa], [[1, 1, -1]], [1], bounds).success


def check_optimal(detector, X, y):
    """Feasibility and the duality gap, from the public attributes alone; the dual objective."""
    K, box = kernel_matrix(detector, X), boxes(detector, y)
    beta = np.zeros(len(y))
    beta[detector.support_] = detector.dual_coef_[0]
    alpha = np.where(y < 0, -beta, beta)
    f = K @ beta
    rho, margin = detector.rho_, detector.margin_
    assert alpha.min() >= -1e-6
    assert np.all(alpha <= box + 1e-6)
    assert abs(beta.sum() - 1) <= 1e-6
    bonus = 0.0
    if np.any(y):
        assert alpha[y != 0].sum() >= detector.kappa - 1e-6
        assert margin >= 0
        bonus = detector.kappa * margin
    shortfall = np.where(y == 0, rho - f, y * (rho - f) + margin)
    primal = beta @ f / 2 - rho - bonus + box @ np.maximum(shortfall, 0)
    dual = -beta @ f / 2
    assert abs(primal - dual) <= 1e-6 * max(abs(dual), 1e-4 * np.mean(np.diag(K)))
    return -dual, f


def reference_solution(K, y, box, kappa):
    """The dual by an interior-point solver."""
    n, sign = len(y), np.where(y < 0, -1.0, 1.0)
    rows, bounds = [sp.csc_matrix(sign[None]), -sp.eye(n), sp.eye(n)], [[1.0], np.zeros(n), box]
    if np.any(y):
        rows.append(sp.csc_matrix(-(y != 0).astype(float)[None]))
        bounds.append([-kappa])
    cones = [clarabel.ZeroConeT(1), clarabel.NonnegativeConeT(2 * n + int(np.any(y)))]
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    P = sp.triu(sp.csc_matrix(K * np.outer(sign, sign)), format="csc")
    solution = clarabel.DefaultSolver(
        P, np.zeros(n), sp.vstack(rows, format="csc"), np.concatenate(bounds), cones, settings
    ).solve()
    return np.array(solution.x) * sign


def toy(n=300, n_anomalies=30, n_labeled=6, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.randn(n, 4)
    X[:n_anomalies] += 2.5
    y = np.zeros(n, dtype=int)
    y[:n_labeled] = -1
    return X, y, np.arange(n) < n_anomalies


# --- the optimum ---


@pytest.mark.parametrize("seed", range(60))
def test_random_problems_are_solved_to_the_optimum(seed):
    X, y, parameters = make_problem(seed)
    detector = SSAD(tol=TIGHT, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LabelConventionWarning)
        if not is_feasible(detector, y):
            with pytest.raises(ValueError, match="Infeasible"):
                detector.fit(X, y)
            return
        detector.fit(X, y)
    check_optimal(detector, X, y)


@pytest.mark.parametrize("C_unlabeled", [1.0, None])
@pytest.mark.parametrize("n_normal", [0, 20])
def test_same_optimum_as_an_interior_point_solver(C_unlabeled, n_normal):
    X, y, _ = toy()
    y[100 : 100 + n_normal] = 1
    detector = SSAD(C_unlabeled=C_unlabeled, tol=TIGHT).fit(X, y)
    objective, f = check_optimal(detector, X, y)
    K = kernel_matrix(detector, X)
    beta = reference_solution(K, y, boxes(detector, y), 1.0)
    assert objective == pytest.approx(beta @ K @ beta / 2, rel=1e-6)
    np.testing.assert_allclose(f, K @ beta, atol=1e-4)
    np.testing.assert_allclose(detector.score_samples(X), f, atol=1e-12)


def test_infeasibility_is_what_linear_programming_says():
    rng = np.random.RandomState(0)
    verdicts = []
    for _ in range(60):
        detector = SSAD(kappa=rng.choice([0, 0.3, 1, 2, 4]))
        for name in ("C_unlabeled", "C_normal", "C_anomaly"):
            detector.set_params(**{name: rng.choice([0.1, 0.3, 1, 2])})
        y = rng.choice([-1, 0, 1], 6)
        capacity = [boxes(detector, y)[y == label].sum() for label in (0, 1, -1)]
        verdicts.append(is_feasible(detector, y))
        if not verdicts[-1]:
            with pytest.raises(ValueError, match="Infeasible"):
                feasible_masses(capacity, detector.kappa)
            continue
        masses = np.array(feasible_masses(capacity, detector.kappa))
        assert np.all((masses >= 0) & (masses <= np.array(capacity) + 1e-12))
        assert masses[0] + masses[1] - masses[2] == pytest.approx(1)
        assert masses[1] + masses[2] >= detector.kappa - 1e-12
    assert 10 < sum(verdicts) < 50


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"kappa": 10.0}, "Raise C_anomaly or C_normal"),
        ({"kappa": 2.0, "C_anomaly": 0.01, "C_normal": 1.0}, "Raise C_anomaly, or lower kappa"),
        ({"C_unlabeled": 1e-3, "C_normal": 0.1}, "Raise C_unlabeled or C_normal"),
    ],
)
def test_infeasible_settings_name_the_parameter_to_raise(parameters, match):
    X, y, _ = toy()
    y[-3:] = 1
    with pytest.raises(ValueError, match=match):
        SSAD(**parameters).fit(X, y)


@pytest.mark.parametrize(
    "y",
    [
        [0] * 8,
        [1] * 8,
        [0] + [-1] * 7,
        [1] + [-1] * 7,
        [0] * 7 + [-1],
        [1, -1] * 4,
        pytest.param(
            [0] * 7 + [1],
            marks=pytest.mark.filterwarnings("ignore::skad.exceptions.LabelConventionWarning"),
        ),
    ],
)
def test_defaults_are_feasible_for_any_labels(y):
    X = np.random.RandomState(0).randn(8, 2)
    assert np.isfinite(SSAD().fit(X, y).score_samples(X)).all()


# --- special cases ---


@pytest.mark.parametrize("nu", [0.1, 0.5])
@pytest.mark.parametrize("kernel", ["rbf", "linear", "poly"])
@pytest.mark.parametrize("gamma", ["columns", "scale", "auto", 0.3])
def test_without_labels_it_is_the_one_class_svm(nu, kernel, gamma):
    X = np.random.RandomState(0).randn(400, 5) + 2
    detector = SSAD(kernel=kernel, gamma=gamma, nu=nu, tol=TIGHT).fit(X)
    gamma = 1 / X.var(axis=0).sum() if gamma == "columns" else gamma
    svm = OneClassSVM(kernel=kernel, gamma=gamma, nu=nu, tol=1e-9).fit(X)
    scale = nu * len(X)  # libsvm's weights add up to nu * n
    np.testing.assert_allclose(detector.score_samples(X) * scale, svm.score_samples(X), rtol=1e-5)
    assert detector.rho_ * scale == pytest.approx(svm.offset_[0], rel=1e-5)


@pytest.mark.parametrize("slack_kappa", [False, True])
def test_rho_and_margin_are_the_free_rows_scores(slack_kappa):
    X, y, _ = toy()
    y[-20:] = 1
    kappa = 0.0 if slack_kappa else 1.0
    detector = SSAD(C_unlabeled=1.0, C_normal=0.2, C_anomaly=0.5, kappa=kappa, tol=TIGHT).fit(X, y)
    alpha, support = np.abs(detector.dual_coef_[0]), detector.support_
    free = support[alpha < boxes(detector, y)[support] - 1e-9]
    f = detector.score_samples(X)
    assert detector.margin_ == 0 if slack_kappa else detector.margin_ > 0
    for label in (0, 1, -1):
        rows = free[y[free] == label]
        threshold = detector.rho_ + label * detector.margin_
        np.testing.assert_allclose(f[rows], threshold, atol=1e-8)


def test_hand_computed():
    # Two unlabelled rows at 1 and 3 on a line and an anomaly at -1, linear kernel, kappa = 1:
    # w = a1 + 3 a2 + 1 with a1 + a2 = 2 is least at a1 = 2, so w = 3 and f = 3, 9, -3.
    X, y = np.array([[1.0], [3.0], [-1.0]]), [0, 0, -1]
    detector = SSAD(kernel="linear", C_unlabeled=10.0).fit(X, y)
    np.testing.assert_allclose(detector.score_samples(X), [3, 9, -3])
    np.testing.assert_array_equal(detector.support_, [0, 2])
    np.testing.assert_allclose(detector.dual_coef_, [[2, -1]])
    assert detector.rho_ == pytest.approx(3)


# --- labels, large tables, kernels ---


def test_labels_matter_and_help():
    X, y, anomaly = toy()
    moved = np.roll(y, 40)
    unsupervised, detector = SSAD().fit(X), SSAD().fit(X, y)
    assert np.abs(detector.score_samples(X) - SSAD().fit(X, moved).score_samples(X)).max() > 0.01
    fresh, _, fresh_anomaly = toy(seed=1)
    auc = [roc_auc_score(~fresh_anomaly, d.score_samples(fresh)) for d in (unsupervised, detector)]
    assert auc[1] > max(0.97, auc[0])


def test_normals_matter():
    X, y, _ = toy()
    y[50:60] = 1
    with_normals = SSAD().fit(X, y).score_samples(X)
    y[50:60] = 0
    assert np.abs(with_normals - SSAD().fit(X, y).score_samples(X)).max() > 1e-3


def test_max_samples_keeps_every_labelled_row_and_is_seeded():
    X, y, anomaly = toy(2000, 200, 40)
    whole = SSAD().fit(X, y)
    part = SSAD(max_samples=500, random_state=0).fit(X, y)
    again = SSAD(max_samples=500, random_state=0).fit(X, y)
    other = SSAD(max_samples=500, random_state=1).fit(X, y)
    np.testing.assert_array_equal(part.score_samples(X), again.score_samples(X))
    assert not np.array_equal(part.score_samples(X), other.score_samples(X))
    assert len(part.support_) < len(whole.support_)
    labeled_support = part.support_[y[part.support_] == -1]
    assert -part.dual_coef_[part.dual_coef_ < 0].sum() >= 1 - 1e-9
    assert set(labeled_support) <= set(range(40))
    assert roc_auc_score(~anomaly, part.score_samples(X)) > 0.97


def test_rows_are_held_in_parts(monkeypatch):
    X, y, _ = toy()
    whole = SSAD(tol=1e-8).fit(X, y)
    monkeypatch.setattr(_ssad_solver, "HELD_ROWS", 90)
    parts = SSAD(tol=1e-8).fit(X, y)
    np.testing.assert_allclose(whole.score_samples(X), parts.score_samples(X), atol=1e-7)


def test_precomputed_kernel_is_sliced_in_cross_validation():
    X, y, _ = toy()
    K = pairwise_kernels(X, metric="rbf", gamma=0.2)
    direct, precomputed = SSAD(gamma=0.2), SSAD(kernel="precomputed")
    np.testing.assert_allclose(
        direct.fit(X, y).decision_function(X), precomputed.fit(K, y).decision_function(K)
    )
    folds = StratifiedKFold(2)
    scores = [
        GridSearchCV(detector, {"nu": [0.1, 0.3]}, cv=folds).fit(data, y).cv_results_
        for detector, data in ((direct, X), (precomputed, K))
    ]
    np.testing.assert_allclose(scores[0]["mean_test_score"], scores[1]["mean_test_score"])
    with pytest.raises(ValueError, match="square"):
        precomputed.fit(K[:, :50], y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # poly of 1e4
def test_a_row_is_scored_alone():
    X, y, _ = toy(700)
    X[5] *= 1e4
    for kernel in ("rbf", "linear", "poly", laplacian):
        detector = SSAD(kernel=kernel, max_iter=20).fit(X, y)
        scores = detector.score_samples(X)
        alone = np.concatenate([detector.score_samples(X[i : i + 1]) for i in range(0, 700, 7)])
        np.testing.assert_array_equal(alone, scores[::7])
        order = np.random.RandomState(0).permutation(700)
        np.testing.assert_array_equal(detector.score_samples(X[order]), scores[order])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kernel", ["linear", "poly"])
def test_a_row_is_scored_alone_when_vectors_do_not_fill_registers(kernel):
    X = np.random.RandomState(0).randn(257, 33)
    detector = SSAD(kernel=kernel, nu=0.9, max_iter=3).fit(X)
    assert len(detector.support_) % 8
    scores = detector.score_samples(X)
    for first in range(1, 33):
        np.testing.assert_array_equal(detector.score_samples(X[first:]), scores[first:])
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.score_samples(X), scores)


# --- numbers of every size ---


@pytest.mark.parametrize("exponent", [-1000, -520, -500, 500, 520, 1000])
@pytest.mark.parametrize("gamma", ["columns", "scale"])
@pytest.mark.parametrize("kernel", ["rbf", "poly"])
def test_the_unit_of_the_columns_does_not_matter(kernel, gamma, exponent):
    """A power of two in all columns changes no bit of a score."""
    X, y, _ = toy()
    X += 1
    expected = SSAD(kernel=kernel, gamma=gamma).fit(X, y)
    X_scaled = np.ldexp(X, exponent)
    detector = SSAD(kernel=kernel, gamma=gamma).fit(X_scaled, y)
    np.testing.assert_array_equal(detector.score_samples(X_scaled), expected.score_samples(X))
    assert (detector.rho_, detector.margin_) == (expected.rho_, expected.margin_)


@pytest.mark.parametrize("exponent", [-240, -150, 150, 240])
def test_a_linear_kernel_scales_with_the_square_of_the_unit(exponent):
    X, y, _ = toy()
    expected, X_scaled = SSAD(kernel="linear").fit(X, y), np.ldexp(X, exponent)
    detector = SSAD(kernel="linear").fit(X_scaled, y)
    scores = np.ldexp(detector.score_samples(X_scaled), -2 * exponent)
    np.testing.assert_array_equal(scores, expected.score_samples(X))
    assert np.ldexp(detector.rho_, -2 * exponent) == expected.rho_


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e160, 1e300])
def test_a_column_of_any_size_counts(size):
    """Where one column holds all the spread, it decides alone."""
    X, y, _ = toy()
    expected = SSAD().fit(X[:, :1], y).score_samples(X[:, :1])
    wide = np.c_[X[:, :1] * size, np.full(len(X), 7.0), X[:, 1] * size * 1e-20]
    np.testing.assert_allclose(SSAD().fit(wide, y).score_samples(wide), expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [1e-8, 1.0, 1e8])
def test_distances_between_far_rows_are_not_drowned(gamma):
    """As from differences, however many widths the rows are from the center."""
    X, y, _ = toy()
    X /= np.sqrt(gamma)
    X[:150] += 1e9 / np.sqrt(gamma)
    D = X[:, None] - X[None]
    K = np.exp(-gamma * np.sum(D**2, axis=-1))
    expected = SSAD(kernel="precomputed").fit(K, y).score_samples(K)
    np.testing.assert_allclose(SSAD(gamma=gamma).fit(X, y).score_samples(X), expected, atol=1e-4)


@pytest.mark.parametrize("kernel", ["linear", "poly"])
def test_far_rows_keep_their_rank(kernel):
    X, y, _ = toy()
    detector = SSAD(kernel=kernel, degree=1).fit(X + 5, y)
    sizes = 10.0 ** np.arange(0, 150, 10)
    scores = detector.score_samples(np.outer(sizes, np.ones(4)))
    assert np.all(np.diff(scores) > 0)
    assert np.isfinite(detector.score_samples(np.full((1, 4), 1.7e308))).all()


@pytest.mark.parametrize(
    "parameters, size",
    [({"kernel": "linear"}, 1e200), ({"kernel": "poly", "gamma": 1.0}, 1e100)],
)
def test_a_kernel_that_overflows_is_refused(parameters, size):
    X, y, _ = toy()
    with pytest.raises(ValueError, match="scale the columns"):
        SSAD(**parameters).fit(X * size, y)
    with pytest.raises(ValueError, match="scale the columns"):
        SSAD(kernel="precomputed").fit(np.eye(len(X)) + 1e200 * (np.arange(len(X)) == 7), y)
    with pytest.raises(ValueError, match="The kernel gave NaN"):
        SSAD(kernel=lambda A, B: np.full((len(A), len(B)), np.nan)).fit(X, y)


@pytest.mark.parametrize("value", [0.0, 5e-324, 1e-160, 7.0, 1e308])
def test_rows_that_are_all_the_same(value):
    X, y = np.full((10, 2), value), np.r_[-1, np.zeros(9)]
    for kernel in ("rbf", "poly", "linear") if value < 1 else ("rbf",):
        scores = SSAD(kernel=kernel).fit(X, y).decision_function(X)
        np.testing.assert_array_equal(scores, np.zeros(10))


# --- wrong parameters ---

POSITIVE = [0, -1.0, np.nan, "1", True, [1.0]]
COUNT = [0, 1.5, "3", True, None]
WRONG = {
    "kernel": ["RBF", "sigmoid", None, 1, True, ["rbf"]],
    "gamma": [*POSITIVE, "column", None],
    "degree": COUNT,
    "coef0": ["0", None, True, np.inf, np.nan],
    "nu": [*POSITIVE, 1.01, None],
    "kappa": [-0.1, "1", True, None, np.nan],
    "C_unlabeled": POSITIVE,
    "C_normal": [*POSITIVE, None],
    "C_anomaly": [*POSITIVE, None],
    "tol": [*POSITIVE, None],
    "max_iter": COUNT,
    "max_samples": [*COUNT, 1],
    "contamination": [*POSITIVE, 0.51, None],
    "random_state": ["0", -1, 0.5],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_parameters_are_refused_by_name(name):
    assert set(WRONG) == set(SSAD().get_params())
    for value in WRONG[name]:
        with pytest.raises(ValueError, match=f"'{name}' parameter of SSAD must be"):
            SSAD(**{name: value}).fit(None)


def test_settings_after_fit_count_for_the_next_fit_only():
    X, y, _ = toy()
    K = pairwise_kernels(X, metric="rbf", gamma=0.2)
    for kernel, rows in (("rbf", X), ("linear", X), ("poly", X), ("precomputed", K)):
        detector = SSAD(kernel=kernel).fit(rows, y)
        expected = detector.decision_function(rows)
        for other in ("rbf", "linear", "poly", "precomputed", laplacian):
            detector.set_params(kernel=other, gamma=9.0, degree=7, coef0=5.0, max_samples=2)
            np.testing.assert_array_equal(detector.decision_function(rows), expected)


def test_columns_far_from_zero_keep_their_values():
    X, y, _ = toy()
    near = SSAD().fit(X, y).score_samples(X)
    np.testing.assert_allclose(SSAD().fit(X + 1e6, y).score_samples(X + 1e6), near, atol=1e-6)


def test_pickle_and_float32():
    X, y, _ = toy()
    detector = SSAD().fit(X.astype(np.float32), y)
    scores = detector.score_samples(X.astype(np.float32))
    assert scores.dtype == np.float64
    loaded = pickle.loads(pickle.dumps(detector))
    np.testing.assert_array_equal(loaded.score_samples(X.astype(np.float32)), scores)


def test_too_few_steps_warn():
    X, y, _ = toy()
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        detector = SSAD(max_iter=1).fit(X, y)
    assert detector.n_iter_ == 1


# --- scikit-learn's checks ---


def test_scikit_learn_checks_of_a_precomputed_kernel():
    # Two checks hand outlier detectors a matrix that is not square, whatever their tags say;
    # scikit-learn's own OneClassSVM fails the same two.
    def failed(detector):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", LabelConventionWarning)
            # The array API check calls `score` with labels that hold no anomaly.
            warnings.simplefilter("ignore", UndefinedMetricWarning)
            results = check_estimator(detector, on_fail=None, on_skip=None)
        return {result["check_name"] for result in results if result["status"] == "failed"}

    assert failed(SSAD(kernel="precomputed")) <= {
        "check_outliers_fit_predict",
        "check_outliers_train",
    }
