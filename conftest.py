"""Without the packages of an extra, the doctests that need them are left out."""

from importlib.util import find_spec

NEEDED = {
    "skad/export.py": ["onnxruntime", "onnxscript"],
    "skad/distributed.py": ["dask", "pandas"],
    "docs/guide/serving.rst": ["onnxruntime", "onnxscript", "skops"],
    "docs/guide/scores.rst": ["matplotlib"],
    "docs/guide/columns.rst": ["pandas"],
}
collect_ignore = [path for path, names in NEEDED.items() if not all(map(find_spec, names))]
