"""Public names of a package that are imported when they are first used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any


def attach(package: str, places: dict[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Makes the functions `__getattr__` and `__dir__` (PEP 562) with which a package imports names on demand.

    A module of the package must not have the name of another object that the package exports: once such a
    module is imported, Python finds the module under that name and never calls `__getattr__`.

    Args:
        package: full name of the package, its `__name__`.
        places: public name -> module that holds it, relative to the package. A name that equals its module,
            such as `{"losses": "losses"}`, stands for the module itself. One more dot in front, such as
            ".training.recipe", starts from the parent of the package.

    Returns:
        The two functions, to be assigned to `__getattr__` and `__dir__` in the package.

    Example:
        ```python
        __getattr__, __dir__ = lazy.attach(__name__, {"LeOCLR": "model", "losses": "losses"})
        ```
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f".{places[name]}", package)
        value = module if places[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return get, names
