"""Fitted detectors for places without Python, and the types that skops has to trust."""

import copy
import importlib
import logging
import warnings
from contextlib import contextmanager

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._ambient import plain_torch
from .base_deep import BaseDeepDetector
from .detectors.ssad import FAR, HUGE, LARGEST, SSAD
from .meta import NormalOnlyDetector, SampledDetector, TunedThresholdDetector

__all__ = ["SKOPS_TYPES", "to_onnx"]

# The oldest versions of ONNX's operators that torch writes: they run in the most places.
OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 8  # of the file format
# Meta-estimators that have one fitted detector's scores and a threshold of their own.
THRESHOLDS = (NormalOnlyDetector, SampledDetector, TunedThresholdDetector)

#: Names of the types that ``skops.io.load(file, trusted=SKOPS_TYPES)`` has to trust for a detector
#: with built-in networks. scikit-learn's trees are not among them, because a forged tree can crash
#: the process: for a detector that holds a forest add ``"sklearn.tree._tree.Tree"``, if you know
#: where the file is from. So for an `optimizer` other than Adam and for `callbacks`.
SKOPS_TYPES = [
    "skad._members.StackedBatchNorm1d",
    "skad._modules.LinearToOne",
    "skad._modules.ReconstructionError",
    "skad._modules.ScaleImage",
    "skad._modules.Standardize",
    "skad._scoring.FrozenLinear",
    "skad._scoring.MemberList",
    "skad._scoring.ScoringModule",
    "skad.detectors._gan_networks.Critic",
    "skad.detectors._gan_networks.LayerByLayer",
    "skad.detectors._gan_networks.SpectralConv2d",
    "skad.detectors._hypersphere.DistanceToCenter",
    "skad.detectors._mirrored_game.AMANetwork",
    "skad.detectors.ama.AMA",
    "skad.detectors.autoencoder.Autoencoder",
    "skad.detectors.deep_sad.DeepSAD",
    "skad.detectors.deep_svdd.DeepSVDD",
    "skad.detectors.esad.ESAD",
    "skad.detectors.esad.ESADNetwork",
    "skad.detectors.ganomaly.GANomaly",
    "skad.detectors.ganomaly.GANomalyNetwork",
    "skad.detectors.ssad.SSAD",
    "skad.detectors.ssad._Kernel",
    "skad.detectors.ssdgm.Chain",
    "skad.detectors.ssdgm.ConditionalVAE",
    "skad.detectors.ssdgm.GenerativeNetwork",
    "skad.detectors.ssdgm.SSDGM",
    "skad.meta.classifier.ClassifierDetector",
    "skad.meta.conformal.ConformalDetector",
    "skad.meta.normal_only.NormalOnlyDetector",
    "skad.meta.sampled.SampledDetector",
    "skad.meta.tuned_threshold.TunedThresholdDetector",
    "skad.meta.voting.VotingDetector",
    "sklearn.utils._bunch.Bunch",
    "skorch.history.History",
    "torch.nn.modules.activation.LeakyReLU",
    "torch.nn.modules.activation.ReLU",
    "torch.nn.modules.activation.Sigmoid",
    "torch.nn.modules.activation.Tanh",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.conv.ConvTranspose2d",
    "torch.nn.modules.flatten.Flatten",
    "torch.nn.modules.flatten.Unflatten",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
    "torch.optim.adam.Adam",
]


