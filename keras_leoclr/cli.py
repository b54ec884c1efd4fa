"""The command `leoclr`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import pathlib
import re
import sys
import typing

from absl import flags

from keras_leoclr.commands import compare, evaluate, index, search
from keras_leoclr.distribution import WorkerLostError

USAGE = """leoclr: self-supervised pretraining of image encoders

  leoclr pretrain RECIPE --workdir DIR [--FIELD VALUE ...]   run a recipe, or go on with it where it was
                                                             interrupted; any field of it is a flag
  leoclr recipes                                             list the recipes
  leoclr report DIR                                          write DIR/report.html again
  leoclr evaluate WHAT --workdir DIR [--FLAG VALUE ...]      judge a backbone: knn, linear, robustness, ...
  leoclr compare RUN [RUN ...]                               results of runs in one table, with differences
  leoclr detect --backbone FILE --dataset DIR --workdir DIR  a detector on a backbone, judged (COCO's AP)
  leoclr segment --backbone FILE --dataset DIR --workdir DIR the same for semantic segmentation (mIoU)
  leoclr index DIR --backbone FILE [--output INDEX]          features of a folder of pictures, and
  leoclr search QUERY [QUERY ...] --index INDEX              the pictures there that are most similar
  leoclr data NAME_OR_PATH [--split S] [--data_dir D] [--verify]
                                                             what pictures are there, and which are damaged

  leoclr pretrain RECIPE --help                              all fields with their defaults

The backend is the environment variable KERAS_BACKEND: tensorflow (default), jax or torch.
Exit status: 0 done, 1 the run failed or `data` found damaged pictures, 2 wrong usage or other settings
than those of the run that is to go on, 128 + n stopped by signal n (130 SIGINT, 143 SIGTERM)."""


# commands whose recipes do not pretrain
DOWNSTREAM = {"detect": "detection", "segment": "segmentation"}

# flags that are arguments of `pretrain`, beside the fields of the recipe
RUN_FLAGS = (
    "overwrite",
    "verbose",
    "checkpoint_minutes",
    "checkpoint_budget",
    "keep",
    "deterministic",
    "override",
)


class UsageError(Exception):
    """What was typed cannot be run."""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        Exit status.
    """
    _, *arguments = sys.argv if argv is None else argv
    commands = {"pretrain": _pretrain, "recipes": _recipes, "report": _report, "data": _data}
    commands |= {"evaluate": evaluate.run, "compare": compare.run, "index": index.run, "search": search.run}
    commands |= {name: functools.partial(_downstream, name) for name in DOWNSTREAM}
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(USAGE)
            return 0 if arguments else 2
        return commands[_known("command", arguments[0], commands)](arguments[1:])
    except (UsageError, flags.Error) as error:
        print(f"leoclr: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError, ArithmeticError, ImportError, WorkerLostError) as error:
        print(f"leoclr: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # outside of the training, which answers signals itself
        return 130
    except Exception as error:
        message = _of_the_pipeline(error)
        if message is None:
            raise
        print(f"leoclr: {message}", file=sys.stderr)
        return 1


def _of_the_pipeline(error: Exception) -> str | None:
    """What `data.decode.raise_if` says, out of the frame that TensorFlow puts around it."""
    found = re.search(r"assertion failed: \[(.*?)\]\s*$", str(error), re.S | re.M)
    return found[1] if found and type(error).__name__ == "InvalidArgumentError" else None


def recipe_names() -> list[str]:
    """Names of the modules in `keras_leoclr.recipes` that hold a recipe of pretraining."""
    folder = pathlib.Path(importlib.import_module("keras_leoclr.recipes").__file__).parent
    shared = {"__init__", "recipe", "pretrain", "run", "downstream", *DOWNSTREAM.values()}
    return sorted(path.stem for path in folder.glob("*.py") if path.stem not in shared)


def _recipes(arguments: list[str]) -> int:
    if arguments:
        raise UsageError(f"`recipes` takes no arguments. Received: {' '.join(arguments)}")
    for name in [*recipe_names(), *DOWNSTREAM.values()]:
        module = importlib.import_module(f"keras_leoclr.recipes.{name}")
        print(f"{name:20} {module.__doc__.splitlines()[0]}")
    return 0


def _report(arguments: list[str]) -> int:
    from keras_leoclr import report

    if len(arguments) != 1:
        raise UsageError(f"`report` takes one folder. Received: {len(arguments)} arguments")
    print(report.write_report(arguments[0]))
    return 0


def _data(arguments: list[str]) -> int:
    from keras_leoclr.data.summary import summarize

    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "data"}
    flags.DEFINE_string("split", "train", 'such as "test" or "train[:10%]"', **own)
    flags.DEFINE_string("data_dir", None, "where TensorFlow Datasets keeps its files", **own)
    flags.DEFINE_bool("verify", False, "decode every picture", **own)
    flags.DEFINE_bool("help", False, "show this", short_name="h", **own)
    rest = values(["leoclr", *arguments])[1:]
    if values["help"].value:
        print(f"{USAGE}\n\nFlags of `leoclr data`:\n{values.get_help()}")
        return 0
    if len(rest) != 1:
        raise UsageError(f"`data` takes one name or path. Received: {' '.join(rest) or 'none'}")
    text, failures = summarize(
        rest[0], values["split"].value, values["data_dir"].value, values["verify"].value
    )
    print(text)
    return 1 if failures.count else 0


def _pretrain(arguments: list[str]) -> int:
    from keras_leoclr.recipes import pretrain
    from keras_leoclr.recipes.run import ChangedRecipeError

    if not arguments:
        raise UsageError(f"`pretrain` needs a recipe. Known: {', '.join(recipe_names())}")
    if arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    name = _known("recipe", arguments[0], recipe_names())
    module = importlib.import_module(f"keras_leoclr.recipes.{name}")
    values = _flags_of(module.RECIPE)
    rest = values(["leoclr", *arguments[1:]])[1:]
    if values["help"].value:
        print(module.__doc__.strip())
        print(f"\nFlags of `leoclr pretrain {name}`:")
        print(values.get_help())
        return 0
    if rest:
        raise UsageError(f"`pretrain` takes flags after the recipe. Received: {' '.join(rest)}")
    if values["workdir"].value is None:
        raise UsageError("`--workdir` must name a folder for the run. Received: no --workdir")
    recipe = module.RECIPE.smoke() if values["preset"].value == "smoke" else module.RECIPE
    try:
        recipe = dataclasses.replace(recipe, **_given(values, recipe))
    except ValueError as error:
        raise UsageError(str(error)) from error
    try:
        pretrain(recipe, values["workdir"].value, **{name: values[name].value for name in RUN_FLAGS})
    except ChangedRecipeError as error:
        raise UsageError(str(error)) from error
    return 0


def _downstream(command: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"keras_leoclr.recipes.{DOWNSTREAM[command]}")
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "run"}
    flags.DEFINE_string("workdir", None, "new folder for the results", **own)
    flags.DEFINE_bool("overwrite", False, "replace results that are already in workdir", **own)
    flags.DEFINE_integer("verbose", 1, "0 silent, 1 progress bar, 2 one line", 0, 2, **own)
    flags.DEFINE_bool("help", False, "show this", short_name="h", **own)
    _define_fields(values, module.RECIPE)
    rest = values(["leoclr", *arguments])[1:]
    if values["help"].value:
        print(f"{module.__doc__.strip()}\n\nFlags of `leoclr {command}`:\n{values.get_help()}")
        return 0
    if rest:
        raise UsageError(f"`{command}` takes flags only. Received: {' '.join(rest)}")
    if values["workdir"].value is None:
        raise UsageError("`--workdir` must name a folder for the results. Received: no --workdir")
    try:
        recipe = dataclasses.replace(module.RECIPE, **_given(values, module.RECIPE))
    except ValueError as error:
        raise UsageError(str(error)) from error
    options = {name: values[name].value for name in ("overwrite", "verbose")}
    for name, value in module.run(recipe, values["workdir"].value, **options).items():
        print(f"{name:24}{100 * value:8.1f} %")
    return 0


def _flags_of(recipe: object) -> flags.FlagValues:
    """One flag per field of the recipe, and those of the run."""
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "run"}
    flags.DEFINE_string("workdir", None, "folder for the results of the run", **own)
    flags.DEFINE_enum("preset", "full", ["full", "smoke"], "smoke: the same run in under a minute", **own)
    flags.DEFINE_bool("overwrite", False, "delete a run that is already in workdir", **own)
    flags.DEFINE_float("checkpoint_minutes", 10.0, "between checkpoints within an epoch", 0.0, **own)
    flags.DEFINE_float(
        "checkpoint_budget", 0.02, "largest share of the time for checkpoints; 1: no limit", 0.0, 1.0, **own
    )
    flags.DEFINE_integer("keep", 3, "newest checkpoints to keep, beside the best by kNN", 1, **own)
    flags.DEFINE_bool("deterministic", False, "the same bits every time; slower on GPUs", **own)
    flags.DEFINE_bool("override", False, "resume with other settings, as far as that is safe", **own)
    flags.DEFINE_integer("verbose", 1, "0 silent, 1 progress bar, 2 one line per epoch", 0, 2, **own)
    flags.DEFINE_bool("help", False, "show this", short_name="h", **own)
    _define_fields(values, recipe)
    return values


