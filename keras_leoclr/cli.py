"""The command `leoclr`."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import sys
import typing

from absl import flags

from keras_leoclr.commands.flags import UsageError, known, parse

# name: (function, what follows the name, one line for `leoclr --help`)
COMMANDS = {
    "pretrain": ("keras_leoclr.cli:_pretrain", "RECIPE --workdir DIR", "run a recipe, or go on with it"),
    "recipes": ("keras_leoclr.cli:_recipes", "", "list the recipes"),
    "watch": ("keras_leoclr.commands.watch:run", "DIR", "show how far a run elsewhere is"),
    "evaluate": ("keras_leoclr.commands.evaluate:run", "WHAT --workdir DIR", "judge a backbone"),
    "compare": ("keras_leoclr.commands.compare:run", "RUN [RUN ...]", "results of runs in one table"),
    "ablate": (
        "keras_leoclr.commands.ablate:run",
        "NAME --workdir DIR",
        "a recipe in variants, with seeds, compared",
    ),
    "report": (
        "keras_leoclr.commands.report:run",
        "RUN [RUN ...]",
        "a run, or several, as one page to look at",
    ),
    "views": ("keras_leoclr.commands.views:run", "RECIPE", "original and crops, before any training"),
    "export": (
        "keras_leoclr.commands.export:run",
        "RUN [--formats onnx,...]",
        "a backbone in other formats, each verified",
    ),
    "detect": (
        "keras_leoclr.cli:_detect",
        "--backbone FILE --dataset DIR --workdir DIR",
        "a detector on a backbone, judged (COCO's AP)",
    ),
    "segment": (
        "keras_leoclr.cli:_segment",
        "--backbone FILE --dataset DIR --workdir DIR",
        "semantic segmentation on a backbone, judged (mIoU)",
    ),
    "index": ("keras_leoclr.commands.index:run", "DIR --backbone FILE", "features of a folder of pictures"),
    "search": (
        "keras_leoclr.commands.search:run",
        "QUERY ... --index INDEX",
        "the most similar pictures there",
    ),
    "data": ("keras_leoclr.cli:_data", "NAME_OR_PATH", "what pictures are there, and which are damaged"),
    "doctor": ("keras_leoclr.commands.doctor:run", "", "check this installation"),
}

# answer without Keras, TensorFlow and the rest of the package
LIGHT = ("recipes", "watch", "doctor")

STATUS = """Exit status:
  0    done
  1    failed: the reason is printed; damaged pictures (data), a fault (doctor), a run that failed (watch)
  2    wrong usage, or other settings than those of the run that is to go on
  130  stopped by Ctrl-C; 128 + n by signal n"""


def usage() -> str:
    """The text of `leoclr --help`."""
    calls = {f"{name} {arguments}".rstrip(): text for name, (_, arguments, text) in COMMANDS.items()}
    width = max(map(len, calls)) + 2
    listed = "\n".join(f"  {call:{width}}{text}" for call, text in calls.items())
    return f"""leoclr COMMAND ... [--FLAG VALUE ...]

Self-supervised pretraining of image encoders. Commands:

{listed}

  leoclr COMMAND --help             its flags with their defaults
  leoclr pretrain RECIPE --help     all settings of a recipe, each of them a flag
  leoclr --version