@plain_torch
def to_onnx(estimator, path=None):
    """Write a fitted detector as one ONNX graph, from raw rows to scores and labels.

    Where the file is used it needs neither skad nor torch, only an ONNX runtime. Scaling, networks,
    their combination and the threshold as it is now are inside.

    Parameters
    ----------
    estimator : estimator
        A fitted deep detector or `SSAD`, a `TunedThresholdDetector`, `NormalOnlyDetector` or
        `SampledDetector` of one, or a `sklearn.pipeline.Pipeline` that ends in one, after
        preprocessors that skl2onnx knows.
    path : str, path-like or binary file object, default=None
        Where to write the model. None writes nothing.

    Returns
    -------
    onnx.ModelProto
        The model. Its input ``X``, (n_rows, n_features), is float32; its outputs are
        ``decision_function``, (n_rows,), float64, and ``label``, (n_rows,), int64: +1 or -1.

    Raises
    ------
    ImportError
        Without the packages of the extra: ``pip install 'skad[onnx]'``.
    TypeError
        For an estimator, or a step of a pipeline, that has no ONNX form.
    ValueError
        For a kernel of `SSAD` that has none.

    Notes
    -----
    Scores agree with `decision_function` of the same float32 rows up to rounding, about 1e-6 of
    their spread. A column such as Unix time loses digits in float32: subtract a date beforehand.
    Steps of a pipeline are translated by skl2onnx, in float32, and need columns chosen by number;
    compare the scores of some rows before you rely on them.

    A graph cannot raise errors: a row with NaN gets the score NaN and the label -1.

    Examples
    --------
    >>> import numpy as np
    >>> import onnxruntime
    >>> from skad import DeepSAD
    >>> from skad.export import to_onnx
    >>> X = np.random.RandomState(0).randn(200, 2).astype(np.float32)
    >>> detector = DeepSAD(n_estimators=1, random_state=0).fit(X)
    >>> session = onnxruntime.InferenceSession(to_onnx(detector).SerializeToString())
    >>> scores, labels = session.run(None, {"X": X})
    >>> bool(np.allclose(scores, detector.decision_function(X), rtol=0, atol=1e-4))
    True
    """
    onnx = _needed("onnx")
    steps, detector, offset = _taken_apart(estimator)
    module = _Decision(_score_module(detector), offset)
    if steps:
        first = _steps_graph(Pipeline(steps), estimator.n_features_in_)
        model = _joined(first, _detector_graph(module, detector.n_features_in_, "rows"))
    else:
        model = _detector_graph(module, detector.n_features_in_, "X")
    if hasattr(path, "write"):
        path.write(model.SerializeToString())
    elif path is not None:
        onnx.save(model, path)
    return model


def _needed(name):
    """Import an optional package."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"to_onnx needs {name}, which cannot be imported ({error}): pip install 'skad[onnx]'."
        ) from error


def _taken_apart(estimator):
    """Return the steps before the detector, the detector, and the outermost threshold."""
    steps, offset, given = [], None, estimator
    while True:
        if isinstance(estimator, Pipeline):
            steps += [step for step in estimator.steps[:-1] if step[1] not in (None, "passthrough")]
            estimator = estimator.steps[-1][1]
        elif isinstance(estimator, THRESHOLDS):
            check_is_fitted(estimator)
            offset = estimator.offset_ if offset is None else offset
            estimator = estimator.estimator_
        elif isinstance(estimator, (BaseDeepDetector, SSAD)):
            check_is_fitted(estimator)
            return steps, estimator, estimator.offset_ if offset is None else offset
        else:
            raise TypeError(
                "to_onnx takes a fitted deep detector or SSAD, a TunedThresholdDetector, "
                "NormalOnlyDetector or SampledDetector of one, or a Pipeline that ends in one; got "
                f"{type(estimator).__name__} in {given!r}."
            )


def _score_module(detector):
    """Make a module of a detector's score: float64 rows in, `score_samples` out."""
    if isinstance(detector, SSAD):
        return _KernelScore(detector)
    return copy.deepcopy(detector.scoring_module_).cpu()