def _define_fields(values: flags.FlagValues, recipe: object) -> None:
    own = {"flag_values": values, "module_name": "recipe"}
    hints = typing.get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        default, help_text = getattr(recipe, field.name), field.metadata["help"]
        kind = hints[field.name]
        if kind is bool:
            flags.DEFINE_bool(field.name, default, help_text, **own)
        elif kind is int:
            flags.DEFINE_integer(field.name, default, help_text, **own)
        elif kind is float:
            flags.DEFINE_float(field.name, default, help_text, **own)
        elif typing.get_origin(kind) is tuple:
            flags.DEFINE_list(field.name, [str(v) for v in default], f"{help_text}; comma-separated", **own)
        else:
            flags.DEFINE_string(field.name, default, help_text, **own)


def _given(values: flags.FlagValues, recipe: object) -> dict:
    """The fields that were given as flags, in their types."""
    given = {}
    hints = typing.get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        if not values[field.name].present:
            continue
        value = values[field.name].value
        if typing.get_origin(hints[field.name]) is tuple:
            number = typing.get_args(hints[field.name])[0]
            try:
                value = tuple(number(v) for v in value)
            except ValueError as error:
                raise UsageError(
                    f"`--{field.name}` must be comma-separated numbers. Received: {','.join(value)}"
                ) from error
        given[field.name] = value
    return given


def _known(kind: str, name: str, known: typing.Iterable[str]) -> str:
    if name in known:
        return name
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(known))}")


if __name__ == "__main__":
    sys.exit(main())
