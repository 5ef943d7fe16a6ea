"""Displays: what they hold and draw."""

import subprocess
import sys

import joblib
import matplotlib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import metrics as sk
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from skad import DeepSAD
from skad.inspection import normal_reference
from skad.metrics import average_precision_score, roc_auc_score, roc_auc_scorer
from skad.plotting import (
    AttributionDisplay,
    LabelGainDisplay,
    LatentSpaceDisplay,
    PrecisionRecallDisplay,
    RocCurveDisplay,
    ScoreDistributionDisplay,
    TrainingCurveDisplay,
)

matplotlib.use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")

rng = np.random.RandomState(0)
X = np.r_[rng.randn(20, 3) * 2 + 1, rng.randn(120, 3)]
Y = np.repeat([-1, 1, 0], [20, 30, 90])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def deep():
    return DeepSAD(
        n_estimators=2, max_steps=20, latent_dim=4, validation_fraction=0.2, random_state=0
    ).fit(X, Y)


@pytest.fixture(scope="module")
def forest():
    return make_pipeline(StandardScaler(), IsolationForest(n_estimators=10, random_state=0)).fit(X)


def drawn(display):
    """Render, so that an error while drawing shows."""
    display.figure_.canvas.draw()
    return display


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_score_distribution(forest):
    display = drawn(ScoreDistributionDisplay.from_estimator(forest, X, Y, bins=15))
    assert np.array_equal(display.y_score, forest.decision_function(X))
    assert legend(display) == [
        "unlabelled (90)",
        "labelled normal (30)",
        "labelled anomaly (20)",
        "threshold",
    ]
    for label, n in [(-1, 20), (0, 90), (1, 30)]:
        assert display.bars_[label].get_data().values.sum() == n
        assert len(display.bars_[label].get_data().values) == 15
    assert display.line_.get_xdata() == [0, 0]
    assert display.ax_.get_title() == "IsolationForest"
    moved = ScoreDistributionDisplay.from_predictions(None, [1.0, 2.0, 3.0], threshold=1.5)
    assert moved.line_.get_xdata() == [1.5, 1.5]
    assert list(moved.bars_) == [0]


@pytest.mark.parametrize("unlabeled", ["as_normal", "ignore"])
def test_curves_hold_the_numbers_of_the_metrics(forest, unlabeled):
    scores = forest.decision_function(X)
    rows = (Y != 0) | (unlabeled == "as_normal")
    roc = drawn(RocCurveDisplay.from_estimator(forest, X, Y, unlabeled=unlabeled, color="k"))
    fpr, recall, _ = sk.roc_curve(Y[rows] == -1, -scores[rows])
    assert_allclose(roc.line_.get_xydata(), np.c_[fpr, recall])
    assert roc.roc_auc == roc_auc_score(Y, scores, unlabeled=unlabeled)
    assert roc.roc_auc == pytest.approx(sk.auc(fpr, recall), abs=1e-12)
    assert roc.line_.get_color() == "k"
    assert legend(roc) == [f"IsolationForest (AUC = {roc.roc_auc:.3f})"]

    pr = drawn(PrecisionRecallDisplay.from_estimator(forest, X, Y, unlabeled=unlabeled, name="A"))
    precision, recall, _ = sk.precision_recall_curve(Y[rows] == -1, -scores[rows])
    assert_allclose(pr.line_.get_xydata(), np.c_[recall, precision])
    assert pr.average_precision == average_precision_score(Y, scores, unlabeled=unlabeled)
    assert legend(pr) == [f"A (AP = {pr.average_precision:.3f})"]


@pytest.mark.parametrize("cls", [RocCurveDisplay, PrecisionRecallDisplay])
def test_curves_share_axes_and_plot_again(cls, forest):
    first = cls.from_estimator(forest, X, Y)
    second = cls.from_predictions(Y, X[:, 0], ax=first.ax_)
    assert second.ax_ is first.ax_
    assert len(legend(second)) == 2
    again = first.plot()
    assert again.ax_ is not second.ax_


