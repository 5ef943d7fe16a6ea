"""Any classifier as a detector: unlabelled rows stand for normals."""

from dataclasses import field
from numbers import Real
from typing import Annotated, Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import has_fit_parameter

from .._clones import fit_clone
from .._parameters import Number, RandomState
from .._random import draw_seed
from ..base import BaseDetector, threshold
from ..metrics import roc_auc_score

ANOMALY, NORMAL = 0, 1  # what the classifier is told, so that larger means more normal
SMOOTHING = 1.0  # rows, weighted as the tree weighs them, that each leaf has of both classes
MIN_SHARE = 1e-6  # added to probabilities, so that their log-odds are finite
FORESTS = (RandomForestClassifier, ExtraTreesClassifier)
Share = Annotated[float, Number(Real, 0, 1, closed="left")]


class ClassifierDetector(BaseDetector):
    """Fit any classifier, with the unlabelled rows standing for normals.

    Labelled anomalies are one class and all other rows the other; both weigh the same. Scores are
    log-odds, which rank rows also where probabilities are 0 or 1: of a forest the mean over trees
    of the log-odds of a leaf's smoothed shares, which finds more anomalies than `predict_proba`,
    by much where few are labelled.

    Parameters
    ----------
    estimator : classifier, default=None
        Anything with `fit` and `decision_function` or `predict_proba`; the former where it has
        both. None: ``ExtraTreesClassifier(200, bootstrap=True, min_samples_leaf=2,
        class_weight="balanced_subsample")``. Where `class_weight` is left None it is "balanced",
        of a forest "balanced_subsample"; without that parameter, balanced sample weights are passed
        to a `fit` that takes them.
    clean : float in [0, 1), default=0.0
        Above 0: fit twice, the second time without the unlabelled rows that look most anomalous by
        out-of-bag scores, which needs a forest with ``bootstrap=True``. With n labelled anomalies
        a share of ``clean / sqrt(n)`` of the unlabelled rows is dropped.
    random_state : int, RandomState instance or None, default=None
        Seeds what `estimator` leaves unseeded.
    {parameters}

    Attributes
    ----------
    estimator_ : classifier
        The fitted classifier; its classes are 0 (anomaly) and 1 (normal).
    oob_score_ : float
        ROC AUC of the labelled anomalies by `oob_decision_function_`, as `score` gives it. Only
        with at least two labelled anomalies, where `oob_decision_function_` is.
    oob_decision_function_ : ndarray of shape (n_samples,)
        Each training row's decision function by the trees that have not seen it, but some labelled
        anomaly; NaN where there are none. Only for scikit-learn's random forests and extra trees
        with ``bootstrap=True``.
    {attributes}

    See Also
    --------
    VotingDetector : A committee of detectors.
    NormalOnlyDetector : Fits detectors that know no labels.

    Notes
    -----
    Without any labelled anomaly the classifier tells the rows from as many rows drawn uniformly
    from a box twice as wide as theirs [1]_: it learns where rows are dense. (Rows whose columns
    were permuted one by one, the other known way, measured far worse: anomalies that are far out
    in single columns stay so.) Detectors made for such tables are usually better.

    Values are clipped to the range of float32, in which trees compute. Training rows score better
    than fresh ones, since a classifier has seen them as normals. For a sharper threshold call
    `fit_threshold` on fresh rows, or compare `oob_decision_function_` with any other level.

    References
    ----------
    .. [1] Shi, T., and Horvath, S. (2006). Unsupervised learning with random forest predictors.
       Journal of Computational and Graphical Statistics, 15(1).

    Examples
    --------
    >>> import numpy as np
    >>> from skad import ClassifierDetector
    >>> X = np.r_[np.random.default_rng(0).normal(size=(200, 2)), [[5, 5], [6, 5], [5, 6]]]
    >>> y = np.r_[np.zeros(200, dtype=int), [-1, -1, -1]]
    >>> detector = ClassifierDetector(random_state=0).fit(X, y)
    >>> detector.predict([[0.0, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    """

    estimator: Annotated[
        Any, HasMethods(["fit", "predict_proba"]), HasMethods(["fit", "decision_function"]), None
    ] = field(default=None, kw_only=False)
    clean: Share = 0.0
    random_state: RandomState = None

    def _fit(self, X, y):
        estimator, seed = self._balanced_estimator(), draw_seed(self.random_state)
        rows, target = _clipped(X), np.where(y == -1, ANOMALY, NORMAL)
        n_anomalies = int(np.sum(y == -1))
        if n_anomalies == 0:
            rows = np.concatenate([rows, _uniform_rows(rows, seed)])
            target = np.repeat([NORMAL, ANOMALY], len(X))
        kept = np.arange(len(rows))
        out_of_bag = self._fit_on(estimator, rows, target, kept, seed)
        n_dropped = int(self.clean / np.sqrt(max(n_anomalies, 1)) * np.sum(y == 0))
        if n_dropped:
            suspects = np.flatnonzero((y == 0) & ~np.isnan(out_of_bag[: len(y)]))
            order = np.argsort(out_of_bag[suspects], kind="stable")
            kept = np.delete(kept, suspects[order[:n_dropped]])
            out_of_bag = self._fit_on(estimator, rows, target, kept, seed)
        scores = self._score_samples(X)
        for name in ("oob_score_", "oob_decision_function_"):
            vars(self).pop(name, None)
        if out_of_bag is not None:
            out_of_bag = out_of_bag[: len(y)]
            seen = ~np.isnan(out_of_bag)
            self.oob_decision_function_ = out_of_bag - threshold(scores, y, self.contamination)
            if len(np.unique(y[seen] == -1)) == 2:
                self.oob_score_ = roc_auc_score(y[seen], out_of_bag[seen])
        return scores

    def _balanced_estimator(self):
        """Return the classifier to fit, once it is known to suit; both classes weigh the same."""
        if self.estimator is None:
            return ExtraTreesClassifier(
                200, bootstrap=True, min_samples_leaf=2, class_weight="balanced_subsample"
            )
        if not is_classifier(self.estimator):
            raise ValueError(f"estimator must be a classifier, got {self.estimator!r}.")
        if self.clean and not _has_out_of_bag(self.estimator):
            raise ValueError(
                "clean needs out-of-bag scores: pass clean=0, or as estimator scikit-learn's "
                "random forest or extra trees with bootstrap=True."
            )
        estimator = clone(self.estimator)
        unset = [
            name
            for name, value in estimator.get_params().items()
            if name.rpartition("__")[2] == "class_weight" and value is None
        ]
        # "balanced" makes newer forests draw anomalies so often that few trees leave one out.
        weight = "balanced_subsample" if type(estimator) in FORESTS else "balanced"
        return estimator.set_params(**dict.fromkeys(unset, weight))

    def _fit_on(self, estimator, rows, target, kept, seed):
        """Fit on the kept rows; out-of-bag scores of all rows, or None."""
        weights = {}
        names = {name.rpartition("__")[2] for name in estimator.get_params()}
        if "class_weight" not in names and has_fit_parameter(estimator, "sample_weight"):
            weights["sample_weight"] = compute_sample_weight("balanced", target[kept])
        with np.errstate(all="ignore"):
            self.estimator_ = fit_clone(estimator, rows, target, kept, seed, **weights)
        self._leaf_scores = None
        if type(estimator) in FORESTS:
            self._leaf_scores = [_leaf_log_odds(tree.tree_) for tree in self.estimator_]
        if not _has_out_of_bag(estimator):
            return None
        sums, counts = np.zeros(len(rows)), np.zeros(len(rows))
        samples = self.estimator_.estimators_samples_
        for drawn, scores in zip(samples, self._scores_by_tree(rows), strict=True):
            seen = kept[drawn]
            if np.all(target[seen] == NORMAL):
                continue  # a tree that has seen no anomaly says the same of every row
            left_out = np.ones(len(rows), dtype=bool)
            left_out[seen] = False
            sums[left_out] += scores[left_out]
            counts += left_out
        with np.errstate(invalid="ignore"):
            return sums / counts

    def _scores_by_tree(self, rows):
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        for tree, scores in zip(self.estimator_, self._leaf_scores, strict=True):
            yield scores[tree.tree_.apply(rows)]

    def _score_samples(self, X):
        rows, estimator = _clipped(X), self.estimator_
        with np.errstate(all="ignore"):
            if self._leaf_scores is not None:
                # Tree by tree, so that the order of the sum is the same for any number of rows.
                scores = sum(self._scores_by_tree(rows)) / len(estimator)
            elif hasattr(estimator, "decision_function"):
                scores = estimator.decision_function(rows)
            else:
                shares = estimator.predict_proba(rows) + MIN_SHARE
                scores = np.log(shares[:, NORMAL] / shares[:, ANOMALY])
        scores = np.asarray(scores, dtype=np.float64)
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{type(estimator).__name__} gives scores that are not finite. Scale the columns."
            )
        return scores


def _clipped(X):
    """Rows within the range of float32, in which trees compute."""
    limit = np.finfo(np.float32).max
    return np.clip(X, -limit, limit)


def _uniform_rows(rows, seed):
    """As many rows, uniform in a box around the given ones that is twice as wide as theirs."""
    low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
    margin = (high - low) / 2
    drawn = np.random.default_rng(seed).uniform(low - margin, high + margin, rows.shape)
    return _clipped(drawn)


def _has_out_of_bag(estimator):
    return type(estimator) in FORESTS and estimator.bootstrap


def _leaf_log_odds(tree):
    """Log-odds of normal against anomaly in each node, by its weighted rows and a few more."""
    weights = tree.value[:, 0] * tree.weighted_n_node_samples[:, None] + SMOOTHING
    return np.log(weights[:, NORMAL] / weights[:, ANOMALY])
