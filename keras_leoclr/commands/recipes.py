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
    """
    return importlib.import_module(f"{PACKAGE}.{known('recipe', name, recipe_names())}")


def _run(given: Given) -> int:
    # The files are parsed and not imported, because importing a recipe may need Keras.
    found = {
        name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for name, path in recipe_files().items()
    }
    summaries = {name: text.splitlines()[0] for name, text in found.items()}
    if given["json"]:
        listed = [{"name": n, "summary": summaries[n], "description": found[n]} for n in found]
        print(json.dumps(listed, indent=2))
    else:
        print("\n".join(f"{name:20} {summary}" for name, summary in summaries.items()))
    return 0


COMMAND = Command(
    name="recipes",
    arguments="",
    summary="list the recipes",
    text="leoclr recipes [--json]\n\nOne line for each recipe.",
    run=_run,
    flags=(JSON,),
)
