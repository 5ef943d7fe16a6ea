"""How many gradient steps: chosen by rows that members leave out of their training.

The best number differs from table to table by a factor of 30, and training longer harms where
labels are few. Each member leaves out some of the labelled rows and of the unlabelled ones; how it
ranks them, after more and more steps, says when to stop. Their scores are worth as much.
"""

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from skorch.callbacks import Callback

from ._parameters import DeclaredParameters

MIN_LABELED, STEPS_IF_FEWER = 3, 50  # anomalies, to have one to leave out
LABELED_SHARE, UNLABELED_SHARE = 0.3, 0.2  # of the rows that a member leaves out
MAX_LEFT_OUT = 4096  # unlabelled rows are enough to rank among
CANDIDATES = (25, 50, 100, 200, 400, 800)
STEPS_PER_EPOCH = CANDIDATES[0]
# A handful of left-out anomalies says little about the best step. So the average precision of s
# steps is lowered by PULL / (labelled anomalies) * log2(s / USUAL) ** 2: with few labels what is
# good for most tables is taken, and with many the left-out rows decide.
USUAL, PULL = 75, 0.2


class OutOfBagMixin(DeclaredParameters):
    """For methods whose ``max_steps="auto"`` is chosen by rows that members leave out.

    Attributes
    ----------
    oob_score_ : float
        ROC AUC of the labelled anomalies by `oob_decision_function_`, as `score` gives it. Only
        where the number of steps was chosen: with ``max_steps="auto"`` on a table with at least 3
        labelled anomalies and at least 4 members. The curve that it was chosen by is in
        `history_`, as `oob_average_precision`.
    oob_decision_function_ : ndarray of shape (n_samples,)
        Each training row's decision function by the members that left it out, and so have not
        learnt it; NaN where none did. Only where `oob_score_` is.
    """

    _chooses_steps = True


def draw_left_out(y, seeds, usable):
    """Rows that each member leaves out, a mask (n_members, n_rows): the same share of each label.

    Only usable rows, given as a mask, are drawn. None where there is nothing to choose by.
    """
    left_out = np.zeros((len(seeds), len(y)), dtype=bool)
    for label, share in ((-1, LABELED_SHARE), (0, UNLABELED_SHARE), (1, LABELED_SHARE)):
        rows = np.flatnonzero((y == label) & usable)
        n_out = min(round(share * len(rows)), MAX_LEFT_OUT)
        for mask, seed in zip(left_out, seeds, strict=True):
            generator = np.random.default_rng([seed, label + 1])
            mask[generator.choice(rows, n_out, replace=False)] = True
    return left_out if left_out[:, y == -1].any() and left_out[:, y != -1].any() else None


class StepChoice(Callback):
    """Looks at the left-out rows after each candidate number of steps, and keeps the best network.

    Parameters
    ----------
    left_out : ndarray of shape (n_members, n_rows), bool
    """

    def __init__(self, left_out):
        self.left_out = left_out

    def on_train_begin(self, net, X=None, **kwargs):
        """Pick the rows that each member is judged by."""
        rows = torch.from_numpy(np.stack([np.flatnonzero(mask) for mask in self.left_out]))
        self.rows_, self.anomaly_ = rows.to(X.X.device), X.y.cpu().numpy()[rows] == -1
        self.n_anomalies_ = int((X.y == -1).sum())
        self.X_, self.curve_, self.best_ = X.X, {}, None

    def on_epoch_end(self, net, **kwargs):
        """Judge the members, and stop once they are past their best."""
        if net.n_steps_ not in CANDIDATES:
            return
        self._judge(net)
        best = max(self.curve_, key=self.curve_.get)
        rest = [1.0 - self._pull(n) for n in CANDIDATES if n > net.n_steps_]  # at the very best
        if rest and (best != net.n_steps_ or max(rest) < self.curve_[best]):
            raise KeyboardInterrupt  # how skorch's callbacks ask for an orderly end

    def on_train_end(self, net, **kwargs):
        """Take the best network back."""
        if not self.curve_:
            self._judge(net)
        net.n_steps_ = max(self.curve_, key=self.curve_.get)
        net.module_.load_state_dict(self.best_)

    def _judge(self, net):
        net.module_.eval()
        with torch.no_grad():
            scores = torch.cat(
                [net.module_(self.X_[part]) for part in self.rows_.split(1024, dim=1)], dim=1
            )
        members = [
            average_precision_score(anomaly, score)
            for anomaly, score in zip(self.anomaly_, scores.cpu().numpy(), strict=True)
        ]
        precision = float(np.mean(members))
        value = precision - self._pull(net.n_steps_)
        if value > max(self.curve_.values(), default=-np.inf):
            self.best_ = {name: t.clone() for name, t in net.module_.state_dict().items()}
        self.curve_[net.n_steps_] = value
        net.history.record("oob_average_precision", precision)
        net.history.record("oob_average_precision_members", members)

    def _pull(self, n_steps):
        return PULL / self.n_anomalies_ * np.log2(n_steps / USUAL) ** 2


def out_of_bag_scores(member_scores, left_out):
    """Mean of each row's scores over the members that left it out; NaN where none did."""
    sums = np.zeros(left_out.shape[1])
    for scores, mask in zip(member_scores, left_out, strict=True):
        sums[mask] += scores[mask]
    with np.errstate(invalid="ignore"):
        return sums / left_out.sum(axis=0)
