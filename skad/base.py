"""What every detector shares: labels, threshold, predict, score; and fit for the deep ones."""

import copy
import math
import warnings
from contextlib import contextmanager
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    OutlierMixin,
    TransformerMixin,
    _fit_context,
    clone,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from ._labels import batch_strata, check_training_labels
from ._modules import (
    ScaleImage,
    Standardize,
    make_encoder,
    make_lenet,
    make_mlp,
    stack_members,
)
from ._net import MemberBatches, MemberNet, ValidationRows
from ._random import draw_seed, member_seeds, preserve_global_generators, seed_everything
from .metrics import roc_auc_score

SCORE_CHUNK = 1024  # rows that go through a network at once when scoring

# Below so few unlabelled rows a quantile of their scores says nothing.
MIN_UNLABELED_FOR_THRESHOLD = 20


@contextmanager
def unchanged_on_error(estimator):
    """Put an estimator's attributes back as they were when the block raises anything."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class DetectorMixin(OutlierMixin):
    """`predict`, `fit_predict` and `score` on top of `fit` and `decision_function`."""

    def predict(self, X):
        """Predict +1 (normal) or -1 (anomaly) for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), int
            -1 where `decision_function` is negative, else +1.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def fit_predict(self, X, y=None):
        """Fit on X and y, and predict the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,), default=None
            Labels, as in `fit`; they are used.

        Returns
        -------
        ndarray of shape (n_samples,), int
            +1 normal, -1 anomaly.
        """
        return self.fit(X, y).predict(X)

    def score(self, X, y):
        """ROC AUC of the labelled anomalies against all other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            -1 labelled anomaly, 0 unlabelled (stands for normal), +1 labelled normal.

        Returns
        -------
        float
            NaN, with an `UndefinedMetricWarning`, when y holds no anomaly.
        """
        return roc_auc_score(y, self.decision_function(X))


class BaseDetector(DetectorMixin, BaseEstimator):
    """Template of a detector that learns from X and labels in {-1, 0, +1}.

    A subclass writes two hooks over validated input: ``_fit(X, y)``, which returns the training
    rows' scores, and ``_score_samples(X)``; in both, higher means more normal, float64.
    """

    _parameter_constraints: dict = {"contamination": [Interval(Real, 0, 0.5, closed="right")]}

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Fit the detector.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows, without NaN.
        y : array-like of shape (n_samples,), default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None: all unlabelled.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For X or y that cannot be used; the detector is then left as it was.
        """
        with unchanged_on_error(self):
            X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
            y = check_training_labels(y, len(X))
            self.offset_ = self._offset(self._fit(X, y), y, self.contamination)
        return self

    def score_samples(self, X):
        """Score each row: the higher, the more normal.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            A row's score depends on that row alone.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._score_samples(X)

    def decision_function(self, X):
        """Score each row relative to the threshold: negative means anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            ``score_samples(X) - offset_``.
        """
        return self.score_samples(X) - self.offset_

    def fit_threshold(self, X, y=None, *, contamination=None):
        """Move the threshold of the fitted detector, without fitting it again.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows to take the threshold from: the training rows or fresh ones.
        y : array-like of shape (n_samples,), default=None
            Their labels, as in `fit`.
        contamination : float in (0, 0.5], default=None
            Share of the unlabelled rows of X to flag. None: the parameter `contamination`.

        Returns
        -------
        self : object
            With a new `offset_`.
        """
        if contamination is None:
            contamination = self.contamination
        if not 0 < contamination <= 0.5:
            raise ValueError(f"contamination must be in (0, 0.5], got {contamination}.")
        scores = self.score_samples(X)
        self.offset_ = self._offset(scores, check_training_labels(y, len(scores)), contamination)
        return self

    @staticmethod
    def _offset(scores, y, contamination):
        """Quantile of the scores of the unlabelled rows, or, if few, of all but the anomalies."""
        rows = y == 0 if np.sum(y == 0) >= MIN_UNLABELED_FOR_THRESHOLD else y != -1
        return float(np.percentile(scores[rows], 100 * contamination))


