"""Sphinx configuration: `make docs`."""

import skad

project = "skad"
author = "The skad developers"
release = version = skad.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it better than constraints do
templates_path = ["_templates"]
numpydoc_show_class_members = False
default_role = "literal"
html_title = "skad"
html_theme = "pydata_sphinx_theme"
# Methods inherited from scikit-learn refer to its own glossary and guide.
suppress_warnings = ["ref.term", "ref.ref"]
exclude_patterns = ["_build", "examples"]
sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "download_all_examples": False,
}
