"""Any detector on tables larger than memory: fitted on a sample, its threshold from all rows."""

from dataclasses import field
from typing import Annotated, Any

import numpy as np
from joblib import effective_n_jobs
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from .._chunks import as_chunks, score_chunks
from .._clones import fit_clone
from .._parameters import Contamination, Count, NJobs, check_value
from .._random import draw_seed
from .._sampling import RowSample
from ..base import threshold, unchanged_on_error
from ..detectors.deep_sad import DeepSAD
from ._base import MetaDetector, finite_offset


class SampledDetector(MetaDetector):
    """Fit any detector on a table that may be larger than memory.

    One pass over the table draws a uniform sample of the unlabelled rows and keeps all labelled
    ones; the detector is fitted on these. A second pass takes the threshold from the scores of all
    rows. Tables up to `max_samples` rows give what the detector alone would give, bit for bit.

    Wherever it takes X, X may also be the path of a Parquet file or folder, or a function that
    returns an iterator of chunks. Arrays that are mapped from a file (``np.load(path,
    mmap_mode="r")``) are read in chunks and never held. For Dask see `skad.distributed`.

    Parameters
    ----------
    estimator : estimator, default=None
        Anything with `fit` and `score_samples`, higher meaning more normal, such as a pipeline that
        ends in a detector. None: `DeepSAD`.
    max_samples : int, default=100_000
        Unlabelled rows to fit on.
    contamination : float in (0, 0.5], default=0.1
        Expected share of anomalies among the unlabelled rows; `offset_` is that quantile of their
        scores, or, with fewer than 20 unlabelled rows, of all but the anomalies' scores. A
        threshold of `estimator` plays no part.
    chunk_size : int, default=65_536
        Rows to read and score at once. Scores of this package's detectors do not depend on it.
    n_jobs : int, default=None
        Processes to score in, each on its own part of the rows; a function's chunks are scored in
        one.
    random_state : int, RandomState instance or None, default=None
        Seed of the sample; also seeds what `estimator` leaves unseeded.

    Attributes
    ----------
    estimator_ : estimator
        The clone of `estimator` fitted on the sample.
    offset_ : float
        Threshold: ``decision_function = score_samples - offset_``.
    sample_indices_ : ndarray of shape (n_sampled,), int64
        Row numbers of the sample, in order.
    n_features_in_ : int
        Number of features seen by `estimator_`, if it tells.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen by `estimator_`, if it tells.

    See Also
    --------
    skad.distributed.fit : The same over Dask collections, on a cluster.

    Notes
    -----
    The sample depends on `random_state` and the rows' order, not on how the table is cut. A deep
    detector with a budget of a few hundred steps reads tens of thousands of rows, so a
    larger sample changes little.

    *What is not exact.* Whatever `estimator` learns from the unlabelled rows, such as the
    scaling of columns, it learns from m = `max_samples` of them: a mean with a standard error of
    s / sqrt(m) for a column with standard deviation s, and in place of a quantile q one between
    q - e and q + e, where e = 2 sqrt(q (1 - q) / m) in 95 of 100 samples; .003 for a median and
    m = 100,000. The threshold is exact: it is taken from all rows.

    *Memory.* A chunk, up to twice the sample with all labelled rows, and some 25 bytes per row in
    fit, 16 in scoring, which returns one array of 8. Fit and scores of 5,000,000 x 50 in float32,
    mapped from a file, took 250 MB beside the interpreter's, with a small network.

    Examples
    --------
    >>> import numpy as np
    >>> from skad import DeepSAD, SampledDetector
    >>> def chunks():  # as often as it is called, the same
    ...     rng = np.random.default_rng(0)
    ...     for _ in range(5):
    ...         yield rng.normal(size=(1000, 2)), np.zeros(1000, dtype=int)
    ...     yield np.full((3, 2), 5.0), [-1, -1, -1]
    >>> detector = SampledDetector(DeepSAD(n_estimators=4), max_samples=500, random_state=0)
    >>> detector.fit(chunks).predict([[0.0, 0.0], [5.0, 5.0]])
    array([ 1, -1])
    >>> detector.score_samples(chunks).shape
    (5003,)
    """

    estimator: Annotated[Any, HasMethods(["fit", "score_samples"]), None] = field(
        default=None, kw_only=False
    )
    max_samples: Count = 100_000
    contamination: Contamination = 0.1
    chunk_size: Count = 65_536
    n_jobs: NJobs = None

    @_fit_context(prefer_skip_nested_validation=False)  # the inner detector is not validated yet
    def fit(self, X, y=None):
        """Fit the detector, in two passes over the rows.

        Parameters
        ----------
        X : array-like, str, path-like or callable
            Training rows, as the inner detector takes them: a table; the path of a Parquet file or
            folder; or a function whose iterators give tables, or pairs of a table and its labels.
        y : array-like of shape (n_samples,) or str, default=None
            -1 labelled anomaly, 0 unlabelled, +1 labelled normal. None: all unlabelled, or as a
            function's pairs say. Of Parquet it may be the name of a column.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For X or y that cannot be used; the detector is then left as it was.
        """
        with unchanged_on_error(self):
            chunks, seed = as_chunks(X, y, self.chunk_size), draw_seed(self.random_state)
            sample = RowSample(self.max_samples, seed)
            for start, rows, labels in chunks:
                sample.add(rows, labels, start)
            self._fit_on(sample, seed)
            scores, labels = self._score(chunks)
            if len(scores) != sample.n_seen:
                raise ValueError(
                    f"X gave {sample.n_seen} rows and then {len(scores)}: a function must return a "
                    "new iterator over the same chunks whenever it is called."
                )
            self._set_offset(scores, labels, self.contamination)
        return self

    def fit_threshold(self, X, y=None, *, contamination=None):
        """Move the threshold of the fitted detector, without fitting it again.

        Parameters
        ----------
        X : array-like, str, path-like or callable
            Rows to take the threshold from, in any form that `fit` takes.
        y : array-like of shape (n_samples,) or str, default=None
            Their labels, as in `fit`.
        contamination : float in (0, 0.5], default=None
            Share of the unlabelled rows of X to flag. None: the parameter `contamination`.

        Returns
        -------
        self : object
            With a new `offset_`.
        """
        check_is_fitted(self)
        if contamination is None:
            contamination = self.contamination
        check_value("contamination", contamination, Contamination)
        self._set_offset(*self._score(self._chunks(X, y)), contamination)
        return self

    def score_samples(self, X):
        """Score each row as the inner detector does: the higher, the more normal.

        Parameters
        ----------
        X : array-like, str, path-like or callable
            Rows in any form that `fit` takes. Of Parquet, the columns seen in fit are read.

        Returns
        -------
        ndarray of shape (n_samples,), float64
        """
        check_is_fitted(self)
        return self._score(self._chunks(X))[0]

    def _chunks(self, X, y=None):
        return as_chunks(X, y, self.chunk_size, getattr(self, "feature_names_in_", None))

    def _fit_on(self, sample, seed):
        """Fit the detector on a `RowSample`."""
        self.sample_indices_, X, y = sample.result()
        self.estimator_ = fit_clone(self._unfitted(), X, y, np.arange(len(y)), seed)
        self._take_names(self.estimator_)

    def _unfitted(self):
        return DeepSAD() if self.estimator is None else self.estimator

    def _score(self, chunks):
        """Scores and labels of all rows; each process gets the detector once."""
        parts = chunks.split(effective_n_jobs(self.n_jobs))
        if len(parts) == 1:
            return score_chunks(self.estimator_, chunks)
        scored = Parallel(n_jobs=self.n_jobs)(
            delayed(score_chunks)(self.estimator_, part) for part in parts
        )
        return tuple(map(np.concatenate, zip(*scored, strict=True)))

    def _set_offset(self, scores, labels, contamination):
        self.offset_ = finite_offset(threshold(scores, labels, contamination), scores)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags
