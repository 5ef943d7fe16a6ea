"""Without the packages of an extra, the doctests that need them are left out."""

from importlib.util import find_spec

NEEDS = {
    "skad/export.py": ["onnxruntime", "onnxscript"],
    "docs/guide/serving.rst": ["onnxruntime", "onnxscript", "skops"],
    "docs/guide/scores.rst": ["captum", "shap", "matplotlib"],
    "docs/guide/columns.rst": ["pandas"],
}
collect_ignore = [path for path, needed in NEEDS.items() if not all(map(find_spec, needed))]
