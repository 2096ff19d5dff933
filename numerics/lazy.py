"""Public names of a package, imported from their modules when first used.

A package lists them once, as imports that only a type checker runs::

    if TYPE_CHECKING:
        from numerics.dot import grouped_dot as grouped_dot
    else:
        __getattr__, __dir__ = attach(__name__, __file__)

Importing the package then loads none of those modules, so that roofline and the command line start
without JAX. A type checker sees the imports alone and refuses unknown names.
"""

import ast
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Attached = tuple[Callable[[str], Any], Callable[[], list[str]]]


def attach(package: str, path: str) -> Attached:
    """Return ``__getattr__`` and ``__dir__`` of a package for the imports listed in its file."""
    modules = public_names(Path(path))

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(modules[name]), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *modules})

    return load, names


def public_names(path: Path) -> dict[str, str]:
    """Return the module of each name imported under ``if TYPE_CHECKING:`` in a file.

    Examples
    --------
    >>> public_names(Path(__file__).parent / "__init__.py")["grouped_dot"]
    'numerics.dot'
    """
    blocks = (node for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.If))
    imports = (node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}
