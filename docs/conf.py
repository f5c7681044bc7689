"""Sphinx configuration.

`notebooks` here is a link to the notebooks' folder. They are kept without outputs and executed when pages are built;
`sphinx-build -D nb_execution_mode=off` builds quickly, without.
"""

import dataclasses
import hashlib
import inspect
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

import columnminer

HERE = Path(__file__).parent


def source_hash() -> str:
    """Return what tells one state of the installed package from another."""
    folder = Path(columnminer.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def said_elsewhere(_app: Sphinx, what: str, name: str, member: object, skip: bool, _options: object) -> bool | None:
    """Leave out of the modules' page what the page of names has."""
    exported = name in columnminer.__all__ and member is getattr(columnminer, name)
    return True if what == "module" and exported else skip or None


def fields_as_signature(
    _app: Sphinx, what: str, _name: str, member: Any, _options: object, signature: str, returns: str
) -> tuple[str, str] | None:
    """Show the fields of parameters, whose metaclass takes anything and decides which kind they make."""
    if what != "class" or "**options" not in signature or not dataclasses.is_dataclass(member):
        return None
    own = inspect.signature(member.__init__).replace(return_annotation=inspect.Signature.empty)
    without_types = [p.replace(annotation=p.empty) for p in own.parameters.values() if p.name != "self"]
    return str(own.replace(parameters=without_types)), returns


def setup(app: Sphinx) -> None:
    """Connect the above."""
    app.connect("autodoc-process-signature", fields_as_signature)
    app.connect("autodoc-skip-member", said_elsewhere)


project = html_title = "columnminer"
author = "The columnminer developers"
project_copyright = author
release = version = installed_version("columnminer")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["wide.css"]
exclude_patterns = ["_build", "**.ipynb_checkpoints"]
autodoc_typehints = "none"  # the docstrings give shapes and units, which types do not
autodoc_member_order = "bysource"
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "outputs" / source_hash()[:16])  # outputs are those of this source
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress
suppress_warnings = ["ref.python"]
