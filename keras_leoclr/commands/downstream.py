"""The common part of `leoclr detect` and `leoclr segment`: a recipe that trains on a backbone."""

from __future__ import annotations

import dataclasses
import importlib

from keras_leoclr.commands.command import VERBOSITY, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, fields_of, flags_of
from keras_leoclr.commands.recipes import DOWNSTREAM, PACKAGE

FLAGS = (
    workdir("new folder for the results", "a folder for the results", "run"),
    Flag(
        "overwrite",
        bool,
        False,
        "replace results that are in --workdir, or an interrupted training with other settings",
        "run",
    ),
    VERBOSITY,
)


def downstream_command(recipe: str, summary: str) -> Command:
    """Makes the command that runs one of the recipes in `DOWNSTREAM`.

    Args:
        recipe: name of the recipe.
        summary: see `Command`.
    """
    name = DOWNSTREAM[recipe]

    def chosen(arguments: list[str]) -> tuple[Command, list[str]]:
        module = importlib.import_module(f"{PACKAGE}.{recipe}")

        def run(given: Given) -> int:
            try:
                settings = dataclasses.replace(module.RECIPE, **fields_of(given, module.RECIPE))
            except ValueError as error:
                raise UsageError(str(error)) from error
            scores = module.run(settings, given["workdir"], **given.some("overwrite", "verbose"))
            for score, value in scores.items():
                print(f"{score:24}{100 * value:8.1f} %")
            return 0

        text = f"leoclr {name} [--FLAG VALUE ...]\n\n{module.__doc__.strip()}"
        return command.but(text=text, run=run, flags=(*FLAGS, *flags_of(module.RECIPE))), arguments

    command = Command(
        name=name,
        arguments="--backbone FILE --dataset DIR --workdir DIR",
        summary=summary,
        text="",
        takes="flags only",
        chosen=chosen,
    )
    return command