class BaseDeepDetector(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseDetector):
    """Template of a deep detector: scaling, members, training through skorch, scores, codes.

    A subclass writes two hooks. ``_make_network(n_features)`` builds one member's network: called
    on rows it gives their anomaly scores, and its ``encoder`` gives their codes.
    ``_make_criterion(network, X, y)`` builds the loss of a batch of those outputs, one number per
    member; it gets the stacked network and all scaled training rows, to find a centre with.
    """

    _parameter_constraints: dict = {
        **BaseDetector._parameter_constraints,
        "hidden_layer_sizes": ["array-like", StrOptions({"auto"})],
        "latent_dim": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "module": [callable, None],
        "image_shape": ["array-like", None],
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "max_steps": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "optimizer": [callable],
        "standardize": ["boolean"],
        "callbacks": [list, tuple, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def transform(self, X):
        """Encode each row; the members' codes stand side by side.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_estimators * latent_dim), float64
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._transform(X)

    # --- what a method may override ---------------------------------------------------------

    def _auto_steps(self, y):
        """Gradient steps when ``max_steps="auto"``."""
        return 100

    def _encode(self, rows):
        """Codes of scaled rows, (n_members, n_rows, latent_dim)."""
        return self.network_.encoder(rows)

    def _strata(self, y):
        """Groups of rows to draw each batch from; here all rows alike."""
        return batch_strata(y, None)

    # --- fit --------------------------------------------------------------------------------

    def _fit(self, X, y):
        self._check_architecture(X.shape[1])
        self.scaler_ = self._make_scaler(X)
        self.member_seeds_ = member_seeds(draw_seed(self.random_state), self.n_estimators)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        with preserve_global_generators():
            rows = torch.cat([chunk.float() for chunk in self._scaled_chunks(X)]).to(device)
            labels = torch.from_numpy(y).to(device)
            network = self._make_members(self._make_network, X.shape[1]).to(device)
            criterion = self._make_criterion(network, rows, labels)
            n_steps = self._auto_steps(y) if self.max_steps == "auto" else self.max_steps
            net = self._train(network, criterion, rows, labels, n_steps)
            self.network_ = network.eval().double().requires_grad_(False)
            self.history_, self.n_iter_ = net.history, net.n_steps_
            self._n_features_out = self._transform(X[:1]).shape[1]
            return self._calibrate(X, y)

    def _make_members(self, make, *args):
        """Build one network per member, each from its own seed, and stack them."""
        members = []
        for seed in self.member_seeds_:
            seed_everything(seed)
            members.append(make(*args))
        return stack_members(members)

    def _train(self, network, criterion, X, y, n_steps, callbacks=()):
        """Train a stacked network on scaled rows and return the skorch net."""
        validation = None
        if self.validation_fraction is not None:
            held_out = self._held_out(y)
            validation = ValidationRows(X[held_out], y[held_out], self.n_estimators)
            X, y = X[~held_out], y[~held_out]
        batches = MemberBatches(
            X,
            y,
            self._strata(y.cpu().numpy()),
            seeds=self.member_seeds_,
            batch_size=self.batch_size,
            n_steps=n_steps,
        )
        net = MemberNet(
            network,
            criterion,
            optimizer=self.optimizer,
            optimizer__weight_decay=self.weight_decay,
            lr=self.lr,
            batch_size=self.batch_size,
            callbacks=[*callbacks, *copy.deepcopy(list(self.callbacks or ()))],
            device=X.device,
            verbose=self.verbose,
        )
        return net.fit(batches, validation)

    def _held_out(self, y):
        """Mask of the rows kept for validation: the same share of each label, seeded."""
        generator = np.random.default_rng(self.member_seeds_[0])
        held_out = torch.zeros(len(y), dtype=torch.bool, device=y.device)
        for label in (-1, 0, 1):
            rows = torch.nonzero(y == label).flatten().cpu().numpy()
            n_held_out = round(self.validation_fraction * len(rows))
            held_out[generator.choice(rows, n_held_out, replace=False)] = True
        if held_out.all() or not held_out.any():
            raise ValueError(
                f"validation_fraction={self.validation_fraction} leaves {int(held_out.sum())} of "
                f"{len(y)} rows for validation; both parts need rows."
            )
        return held_out

    def _calibrate(self, X, y):
        """Find each member's scale on the training rows; their scores, once checked."""
        raw = self._member_scores(X)
        if not np.isfinite(raw).all():
            raise ValueError("Training gave scores that are not finite. Lower lr.")
        usual = raw[:, y != -1]
        self._location = np.median(usual, axis=1, keepdims=True)
        spread = usual.std(axis=1, keepdims=True)
        self._spread = np.where(spread > 0, spread, 1.0)
        if np.any(np.ptp(raw, axis=1) <= 1e-6 * np.abs(raw).max(axis=1)):
            warnings.warn(
                f"{type(self).__name__} gives (almost) the same score to every training row: its "
                "network has collapsed, or all rows are equal. Try a larger lr or more steps.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self._combine(raw)

    # --- scores -----------------------------------------------------------------------------

    def _score_samples(self, X):
        return self._combine(self._member_scores(X))

    def _combine(self, raw):
        """Mean over members, each in units of its own spread; the one change of sign."""
        return -((raw - self._location) / self._spread).mean(axis=0)

    def _member_scores(self, X):
        """Anomaly scores as the method defines them, (n_members, n_samples)."""
        return self._apply(self.network_, X)

    def _transform(self, X):
        return np.moveaxis(self._apply(self._encode, X), 0, 1).reshape(len(X), -1)

    def _apply(self, function, X):
        """Apply a function of (n_members, n_rows, n_features) to all rows, chunk by chunk."""
        device = next(self.network_.parameters()).device
        with torch.no_grad():
            return torch.cat(
                [
                    function(chunk.to(device).expand(self.n_estimators, -1, -1)).cpu()
                    for chunk in self._scaled_chunks(X)
                ],
                dim=1,
            ).numpy()

    def _scaled_chunks(self, X):
        for start in range(0, len(X), SCORE_CHUNK):
            chunk = np.array(X[start : start + SCORE_CHUNK], dtype=np.float64)
            yield self.scaler_(torch.from_numpy(chunk))

    def _make_scaler(self, X):
        if not self.standardize:
            return nn.Identity()
        return Standardize(X) if self.image_shape is None else ScaleImage(X, self.image_shape)

    # --- architecture -----------------------------------------------------------------------

    def _check_architecture(self, n_features):
        if self.image_shape is not None:
            if len(self.image_shape) != 3 or math.prod(self.image_shape) != n_features:
                raise ValueError(
                    f"image_shape={tuple(self.image_shape)} does not fit X with {n_features} "
                    "features: it must be (channels, height, width) with that product."
                )
        if self.hidden_layer_sizes != "auto":
            sizes = list(self.hidden_layer_sizes)
            if not all(isinstance(n, Integral) and n > 0 for n in sizes):
                raise ValueError(f"hidden_layer_sizes must be positive integers, got {sizes}.")

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "network_" in state:  # a model fitted on a GPU must load where there is none
            state["network_"] = copy.deepcopy(state["network_"]).cpu()
        return state
