"""Without the packages of an extra, the doctests that need them are left out."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("onnxruntime") and find_spec("onnxscript") else ["skad/export.py"]
