"""`leoclr pretrain` runs a recipe, or resumes it."""

from __future__ import annotations

import functools
from types import ModuleType

from keras_leoclr.commands.command import NOTHING, VERBOSITY, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, fields_of, flags_of
from keras_leoclr.commands.recipes import description, recipe_module, recipe_names

# These arguments of `pretrain` become flags besides the fields of the recipe.
OF_THE_RUN = (
    Flag(
        "overwrite",
        bool,
        False,
        "delete the run that is in --workdir, and no other file, and begin anew",
        "run",
    ),
    Flag(
        "checkpoint_minutes",
        float,
        10.0,
        "minutes from one checkpoint to the next within an epoch",
        "run",
        low=0.0,
    ),
    Flag(
        "checkpoint_budget",
        float,
        0.02,
        "largest share of the time that is spent on checkpoints, in (0, 1]; 1: no limit",
        "run",
        above=0.0,
        high=1.0,
    ),
    Flag(
        "keep",
        int,
        3,
        "number of newest checkpoints that are kept, beside the one with the best kNN",
        "run",
        low=1,
    ),
    Flag("deterministic", bool, False, "repeat a run of the same seed bit by bit; slower on GPUs", "run"),
    Flag("override", bool, False, "go on with settings that were changed, as far as that is safe", "run"),
    Flag(
        "tensorboard",
        str,
        "auto",
        "write logs for TensorBoard to DIR/logs; auto: if tensorboard is installed",
        "run",
        choices=("auto", "on", "off"),
    ),
    VERBOSITY,
)
TEXT = """leoclr pretrain RECIPE --workdir DIR [--FLAG VALUE ...]

Runs a recipe, or goes on with it where it was interrupted. RECIPE is one of {names};
`leoclr pretrain RECIPE --help` lists its flags."""


def preset(
    module: ModuleType,
    help: str = "settings to begin with: full, or smoke, a small run of under a minute that tries everything",
) -> Flag:
    """Makes the flag that chooses among the presets of a recipe."""
    from keras_leoclr.training.settling import presets_of

    return Flag("preset", str, "full", help, "run", choices=presets_of(module))


def recipe_flags(module: ModuleType) -> tuple[Flag, ...]:
    """Makes the flags of a run of a recipe: its folder, its preset, and all settings."""
    folder = workdir("folder for the results of the run", "a folder for the run", "run")
    return (folder, preset(module), *OF_THE_RUN, *flags_of(module.RECIPE))


def requested(module: ModuleType, given: Given) -> tuple:
    """Returns the recipe that was typed, and a function that completes it; see `settling.requested`.

    Raises:
        UsageError: if a setting is not allowed.
    """
    from keras_leoclr.training import settling

    overwrite, override = (name in given and given[name] for name in ("overwrite", "override"))
    fields = fields_of(given, module.RECIPE)
    try:
        return settling.requested(module, given["preset"], fields, given["workdir"], overwrite, override)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _run(module: ModuleType, given: Given) -> int:
    from keras_leoclr.training.pretraining import pretrain
    from keras_leoclr.training.session import ChangedRecipeError

    recipe, settle = requested(module, given)
    options = given.some(*(flag.name for flag in OF_THE_RUN))
    try:
        pretrain(recipe, given["workdir"], **options, settle=settle)
    except ChangedRecipeError as error:
        raise UsageError(str(error)) from error
    return 0


def _chosen(arguments: list[str]) -> tuple[Command, list[str]]:
    if not arguments:
        raise UsageError(f"`pretrain` needs a recipe. Known: {', '.join(recipe_names())}")
    name, *rest = arguments
    if name in ("-h", "--help"):
        return COMMAND.but(text=TEXT.format(names=", ".join(recipe_names()))), arguments
    module = recipe_module(name)
    text = f"leoclr pretrain {name} --workdir DIR [--FLAG VALUE ...]\n\n{description(module)}"
    return COMMAND.but(text=text, run=functools.partial(_run, module), flags=recipe_flags(module)), rest


COMMAND = Command(
    name="pretrain",
    arguments="RECIPE --workdir DIR",
    summary="run a recipe, or go on with it",
    text=TEXT,
    takes="flags after the recipe",
    count=NOTHING,
    chosen=_chosen,
)
