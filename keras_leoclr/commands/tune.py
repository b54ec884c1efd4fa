"""`leoclr tune` chooses learning rate and crop scale by short runs within a number of minutes."""

from __future__ import annotations

import functools
import pathlib
import shlex
from types import ModuleType

from keras_leoclr.commands.command import NOTHING, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, flags_of
from keras_leoclr.commands.pretrain import preset, requested
from keras_leoclr.commands.recipes import recipe_module, recipe_names

TEXT = """leoclr tune RECIPE --workdir DIR --minutes N [--dataset PICTURES] [--FLAG VALUE ...]

Trains short runs on a part of the pictures, with several learning rates and least areas of the crops, and
says which of them it would choose and why. RECIPE is one of
{names};
its flags (`leoclr pretrain RECIPE --help`) apply to all runs, and `leoclr tune RECIPE --help` lists those of
the search. The first run is measured, and as many others
are planned as fit into the time. The same command goes on where it was.
Nothing is trained or judged on test pictures."""


def _flags(module: ModuleType) -> tuple[Flag, ...]:
    return (
        workdir("folder of the runs and of the results", "a folder for the runs"),
        Flag(
            "minutes",
            float,
            None,
            "time of this call; the first run of a plan is in it",
            needed="a number > 0",
        ),
        Flag(
            "judge",
            str,
            "auto",
            "how a backbone is judged: linear or knn, on the labels of held-out training pictures; rankme or "
            "uniformity (alignment + uniformity), without labels; auto: linear if there are labels, else "
            "uniformity",
            choices=("auto", "linear", "knn", "rankme", "uniformity"),
        ),
        Flag(
            "learning_rates",
            tuple[float, ...],
            (),
            "learning rates for 256 images; by default a third, once and three times that of the recipe",
        ),
        Flag(
            "least_areas",
            tuple[float, ...],
            (),
            "least areas of a crop, as shares of the picture; by default that of the recipe, and those of "
            "0.08, 0.2 and 0.5 that differ from it by a factor of 1.6 or more",
        ),
        Flag("jobs", int, 1, "number of runs at the same time, which share the cores", low=1),
        Flag("json", bool, False, "print the result as JSON"),
        Flag("verbose", int, 1, "what is printed: 0 the result alone, 1 the progress as well", low=0, high=1),
        preset(module),
        *flags_of(module.RECIPE),
    )


def _run(module: ModuleType, command: str, given: Given) -> int:
    import json

    from keras_leoclr.runs.files import write_text
    from keras_leoclr.training.settling import completed
    from keras_leoclr.training.tuning import tune

    verbose = bool(given["verbose"]) and not given["json"]
    recipe = completed(*requested(module, given), verbose)
    options = given.some("minutes", "judge", "learning_rates", "least_areas", "jobs")
    try:
        found = tune(recipe, given["workdir"], **options, command=command, verbose=verbose)
    except ValueError as error:
        raise UsageError(str(error)) from error
    write_text(pathlib.Path(given["workdir"]).expanduser() / "table.md", found.table(markdown=True) + "\n")
    print(json.dumps(found.as_json(), indent=2) if given["json"] else found.text())
    return 0


def _chosen(arguments: list[str]) -> tuple[Command, list[str]]:
    if not arguments:
        raise UsageError(f"`tune` needs a recipe. Known: {', '.join(recipe_names())}")
    name, *rest = arguments
    text = TEXT.format(names=", ".join(recipe_names()))
    if name in ("-h", "--help"):
        return COMMAND.but(text=text), arguments
    module = recipe_module(name)
    run = functools.partial(_run, module, shlex.join(["leoclr", "tune", *arguments]))
    return COMMAND.but(text=text, run=run, flags=_flags(module)), rest


COMMAND = Command(
    name="tune",
    arguments="RECIPE --workdir DIR --minutes N",
    summary="learning rate and crop scale, chosen by short runs",
    text=TEXT,
    takes="flags after the recipe",
    count=NOTHING,
    chosen=_chosen,
)
