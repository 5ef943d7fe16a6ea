"""Training steps in scikit-learn's experimental callbacks."""

import importlib.util
import sys

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skad import DeepSAD, _progress
from skad.metrics import roc_auc_scorer
from skad.model_selection import SemiSupervisedKFold

rng = np.random.RandomState(0)
X = np.r_[rng.randn(12, 3) + 2, rng.randn(60, 3)]
Y = np.repeat([-1, 0], [12, 60])


class Recorder:
    """Remembers the tasks, and stops at a step when told to."""

    max_propagation_depth = None

    def __init__(self, stop_at=None):
        self.tasks, self.stop_at, self.open = [], stop_at, 0

    def setup(self, estimator, context):
        self.open += 1

    def teardown(self, estimator, context):
        self.open -= 1

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.tasks.append((context.estimator_name, context.task_name, context.task_id))
        return self.stop_at is not None and context.task_id == self.stop_at


def make_detector(**params):
    return DeepSAD(**{"n_estimators": 2, "max_steps": 7, "random_state": 0, **params})


def steps(recorder):
    return [task for task in recorder.tasks if task[:2] == ("DeepSAD", "step")]


def test_every_gradient_step_is_a_task():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    detector = make_detector().set_callbacks(recorder).fit(X, Y)
    assert steps(recorder) == [("DeepSAD", "step", i) for i in range(7)]
    assert [task[1] for task in recorder.tasks[7:]] == ["train", "fit"]
    assert recorder.open == 0
    plain = make_detector().fit(X, Y)
    assert np.array_equal(detector.score_samples(X), plain.score_samples(X))
    assert set(vars(detector)) == {*vars(plain), "_skl_callbacks"}


def test_pretraining_and_validation():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    detector = make_detector(pretrain_steps=3, validation_fraction=0.2).set_callbacks(recorder)
    detector.fit(X, Y)
    assert [task[2] for task in steps(recorder)] == [*range(3), *range(7)]


def test_progress_nests_in_pipeline_and_search():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), make_detector()),
        {"deepsad__eta": [1.0, 2.0]},
        cv=SemiSupervisedKFold(3, random_state=0),
        scoring=roc_auc_scorer,
    ).set_callbacks(recorder)
    search.fit(X, Y)
    assert len(steps(recorder)) == 7 * (2 * 3 + 1)
    assert recorder.open == 0


def test_a_callback_can_stop_training():
    pytest.importorskip("sklearn.callback")
    detector = make_detector().set_callbacks(Recorder(stop_at=4)).fit(X, Y)
    assert detector.n_iter_ == 5
    assert np.isfinite(detector.score_samples(X)).all()


def test_callbacks_are_taken_down_when_fit_raises():
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    detector = make_detector(module=lambda n_features: 1 / 0).set_callbacks(recorder)
    before = set(vars(detector))
    with pytest.raises(ZeroDivisionError):
        detector.fit(X, Y)
    assert recorder.open == 0
    assert set(vars(detector)) == before


def test_without_scikit_learn_callbacks(monkeypatch):
    """As with scikit-learn before 1.9: no method to set callbacks, and fit works as always."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    spec = importlib.util.spec_from_file_location("without_callbacks", _progress.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)

    class Detector(without.CallbackSupportMixin):
        @without.report_fit_task
        def _fit(self, X, y):
            return without.step_tasks(self, 10)

    assert not hasattr(Detector(), "set_callbacks")
    assert Detector()._fit(X, Y) == []
