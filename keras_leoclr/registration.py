"""Makes Keras find the classes of this package by their registered names, without importing any of them.

`keras.saving.load_model` looks up a class such as `keras_leoclr>LeOCLR` in a dictionary of Keras. A class
that is imported on demand is not in there, so a placeholder stands for it, whose `from_config` imports the
class.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

PACKAGE = "keras_leoclr"

# Module or package that has a class which is registered with Keras, by the name of the class.
REGISTERED = {
    "CosineMomentum": "schedules",
    "CropToOriginalViews": "views",
    "KeyQueue": "key_queue",
    "LARS": "optimizers",
    "LeOCLR": "model",
    "LeOCLRViews": "views",
    "MoCoV2Views": "views",
    "RandomView": "views",
    "SGD": "optimizers",
    "_ErrorFunctionGELU": "export.conversion",
}


def register() -> None:
    """Registers a placeholder for every class: now if Keras is imported already, otherwise once it is."""
    if "keras" in sys.modules:
        _add_placeholders()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


def _add_placeholders() -> None:
    known = sys.modules["keras"].saving.get_custom_objects()
    for name, module in REGISTERED.items():
        known.setdefault(f"{PACKAGE}>{name}", _placeholder(name, module))


def _placeholder(name: str, module: str) -> type:
    """A class that makes objects of the class that it stands for."""

    def real() -> Any:
        return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        return real()(*args, **kwargs)

    def from_config(cls: type, config: dict[str, Any], **kwargs: Any) -> Any:
        return real().from_config(config, **kwargs)

    members = {"__new__": new, "from_config": classmethod(from_config), "__module__": f"{PACKAGE}.{module}"}
    return type(name, (), members)


class _AfterKeras:
    """A finder of modules that finds nothing by itself, and registers when Keras has been imported.

    It stays until then: a program may ask where Keras is, or fail to import it, before it imports it.
    """

    _asking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "keras" or self._asking:
            return None
        self._asking = True  # the other finders are asked
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking = False
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: Any) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            _add_placeholders()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