The backend is the environment variable KERAS_BACKEND: tensorflow (default), jax or torch.
{STATUS}"""


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
    "tensorboard",
)


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        Exit status.
    """
    _, *arguments = sys.argv if argv is None else argv
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(usage())
            return 0 if arguments else 2
        if arguments[0] == "--version":
            print(f"keras-leoclr {importlib.metadata.version('keras-leoclr')}")
            return 0
        module, function = COMMANDS[known("command", arguments[0], COMMANDS)][0].split(":")
        return getattr(importlib.import_module(module), function)(arguments[1:])
    except (UsageError, flags.Error) as error:
        print(f"leoclr: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError, ArithmeticError, ImportError) as error:
        print(f"leoclr: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # outside of the training, which answers signals itself
        return 130
    except Exception as error:
        message = _in_one_line(error)
        if message is None:
            raise
        print(f"leoclr: {message}", file=sys.stderr)
        return 1


def needs_keras(argv: list[str]) -> bool:
    """Whether a command line does more than `LIGHT` commands, help and complaints."""
    return len(argv) > 1 and argv[1] in COMMANDS and argv[1] not in LIGHT


def _in_one_line(error: Exception) -> str | None:
    """What a user can do something about; None for what is a fault of the program."""
    if type(error).__name__ == "WorkerLostError":  # by its name: its module needs Keras
        return f"WorkerLostError: {error}"
    # what `data.decode.raise_if` says, out of the frame that TensorFlow puts around it
    found = re.search(r"assertion failed: \[(.*?)\]\s*$", str(error), re.S | re.M)
    return found[1] if found and type(error).__name__ == "InvalidArgumentError" else None


def _recipe_files() -> dict[str, pathlib.Path]:
    (folder,) = importlib.util.find_spec("keras_leoclr.recipes").submodule_search_locations
    shared = {"__init__", "ablations", "downstream", "pretrain", "recipe", "run", "study"}
    return {path.stem: path for path in sorted(pathlib.Path(folder).glob("*.py")) if path.stem not in shared}


def recipe_names() -> list[str]:
    """Names of the modules in `keras_leoclr.recipes` that hold a recipe of pretraining."""
    return [name for name in _recipe_files() if name not in DOWNSTREAM.values()]


def _recipes(arguments: list[str]) -> int:
    values = flags.FlagValues()
    _define_json(values, "recipes")
    rest = parse(values, arguments, "leoclr recipes [--json]\n\nOne line for each recipe.")
    if rest is None:
        return 0
    if rest:
        raise UsageError(f"`recipes` takes no arguments. Received: {' '.join(rest)}")
    # read, not imported: a recipe needs Keras
    found = {
        name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        for name, path in _recipe_files().items()
    }
    summaries = {name: text.splitlines()[0] for name, text in found.items()}
    if values["json"].value:
        listed = [{"name": n, "summary": summaries[n], "description": found[n]} for n in found]
        print(json.dumps(listed, indent=2))
    else:
        print("\n".join(f"{name:20} {summary}" for name, summary in summaries.items()))
    return 0


def _define_json(values: flags.FlagValues, group: str) -> None:
    flags.DEFINE_bool("json", False, "print JSON", flag_values=values, module_name=group)


def _data(arguments: list[str]) -> int:
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "data"}
    flags.DEFINE_string("split", "train", 'such as "test" or "train[:10%]"', **own)
    flags.DEFINE_string("data_dir", None, "where TensorFlow Datasets keeps its files", **own)
    flags.DEFINE_bool("verify", False, "decode every picture", **own)
    _define_json(values, "data")
    text = (
        "leoclr data NAME_OR_PATH [--FLAG VALUE ...]\n\n"
        "How many pictures there are, their sizes, formats and classes, and which cannot be read: with one\n"
        "of those the exit status is 1."
    )
    rest = parse(values, arguments, text)
    if rest is None:
        return 0
    if len(rest) != 1:
        raise UsageError(f"`data` takes one name or path. Received: {' '.join(rest) or 'none'}")
    from keras_leoclr.data.failures import shown
    from keras_leoclr.data.summary import describe, summarize

    given = rest[0], values["split"].value, values["data_dir"].value, values["verify"].value
    if values["json"].value:
        lines, count, failures = describe(*given)
        damaged = [{"file": shown(path), "reason": reason} for path, reason in failures.items()]
        facts = {"pictures": count if count >= 0 else None, "damaged_pictures": failures.count}
        print(json.dumps({**facts, "damaged": damaged, "text": lines}, indent=2))
    else:
        text, failures = summarize(*given)
        print(text)
    return 1 if failures.count else 0


def _pretrain(arguments: list[str]) -> int:
    if not arguments:
        raise UsageError(f"`pretrain` needs a recipe. Known: {', '.join(recipe_names())}")
    if arguments[0] in ("-h", "--help"):
        names = ", ".join(recipe_names())
        print(
            "leoclr pretrain RECIPE --workdir DIR [--FLAG VALUE ...]\n\n"
            f"Runs a recipe, or goes on with it where it was interrupted. RECIPE is one of {names};\n"
            "`leoclr pretrain RECIPE --help` lists its flags."
        )
        return 0
    name = known("recipe", arguments[0], recipe_names())
    from keras_leoclr.recipes import pretrain
    from keras_leoclr.training.session import ChangedRecipeError
    from keras_leoclr.training.settling import presets_of

    module = importlib.import_module(f"keras_leoclr.recipes.{name}")
    values = _flags_of(module.RECIPE, presets_of(module))
    usage = f"leoclr pretrain {name} --workdir DIR [--FLAG VALUE ...]\n\n{module.__doc__.strip()}"
    rest = parse(values, arguments[1:], usage)
    if rest is None:
        return 0
    if rest:
        raise UsageError(f"`pretrain` takes flags after the recipe. Received: {' '.join(rest)}")
    if values["workdir"].value is None:
        raise UsageError("`--workdir` must name a folder for the run. Received: no --workdir")
    recipe, settle = settings(module, values)
    options = {name: values[name].value for name in RUN_FLAGS}
    try:
        pretrain(recipe, values["workdir"].value, **options, settle=settle)
    except ChangedRecipeError as error:
        raise UsageError(str(error)) from error
    return 0


def settings(module: object, values: flags.FlagValues) -> tuple[object, typing.Callable | None]:
    """See `requested`: a recipe with the preset and the flags, and what is left to settle."""
    from keras_leoclr.training.settling import requested

    overwrite = "overwrite" in values and values["overwrite"].value
    try:
        given = given_fields(values, module.RECIPE)
        return requested(module, values["preset"].value, given, values["workdir"].value, overwrite)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _detect(arguments: list[str]) -> int:
    return _downstream("detect", arguments)


def _segment(arguments: list[str]) -> int:
    return _downstream("segment", arguments)


def _downstream(command: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"keras_leoclr.recipes.{DOWNSTREAM[command]}")
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "run"}
    flags.DEFINE_string("workdir", None, "new folder for the results", **own)
    flags.DEFINE_bool(
        "overwrite",
        False,
        "replace results in workdir, or an interrupted training with other settings",
        **own,
    )
    flags.DEFINE_integer("verbose", 1, "0 silent, 1 progress bar, 2 one line", 0, 2, **own)
    define_fields(values, module.RECIPE)
    rest = parse(values, arguments, f"leoclr {command} [--FLAG VALUE ...]\n\n{module.__doc__.strip()}")
    if rest is None:
        return 0
    if rest:
        raise UsageError(f"`{command}` takes flags only. Received: {' '.join(rest)}")
    if values["workdir"].value is None:
        raise UsageError("`--workdir` must name a folder for the results. Received: no --workdir")
    try:
        recipe = dataclasses.replace(module.RECIPE, **given_fields(values, module.RECIPE))
    except ValueError as error:
        raise UsageError(str(error)) from error
    options = {name: values[name].value for name in ("overwrite", "verbose")}
    for name, value in module.run(recipe, values["workdir"].value, **options).items():
        print(f"{name:24}{100 * value:8.1f} %")
    return 0


