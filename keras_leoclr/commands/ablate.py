"""`leoclr ablate`: a recipe in several variants, with several seeds, as a table and a picture."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import shlex

from absl import flags

from keras_leoclr.commands.flags import UsageError, known, parse


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    from keras_leoclr import cli
    from keras_leoclr.training import ablations
    from keras_leoclr.training import studies as study
    from keras_leoclr.training.settling import presets_of

    names, recipes = list(ablations.ABLATIONS), cli.recipe_names()
    listed = "\n".join(f"  {name:14}{one.question}" for name, one in ablations.ABLATIONS.items())
    usage = f"""leoclr ablate NAME --workdir DIR [--recipe RECIPE] [--seeds 0,1,2] [--FLAG VALUE ...]

Trains a recipe in several variants, each with several seeds, evaluates the backbones and shows a table with
the differences from the first variant, mean and 95 % interval over the seeds. NAME is one of

{listed}

The same command goes on where it was; runs whose results are in DIR/results.jsonl are not run again.
DIR/table.md and DIR/table.svg are the table and its picture. The flags of the recipe (`leoclr pretrain RECIPE
--help`) apply to all variants."""
    recipe_name = _recipe_name(arguments)
    module = importlib.import_module(f"keras_leoclr.recipes.{known('recipe', recipe_name, recipes)}")
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "ablate"}
    flags.DEFINE_string("workdir", None, "folder of the runs and of the results", **own)
    flags.DEFINE_string("recipe", recipe_name, f"one of {', '.join(recipes)}", **own)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "one run of each variant for each; comma-separated", **own)
    flags.DEFINE_list(
        "methods", [], f"each variant with each of {', '.join(ablations.METHODS)}; comma-separated", **own
    )
    flags.DEFINE_integer("jobs", 1, "runs at the same time, which share the cores", 1, **own)
    flags.DEFINE_list("suite", list(study.SUITE), "evaluations; comma-separated", **own)
    flags.DEFINE_enum("preset", "full", list(presets_of(module)), "smoke: runs of under a minute", **own)
    flags.DEFINE_bool("show", False, "only show what is in DIR/results.jsonl", **own)
    flags.DEFINE_bool(
        "leave_one_out", True, "kNN within the training set too: what was learned by heart", **own
    )
    flags.DEFINE_integer("verbose", 1, "0 the table alone, 1 progress too", 0, 1, **own)
    cli.define_fields(values, module.RECIPE)
    rest = parse(values, arguments, usage)
    if rest is None:
        return 0
    if len(rest) != 1:
        raise UsageError(f"`ablate` takes one of {', '.join(names)}. Received: {' '.join(rest) or 'none'}")
    name = known("ablation", rest[0], names)
    if values["workdir"].value is None:
        raise UsageError("`--workdir` must name a folder for the runs. Received: no --workdir")
    workdir = pathlib.Path(values["workdir"].value)
    if not values["show"].value:
        for method in values["methods"].value:
            known("method", method, ablations.METHODS)
        _run(name, module, values, workdir, _command(arguments))
    from keras_leoclr.report import studies
    from keras_leoclr.runs.results import Results

    found = studies.read(Results(workdir / "results.jsonl"))
    if name not in found:
        raise UsageError(f"`--workdir` must hold results of {name}. Received: {workdir}")
    text = studies.markdown(found[name])
    (workdir / "table.md").write_text(text + "\n", encoding="utf-8")
    (workdir / "table.svg").write_text(studies.picture(found[name]), encoding="utf-8")
    print(studies.text(found[name]))
    return 0


def _recipe_name(arguments):
    """The recipe whose fields are the flags: it has to be known before the flags are."""
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--recipe", "-recipe"):
            return value or (arguments[number + 1] if number + 1 < len(arguments) else "")
    return "fashion_mnist"


def _command(arguments):
    """The command as others would type it: what only concerns this run of it is left out."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument.partition("=")[0] in ("--jobs", "--verbose"):
            skip = "=" not in argument
        else:
            kept.append(argument)
    return shlex.join(["leoclr", "ablate", *kept])


def _run(name, module, values, workdir, command):
    from keras_leoclr import cli
    from keras_leoclr.commands import evaluate
    from keras_leoclr.training import ablations
    from keras_leoclr.training import studies as study

    try:
        seeds = [int(seed) for seed in values["seeds"].value]
    except ValueError as error:
        raise UsageError(
            f"`--seeds` must be comma-separated whole numbers. Received: {','.join(values['seeds'].value)}"
        ) from error
    for what in values["suite"].value:
        known("evaluation", what, evaluate.EVALUATORS)
    recipe, settle = cli.settings(module, values)
    if settle is not None:
        recipe, reasons = settle(recipe)
        print("\n".join(reasons))
    try:
        variants = ablations.of(name, recipe, tuple(values["methods"].value))
        for changes in variants.values():
            dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from error
    study.study(
        name,
        recipe,
        variants,
        workdir,
        seeds,
        values["jobs"].value,
        values["suite"].value,
        ["--leave_one_out"] if values["leave_one_out"].value and "knn" in values["suite"].value else [],
        command,
        verbose=bool(values["verbose"].value),
    )
