"""Training steps as tasks of scikit-learn's callbacks, which are experimental and new in 1.9.

With them one progress bar nests through `Pipeline` and `GridSearchCV` down to gradient steps.
"""

from functools import wraps

from skorch.callbacks import Callback

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Stands in where scikit-learn is older than 1.9: there are no callbacks to support."""


def report_fit_task(fit):
    """Announce the begin and end of a detector's ``_fit(X, y)`` to scikit-learn's callbacks."""

    @wraps(fit)
    def reporting_fit(detector, X, y):
        if not getattr(detector, "_skl_callbacks", None):
            return fit(detector, X, y)
        context = detector._init_callback_context(max_subtasks=None)
        context.call_on_fit_task_begin(estimator=detector, X=X, y=y)
        scores = fit(detector, X, y)
        context.call_on_fit_task_end(estimator=detector, X=X, y=y)
        return scores

    return reporting_fit


def step_tasks(detector, n_steps):
    """List the skorch callback that reports a training of so many steps, if anyone listens."""
    context = getattr(detector, "_callback_fit_ctx", None)
    return [] if context is None else [StepTasks(detector, context, n_steps)]


class StepTasks(Callback):
    """Reports each gradient step; stops training when one of scikit-learn's callbacks asks."""

    def __init__(self, detector, context, n_steps):
        self.detector = detector
        self.context = context
        self.n_steps = n_steps

    def on_train_begin(self, net, **kwargs):
        """Open the training as a task of as many subtasks as steps."""
        self.training_ = self.context.subcontext("train", max_subtasks=self.n_steps)
        self.training_.call_on_fit_task_begin(estimator=self.detector)

    def on_batch_begin(self, net, training=None, **kwargs):
        """Open a step."""
        if training:
            self.step_ = self.training_.subcontext("step")
            self.step_.call_on_fit_task_begin(estimator=self.detector)

    def on_batch_end(self, net, training=None, **kwargs):
        """Close a step."""
        if training and self.step_.call_on_fit_task_end(estimator=self.detector):
            raise KeyboardInterrupt  # how skorch's callbacks ask for an orderly end

    def on_train_end(self, net, **kwargs):
        """Close the training."""
        self.training_.call_on_fit_task_end(estimator=self.detector)