@pytest.mark.parametrize("cls", [RocCurveDisplay, PrecisionRecallDisplay])
@pytest.mark.parametrize("y", [[0, 0, 1], [-1, -1, -1]])
def test_curves_need_both_classes(cls, y):
    with pytest.raises(ValueError, match="A curve needs labelled anomalies"):
        cls.from_predictions(y, [1.0, 2.0, 3.0])


def test_training_curve(deep):
    display = drawn(TrainingCurveDisplay.from_estimator(deep, linewidth=3))
    losses = [epoch["train_loss"] for epoch in deep.history_]
    assert_allclose(display.line_.get_ydata(), losses)
    assert display.line_.get_xdata()[-1] == deep.n_iter_ == 20
    assert display.line_.get_linewidth() == 3
    assert len(display.member_lines_) == 2
    assert_allclose(np.mean([line.get_ydata() for line in display.member_lines_], 0), losses)
    assert_allclose(
        display.valid_line_.get_ydata(), [epoch["valid_loss"] for epoch in deep.history_]
    )
    with pytest.raises(NotFittedError):
        TrainingCurveDisplay.from_estimator(DeepSAD())


def test_training_curve_of_one_member_without_validation():
    single = DeepSAD(n_estimators=1, max_steps=20, latent_dim=4, random_state=0).fit(X, Y)
    display = drawn(TrainingCurveDisplay.from_estimator(single))
    assert display.member_lines_ == []
    assert display.valid_line_ is None
    assert legend(display) == ["training"]


def test_latent_space(deep):
    display = drawn(LatentSpaceDisplay.from_estimator(deep, X, Y))
    pca = PCA(2, svd_solver="full").fit(deep.transform(X))
    assert_allclose(display.components, pca.transform(deep.transform(X)))
    assert_allclose(display.explained_variance_ratio, pca.explained_variance_ratio_)
    for label, n in [(-1, 20), (0, 90), (1, 30)]:
        assert len(display.label_points_[label].get_offsets()) == n
    points = display.score_points_
    order = np.argsort(deep.decision_function(X))
    assert_allclose(points.get_offsets(), display.components[order])
    assert np.all(np.diff(points.get_array()) >= 0)
    assert points.get_array()[0] == 0
    unlabelled = drawn(LatentSpaceDisplay.from_estimator(deep, X, axes=plt.subplots(1, 2)[1]))
    assert list(unlabelled.label_points_) == [0]


def test_label_gain():
    class Oracle(OneClassSVM):
        """Scores by the first column, the better the more labels it has seen."""

        def fit(self, X, y=None):
            self.n_labels_, self.normals_ = np.sum(y == -1), np.sum(y == 1)
            return super().fit(X)

        def decision_function(self, X):
            noise = np.random.RandomState(0).randn(len(X))
            return -np.abs(X).max(axis=1) * self.n_labels_ + noise

    estimators = {"oracle": Oracle(), "svm": OneClassSVM()}
    display = drawn(
        LabelGainDisplay.from_estimators(
            estimators, X, Y, n_labeled=(0, 2, 10), n_repeats=3, random_state=0
        )
    )
    assert list(display.scores) == ["oracle", "svm"]
    oracle, svm = display.scores["oracle"], display.scores["svm"]
    assert oracle.shape == svm.shape == (3, 3)
    assert oracle[:, 0].mean() < oracle[:, 2].mean()
    assert np.all(svm == svm[:, :1])  # it uses no labels
    assert_allclose(display.lines_["oracle"].get_xydata(), np.c_[[0, 2, 10], oracle.mean(axis=0)])
    band = display.bands_["oracle"].get_paths()[0].vertices
    assert_allclose(band[:, 1].max(), (oracle.mean(axis=0) + oracle.std(axis=0)).max())
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0", "2", "10"]
    with joblib.parallel_config("threading"):
        again = LabelGainDisplay.from_estimators(
            estimators, X, Y, n_labeled=(0, 2, 10), n_repeats=3, random_state=0, n_jobs=2
        )
    assert np.array_equal(again.scores["oracle"], oracle)
    auc = LabelGainDisplay.from_estimators(
        estimators,
        X,
        Y,
        n_labeled=[1],
        n_repeats=1,
        scoring=roc_auc_scorer,
        score_name="ROC AUC",
        random_state=0,
    )
    assert auc.ax_.get_ylabel() == "ROC AUC on held-out rows"


