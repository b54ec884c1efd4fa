"""Builds the API reference from the docstrings: `make docs`, or `python docs/build.py [FOLDER]`.

Ends with an error if pdoc warns, or if a public name has no place on a page.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import types
import typing
import warnings

os.environ.setdefault("PDOC_ALLOW_EXEC", "1")  # TensorFlow's import asks the system what it runs on

import pdoc

import keras_leoclr
import keras_leoclr.recipes


def public_names() -> dict[str, list[str]]:
    """Names in `__all__` by module, of the package and the modules that it names, and of the recipes."""
    modules = [keras_leoclr, keras_leoclr.recipes]
    modules += [
        value
        for name in keras_leoclr.__all__
        if isinstance(value := getattr(keras_leoclr, name), types.ModuleType)
    ]
    return {module.__name__: _names(module) for module in modules}


def _names(module):
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def resolve_annotations(names: dict[str, list[str]]) -> None:
    """Replaces the annotations of dataclass constructors, which are strings, by the types that they name.

    A constructor's annotations come from the modules of all base classes, and pdoc looks them up in one.

    Args:
        names: public names by module.
    """
    for module, members in names.items():
        for name in members:
            value = getattr(sys.modules[module], name)
            if dataclasses.is_dataclass(value) and isinstance(value, type):
                hints = typing.get_type_hints(value)
                own = value.__init__.__annotations__
                own |= {argument: hints[argument] for argument in own if argument in hints}


def build(folder: pathlib.Path) -> list[str]:
    """Writes the pages.

    Args:
        folder: where to.

    Returns:
        What is wrong with them, sentence by sentence.
    """
    pdoc.render.configure(docformat="google", show_source=False, footer_text="keras_leoclr")
    names = public_names()
    resolve_annotations(names)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        # pdoc looks for the annotations of a NamedTuple's constructor where NamedTuple is defined
        warnings.filterwarnings("ignore", "Error parsing type annotation ForwardRef", UserWarning)
        pdoc.pdoc("keras_leoclr", "keras_leoclr.recipes", output_directory=folder)
    wrong = [str(each.message) for each in warned if issubclass(each.category, UserWarning)]
    for module, members in names.items():
        page = (folder / f"{module.replace('.', '/')}.html").read_text(encoding="utf-8")
        for name in members:
            if f'id="{name}"' not in page and f"{module.rpartition('.')[2]}/{name}.html" not in page:
                wrong.append(f"{module}.{name} is not on its page")
    return wrong


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")
    found = build(where)
    print("\n".join(found), file=sys.stderr) if found else print(where / "index.html")
    sys.exit(1 if found else 0)
