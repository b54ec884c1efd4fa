"""Studies: runs of a recipe that differ in one respect, with several seeds each, and their results."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from keras_leoclr.checkpointing.signals import sigterm_raises
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.report.studies import COLLECTED
from keras_leoclr.runs.environment import cores
from keras_leoclr.runs.folder import RunFolder, work_folder
from keras_leoclr.runs.results import Results
from keras_leoclr.training.ablations import Variants
from keras_leoclr.training.fields import from_json, without_later_defaults
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.study_checks import check_data, check_folder, check_pictures, check_settings
from keras_leoclr.training.study_progress import StudyProgress
from keras_leoclr.training.study_results import collected

SUITE = ("knn", "linear", "few", "retrieval")
EPOCH_SECONDS = "speed/epoch_seconds"  # time from the end of an epoch to the end of the next
LOG = "log.txt"
PROCESS = "keras_leoclr.training.study_process"  # module that is started for each run, with a StudyTask

# These variables set the number of threads of each process, so that parallel runs share the cores.
THREADS = ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class FailedRunsError(ChildProcessError):
    """Raised after the last run of a study if some of them have failed.

    Attributes:
        variants: labels of their variants.
    """

    def __init__(self, message: str, variants: tuple[str, ...]):
        super().__init__(message)
        self.variants = variants


@dataclasses.dataclass(frozen=True)
class StudyRun:
    """One run of a study.

    Attributes:
        variant: label of the variant.
        recipe: settings of the run, including the seed.
        place: position of the variant among the others; 0 for the reference.
        held_out: whether it is trained and judged on the parts of the training split that `tuning_parts`
            makes, not on the splits of the recipe.
        changes: names of the settings that the variant changes; the others are those of all variants.
    """

    variant: str
    recipe: Recipe
    place: int
    held_out: bool = False
    changes: tuple[str, ...] = ()

    def __post_init__(self):
        # Runs that are compared must have the same precision on every computer.
        if self.recipe.precision == "auto":
            object.__setattr__(self, "recipe", dataclasses.replace(self.recipe, precision="float32"))

    @property
    def folder(self) -> str:
        """Name of the run's folder."""
        return re.sub(r"[^a-z0-9.]+", "-", self.variant.lower()).strip("-") + f"-seed{self.recipe.seed}"

    @property
    def key(self) -> str:
        """A checksum that distinguishes runs with different settings; the location of the data has no
        influence.

        Settings that a later version introduced count only if they differ from their default, so that the
        results of earlier versions are still found.
        """
        settings = without_later_defaults(Recipe, self.settings) | {"data_dir": None}
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe of the run without the location of the data."""
        settings = dataclasses.asdict(self.recipe)
        settings["dataset"] = _without_place(settings["dataset"])
        del settings["data_dir"]
        return settings


@dataclasses.dataclass(frozen=True)
class StudyTask:
    """The input of the process of a run, which is passed as JSON.

    Attributes:
        recipe: settings of the run.
        workdir: path of the run's folder.
        suite: names of the evaluators for its backbone.
        options: settings of the evaluators.
        with_random: whether the backbone with random weights is evaluated too.
        held_out: see `StudyRun`.
    """

    recipe: Recipe
    workdir: str
    suite: tuple[str, ...]
    options: SuiteOptions
    with_random: bool
    held_out: bool = False

    @classmethod
    def from_json(cls, text: str) -> StudyTask:
        """Restores a task from the JSON of `dataclasses.asdict`."""
        values = json.loads(text)
        kinds = {"recipe": Recipe, "options": SuiteOptions}
        return from_json(cls, values | {name: from_json(kind, values[name]) for name, kind in kinds.items()})


def runs_of(
    recipe: Recipe, variants: Variants, seeds: Sequence[int], held_out: bool = False
) -> list[StudyRun]:
    """Lists all runs, seed by seed, so that an interrupted study has complete seeds.

    Args:
        recipe: the recipe that the variants change.
        variants: changes by label.
        seeds: seeds of each variant.
        held_out: see `StudyRun`.
    """
    quiet = {"evaluate": False, "map_images": 0}  # Runs of a study are evaluated afterwards.
    return [
        StudyRun(
            label,
            dataclasses.replace(recipe, seed=seed, **{**quiet, **changes}),
            place,
            held_out,
            tuple(changes),
        )
        for seed in seeds
        for place, (label, changes) in enumerate(variants.items())
    ]


def study(
    ablation: str,
    recipe: Recipe,
    variants: Variants,
    workdir: str | pathlib.Path,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
    suite: Sequence[str] = SUITE,
    options: SuiteOptions | None = None,
    command: str = "",
    only: str = "",
    verbose: bool = True,
    held_out: bool = False,
    until: float | None = None,
) -> Results:
    """Runs a study, or the part of it that is missing.

    Args:
        ablation: name of the ablation.
        recipe: the recipe that the variants change.
        variants: changes by label, the reference first.
        workdir: folder of the study, with one folder per run and `results.jsonl` with the collected results.
        seeds: seeds of each variant; (0, 1, 2) by default.
        jobs: number of parallel runs, 1 by default; each is a process with its share of the cores.
        suite: names of evaluators, see `leoclr evaluate`.
        options: settings of the evaluators; their seed is that of each run.
        command: the command that started the study, recorded with each run.
        only: text that the labels of the variants that are run have in them; "", the default, runs all.
        verbose: whether to show progress; true by default.
        held_out: see `StudyRun`; false by default.
        until: time of `time.monotonic` at which the runs that are not complete are stopped, so that another
            call goes on with them; None (the default) for no limit.

    Returns:
        The results in `workdir/results.jsonl`. Runs that are in it are not repeated; they are only evaluated
        if `suite` and `options` ask for more than before. Interrupted runs are resumed.

    Raises:
        ValueError: if the folder is that of a run, two labels name the same folder, the data lack what the
            evaluators need, or runs that are there were trained with other settings or on other pictures.
        FailedRunsError: if a run failed; the others are finished first.
        Interrupted: (a SystemExit) after SIGTERM, once the processes of the runs have ended.
    """
    workdir = work_folder(workdir)
    check_folder(RunFolder(workdir))
    _check_labels(recipe, variants)
    workdir.mkdir(parents=True, exist_ok=True)
    results = RunFolder(workdir).results
    seeds = tuple(dict.fromkeys(seeds))
    runs = [run for run in runs_of(recipe, variants, seeds, held_out) if only in run.variant]
    lines = results.read(damaged := [])
    if damaged:
        print(f"{results.path}: lines {', '.join(map(str, damaged))} cannot be read and are left out.")
    known = {
        (line["ablation"], line["variant"], line["run"]): line["suite"]
        for line in lines
        if line["name"] == COLLECTED
    }
    options = options or SuiteOptions()
    asked = {options.named(name) for name in suite}
    missing = []
    for run in runs:
        passed = known.get((ablation, run.variant, run.key))
        if passed is None or not asked <= {*passed}:
            missing.append(run)
    parts = ("train_split", "probe_split", "max_images") if held_out else ()  # see `study_process`
    check_settings({workdir / run.folder: run.recipe for run in missing}, parts)
    if not held_out:  # A search has opened its parts already.
        check_pictures({workdir / run.folder: run.recipe for run in runs})
        check_data((run.recipe for run in missing), suite)
    shown = StudyProgress(len(runs), len(runs) - len(missing), verbose)
    failed = {}
    waiting, going = list(missing), {}
    with sigterm_raises():
        try:
            while (waiting or going) and (until is None or time.monotonic() < until):
                while waiting and len(going) < jobs:
                    run = waiting.pop(0)
                    going[run] = _start(run, workdir, jobs, suite, options)
                time.sleep(0.5)
                for run, process in list(going.items()):
                    if process.poll() is None:
                        continue
                    del going[run]
                    if process.returncode:
                        failed[run] = _tail(workdir / run.folder / LOG)
                    else:
                        for line in collected(run, workdir / run.folder, ablation, command):
                            if line not in lines:
                                results.write(**line)
                    shown.ended(f"{run.variant}, seed {run.recipe.seed}", process.returncode)
                shown.update([workdir / run.folder for run in going])
        finally:
            shown.close()
            for process in going.values():  # After Ctrl-C or SIGTERM, each writes a checkpoint.
                process.terminate()
            for process in going.values():
                process.wait()
    if failed:
        texts = "\n".join(f"{run.folder}: {text}" for run, text in failed.items())
        raise FailedRunsError(
            f"{len(failed)} of {len(runs)} runs failed; the same command tries again.\n{texts}",
            tuple(run.variant for run in failed),
        )
    return results


def _check_labels(recipe, variants):
    """Raises a ValueError if runs of two variants would have the same folder."""
    labels = {}
    for run in runs_of(recipe, variants, (recipe.seed,)):
        if (other := labels.setdefault(run.folder, run.variant)) != run.variant:
            raise ValueError(
                "`variants` must have labels that differ in the letters a to z, digits and dots, which the "
                f"folders of their runs are named after. Received: {other!r} and {run.variant!r}"
            )


def _start(run, workdir, jobs, suite, options):
    folder = workdir / run.folder
    folder.mkdir(exist_ok=True)
    threads = str(max(1, (cores() or 1) // jobs))
    shares = {name: os.environ.get(name, threads) for name in THREADS} if jobs > 1 else {}
    options = dataclasses.replace(options, seed=run.recipe.seed)
    task = StudyTask(run.recipe, str(folder), tuple(suite), options, run.place == 0, run.held_out)
    command = [sys.executable, "-m", PROCESS, json.dumps(dataclasses.asdict(task))]
    with (folder / LOG).open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **shares}
        )


def _without_place(dataset: str) -> str:
    """The name of a file or folder; names that are no path, and patterns, are kept as they are.

    Of several paths between commas each loses its place, so that they are told apart by their names alone.
    """
    if "*" in dataset:
        return dataset
    return ",".join(
        part if re.match(r"\w\w+:", part) else pathlib.PurePath(part).name for part in dataset.split(",")
    )


def _tail(path, lines=5):
    return "\n".join(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:])
