"""The gallery's examples, as text: they show every public name, and fit a page."""

import ast
import importlib
import re
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "docs" / "examples").glob("plot_*.py"))
MODULES = ["skad"] + [
    f"skad.{name}"
    for name in ("active", "datasets", "inspection", "metrics", "model_selection", "plotting")
]


def names_in_code(source):
    """Every name and attribute that the code uses; comments and text are no use."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {a.name for n in nodes if isinstance(n, ast.ImportFrom) for a in n.names}
    attributes = {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    return imported | attributes


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_shown(module):
    used = set().union(*(names_in_code(path.read_text()) for path in EXAMPLES))
    # It downloads, so it stands in a block that is not run.
    used |= {"fetch_adbench"} if "fetch_adbench(" in _text(EXAMPLES) else set()
    assert set(importlib.import_module(module).__all__) - used == set()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_fits_a_page(path):
    source = path.read_text()
    docstring, code = ast.get_docstring(ast.parse(source)), source.split('"""', 2)[2]
    title, underline = docstring.splitlines()[:2]
    assert set(underline) == {"="}
    assert len(underline) == len(title) <= 60
    wide = [s for s in code.splitlines() if len(s) > 79 and not s.startswith("# ")]
    assert wide == []
    assert re.search(r"set_title|suptitle|title=|name=", code), "pictures are described by titles"


def _text(paths):
    return "".join(path.read_text() for path in paths)
