"""Lists the runs below a folder: the data of each, its progress and its results."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from keras_leoclr.evaluation.measures import KINDS
from keras_leoclr.evaluation.own_results import own_results
from keras_leoclr.report.accuracies import COLUMNS, latest
from keras_leoclr.runs.folder import RunFolder, names_in_a_run
from keras_leoclr.runs.monitored import knn_of
from keras_leoclr.runs.status import read_status

JUDGED = "pretrained"  # subject of the results that are shown
DAMAGED = "damaged"  # state of a folder whose files cannot be read
SHOWN = {"knn": "kNN", "linear": "linear"}
WIDEST = 40  # largest number of characters of a cell; longer texts lose their beginning


def list_runs(folder: str | os.PathLike, unread: list[str] | None = None) -> list[dict[str, Any]]:
    """Lists the runs below a folder, newest first, from their files; no model is loaded.

    Links to folders are not followed, and sub-folders of a run are not searched.

    Args:
        folder: path of the folder, which may be that of a run itself.
        unread: a list to which the paths of folders that cannot be listed are appended.

    Returns:
        A dictionary for each run: `path`; `run`, the path relative to `folder`; `method`, `dataset`,
        `backbone`; `epochs_done`, `epochs`; `state`, see `runs.status.read_status`, or "damaged"; `updated`,
        the time of the last change in seconds since 1970; `results`, `{"knn/top1": 0.8, ...}` of the
        pretrained backbone; `monitored`, the last kNN measurement during training, `{}` if there is none.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"`folder` must be a folder with runs below it. Received: {folder}")
    unread = [] if unread is None else unread
    own = names_in_a_run()
    found = []
    for path, folders, names in os.walk(folder, onerror=lambda error: unread.append(error.filename)):
        folders[:] = [name for name in folders if not name.startswith(".")]
        run = RunFolder(path)
        if run.recipe_file.name in names:
            folders[:] = [name for name in folders if name not in own]
            found.append({"run": os.path.relpath(path, folder), **_facts(run)})
    return sorted(found, key=lambda each: each["updated"], reverse=True)


def _facts(run: RunFolder) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": os.path.abspath(run.path), "state": DAMAGED, "updated": _changed(run)}
    try:
        recipe, about, status = run.recipe(), run.about(), read_status(run.path)
        results = run.results.read([])
    except (OSError, ValueError):
        return facts
    facts |= {name: recipe.get(name) for name in ("method", "dataset", "backbone", "epochs")}
    facts |= {"epochs_done": _epochs_done(recipe, about, status), "state": status["state"]}
    facts["updated"] = status["updated"] or facts["updated"]
    own = own_results(recipe, results)
    lines = [latest(own, JUDGED, stem) for stem in COLUMNS]
    facts["results"] = {line["name"]: line["value"] for line in lines if line is not None}
    monitored = knn_of(status)
    facts["monitored"] = {} if monitored is None else dict([monitored])
    return facts


def _changed(run: RunFolder) -> float:
    """The time at which the newest file in the folder was changed."""
    times = []
    with os.scandir(run.path) as listing:
        for entry in listing:
            with contextlib.suppress(FileNotFoundError):  # A run renames what it has written.
                times.append(entry.stat(follow_symlinks=False).st_mtime)
    return max(times, default=0.0)


def _epochs_done(recipe, about, status) -> int:
    if "epochs_done" in about:
        return about["epochs_done"]
    if about.get("finished"):
        return recipe.get("epochs", 0)
    if status.get("epoch") is None:
        return 0
    return status["epoch"] - (status.get("step") != status.get("steps"))


def run_table(runs: list[dict[str, Any]]) -> str:
    """Formats the runs as plain text, one line for each.

    Args:
        runs: the result of `list_runs`.
    """
    rows = [("run", "method", "data", "epochs", "state", *SHOWN.values(), "changed")]
    rows += [_cells(run) for run in runs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    text = "\n".join(line.rstrip() for line in lines)
    if any(cell.startswith("~") for row in rows for cell in row):
        text += "\n~ measured during training"
    return text


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    changed = time.strftime("%Y-%m-%d %H:%M", time.localtime(run["updated"]))
    if run["state"] == DAMAGED:
        return (_short(run["run"]), "?", "?", "?", DAMAGED, *"-" * len(SHOWN), changed)
    measured = [_measured(run, stem) for stem in SHOWN]
    epochs = f"{run['epochs_done']}/{run['epochs'] or '?'}"
    about = [_short(str(run[name] or "?")) for name in ("run", "method", "dataset")]
    return (*about, epochs, run["state"], *measured, changed)


def _measured(run: dict[str, Any], stem: str) -> str:
    """A result in percent, such as "78.3 %" or "51.2 % mAP"; "-" if there is none."""
    for kind in KINDS:
        unit = " %" if kind == "top1" else " % mAP"
        if (value := run["results"].get(f"{stem}/{kind}")) is not None:
            return f"{100 * value:.1f}{unit}"
        if (value := run["monitored"].get(f"{stem}_{kind}")) is not None:
            return f"~{100 * value:.1f}{unit}"
    return "-"


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else f"...{text[3 - WIDEST :]}"
