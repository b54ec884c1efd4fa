"""The folder of a run: the names of its files stand here and nowhere else."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Collection
from typing import Any

from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.data_record import DataRecord
from keras_leoclr.runs.files import write_json
from keras_leoclr.runs.results import Results

DRAWN = "drawn"  # `parts` in run.json


class RunFolder:
    """Paths of the files of a run, and their readers and writers. The folder itself need not exist.

    Args:
        path: path of the folder.

    Attributes:
        recipe_file: settings of the run; a folder that has this file holds a run.
        about_file: what the run was made with, and whether it is finished.
        data_file: the files that the run was trained on, with their sizes and times.
        results_file: named results, one a line.
        history_file: means of every epoch.
        status_file: where the run is, for `leoclr watch`.
        lock_file: held by the process that trains.
        checkpoints: folder of the training's checkpoints.
        model_file: the pretrained model, as Keras saves it.
        backbone_file: the backbone, which takes raw images.
        initial_file: the backbone as the run began with it, where its weights were not random.
        card_file: the model card of the backbone, for programs.
        card_page: the model card, for people.
        views_file: sheet of the views that the run trained on.
        missed_file: figure of what the crops of a picture miss.
        report_file: the page that shows the run.
        skipped_file: pictures that could not be read.
        features: folder of features that were computed.
        evaluation: folder of arrays that belong to results.
        logs: folder of TensorBoard's logs.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.recipe_file = self.path / "recipe.json"
        self.about_file = self.path / "run.json"
        self.data_file = self.path / "data.json.gz"
        self.results_file = self.path / "results.jsonl"
        self.history_file = self.path / "history.csv"
        self.status_file = self.path / "progress.json"
        self.lock_file = self.path / "lock"
        self.checkpoints = self.path / "checkpoints"
        self.model_file = self.checkpoints / "model.keras"
        self.backbone_file = self.path / "backbone.keras"
        self.initial_file = self.path / "initial.keras"
        self.card_file = self.path / "backbone.json"
        self.card_page = self.path / "backbone.md"
        self.views_file = self.path / "views.png"
        self.missed_file = self.path / "missed.png"
        self.report_file = self.path / "report.html"
        self.skipped_file = self.path / "skipped.txt"
        self.features = self.path / "features"
        self.evaluation = self.path / "evaluation"
        self.logs = self.path / "logs"

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self.recipe_file.is_file()

    @property
    def trained(self) -> bool:
        """Whether something was trained here, also where its checkpoints were deleted since.

        Raises:
            ValueError: if `run.json` is damaged.
        """
        if checkpoint_paths.paths(self.checkpoints) or self.backbone_file.is_file():
            return True
        about = self.about()
        return bool(about.get("finished") or about.get("trained"))

    @property
    def results(self) -> Results:
        """Reader and writer of the results."""
        return Results(self.results_file)

    def recipe(self) -> dict[str, Any]:
        """Settings of the run; {} if there are none.

        Raises:
            ValueError: if the file is damaged.
        """
        return _read(self.recipe_file)

    def about(self) -> dict[str, Any]:
        """What the run was made with: backend, environment, data, whether it is finished; {} if unknown.

        Raises:
            ValueError: if the file is damaged.
        """
        return _read(self.about_file)

    def data(self) -> DataRecord:
        """The images that the run was trained on; without any if that was not noted yet.

        Raises:
            ValueError: if `run.json` is damaged.
        """
        about = self.about().get("data", {})
        return DataRecord(about, DataRecord.read_files(self.data_file) if about else {})

    def note_repeated(self, name: str) -> None:
        """Notes that what failed after the training is done; when nothing is left the run is finished."""
        about = self.about()
        if name not in about.get("failed", {}):
            return
        del about["failed"][name]
        if not about["failed"]:
            del about["failed"]
            about["finished"] = True
        self.write_about(about)

    def write_recipe(self, recipe: dict[str, Any]) -> None:
        """Writes the settings; from then on the folder holds a run."""
        write_json(self.recipe_file, recipe)

    def write_about(self, about: dict[str, Any]) -> None:
        """Writes what the run was made with."""
        write_json(self.about_file, about)


def draws_parts(folder: RunFolder) -> bool:
    """Whether the run draws the images of which it uses a part, as `max_images` and the kNN measurement do.

    In the runs that version 0.1.0 began these are the first, and stay so.
    """
    return folder.about().get("parts") == DRAWN


def _read(path: pathlib.Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


# === Folders of runs among pictures ===

OF_A_LOCK, OF_RESULTS = b"process ", b'{"name": "'  # how these files begin


def holds_results(folder: str | bytes | os.PathLike, names: Collection[str]) -> bool:
    """Whether a folder holds a run, a study or results of an evaluation, whose pictures are no data.

    Args:
        folder: path of the folder.
        names: names of what is in it.
    """
    run = RunFolder(os.fsdecode(folder))
    if run.recipe_file.name in names and run.about_file.name in names:
        return True
    own = {run.lock_file: OF_A_LOCK, run.results_file: OF_RESULTS}
    return any(path.name in names and _begins_with(path, start) for path, start in own.items())


def names_in_a_run() -> set[str]:
    """Names of the files and folders of a run."""
    run = RunFolder("")
    return {path.name for name, path in vars(run).items() if name != "path"}


def _begins_with(path: pathlib.Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False
