"""Why a row got its score."""

import warnings
from typing import Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import validate_data

from ._ambient import plain_torch
from ._parameters import check_value
from ._random import own_global_generators
from ._tables import check_same_columns, check_table, columns, pick, stack, typical_row

__all__ = ["normal_reference", "score_attributions"]

# The integral: segments at first, how often each may be halved, and how many of a row's may be in
# one turn. A segment may miss `TOLERANCE` (a member's spread of scores is 1), and more from a
# difference of scores of `FEW_DIGITS` on, because networks compute in float32.
SEGMENTS, HALVINGS, MOST_SEGMENTS = 8, 16, 1024
TOLERANCE = 4e-5
FEW_DIGITS = 20
POINTS = 1024  # that go through the networks at once
WRONG = 0.02  # of a difference of scores, or of a member's spread if that is more
N_PERMUTATIONS = 10
MIN_NORMAL_HALF = 5  # rows; fewer have no median to speak of


def score_attributions(estimator, X, *, background=None, method="auto"):
    """Say how much each feature raises or lowers the score of each row.

    The attributions of a row sum to its `score_samples` minus that of a normal reference row, and
    are negative for features that make the row more anomalous than the reference. What is not a
    deep detector needs the extra ``skad[explain]``.

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
        "integrated_gradients" is for deep detectors, and for pipelines that end in one if each
        column that the steps make depends on one of X's: scaling, imputation, one-hot codes, but
        no principal components. "permutation" is for any estimator, and much slower: it scores each
        row some 20 times for each feature. "auto" takes the former where it can.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        For a detector of images (n_samples, channels, height, width).

    Raises
    ------
    ImportError
        When shap, which permutations need, is not installed.

    Warns
    -----
    ConvergenceWarning
        When the integral is not accurate even with many short steps.

    See Also
    --------
    skad.plotting.AttributionDisplay : Draws them.

    Notes
    -----
    Integrated gradients [1]_ go in a straight line from the reference to the row and add up the
    gradients of the score on the way, members and all. The line is straight between the scaled
    rows: scaling treats each column by itself, so an attribution still belongs to its column, and a
    huge value is approached in as small steps as any other. Gradients of networks jump, so steps
    are halved where they miss the score's change by more than 4e-5 (of a member's standard
    deviation of scores). In all they miss less than .001 of the scores' standard deviation, which
    is shared out in proportion to the sizes of the attributions.

    In a pipeline the line is straight between the rows that the detector gets, and columns made of
    one column of X are summed. Which they are is found by putting the row's cells into the
    reference, one column at a time.

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
    deep_input = None if method == "permutation" else _deep_input(estimator, X, reference)
    if method == "integrated_gradients" and deep_input is None:
        raise ValueError(
            "method='integrated_gradients' needs a deep detector, which has a scoring_module_, or "
            "a pipeline that ends in one, each of whose columns depends on one column of X; got "
            f"{estimator!r}. method='permutation' takes any estimator."
        )
    if deep_input is None:
        attributions = _permutation(estimator, X, reference)
    else:
        attributions = _integrated_gradients(deep_input, X.shape[1], differences)
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


@plain_torch
def _deep_input(estimator, X, reference):
    """Scaled rows and reference that a deep detector gets, and the column of X each column is from.

    Behind steps of a pipeline that is the one column of X whose cells, put into the reference,
    change it. None if some column depends on several, or if there is no deep detector at all.
    """
    steps, detector = [], estimator
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        steps, detector = [estimator[:-1]], estimator[-1]
    if not hasattr(detector, "scoring_module_"):
        return None
    module = detector.scoring_module_

    def scaled(table):
        for step in steps:
            table = step.transform(table)
        table = validate_data(detector, table, dtype=np.float64, reset=False)
        return module.scaler(torch.from_numpy(np.array(table)).to(module.location.device))

    rows, start = scaled(X), scaled(reference)
    if not steps:
        return module, rows, start, np.arange(rows.shape[1])
    table, origins, explained = stack(reference, X), np.full(rows.shape[1], -1), start.clone()
    for j in range(X.shape[1]):
        row_numbers = np.zeros(X.shape, dtype=int)
        row_numbers[:, j] = np.arange(1, len(row_numbers) + 1)
        alone = scaled(pick(table, row_numbers))
        changed = (alone != start).any(0)
        if np.any(origins[changed.numpy(force=True)] >= 0):
            return None
        origins[changed.numpy(force=True)] = j
        explained = torch.where(changed, alone, explained)
    return (module, rows, start, origins) if torch.equal(explained, rows) else None


def _integrated_gradients(deep_input, n_features, differences):
    """Integrate gradients; what their sum still misses is shared out."""
    *path, origins = deep_input
    attributions = np.zeros((len(differences), n_features))
    np.add.at(attributions.T, origins, _integrate(*path).T)
    missing = differences - attributions.sum(axis=1)
    n_wrong = int((np.abs(missing) > WRONG * np.maximum(np.abs(differences), 1)).sum())
    if n_wrong:
        warnings.warn(
            f"The attributions of {n_wrong} rows are not accurate: gradients miss up to "
            f"{np.abs(missing).max():.2g} of a difference of scores. The network is too far from "
            "smooth; try method='permutation'.",
            ConvergenceWarning,
            stacklevel=3,
        )
    sizes = np.abs(attributions)
    totals = sizes.sum(axis=1, keepdims=True)
    return attributions + missing[:, None] * sizes / np.where(totals > 0, totals, 1)


@plain_torch
def _integrate(module, rows, start):
    """Integrals of the gradient from the reference to each row.

    By the trapezoidal rule, on segments that are halved where its sum misses the difference of the
    scores at their ends: gradients of networks jump, and so these places are closed in on.
    """
    size = max(2**13 // rows.shape[1], 1)
    parts = [_integrate_part(module, part - start, start) for part in rows.split(size)]
    return torch.cat(parts).numpy(force=True)


def _integrate_part(module, ways, start):
    def points(owners, t):
        """At shares t of some rows' ways: t, the score, and how fast each column changes it."""
        made = []
        for owner, share in zip(owners.split(POINTS), t.split(POINTS), strict=True):
            at = (start + share[:, None] * ways[owner]).requires_grad_()
            scores = module.score_scaled(at)
            (gradient,) = torch.autograd.grad(scores.sum(), at)
            made.append(torch.column_stack([share, scores.detach(), gradient * ways[owner]]))
        return torch.cat(made)

    n_rows, result = len(ways), torch.zeros_like(ways)
    grid = torch.linspace(0, 1, SEGMENTS + 1, dtype=ways.dtype, device=ways.device)
    everyone = torch.arange(n_rows, device=ways.device)
    first = points(everyone.repeat_interleave(len(grid)), grid.repeat(n_rows))
    first = first.view(n_rows, len(grid), -1)
    difference = (first[:, -1, 1] - first[:, 0, 1]).abs()
    allowed = TOLERANCE * difference.clamp_min(FEW_DIGITS) / FEW_DIGITS
    owners = everyone.repeat_interleave(SEGMENTS)
    left, right = first[:, :-1].flatten(0, 1), first[:, 1:].flatten(0, 1)
    for n_halvings in range(HALVINGS + 1):
        length, rise = (right - left)[:, :2].T
        sums = length[:, None] / 2 * (left + right)[:, 2:]
        halved = (rise - sums.sum(1)).abs() > allowed[owners]
        # Not where everything misses, which is rounding.
        halved &= (torch.bincount(owners)[owners] <= MOST_SEGMENTS) & (n_halvings < HALVINGS)
        result.index_add_(0, owners[~halved], sums[~halved])
        owners, left, right = owners[halved], left[halved], right[halved]
        if len(owners) == 0:
            return result
        middle = points(owners, (left[:, 0] + right[:, 0]) / 2)
        owners = owners.repeat(2)
        left, right = torch.cat([left, middle]), torch.cat([middle, right])


def _permutation(estimator, X, reference):
    """Explain scores by permutations: shap sees the numbers of rows, whatever is in the cells."""
    try:
        from shap.explainers import PermutationExplainer
    except ImportError as error:
        raise ImportError(
            "Attributions by permutations need shap: pip install 'skad[explain]'."
        ) from error
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
