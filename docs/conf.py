"""Sphinx configuration."""

from importlib.metadata import version as installed_version

project = "columnminer"
author = "The columnminer developers"
release = version = installed_version("columnminer")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_typehints = "none"  # the docstrings give shapes and units, which types do not
autodoc_member_order = "bysource"
myst_enable_extensions = ["dollarmath", "deflist"]
suppress_warnings = ["ref.python"]
