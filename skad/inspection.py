"""Why a row got its score."""

import warnings
from typing import Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import validate_data

from ._ambient import plain_torch
from ._parameters import check_value
from ._random import own_global_generators
from ._tables import check_same_columns, check_table, columns, pick, stack, typical_row

__all__ = ["normal_reference", "score_attributions"]

# Steps of the integral, doubled until the sum over steps misses the difference of two scores by no
# more than `TOLERANCE`, a share of it or, if that is more, of a member's spread of scores, 1.
STEPS = (64, 128, 256, 512, 1024)
TOLERANCE = 0.002
N_PERMUTATIONS = 10
MIN_NORMAL_HALF = 5  # rows; fewer have no median to speak of
INSTALL = "pip install 'skad[explain]'."


def score_attributions(estimator, X, *, background=None, method="auto"):
    """Say how much each feature raises or lowers the score of each row.

    The attributions of a row sum to its `score_samples` minus that of a normal reference row, and
    are negative for features that make the row more anomalous than the reference. Needs the extra
    ``skad[explain]``.

    Parameters
    ----------
    estimator : fitted detector
        Anything with `score_samples`: a detector of this package or of scikit-learn, a
        meta-estimator, or a pipeline. Of a pipeline, the columns that it is given are explained.
    X : array-like of shape (n_samples, n_features)
        Rows to explain: an array, or a pandas or polars DataFrame, of text too where the estimator
        takes that.
    background : array-like of shape (n_background, n_features), default=None
        Rows to compare with, of the same type as X. One row is the reference; several give it by
        `normal_reference`. None: X, which must then be mostly normal; to explain a few alarms, give
        the training rows.
    method : {"auto", "integrated_gradients", "permutation"}, default="auto"
        "integrated_gradients" is for deep detectors. "permutation" is for any estimator, and much
        slower: it scores each row some 20 times for each feature. "auto" takes the former for deep
        detectors, the latter for all others.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        For a detector of images (n_samples, channels, height, width).

    Raises
    ------
    ImportError
        When captum (for integrated gradients) or shap (for permutations) is not installed.

    Warns
    -----
    ConvergenceWarning
        When the integral is not accurate even with many steps.

    See Also
    --------
    skad.plotting.AttributionDisplay : Draws them.

    Notes
    -----
    Integrated gradients [1]_ go in a straight line from the reference to the row and add up the
    gradients of the score on the way, members and all. The line is straight between the scaled
    rows: scaling treats each column by itself, so an attribution still belongs to its column, and a
    huge value is approached in as small steps as any other. Steps are doubled until
    their sum misses no more than .002 of the difference of the scores, or of a member's standard
    deviation of scores if that is more, or up to 1024 steps; what is still missing is shared out in
    proportion to the sizes of the attributions.

    Permutations [2]_ replace the reference's cells by the row's, one after the other, in 10 random
    orders and back. The seed is fixed.

    References
    ----------
    .. [1] Sundararajan, M., Taly, A., and Yan, Q. (2017). Axiomatic Attribution for Deep Networks.
       ICML.
    .. [2] Lundberg, S. M., and Lee, S.-I. (2017). A Unified Approach to Interpreting Model
       Predictions. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import DeepSAD
    >>> from skad.inspection import score_attributions
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> X[-3:, 1] += 6  # the second feature of three rows is unusual
    >>> y = np.r_[np.zeros(197, dtype=int), [-1, -1, -1]]
    >>> detector = DeepSAD(random_state=0).fit(X, y)
    >>> attributions = score_attributions(detector, X[-3:], background=X)
    >>> attributions.shape
    (3, 3)
    >>> attributions.argmin(axis=1)
    array([1, 1, 1])
    """
    check_value("method", method, Literal["auto", "integrated_gradients", "permutation"])
    scores = _scores(estimator, X)
    X = check_table(X, "X")
    if background is None:
        _check_mostly_normal(estimator, X, scores)
        background = X
    background = check_table(background, "background")
    check_same_columns(X, background)
    reference = normal_reference(estimator, background)
    differences = scores - _scores(estimator, reference)
    deep = hasattr(estimator, "scoring_module_")
    if method == "integrated_gradients" and not deep:
        raise ValueError(
            "method='integrated_gradients' needs a deep detector, which has a scoring_module_; got "
            f"{estimator!r}. method='permutation' takes any estimator."
        )
    if deep and method != "permutation":
        attributions = _integrated_gradients(estimator, X, reference, differences)
    else:
        attributions = _permutation(estimator, X, reference)
    image_shape = getattr(estimator, "image_shape", None)
    if image_shape is None:
        return attributions
    return attributions.reshape(-1, *image_shape)