class _KernelScore(nn.Module):
    """SSAD's score: a weighted sum of kernel values."""

    def __init__(self, detector):
        super().__init__()
        kernel = detector._kernel
        if kernel.kernel not in ("rbf", "poly", "linear"):
            raise ValueError(
                "to_onnx takes an SSAD with kernel 'rbf', 'poly' or 'linear', got "
                f"{kernel.kernel!r}."
            )
        self.kernel, self.degree = kernel.kernel, kernel.degree
        # Numbers are tensors, because those in Python become float32 in the graph.
        numbers = {"largest": LARGEST, "huge": HUGE, "coef0": kernel.coef0}
        if kernel.kernel != "linear":
            numbers |= {name: getattr(kernel, name) for name in ("unit", "center", "scale")}
        for name, value in numbers.items():
            self.register_buffer(name, torch.from_numpy(np.array(value, dtype=np.float64)))
        vectors = self._in_widths(torch.from_numpy(np.array(detector.support_vectors_)))
        weights = torch.from_numpy(detector.dual_coef_[0].copy())
        far = vectors.square().sum(1) > FAR
        if kernel.kernel != "rbf":
            far = torch.zeros_like(far)
        self.register_buffer("vectors", vectors[~far])
        self.register_buffer("weights", weights[~far])
        self.register_buffer("far_vectors", vectors[far])
        self.register_buffer("far_weights", weights[far])

    def forward(self, rows):
        """Map rows (n_rows, n_features) to scores (n_rows,)."""
        rows = self._in_widths(rows)
        product = rows @ self.vectors.T
        if self.kernel == "rbf":
            squares = [a.square().sum(1) / 2 for a in (rows, self.vectors)]
            scores = (product - squares[0][:, None] - squares[1]).exp() @ self.weights
            if len(self.far_weights):
                # Rounding would swamp the distances between rows and vectors far from the center.
                distances = (rows[:, None] - self.far_vectors).square().sum(-1)
                scores = scores + (-distances / 2).exp() @ self.far_weights
            return scores
        if self.kernel == "poly":
            product = (product + self.coef0).pow(self.degree)
        return product.clamp(-self.huge, self.huge) @ self.weights

    def _in_widths(self, rows):
        if self.kernel == "linear":
            return rows.clamp(-self.largest, self.largest)
        rows = (rows / self.unit).clamp(-self.largest, self.largest)
        return ((rows - self.center) * self.scale).clamp(-self.largest, self.largest)


class _Decision(nn.Module):
    """Adds the threshold to a score, and the labels."""

    def __init__(self, score, offset):
        super().__init__()
        self.score = score
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float64))

    def forward(self, rows):
        """Map float32 rows to `decision_function` and labels."""
        decision = self.score(rows.double()) - self.offset
        # In this order NaN is no normal row.
        return decision, torch.where(decision >= 0, 1, -1)


def _detector_graph(module, n_features, input_name):
    _needed("onnxscript")
    with _quiet_exporter():
        program = torch.onnx.export(
            module.eval(),
            (torch.zeros(2, n_features, dtype=torch.float32),),
            dynamo=True,
            verbose=False,
            opset_version=OPSETS[""],
            input_names=[input_name],
            output_names=["decision_function", "label"],
            dynamic_shapes=({0: torch.export.Dim("n_rows")},),
        )
    model = program.model_proto
    # What torch notes of each operator names the files of this machine.
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
    return model


@contextmanager
def _quiet_exporter():
    """Keep back what torch's exporter says of packages that are not used, and of its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            # A bound of `Standardize` is infinite in float32; no float32 row gets there.
            warnings.filterwarnings("ignore", "overflow encountered in cast", RuntimeWarning)
            yield
    finally:
        logger.setLevel(level)


def _steps_graph(steps, n_features):
    """Graph of preprocessors, by skl2onnx; its names begin with "steps_", but for the input."""
    onnx, skl2onnx = _needed("onnx"), _needed("skl2onnx")
    rows = skl2onnx.common.data_types.FloatTensorType([None, n_features])
    with _refusals_explained():
        model = skl2onnx.convert_sklearn(steps, initial_types=[("X", rows)], target_opset=OPSETS)
        return onnx.compose.add_prefix(model, "steps_", rename_inputs=False)


def _joined(first, second):
    """One graph out of two, the second of which has the input "rows"."""
    onnx = _needed("onnx")
    for model in (first, second):
        # skl2onnx states the versions that its operators have had since; they are for these.
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(*pair) for pair in OPSETS.items())
        model.ir_version = IR_VERSION
    with _refusals_explained():
        model = onnx.compose.merge_models(first, second, [(first.graph.output[0].name, "rows")])
        onnx.checker.check_model(model, full_check=True)
    return model


@contextmanager
def _refusals_explained():
    try:
        yield
    except Exception as error:  # of many kinds
        raise TypeError(
            f"The steps before the detector have no ONNX form in skl2onnx: {error}"
        ) from error
