"""`tune`: chooses learning rate and crop scale by short runs within a number of minutes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

from keras_leoclr.data.given import GivenImages
from keras_leoclr.evaluation.batches import data_identity
from keras_leoclr.evaluation.measures import USUAL_K
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.report import studies as found_studies
from keras_leoclr.report.studies import COLLECTED, RANDOM
from keras_leoclr.runs.files import write_json
from keras_leoclr.runs.folder import RunFolder, work_folder
from keras_leoclr.training.ablations import Variants
from keras_leoclr.training.fields import without_later_defaults
from keras_leoclr.training.measuring import ranged
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.studies import EPOCH_SECONDS, FailedRunsError, StudyRun, runs_of, study
from keras_leoclr.training.study_checks import alone_in
from keras_leoclr.training.tuned import BY_LABELS, JUDGES, LINEAR, UNIFORMITY, Tuned, of_study
from keras_leoclr.training.tuning_parts import PLAN, can_be_judged_by_labels, parts_of
from keras_leoclr.training.tuning_plan import TIMED_EPOCHS, Timing, candidates, extended, planned, short

NAME, TIMING = "tune", "tune_timing"  # names of the studies in `results.jsonl`
SUITES = {True: ("knn", "linear", "quality"), False: ("quality",)}  # with and without labels
OPTIONS = SuiteOptions(k=(USUAL_K,), check_shared=False, check_content=False)


def tune(
    recipe: Recipe,
    workdir: str | os.PathLike,
    minutes: float,
    judge: str = "auto",
    learning_rates: Sequence[float] = (),
    least_areas: Sequence[float] = (),
    jobs: int = 1,
    command: str = "",
    verbose: bool = True,
    held: bool = False,
) -> Tuned:
    """Trains short runs with several learning rates and crop scales, and chooses the best of them.

    The first run, of two epochs, is measured. The number of candidates, and of their epochs, is planned so
    that they fit into the time. All of them see the same pictures: at most 5,000 (`max_images` of the
    recipe), of which a fifth, at most 1,000, is held out and judges. Nothing is trained or
    judged on test pictures. When the time is up, the candidates that are complete are compared.

    The same call goes on with the plan that is in the folder.

    Args:
        recipe: the settings; its `learning_rate` and `crop_scale` are the first candidate.
        workdir: folder of the runs, of `plan.json` and of `results.jsonl`.
        minutes: > 0, the time of this call.
        judge: "linear" or "knn", accuracy on the held-out pictures; "rankme"; "uniformity", the sum of
            alignment and uniformity; or "auto" (the default), linear where there are labels, otherwise
            uniformity.
        learning_rates: see `tuning_plan.candidates`.
        least_areas: see `tuning_plan.candidates`.
        jobs: number of runs at the same time, 1 by default.
        command: the command that was typed, recorded with each run.
        verbose: whether to print the plan and the progress; true by default.
        held: whether the caller holds the lock of the folder, see `alone_in`; false by default.

    Returns:
        The choice, with the table of the candidates.

    Raises:
        ValueError: if an argument is wrong, the time is too short for two candidates, there are no labels to
            judge by, or the folder holds a search with other settings.
        TimeoutError: if no two candidates were complete in time; the same call goes on.
        FailedRunsError: if the first run failed, or all candidates.
    """
    check(minutes, judge)
    until = time.monotonic() + 60 * minutes
    recipe, lines = ranged(recipe)
    folder = work_folder(workdir)
    variants = candidates(recipe, learning_rates, least_areas)
    parts = parts_of(recipe)
    asked = _asked(recipe, variants, parts)
    _begun(folder, asked)
    labelled = can_be_judged_by_labels(parts)
    if judge in BY_LABELS and not labelled:
        raise ValueError(
            f"`judge` {judge} needs pictures of two classes or more with labels; rankme and uniformity need "
            f"none. Received: judge={judge!r}, dataset={recipe.dataset!r}, split {recipe.labelled_split}"
        )
    if verbose and lines:
        print("\n".join(lines))
    how = {"judge": judge, "jobs": jobs, "command": command, "verbose": verbose}
    with contextlib.nullcontext() if held else alone_in(RunFolder(folder)):
        return _search(recipe, folder, until, variants, parts, asked, **how)


def _search(
    recipe: Recipe,
    folder: pathlib.Path,
    until: float,
    variants: Variants,
    parts: GivenImages,
    asked: dict[str, Any],
    judge: str,
    jobs: int,
    command: str,
    verbose: bool,
) -> Tuned:
    """Runs what is missing of a search whose settings were checked, and compares."""
    plan, labelled = _begun(folder, asked), can_be_judged_by_labels(parts)
    judge = (LINEAR if labelled else UNIFORMITY) if judge == "auto" else judge
    pictures, held_out = (parts.load(split).count for split in ("train", "held_out"))
    how = {"jobs": jobs, "suite": SUITES[labelled], "options": OPTIONS, "command": command, "until": until}
    how |= {"verbose": verbose, "held_out": True}

    def say(text):
        if verbose:
            print(text, flush=True)

    if plan is not None:  # The plan counts the candidates in the order in which it lists them.
        variants = {label: variants[label] for label in plan["candidates"]}
    else:
        timing = _timed(recipe, folder, pictures, how)
        plan = {**asked, "timing": dataclasses.asdict(timing)}
        write_json(folder / PLAN, plan)
    if "epochs" not in plan:
        timing, left = Timing(**plan["timing"]), until - time.monotonic()
        steps = max(1, pictures // recipe.batch_size)
        made = planned(timing, left, steps, len(variants), recipe.epochs, jobs)
        plan |= {"count": made.count, "epochs": made.epochs}
        write_json(folder / PLAN, plan)
        say(
            f"An epoch of {pictures:,} pictures takes {timing.epoch:.1f} seconds, the rest of a run "
            f"{timing.besides:.0f} seconds. Planned: {made.count} of {len(variants)} candidates, "
            f"{made.epochs} epochs each, in about {made.seconds / 60:.1f} minutes."
        )
    base = short(recipe, plan["epochs"], pictures)
    runs = runs_of(base, variants, (recipe.seed,), held_out=True)
    timing, done = Timing(**plan["timing"]), len(_complete(folder, runs))
    left = until - time.monotonic()
    count = extended(timing, left, plan["count"], done, len(variants), plan["epochs"], jobs)
    if count > plan["count"]:
        say(f"There is time for {count} of {len(variants)} candidates now, instead of {plan['count']}.")
        plan["count"] = count
        write_json(folder / PLAN, plan)
    changed = {
        n: getattr(base, n) for n in ("queue_size", "momentum") if getattr(base, n) != getattr(recipe, n)
    }
    if changed:
        say(f"In the short runs alone: {', '.join(f'{name} {value}' for name, value in changed.items())}.")
    tried = dict(list(variants.items())[: plan["count"]])
    failed: tuple[str, ...] = ()
    try:
        study(NAME, base, tried, folder, (recipe.seed,), **how)
    except FailedRunsError as error:  # That a learning rate is too large is a result as well.
        failed, reason = error.variants, error
    complete = _complete(folder, runs) & {*tried}
    if failed and not complete:
        raise reason
    if len(complete) < 2:
        raise TimeoutError(
            f"`minutes` are over before two candidates could be compared: {len(complete)} of {len(tried)} "
            "are complete. The same command goes on."
        )
    about = {"judge": judge, "held_out": held_out, "epochs": plan["epochs"], "pictures": pictures}
    about["own"] = next(iter(variants))
    shown = {label: changes for label, changes in variants.items() if label in complete or label in failed}
    about["left"] = tuple(label for label in variants if label not in shown)
    found = found_studies.read(RunFolder(folder).results)[NAME]
    # A candidate that failed now may have results of an earlier search with other settings.
    found.values = {v: values for v, values in found.values.items() if v in complete or v == RANDOM}
    return of_study(found, shown, recipe.seed, **about)


def check(minutes: float, judge: str) -> None:
    """Raises a ValueError unless `minutes` and `judge` are allowed; it needs no pictures."""
    if judge not in ("auto", *JUDGES):
        raise ValueError(f"`judge` must be auto or one of {', '.join(JUDGES)}. Received: judge={judge!r}")
    if not 0 < minutes < math.inf:
        raise ValueError(f"`minutes` must be a finite number > 0. Received: minutes={minutes:g}")


def _complete(folder: pathlib.Path, runs: list[StudyRun]) -> set[str]:
    """The labels of the candidates whose results, with these settings, are in the folder."""
    found = found_studies.read(RunFolder(folder).results).get(NAME)
    done = {(line["variant"], line["run"]) for line in found.runs} if found else set()
    return {run.variant for run in runs if (run.variant, run.key) in done}


def _timed(recipe: Recipe, folder: pathlib.Path, pictures: int, how: dict[str, Any]) -> Timing:
    """Runs two epochs in a process of their own and measures how long they and all the rest take."""
    recipe = short(recipe, TIMED_EPOCHS, pictures)
    path = folder / f"timing-seed{recipe.seed}"
    shutil.rmtree(path, ignore_errors=True)  # A run that was interrupted would take less time now.
    results = RunFolder(folder).results
    if lines := results.read(damaged=[]):  # One that is complete is measured anew, as its folder is gone.
        results.replace([line for line in lines if line.get("ablation") != TIMING])
    started = time.monotonic()
    results = study(
        TIMING, recipe, {"timing": {}}, folder, (recipe.seed,), **{**how, "jobs": 1, "verbose": False}
    )
    seconds = time.monotonic() - started
    if not any(line["name"] == COLLECTED and line["ablation"] == TIMING for line in results.read([])):
        raise TimeoutError(
            f"`minutes` are over before the first run, of {TIMED_EPOCHS} epochs, was complete. "
            f"Received: {pictures:,} pictures, of which `max_images` takes fewer"
        )
    epoch = next(line["value"] for line in RunFolder(path).results.read() if line["name"] == EPOCH_SECONDS)
    return Timing(epoch, max(0.0, seconds - TIMED_EPOCHS * epoch))


def _asked(recipe: Recipe, variants: Variants, parts: GivenImages) -> dict[str, Any]:
    """What a search must have in common with the one that it goes on with, as JSON keeps it."""
    settings = without_later_defaults(Recipe, dataclasses.asdict(recipe)) | {"data_dir": None}
    pictures = data_identity(parts.load("train"), recipe.dataset, "train")
    return json.loads(json.dumps({"recipe": settings, "candidates": variants, "pictures": pictures}))


def _begun(folder: pathlib.Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The plan of an earlier call; None if there is none.

    Raises:
        ValueError: if it was made for other settings, or the file holds something else.
    """
    path = folder / PLAN
    if not path.is_file():
        return None
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        before, now = dict(plan["recipe"]), asked["recipe"]
        _ = {**plan["candidates"]}, plan["pictures"], Timing(**plan["timing"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"`workdir` must hold the {PLAN} of a search, or none: without the file the search begins anew. "
            f"Received: {path}, which is damaged or something else"
        ) from error
    changed = [
        f"{n}={now.get(n)}, was {before.get(n)}" for n in {**before, **now} if before.get(n) != now.get(n)
    ]
    if plan["candidates"] != asked["candidates"]:
        changed.append(f"candidates {', '.join(asked['candidates'])}, were {', '.join(plan['candidates'])}")
    if not changed and plan["pictures"] != asked["pictures"]:
        changed.append("other pictures")
    if changed:
        raise ValueError(
            "`workdir` holds a search that began with other settings; another folder starts a new one. "
            f"Received: workdir={folder}, with {'; '.join(changed)}"
        )
    return plan
