"""`leoclr recipes` lists the recipes; other commands use this module to find a recipe by its name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import pathlib
from types import ModuleType

from keras_leoclr.commands.command import JSON, Command
from keras_leoclr.commands.flags import Given, known

PACKAGE = "keras_leoclr.recipes"
# Recipes that do not pretrain, and the commands that run them.
DOWNSTREAM = {"detection": "detect", "segmentation": "segment"}


def recipe_files() -> dict[str, pathlib.Path]:
    """The modules of `keras_leoclr.recipes` by name."""
    (folder,) = importlib.util.find_spec(PACKAGE).submodule_search_locations
    return {path.stem: path for path in sorted(pathlib.Path(folder).glob("*.py")) if path.stem != "__init__"}


def recipe_names() -> list[str]:
    """The names of the pretraining recipes."""
    return [name for name in recipe_files() if name not in DOWNSTREAM]


def recipe_module(name: str) -> ModuleType:
    """Imports the module of a pretraining recipe.

    Raises:
        UsageError: if there is no such recipe; the message suggests the nearest name.
        ValueError: see `module_of`.
    """
    return module_of(known("recipe", name, recipe_names()))


def module_of(name: str) -> ModuleType:
    """Imports the module of a recipe whose file is there.

    Raises:
        ValueError: if it has no `RECIPE`, such as a file of functions that a user has put there.
    """
    module = importlib.import_module(f"{PACKAGE}.{name}")
    if not hasattr(module, "RECIPE"):
        raise ValueError(
            f"`recipe` must be a file with the name RECIPE. Received: {module.__file__}, without it"
        )
    return module


def description(module: ModuleType) -> str:
    """The docstring of a recipe, which those that users write may lack."""
    return (module.__doc__ or "").strip()


def _docstring(path: pathlib.Path) -> str:
    """What a recipe says of itself; the file is not imported, because that may need Keras."""
    try:
        return ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (SyntaxError, ValueError) as error:
        return f"cannot be read: {error}"


def _run(given: Given) -> int:
    found = {name: _docstring(path) for name, path in recipe_files().items()}
    summaries = {name: text.partition("\n")[0] for name, text in found.items()}
    if given["json"]:
        listed = [{"name": n, "summary": summaries[n], "description": found[n]} for n in found]
        print(json.dumps(listed, indent=2))
    else:
        print("\n".join(f"{name:20} {summary}".rstrip() for name, summary in summaries.items()))
    return 0


COMMAND = Command(
    name="recipes",
    arguments="",
    summary="list the recipes",
    text="leoclr recipes [--json]\n\nOne line for each recipe.",
    run=_run,
    flags=(JSON,),
)