def normal_reference(estimator, X):
    """Make the row that stands for normal: the medians of the half of X that scores most normal.

    Parameters
    ----------
    estimator : fitted detector
        Anything with `score_samples`.
    X : array-like of shape (n_samples, n_features)
        At least half of the rows should be normal. An array, or a pandas or polars DataFrame.

    Returns
    -------
    array or DataFrame of shape (1, n_features)
        In each column the median (the lower one of two, so that each value is one of X's), or of
        text the most common value. A missing value only where most are missing.

    Examples
    --------
    >>> from sklearn.neighbors import KernelDensity
    >>> from skad.inspection import normal_reference
    >>> X = [[0.0, 1.0], [0.1, 1.1], [0.2, 1.2], [0.3, 9.0], [9.0, 9.0]]
    >>> normal_reference(KernelDensity().fit(X), X)
    array([[0.1, 1.1]])
    """
    half, X = _normal_half(_scores(estimator, X)), check_table(X, "X")
    rows = [half[typical_row(column[half])] for column in columns(X)]
    return pick(X, np.array([rows]))


def _scores(estimator, X):
    if not hasattr(estimator, "score_samples"):
        raise TypeError(f"estimator must be a fitted detector with score_samples, got {estimator}.")
    scores = np.asarray(estimator.score_samples(X), dtype=np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(
            "Scores that are not finite cannot be explained, and "
            f"{type(estimator).__name__}.score_samples gives some."
        )
    return scores


def _normal_half(scores):
    """Row numbers of the half that scores most normal."""
    return np.argsort(-scores, kind="stable")[: (len(scores) + 1) // 2]


def _check_mostly_normal(estimator, X, scores):
    """Raise if X cannot be its own background."""
    half, n_alarms = _normal_half(scores), 0
    if hasattr(estimator, "predict"):  # densities have none
        n_alarms = np.sum(np.asarray(estimator.predict(_safe_indexing(X, half))) == -1)
    if len(half) < MIN_NORMAL_HALF or n_alarms:
        raise ValueError(
            "background=None takes the reference from the half of X that scores most normal: "
            f"{MIN_NORMAL_HALF} or more rows, none of which is predicted to be an anomaly. Got "
            f"{len(half)} rows, {n_alarms} of them anomalies. Pass rows that are mostly normal, "
            "such as the training rows, as background."
        )


# --- the two methods ------------------------------------------------------------------------


def _integrated_gradients(estimator, X, reference, differences):
    """Integrate gradients; what their sum still misses is shared out."""
    attributions, missing = _integrate(estimator, X, reference, differences)
    n_wrong = int((np.abs(missing) > 10 * _allowed(differences)).sum())
    if n_wrong:
        warnings.warn(
            f"The attributions of {n_wrong} rows are not accurate: with {STEPS[-1]} steps the "
            f"gradients still miss up to {np.abs(missing).max():.2g} of a difference of scores. "
            "The network is too far from smooth; try method='permutation'.",
            ConvergenceWarning,
            stacklevel=3,
        )
    sizes = np.abs(attributions)
    totals = sizes.sum(axis=1, keepdims=True)
    return attributions + missing[:, None] * sizes / np.where(totals > 0, totals, 1)


def _allowed(differences):
    return TOLERANCE * np.maximum(np.abs(differences), 1)


@plain_torch
def _integrate(estimator, X, reference, differences):
    """Integrals of the gradient from the reference to each row, and what their sums miss."""
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise ImportError(f"Integrated gradients need captum: {INSTALL}") from error
    module = estimator.scoring_module_
    rows, start = (_scaled(estimator, module, part) for part in (X, reference))
    integral = IntegratedGradients(module.score_scaled)
    size = max(2**16 // rows.shape[1], 32)  # rows and steps that go through the networks at once
    attributions = np.zeros(rows.shape)
    todo = np.arange(len(rows))
    for n_steps in STEPS:
        for first in range(0, len(todo), size):
            part = todo[first : first + size]
            result = integral.attribute(
                rows[part], start, n_steps=n_steps, internal_batch_size=size
            )
            attributions[part] = result.cpu().numpy()
        missing = differences - attributions.sum(axis=1)
        todo = np.flatnonzero(np.abs(missing) > _allowed(differences))
        if len(todo) == 0:
            break
    return attributions, missing


def _scaled(estimator, module, X):
    X = validate_data(estimator, X, dtype=np.float64, reset=False)
    return module.scaler(torch.from_numpy(np.array(X)).to(module.location.device))


def _permutation(estimator, X, reference):
    """Explain scores by permutations: shap sees the numbers of rows, whatever is in the cells."""
    try:
        from shap.explainers import PermutationExplainer
    except ImportError as error:
        raise ImportError(f"Attributions by permutations need shap: {INSTALL}") from error
    table = stack(reference, X)
    n_samples, n_features = X.shape
    row_numbers = np.tile(np.arange(1, n_samples + 1)[:, None], n_features)
    with own_global_generators():  # shap seeds numpy's
        explainer = PermutationExplainer(
            lambda numbers: _scores(estimator, pick(table, numbers.astype(int))),
            # A function, because shap's own classes for tables take seconds to compile.
            lambda mask, numbers: np.where(mask, numbers, 0)[None],
            seed=0,
        )
        once = 2 * n_features + 1  # scores of one order and back
        options = {"max_evals": N_PERMUTATIONS * once, "batch_size": once, "silent": True}
        return explainer(row_numbers, **options).values
