"""Reads the files of a run; missing or damaged files are listed and otherwise ignored."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from keras_leoclr.evaluation.own_results import divided
from keras_leoclr.evaluation.scores import read_hits, read_ranking
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.monitored import NOT_MEASURED
from keras_leoclr.views import missed
from keras_leoclr.views import sheet as view_sheet

Series = list[tuple[float, float]]


@dataclasses.dataclass
class RunRecord:
    """The files of a run.

    Attributes:
        name: name of the run's folder.
        folder: the folder.
        recipe: settings of the run; {} if there are none.
        about: versions and other facts about the run; {} if unknown.
        history: {column: [(epoch from 1, value)]} without values that are not finite.
        breaks: {column: [position]} between epochs whose values are not connected, since such a value or rows
            of the file are missing there. An epoch without a measurement is no such place.
        results: lines of results, without those of test images that are not the run's.
        on_other_data: lines of results of such images, see `own_results.divided`.
        strips: one PNG for each picture, with its views.
        headings: headings of the tiles of a strip, from left to right.
        missed: the figure of what the crops miss as a PNG, its numbers, and its width in pixels; None if
            there is none.
        missing: sentences on what could not be read.
    """

    name: str
    folder: RunFolder
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: dict[str, Series] = dataclasses.field(default_factory=dict)
    breaks: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    on_other_data: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    strips: list[bytes] = dataclasses.field(default_factory=list)
    headings: list[str] = dataclasses.field(default_factory=list)
    missed: tuple[bytes, dict[str, Any], int] | None = None
    missing: list[str] = dataclasses.field(default_factory=list)

    def array(self, line: dict[str, Any] | None, kind: str) -> np.ndarray | None:
        """Reads an array that a line of results names; if that fails, returns None and adds to `missing`."""
        path = self._file_of(line, kind)
        try:
            return None if path is None else np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            self._cannot_read(path, error)
            return None

    def picture(self, line: dict[str, Any] | None, kind: str) -> Image.Image | None:
        """Reads a PNG or JPEG that a line of results names; if that fails, does as `array`."""
        path = self._file_of(line, kind)
        if path is None:
            return None
        try:
            with Image.open(path) as image:
                image.load()
                return image.copy()
        except (OSError, ValueError) as error:
            self._cannot_read(path, error)
            return None

    def named(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """The lines of results with a name and these values."""
        return [
            line
            for line in self.results
            if line["name"] == name and all(line.get(key) == value for key, value in wanted.items())
        ]

    def last(self, name: str, **wanted: Any) -> dict[str, Any] | None:
        """The last of the lines that `named` returns; None if there are none."""
        return next(reversed(self.named(name, **wanted)), None)

    @property
    def subjects(self) -> list[str]:
        """The names of what was evaluated, the pretrained backbone first."""
        found = list(dict.fromkeys(line["subject"] for line in self.results if "subject" in line))
        return sorted(found, key=lambda subject: subject != "pretrained")

    @property
    def resumed(self) -> list[float]:
        """The epochs, from 0, in which the run was resumed."""
        found = self.about.get("resumed", [])
        starts = [at[0] for at in found if isinstance(at, list) and at] if isinstance(found, list) else []
        return [epoch for epoch in starts if isinstance(epoch, (int, float))]

    def class_name(self, label: int) -> str:
        """The name of a class, or its number."""
        names = (self.last("embedding/explained") or {}).get("class_names")
        known = isinstance(names, list) and 0 <= label < len(names)
        return str(names[label]) if known else f"class {label}"

    def lacks(self, sentence: str) -> None:
        """Adds a sentence to `missing`, unless it is there already."""
        if sentence not in self.missing:
            self.missing.append(sentence)

    def _file_of(self, line, kind):
        name = (line or {}).get(f"{kind}_file")
        # Only the name is used, so that a line of results cannot refer to files outside of the folder.
        return self.folder.evaluation / pathlib.PurePosixPath(name).name if isinstance(name, str) else None

    def _cannot_read(self, path, error):
        place = path.relative_to(self.folder.path).as_posix()
        self.lacks(f"{place} cannot be read ({type(error).__name__}).")


def read_run(workdir: str | pathlib.Path) -> RunRecord:
    """Reads the files of a run from its folder.

    Raises:
        FileNotFoundError: if the folder has no files of a run.
        ValueError: if it is the folder of a study.
    """
    folder = RunFolder(workdir)
    folder.check_no_study("workdirs")
    run = RunRecord(folder.path.resolve().name, folder)
    files = (folder.recipe_file, folder.results_file, folder.history_file)
    if not any(path.is_file() for path in files):
        names = ", ".join(path.name for path in files)
        raise FileNotFoundError(f"`workdir` must hold a run ({names}). Received: {folder.path}")
    run.recipe = _read_json(run, folder.recipe_file)
    run.about = _read_json(run, folder.about_file)
    _read_results(run)
    _read_history(run)
    try:
        run.strips, run.headings = view_sheet.read_strips(folder.views_file)
    except (OSError, SyntaxError):  # Pillow raises SyntaxError for a broken PNG.
        run.missing.append(f"{folder.views_file.name} is missing or damaged: no views are shown.")
    if folder.missed_file.is_file():  # Runs of version 0.1.0 have none.
        try:
            run.missed = missed.read_figure(folder.missed_file)
        except (OSError, SyntaxError, ValueError):
            run.missing.append(f"{folder.missed_file.name} is damaged: what the crops miss is not shown.")
    if run.about and not run.about.get("finished"):
        run.missing.insert(0, _unfinished(run.about))
    return run


def _unfinished(about):
    failed = about.get("failed")
    if not (about.get("trained") and isinstance(failed, dict) and failed):
        return "The run is not finished: it goes on, or was interrupted."
    reasons = "; ".join(f"{name} ({reason})" for name, reason in failed.items())
    return (
        f"The training is finished, and what came after it failed: {reasons}. `leoclr evaluate` repeats it."
    )


def _read_json(run, path):
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except FileNotFoundError:
        run.missing.append(f"{path.name} is missing.")
        return {}
    except (OSError, ValueError):
        pass
    run.missing.append(f"{path.name} is damaged and was left out.")
    return {}


def _read_results(run):
    damaged: list[int] = []
    name = run.folder.results_file.name
    lines = run.folder.results.read(damaged)
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (" and more" if len(damaged) > 5 else "")
        run.missing.append(f"{name}: damaged lines were left out (line {shown}).")
    if not lines:
        run.missing.append(f"{name} holds no results: nothing was evaluated yet.")
    strange = 0
    for line in lines:
        if not math.isfinite(line["value"]):
            strange += 1
            continue
        low, high = line.get("low"), line.get("high")
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in (low, high)):
            line.pop("low", None), line.pop("high", None)
        if "subject" in line:
            line["subject"] = str(line["subject"])
        for kind, read in {"hits": read_hits, "ranks": read_ranking}.items():
            if f"{kind}_file" not in line:
                continue
            try:
                read(line, run.folder.path)
            except (OSError, ValueError, EOFError, TypeError, KeyError):
                del line[f"{kind}_file"]
                what = kind.capitalize()
                run.lacks(
                    f"{what} of single images are missing or damaged: their differences are not paired."
                )
        run.results.append(line)
    run.results, run.on_other_data = divided(run.recipe, run.results)
    if strange:
        run.missing.append(f"{name}: {strange} values are not finite and were left out.")


def _read_history(run):
    path = run.folder.history_file
    if not path.is_file():
        run.missing.append(f"{path.name} is missing: no curves of the training are shown.")
        return
    text = path.read_bytes().decode("utf-8", "replace").replace("\0", "")
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    if not lines:
        run.missing.append(f"{path.name} is empty: no epoch is finished yet.")
    bad, before = 0, None
    for number, line in enumerate(lines):
        epoch = _finite(line.get("epoch"))
        epoch = number + 1 if epoch is None else epoch + 1
        rows_missing = before is not None and epoch > before + 1
        before = epoch
        for name, value in line.items():
            if name in (None, "epoch"):
                continue
            if rows_missing:
                run.breaks.setdefault(name, []).append(epoch - 0.5)
            if value in (None, "", NOT_MEASURED):
                continue
            found = _finite(value)
            if found is None:
                bad += 1
                run.breaks.setdefault(name, []).append(epoch)
            else:
                run.history.setdefault(name, []).append((epoch, found))
    if bad:
        run.missing.append(f"{path.name}: {bad} values are no finite numbers; the curves have gaps there.")
    for column, name in (
        ("images_per_second", "speed/images_per_second"),
        ("waiting", "speed/waiting_share"),
    ):
        if column not in run.history:  # Older runs wrote these values only among the results.
            found = [(r["epoch"], r["value"]) for r in run.results if r["name"] == name and "epoch" in r]
            if found:
                run.history[column] = found


def _finite(value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
