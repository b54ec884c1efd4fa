"""`leoclr ablate` runs a recipe in several variants with several seeds, and makes a table and a picture."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import shlex
from types import ModuleType

from keras_leoclr.commands.command import ONE, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, flags_of, known
from keras_leoclr.commands.pretrain import preset, requested
from keras_leoclr.commands.recipes import recipe_module, recipe_names
from keras_leoclr.evaluation.suite_options import EVALUATORS, SuiteOptions

TEXT = """leoclr ablate NAME --workdir DIR [--recipe RECIPE] [--seeds 0,1,2] [--FLAG VALUE ...]

Trains a recipe in several variants, each with several seeds, evaluates the backbones and shows a table with
the differences from the first variant, mean and 95 % interval over the seeds. NAME is one of

{listed}

The same command goes on where it was; runs whose results are in DIR/results.jsonl are not run again.
DIR/table.md and DIR/table.svg are the table and its picture. The flags of the recipe (`leoclr pretrain RECIPE
--help`) apply to all variants."""


def _chosen(arguments: list[str]) -> tuple[Command, list[str]]:
    from keras_leoclr.training.ablations import ABLATIONS, METHODS
    from keras_leoclr.training.studies import SUITE

    recipe_name = _recipe_name(arguments)
    module = recipe_module(recipe_name)
    listed = "\n".join(f"  {name:14}{one.question}" for name, one in ABLATIONS.items())
    declared = (
        workdir("folder of the runs and of the results", "a folder for the runs"),
        Flag(
            "recipe",
            str,
            recipe_name,
            f"recipe whose settings the runs begin with: one of {', '.join(recipe_names())}",
        ),
        Flag("seeds", tuple[int, ...], (0, 1, 2), "seeds; each variant is trained once with each of them"),
        Flag(
            "methods",
            tuple[str, ...],
            (),
            f"methods; each variant is trained with each: some of {', '.join(METHODS)}",
        ),
        Flag(
            "only",
            str,
            "",
            "train only the variants whose name has this text in it, such as 'LeOCLR, one crop'; empty: all",
        ),
        Flag("jobs", int, 1, "number of runs at the same time, which share the cores", low=1),
        Flag("suite", tuple[str, ...], tuple(SUITE), "evaluations of each run, see leoclr evaluate --help"),
        Flag(
            "fraction",
            float,
            SuiteOptions.fraction,
            "share of the labels that finetune uses, in (0, 1]",
            low=0,
            high=1,
        ),
        dataclasses.replace(
            preset(module, "settings to begin with: full, or smoke, small runs of under a minute"), group=""
        ),
        Flag("show", bool, False, "show the results that are in DIR/results.jsonl, and train nothing"),
        Flag(
            "leave_one_out",
            bool,
            True,
            "measure kNN among the training images as well, which shows what was learned by heart",
        ),
        Flag("verbose", int, 1, "what is printed: 0 the table alone, 1 the progress as well", low=0, high=1),
        *flags_of(module.RECIPE),
    )
    return (
        COMMAND.but(
            text=TEXT.format(listed=listed),
            run=functools.partial(_run, module, _command(arguments)),
            flags=declared,
            takes=f"one of {', '.join(ABLATIONS)}",
            names=("ablation", tuple(ABLATIONS)),
        ),
        arguments,
    )


def _run(module: ModuleType, command: str, given: Given) -> int:
    from keras_leoclr.report import studies
    from keras_leoclr.runs.folder import RunFolder
    from keras_leoclr.training.ablations import METHODS

    name, failed = given.rest[0], None
    folder = pathlib.Path(given["workdir"]).expanduser()
    if not given["show"]:
        for method in given["methods"]:
            known("method", method, METHODS)
        try:
            _study(name, module, command, given)
        except ChildProcessError as error:  # The table is of the runs that did not fail.
            failed = error
    found = studies.read(RunFolder(folder).results)
    if name not in found:
        raise failed or UsageError(f"`--workdir` must hold results of {name}. Received: {folder}")
    text = studies.markdown(found[name])
    (folder / "table.md").write_text(text + "\n", encoding="utf-8")
    (folder / "table.svg").write_text(studies.picture(found[name]), encoding="utf-8")
    print(studies.text(found[name]))
    leads = [lead for lead in studies.leads(found[name]) if any(lead.changes.values())]
    if len({lead.cell for lead in leads}) > 1:  # Otherwise the table says by how much LeOCLR is ahead.
        print(f"\n{studies.table_of_leads(leads)}")
        picture = studies.leads_picture(f"{name}: lead over MoCo v2", studies.by_cell(found[name]))
        if picture is not None:  # It is of kNN and of the linear classifier.
            (folder / "leads.svg").write_text(picture, encoding="utf-8")
    if failed is not None:
        raise failed
    return 0


def _study(name: str, module: ModuleType, command: str, given: Given) -> None:
    from keras_leoclr.runs.folder import RunFolder
    from keras_leoclr.training import ablations
    from keras_leoclr.training.measuring import ranged
    from keras_leoclr.training.settling import completed
    from keras_leoclr.training.studies import study
    from keras_leoclr.training.study_checks import alone_in

    _check_lists(given)
    if not given["fraction"]:
        raise UsageError("`fraction` must be in (0, 1]. Received: fraction=0")
    recipe, lines = ranged(completed(*requested(module, given), bool(given["verbose"])))
    if lines and given["verbose"]:
        print("\n".join(lines))
    try:
        variants = ablations.of(name, recipe, given["methods"])
        if not any(given["only"] in label for label in variants):
            raise ValueError(
                f"`only` must be part of the name of a variant; those of {name} are {'; '.join(variants)}. "
                f"Received: only={given['only']!r}"
            )
        for changes in variants.values():
            dataclasses.replace(recipe, **changes)
    except ValueError as error:
        raise UsageError(str(error)) from error
    with alone_in(RunFolder(given["workdir"])):
        study(
            name,
            recipe,
            variants,
            given["workdir"],
            given["seeds"],
            given["jobs"],
            given["suite"],
            SuiteOptions(leave_one_out=given["leave_one_out"], fraction=given["fraction"]),
            command,
            only=given["only"],
            verbose=bool(given["verbose"]),
        )


def _check_lists(given: Given) -> None:
    """Raises a UsageError unless there are seeds and evaluations that a study can have."""
    if not given["suite"]:
        raise UsageError("`--suite` must name an evaluation or several. Received: none")
    for what in given["suite"]:
        known("evaluation", what, EVALUATORS)
    seeds = given["seeds"]
    if not seeds or not all(0 <= seed < 2**32 for seed in seeds):
        shown = ",".join(map(str, seeds)) or "none"
        raise UsageError(f"`--seeds` must be one or more whole numbers in [0, 2**32). Received: {shown}")


def _recipe_name(arguments: list[str]) -> str:
    """The name of the recipe whose fields are the flags; it is needed before the flags can be read."""
    from keras_leoclr.training.ablations import ABLATIONS

    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--recipe", "-recipe"):
            return value or (arguments[number + 1] if number + 1 < len(arguments) else "")
    name = arguments[0] if arguments else ""
    return ABLATIONS[name].recipe if name in ABLATIONS else "fashion_mnist"


def _command(arguments: list[str]) -> str:
    """The command as others would type it, without flags that only concern this call."""
    kept, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument.partition("=")[0] in ("--jobs", "--verbose"):
            skip = "=" not in argument
        else:
            kept.append(argument)
    return shlex.join(["leoclr", "ablate", *kept])


COMMAND = Command(
    name="ablate",
    arguments="NAME --workdir DIR",
    summary="a recipe in variants, with seeds, compared",
    text=TEXT,
    count=ONE,
    chosen=_chosen,
)
