"""Documentation: complete, true to the signatures, and the method that it shows works.

The code of README.md, docs/index.rst and docs/guide is run by pytest itself, as doctests.
"""

import ast
import contextlib
import importlib
import inspect
import pkgutil
import re
import sys
import textwrap
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate
from sklearn.base import clone
from sklearn.exceptions import SkipTestWarning, UndefinedMetricWarning
from sklearn.utils.estimator_checks import check_estimator

import skad
from skad.base_deep import BaseDeepDetector

from . import checks
from .test_common import FAST, hardly_trained

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.rst"))
MODULES = [skad]
for module in pkgutil.iter_modules(skad.__path__):
    if not module.name.startswith("_") and module.name != "meta":  # its names are skad's own
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            MODULES.append(importlib.import_module(f"skad.{module.name}"))
PUBLIC = {
    f"{module.__name__}.{name}": getattr(module, name)
    for module in MODULES
    for name in getattr(module, "__all__", ())
}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
METHODS = {
    f"{name}.{method}": value
    for name, cls in CLASSES.items()
    for method, value in inspect.getmembers(cls, inspect.isroutine)
    if not method.startswith("_") and (getattr(value, "__module__", None) or "").startswith("skad")
}
# What numpydoc asks for and this project does not: sections in every method, and a sentence about
# what its type says, such as ``X : array-like of shape (n_samples, n_features)`` or ``self``.
NOT_ASKED = {"ES01", "EX01", "GL02", "PR07", "RT02", "RT03", "RT04", "SA01"}
# Not for a picture: warnings, and a download.
NO_EXAMPLE = {"LabelConventionWarning", "ThresholdWarning", "fetch_adbench"}


def missing(texts, names):
    """The last parts of the names of public objects that no text holds."""
    words = set(re.findall(r"\w+", " ".join(texts)))
    return {name.rpartition(".")[2] for name in names} - words


def read(paths):
    return [path.read_text(encoding="utf-8") for path in paths]


def test_every_public_name_has_an_api_page():
    assert not missing(read([DOCS / "api.rst"]), PUBLIC)


def test_every_public_name_is_in_the_guide():
    assert not missing(read(GUIDE), PUBLIC)


def test_every_public_name_has_an_example():
    metrics = {name for name in PUBLIC if name.startswith("skad.metrics.")}  # one stands for all
    texts = read([*(DOCS / "examples").glob("*.py"), DOCS / "large.rst"])
    assert not missing(texts, PUBLIC.keys() - metrics) - NO_EXAMPLE
    assert len(missing(texts, metrics)) < len(metrics)


def test_guide_pages_are_short():
    lengths = {path.name: len(path.read_text(encoding="utf-8").split()) for path in GUIDE}
    assert max(lengths.values()) < 1500, lengths


def test_code_needs_no_sideways_scrolling():
    texts = read([DOCS.parent / "README.md", DOCS / "index.rst", *GUIDE])
    assert not re.findall(r"^(?:>>>|\.\.\.) .{76,}", "\n".join(texts), flags=re.MULTILINE)


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.stem)
def test_all_code_of_the_guide_is_run(page):
    """Python stands behind >>>, but for other libraries' lines, which test_clients.py runs."""
    if page.stem != "other_libraries":
        text = page.read_text(encoding="utf-8")
        assert "+SKIP" not in text
        assert not code_blocks(text)
        assert set(re.findall(r"code-block:: (\w+)", text)) <= {"console"}


@pytest.mark.parametrize("name", sorted({**FUNCTIONS, **CLASSES, **METHODS}))
def test_docstring_is_valid(name):
    errors = [error for error in validate(name)["errors"] if error[0] not in NOT_ASKED]
    assert not errors


@pytest.mark.parametrize("name", sorted({**FUNCTIONS, **METHODS}))
def test_docstring_agrees_with_signature(name):
    function = {**FUNCTIONS, **METHODS}[name]
    signature = inspect.signature(function).parameters
    for entry in FunctionDoc(function)["Parameters"]:
        for parameter in entry.name.lstrip("*").split(", "):
            default = signature[parameter].default
            assert checks.shows_default(entry.type, default), f"{parameter} : {entry.type}"