class Recorder(OneClassSVM):
    """Remembers the labels it was fitted on."""

    seen = []

    def fit(self, X, y=None):
        self.seen.append(y)
        return super().fit(X)


@pytest.mark.parametrize("full", [True, False])
def test_label_gain_hides_labels(full):
    Recorder.seen.clear()
    y = np.where(Y == 0, 1, Y) if full else Y
    LabelGainDisplay.from_estimators(
        {"a": Recorder()}, X, y, n_labeled=(1, 5), n_repeats=2, random_state=0
    )
    assert [np.sum(labels == -1) for labels in Recorder.seen] == [1, 5, 1, 5]
    few, more = Recorder.seen[:2]
    assert np.all(more[few == -1] == -1)
    assert np.all(np.sum(Recorder.seen, axis=1) == ([-1, -5] * 2 if full else [19, 15] * 2))


def test_label_gain_names_the_largest_number():
    with pytest.raises(ValueError, match="goes up to 14, but .* only 13 labelled anomalies"):
        LabelGainDisplay.from_estimators({"a": OneClassSVM()}, X, Y, n_labeled=(1, 14))


def texts(artists):
    return [text.get_text() for text in artists]


def test_attributions_of_one_row():
    names = ["age", "amount", "country", "hour"]
    row = [[0.5, -2.0, 0.1, -0.2]]
    display = drawn(
        AttributionDisplay.from_attributions(
            row,
            pd.DataFrame([[30, 1234.5678, None, 7]], columns=names),
            scores=[-1.0],
            threshold=0.25,
            name="a row",
            max_features=2,
            edgecolor="k",
        )
    )
    assert display.features_ == [1, 0]
    assert texts(display.ax_.get_yticklabels()) == ["amount = 1235", "age = 30", "2 others"]
    bars = [(bar.get_x(), bar.get_width()) for bar in display.bars_]
    # From the reference's score, -1.0 - (-1.6), down to the row's.
    assert_allclose(bars, [(0.6, -2.0), (-1.4, 0.5), (-0.9, -0.1)])
    assert texts(display.ax_.texts) == ["-2", "+0.5", "-0.1"]
    colors = [matplotlib.colors.to_hex(bar.get_facecolor()) for bar in display.bars_]
    lowers, raises = map(matplotlib.colors.to_hex, ("C3", "C0"))
    assert colors == [lowers, raises, lowers]
    assert legend(display) == ["normal reference", "this row", "threshold"]
    lines = [line.get_xdata()[0] for line in display.ax_.get_lines()]
    assert_allclose(lines, [0.6, -1.0, 0.25])
    assert display.ax_.get_title() == "a row"
    labels = texts(drawn(display.plot(max_features=4)).ax_.get_yticklabels())
    assert labels[2:] == ["hour = 7", "country = None"]
    bare = drawn(AttributionDisplay.from_attributions(row))
    assert texts(bare.ax_.get_yticklabels()) == ["x1", "x0", "x3", "x2"]
    assert bare.ax_.get_xlabel().startswith("score minus the reference's")
    assert bare.bars_[0].get_x() == 0
    far = AttributionDisplay.from_attributions(row, scores=[-1.0], threshold=1e6)
    assert legend(far) == ["normal reference", "this row"]


