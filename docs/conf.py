"""Sphinx configuration: `make docs`. Nothing is fetched, at build time or when a page is read."""

import re
from pathlib import Path

from PIL import Image, ImageOps
from sphinx_gallery.sorting import FileNameSortKey

import skad

project = "skad"
author = "The skad developers"
copyright = author
release = version = skad.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples"]
# Methods of scikit-learn refer to its own glossary; the gallery's order cannot be cached.
suppress_warnings = ["ref.term", "ref.ref", "config.cache"]

# `DeepSAD` is a link to its page; what is no public name is plain code.
default_role = "py:obj"
rst_prolog = ".. currentmodule:: skad\n"

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say it better than constraints do
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_title = "skad"
html_favicon = "_static/favicon.svg"
html_theme = "pydata_sphinx_theme"
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "api": []}
html_static_path = ["_static"]
html_css_files = ["skad.css"]
html_show_sourcelink = False

# From the first fit to what few will need.
GALLERY = [
    "quick_start",
    "demo",
    "gain_per_label",
    "boundaries",
    "committee",
    "mixed_types",
    "search",
    "thresholds",
    "conformal",
    "why_anomalous",
    "labelling",
    "images",
    "onnx",
    "service",
    "large",
    "latent_space",
    "own_network",
    "hybrids",
]


class GalleryOrder(FileNameSortKey):
    def __call__(self, filename):
        return GALLERY.index(filename.removeprefix("plot_").removesuffix(".py"))


sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "within_subsection_order": GalleryOrder,
    "download_all_examples": False,
    "doc_module": "skad",
    "backreferences_dir": "generated/backreferences",
    "show_signature": False,
    "plot_gallery": "True",  # `-D plot_gallery=0` builds the pages without running the examples
}


def name_defaults(app, what, name, obj, options, signature, returns):
    """Show a default that is a class by its name: ``optimizer=Adam``."""
    if signature:
        return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature), returns


def crop_thumbnails(app):
    """Show the left part of a wide picture, in place of a strip that cannot be read."""
    for thumb in Path(app.srcdir, "auto_examples/images/thumb").glob("*_thumb.png"):
        picture = thumb.parents[1] / thumb.name.replace("_thumb", "_001")
        if picture.exists():
            ImageOps.fit(Image.open(picture), (560, 350), centering=(0, 0)).save(thumb)


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", crop_thumbnails, priority=900)  # after the gallery's own
    app.connect("autodoc-process-signature", name_defaults)
