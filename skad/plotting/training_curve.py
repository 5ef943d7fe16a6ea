"""Losses over a training."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._base import Display, name_of


class TrainingCurveDisplay(Display):
    """Loss of a deep detector over its training.

    Use `from_estimator` to make one.

    Parameters
    ----------
    train_loss : ndarray of shape (n_epochs,)
        Mean over members.
    train_loss_members : ndarray of shape (n_epochs, n_members)
        Each member's.
    valid_loss : ndarray of shape (n_epochs,), default=None
        Loss of the validation rows, if there were any.
    n_steps : int, default=None
        Gradient steps of the whole training, for the x axis; None: count epochs.
    name : str, default=None
        Title.

    Attributes
    ----------
    ax_, figure_ : matplotlib Axes and Figure
    line_, valid_line_ : matplotlib Line2D
        Mean loss; loss of the validation rows, or None.
    member_lines_ : list of matplotlib Line2D
    """

    def __init__(self, *, train_loss, train_loss_members, valid_loss=None, n_steps=None, name=None):
        self.train_loss = train_loss
        self.train_loss_members = train_loss_members
        self.valid_loss = valid_loss
        self.n_steps = n_steps
        self.name = name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, ax=None, **kwargs):
        """Plot the `history_` of a fitted deep detector.

        Parameters
        ----------
        estimator : fitted deep detector
        name : str, default=None
            Title; None: the name of the estimator.
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`, for the mean loss.

        Returns
        -------
        TrainingCurveDisplay
        """
        check_is_fitted(estimator, "history_")
        history = list(estimator.history_)
        valid_loss = None
        if "valid_loss" in history[-1]:
            valid_loss = np.array([epoch["valid_loss"] for epoch in history])
        display = cls(
            train_loss=np.array([epoch["train_loss"] for epoch in history]),
            train_loss_members=np.array([epoch["train_loss_members"] for epoch in history]),
            valid_loss=valid_loss,
            n_steps=estimator.n_iter_,
            name=name or name_of(estimator),
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax=None, **kwargs):
        """Draw the mean loss and, faintly, each member's.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **kwargs
            Passed on to matplotlib's `plot`, for the mean loss.

        Returns
        -------
        self : object
        """
        self._set_axes(ax)
        n_epochs = len(self.train_loss)
        x = np.arange(1, n_epochs + 1) * ((self.n_steps or n_epochs) / n_epochs)
        self.member_lines_ = []
        if self.train_loss_members.shape[1] > 1:
            self.member_lines_ = self.ax_.plot(
                x, self.train_loss_members, color="C0", alpha=0.25, linewidth=1
            )
            self.member_lines_[0].set_label("training, each member")
        options = {"color": "C0", "linewidth": 2, "label": "training", **kwargs}
        (self.line_,) = self.ax_.plot(x, self.train_loss, **options)
        self.valid_line_ = None
        if self.valid_loss is not None:
            (self.valid_line_,) = self.ax_.plot(x, self.valid_loss, "C1", label="validation")
        xlabel = "epoch" if self.n_steps is None else "gradient step"
        self.ax_.set(xlabel=xlabel, ylabel="loss", title=self.name)
        self.ax_.legend()
        return self
