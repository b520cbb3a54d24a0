# SPDX-License-Identifier: BSD-3-Clause
"""Configuration of the site: ``sphinx-build -W -b html docs docs/_build``."""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "upweight"
author = "the upweight developers"
copyright = "the upweight developers; BSD-3-Clause"
try:
    release = metadata.version("upweight")
except metadata.PackageNotFoundError:  # read from a source folder that is not installed
    release = "source"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "command_help",
    "experiment_page",
    "short_names",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
# Docstrings put names of arguments, methods and results alike into single backticks.
default_role = "py:obj"

# --- the API reference --------------------------------------------------------------
autosummary_generate = True
autosummary_ignore_module_all = False  # what a package exports is its API
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's sections have the types
add_module_names = False
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False  # the templates list them
numpydoc_xref_param_type = False

# --- Markdown -----------------------------------------------------------------------
myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# --- experiments: shown with the results that are committed, never run here ---------
sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "experiments",
    "filename_pattern": r"[\\/]plot_",
    "ignore_pattern": r"(^|[\\/])(?!plot_)[^\\/]*\.py$",
    "within_subsection_order": "experiment_page.ReadingOrder",
    "plot_gallery": False,
    "download_all_examples": False,
    "notebook_extensions": set(),  # the scripts take arguments
    "write_computation_times": False,
    "show_signature": False,
}

# --- the site -----------------------------------------------------------------------
html_theme = "pydata_sphinx_theme"
html_title = "upweight"
html_static_path = ["_static"]
html_css_files = ["upweight.css"]
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_align": "left",
    "show_prev_next": True,
    "show_toc_level": 2,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
# pages without pages below them
_LONE = "index getting_started choosing accuracy benchmarks contributing changelog"
html_sidebars = {page: [] for page in _LONE.split()}