def code_blocks(text):
    """Literal blocks of reStructuredText, each after a line that ends in ``::``."""
    return [
        textwrap.dedent(block)
        for block in re.findall(r"::\n\n((?:(?: {4}.*)?\n)+)", text)
        if block.strip()
    ]


def shown_code():
    (code,) = code_blocks((DOCS / "add_a_method.rst").read_text(encoding="utf-8"))
    return code


@pytest.fixture(scope="module")
def shown_class():
    """The class, in a module of its own, so that it can be pickled."""
    module = types.ModuleType("shown_method")
    sys.modules[module.__name__] = module
    exec(compile(shown_code(), "add_a_method.rst", "exec"), vars(module))
    yield module.HingeAutoencoder
    del sys.modules[module.__name__]


@pytest.fixture
def detector(shown_class):
    return shown_class(**FAST, random_state=0)


def test_it_is_short():
    assert len([line for line in shown_code().splitlines() if line.strip()]) < 60


def test_constructor_constraints_and_docstring_come_from_the_declarations(shown_class):
    signature = inspect.signature(shown_class).parameters
    own, inherited = {"margin": 2.0, "eta": 1.0}, {"n_estimators": 4, "labeled_fraction": 0.5}
    for name, default in {**own, **inherited}.items():
        assert signature[name].default == default
        assert signature[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert (
        set(shown_class().get_params()) == set(signature) == set(shown_class._parameter_constraints)
    )
    sections = re.split(r"\n(Parameters|Attributes)\n-+\n", inspect.getdoc(shown_class))
    documented = dict(checks.entries(sections[2]))
    assert list(documented) == list(signature)
    for name, kind in documented.items():
        if name != "optimizer":
            assert ast.literal_eval(kind.split("default=")[1]) == signature[name].default
    assert "scoring_module_" in dict(checks.entries(sections[4]))
    with pytest.raises(ValueError, match="margin"):
        shown_class(margin=0).fit(np.eye(4))


def test_fit_clone_and_params(detector):
    X, y, _ = checks.make_problem()
    assert detector.fit(X, y) is detector
    copied = clone(detector).set_params(eta=3.0)
    assert copied.get_params() == {**detector.get_params(), "eta": 3.0}
    assert not hasattr(copied, "offset_")
    assert detector.scoring_module_.network.spread.shape == (detector.n_estimators,)


def test_scikit_learn_checks(detector):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        warnings.simplefilter("ignore", checks.LabelConventionWarning)
        check_estimator(hardly_trained(detector))


@pytest.mark.parametrize(
    "check",
    [
        checks.check_scores_and_predictions,
        checks.check_higher_is_more_normal,
        checks.check_row_alone_scores_the_same,
        checks.check_labels_matter,
        checks.check_labeled_anomalies_are_pushed_away,
        checks.check_scores_ignore_late_parameters,
        checks.check_seed_fixes_scores,
        checks.check_failed_refit_leaves_detector_as_it_was,
        checks.check_copies_score_the_same,
        checks.check_transform,
        checks.check_members_equal_nets_trained_alone,
        checks.check_scoring_module,
    ],
    ids=lambda check: check.__name__,
)
def test_contract(detector, check):
    learns = check in checks.learning_checks(detector)
    check(detector if learns else hardly_trained(detector))


def test_the_table_of_hooks_matches_the_template():
    """Each hook in the table exists, and each below "what a method may override" is in it."""
    text = (DOCS / "add_a_method.rst").read_text(encoding="utf-8")
    table = text.partition("\nHooks\n-----")[2].partition("\nBases that bring more")[0]
    listed = set(re.findall(r"``(_\w+)(?:\(.*?\))?``", table))
    assert not [n for n in listed - {"_make_network"} if not hasattr(BaseDeepDetector, n)]
    source = inspect.getsource(BaseDeepDetector)
    source = source.partition("may override")[2].partition("# --- fit")[0]
    assert set(re.findall(r"^    (?:def )?(_[a-z]\w*)", source, flags=re.MULTILINE)) <= listed