def test_attributions_of_several_rows():
    rng = np.random.RandomState(0)
    attributions = rng.randn(40, 12) * np.arange(12)
    frame = pd.DataFrame({f"f{i}": rng.randn(40) for i in range(12)})
    frame["f10"] = "text"
    display = drawn(AttributionDisplay.from_attributions(attributions, frame, max_features=5))
    importance = np.abs(attributions).mean(axis=0)
    assert display.features_ == list(np.argsort(-importance)[:5])
    assert texts(display.ax_.get_yticklabels()) == [f"f{i}" for i in display.features_]
    assert display.ax_.get_ylabel() == "5 of 12 features"
    for position, feature in enumerate(display.features_):
        points = display.points_[position]
        places = points.get_offsets()
        assert_allclose(places[:, 0], attributions[:, feature])
        assert np.abs(places[:, 1] + position).max() <= 0.4 + 1e-9
        assert len(np.unique(places, axis=0)) == 40
        if feature == 10:
            assert points.get_array() is None
        else:
            assert_array_equal(np.argsort(points.get_array()), np.argsort(frame.iloc[:, feature]))
    again = drawn(display.plot(max_features=12))
    assert len(again.points_) == 12
    assert again.ax_.get_ylabel() == ""


def test_attributions_of_images():
    attributions = np.random.RandomState(0).randn(6, 2, 3, 4)
    images = np.random.RandomState(1).rand(6, 24)
    display = drawn(
        AttributionDisplay.from_attributions(attributions, images, scores=np.arange(6.0))
    )
    assert len(display.axes_) == len(display.images_) == 6
    for k, image in enumerate(display.images_):
        heat = attributions[k].sum(axis=0)
        assert_allclose(image.get_array(), heat)
        assert_allclose(image.get_clim(), [-display.images_[0].get_clim()[1], image.get_clim()[1]])
        assert_allclose(image.get_alpha().max() == 1, np.abs(heat).max() == image.get_clim()[1])
        below = display.axes_[k].get_images()[0]
        assert_allclose(below.get_array(), images[k].reshape(2, 3, 4).mean(axis=0))
        assert display.axes_[k].get_title() == f"score {k:.2f}"
    ax = plt.subplots()[1]
    one = drawn(AttributionDisplay.from_attributions(attributions[:1], ax=ax))
    assert one.ax_ is ax
    assert len(ax.get_images()) == 1
    with pytest.raises(ValueError, match="ax must be 6 axes, one for each image, got 1"):
        AttributionDisplay.from_attributions(attributions, ax=ax)


def test_attributions_from_estimator(deep):
    display = drawn(AttributionDisplay.from_estimator(deep, X[:1], background=X))
    start = deep.score_samples(normal_reference(deep, X))[0]
    assert display.bars_[0].get_x() == pytest.approx(start)
    assert display.threshold == deep.offset_
    assert display.ax_.get_title() == "DeepSAD"
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    named = DeepSAD(n_estimators=1, max_steps=5, random_state=0).fit(frame, Y)
    display = drawn(AttributionDisplay.from_estimator(named, frame, name="mine"))
    assert display.feature_names == ["a", "b", "c"]
    assert display.ax_.get_title() == "mine"
    with_nothing_to_do = AttributionDisplay.from_estimator(named, frame[:1], background=frame[:1])
    assert [bar.get_width() for bar in drawn(with_nothing_to_do).bars_] == [0, 0, 0]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"attributions": [1.0, 2.0]}, "attributions must have shape"),
        ({"attributions": np.ones((0, 3))}, "at least one row"),
        ({"attributions": np.ones((2, 3)), "X": np.ones((2, 4))}, r"X must have shape \(2, 3\)"),
        ({"attributions": np.ones((2, 3)), "feature_names": ["a"]}, "must be 3 names.* got 1"),
    ],
)
def test_attributions_that_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        AttributionDisplay.from_attributions(**arguments)


def test_matplotlib_is_imported_late():
    code = (
        "import sys; import skad.plotting; "
        "assert not any(name.split('.')[0] == 'matplotlib' for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
