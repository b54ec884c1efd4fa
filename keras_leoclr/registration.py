"""Makes Keras find the classes of this package by their registered names, without importing any of them.

`keras.saving.load_model` looks up a class such as `keras_leoclr>LeOCLR` in a dictionary of Keras. A class
that is only imported on demand is not in this dictionary. A placeholder is registered in its place, and the
`from_config` of the placeholder imports the class.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

PACKAGE = "keras_leoclr"

# Name of a class that is registered with Keras -> module or package that holds it.
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
    """Registers a placeholder for every class: now if Keras is imported already, else when it will be."""
    if "keras" in sys.modules:
        _add_placeholders()
    elif not any(isinstance(finder, _AfterKeras) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterKeras())


def _add_placeholders() -> None:
    known = sys.modules["keras"].saving.get_custom_objects()
    for name, module in REGISTERED.items():
        known.setdefault(f"{PACKAGE}>{name}", _placeholder(name, module))


def _placeholder(name: str, module: str) -> type:
    """Makes a placeholder for a class; calling it or its `from_config` makes objects of the real class."""

    def real() -> Any:
        return getattr(importlib.import_module(f"{PACKAGE}.{module}"), name)

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        return real()(*args, **kwargs)

    def from_config(cls: type, config: dict[str, Any], **kwargs: Any) -> Any:
        return real().from_config(config, **kwargs)

    members = {"__new__": new, "from_config": classmethod(from_config), "__module__": f"{PACKAGE}.{module}"}
    return type(name, (), members)


class _AfterKeras:
    """An import hook that registers the placeholders as soon as Keras has been imported.

    It leaves the search for modules to the other finders, and is removed only after Keras was imported: a
    program may ask where Keras is installed, or fail to import it, before it imports it successfully.
    """

    _asking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "keras" or self._asking:
            return None
        self._asking = True  # `find_spec` asks all finders, and this one must not answer again
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
