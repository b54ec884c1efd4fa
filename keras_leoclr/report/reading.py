"""What a run has written, read so that whatever is missing or damaged is named and left out."""

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

from keras_leoclr.evaluation.scores import FOLDER, read_hits
from keras_leoclr.runs.results import Results
from keras_leoclr.views import sheet as view_sheet

Series = list[tuple[float, float]]


@dataclasses.dataclass
class RunRecord:
    """The files of a run.

    Attributes:
        name: of its folder.
        workdir: its folder.
        recipe: `recipe.json`, {} if there is none.
        about: `run.json`, {} if there is none.
        history: {column: [(epoch from 1, value)]}, values that are no finite numbers left out.
        results: lines of `results.jsonl`.
        strips: PNGs of the views of a picture each.
        headings: of the tiles of a strip.
        missing: sentences on what could not be read.
    """

    name: str
    workdir: pathlib.Path
    recipe: dict[str, Any] = dataclasses.field(default_factory=dict)
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: dict[str, Series] = dataclasses.field(default_factory=dict)
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    strips: list[bytes] = dataclasses.field(default_factory=list)
    headings: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)

    def array(self, line: dict[str, Any] | None, kind: str) -> np.ndarray | None:
        """An array that a line of results names; None, and a sentence in `missing`, if it cannot be read."""
        name = (line or {}).get(f"{kind}_file")
        if not isinstance(name, str):
            return None
        try:
            return np.load(self._path(name), allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            self._lacks(f"{FOLDER}/{self._path(name).name} cannot be read ({type(error).__name__}).")
            return None

    def picture(self, line: dict[str, Any] | None, kind: str) -> Image.Image | None:
        """As `array`, a PNG or JPEG."""
        name = (line or {}).get(f"{kind}_file")
        if not isinstance(name, str):
            return None
        try:
            with Image.open(self._path(name)) as image:
                image.load()
                return image.copy()
        except (OSError, ValueError) as error:
            self._lacks(f"{FOLDER}/{self._path(name).name} cannot be read ({type(error).__name__}).")
            return None

    def last(self, name: str, **wanted: Any) -> dict[str, Any] | None:
        """The last line of results with a name and these values."""
        for line in reversed(self.results):
            if line["name"] == name and all(line.get(key) == value for key, value in wanted.items()):
                return line
        return None

    @property
    def subjects(self) -> list[str]:
        """What was evaluated, the pretrained backbone first."""
        found = list(dict.fromkeys(line["subject"] for line in self.results if "subject" in line))
        return sorted(found, key=lambda subject: subject != "pretrained")

    def _path(self, name):
        # the name alone: a line of results must not lead out of the folder
        return self.workdir / FOLDER / pathlib.PurePosixPath(name).name

    def _lacks(self, sentence):
        if sentence not in self.missing:
            self.missing.append(sentence)


def read_run(workdir: str | pathlib.Path) -> RunRecord:
    """Reads a folder.

    Raises:
        FileNotFoundError: if it holds nothing of a run.
    """
    workdir = pathlib.Path(workdir)
    run = RunRecord(workdir.resolve().name, workdir)
    files = ("recipe.json", "results.jsonl", "history.csv")
    if not any((workdir / name).is_file() for name in files):
        raise FileNotFoundError(f"`workdir` must hold a run ({', '.join(files)}). Received: {workdir}")
    run.recipe = _read_json(run, "recipe.json")
    run.about = _read_json(run, "run.json")
    _read_results(run)
    _read_history(run)
    try:
        run.strips, run.headings = view_sheet.read_strips(workdir / "views.png")
    except (OSError, SyntaxError):  # Pillow's word for a broken PNG
        run.missing.append("views.png is missing or damaged: no views are shown.")
    if run.about and not run.about.get("finished"):
        run.missing.insert(0, "The run is not finished: it goes on, or was interrupted.")
    return run


def _read_json(run, name):
    try:
        found = json.loads((run.workdir / name).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except FileNotFoundError:
        run.missing.append(f"{name} is missing.")
        return {}
    except (OSError, ValueError):
        pass
    run.missing.append(f"{name} is damaged and was left out.")
    return {}


def _read_results(run):
    damaged: list[int] = []
    lines = Results(run.workdir / "results.jsonl").read(damaged)
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (" and more" if len(damaged) > 5 else "")
        run.missing.append(f"results.jsonl: damaged lines were left out (line {shown}).")
    if not lines:
        run.missing.append("results.jsonl holds no results: nothing was evaluated yet.")
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
        if "hits_file" in line:
            try:
                read_hits(line, run.workdir)
            except (OSError, ValueError, EOFError, TypeError, KeyError):
                del line["hits_file"]
                run._lacks("Hits of single images are missing or damaged: their differences are not paired.")
        run.results.append(line)
    if strange:
        run.missing.append(f"results.jsonl: {strange} values are not finite and were left out.")


def _read_history(run):
    path = run.workdir / "history.csv"
    if not path.is_file():
        run.missing.append("history.csv is missing: no curves of the training are shown.")
        return
    text = path.read_bytes().decode("utf-8", "replace").replace("\0", "")
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    if not lines:
        run.missing.append("history.csv is empty: no epoch is finished yet.")
    bad = 0
    for number, line in enumerate(lines):
        epoch = _finite(line.get("epoch"))
        epoch = number + 1 if epoch is None else epoch + 1
        for name, value in line.items():
            if name in (None, "epoch") or value in (None, "", "NA"):
                continue
            found = _finite(value)
            if found is None:
                bad += 1
            else:
                run.history.setdefault(name, []).append((epoch, found))
    if bad:
        run.missing.append(f"history.csv: {bad} values are no finite numbers; the curves have gaps there.")
    for column, name in (
        ("images_per_second", "speed/images_per_second"),
        ("waiting", "speed/waiting_share"),
    ):
        if column not in run.history:  # of runs that wrote them among the results alone
            found = [(r["epoch"], r["value"]) for r in run.results if r["name"] == name and "epoch" in r]
            if found:
                run.history[column] = found


def _finite(value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