def _flags_of(recipe: object, presets: typing.Sequence[str] = ("full", "smoke")) -> flags.FlagValues:
    """One flag per field of the recipe, and those of the run."""
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "run"}
    flags.DEFINE_string("workdir", None, "folder for the results of the run", **own)
    flags.DEFINE_enum("preset", "full", list(presets), "smoke: the same run, small, in under a minute", **own)
    flags.DEFINE_bool("overwrite", False, "delete a run that is already in workdir", **own)
    flags.DEFINE_float("checkpoint_minutes", 10.0, "between checkpoints within an epoch", 0.0, **own)
    flags.DEFINE_float(
        "checkpoint_budget", 0.02, "largest share of the time for checkpoints; 1: no limit", 0.0, 1.0, **own
    )
    flags.DEFINE_integer("keep", 3, "newest checkpoints to keep, beside the best by kNN", 1, **own)
    flags.DEFINE_bool("deterministic", False, "the same bits every time; slower on GPUs", **own)
    flags.DEFINE_bool("override", False, "resume with other settings, as far as that is safe", **own)
    flags.DEFINE_enum(
        "tensorboard", "auto", ["auto", "on", "off"], "write DIR/logs; auto: if the package is there", **own
    )
    flags.DEFINE_integer("verbose", 1, "0 silent, 1 progress bar, 2 one line per epoch", 0, 2, **own)
    define_fields(values, recipe)
    return values


def define_fields(values: flags.FlagValues, recipe: object) -> None:
    """Defines one flag per field of a recipe."""
    own = {"flag_values": values}
    hints = typing.get_type_hints(type(recipe))
    for field in dataclasses.fields(recipe):
        default, help_text = getattr(recipe, field.name), field.metadata["help"]
        own["module_name"] = field.metadata["group"]
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


def given_fields(values: flags.FlagValues, recipe: object) -> dict:
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


if __name__ == "__main__":
    sys.exit(main())
