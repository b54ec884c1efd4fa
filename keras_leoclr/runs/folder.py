"""The folder of a run; this is the only place where the names of its files are defined."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from collections.abc import Collection
from typing import Any

from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.data_record import DataRecord
from keras_leoclr.runs.files import write_json
from keras_leoclr.runs.results import Results

DRAWN = "drawn"  # value of the entry `parts` in run.json, see `draws_parts`
IN_PYTHON = "images given in Python"  # name of the data set of such a run, in its recipe and results


def work_folder(workdir: Any) -> pathlib.Path:
    """The path of a folder that is written to, which need not exist; `~` at its beginning is the home folder.

    An empty path, such as that of a variable that is not set, is not taken for the folder one is in.

    Raises:
        ValueError: if it is no path, or that of a file or of something below a file.
    """
    given = isinstance(workdir, (str, os.PathLike)) and os.fspath(workdir)
    path = pathlib.Path(workdir).expanduser() if given else None
    around = () if path is None else (path, *path.parents)
    if path is None or any(os.path.exists(each) and not os.path.isdir(each) for each in around):
        raise ValueError(
            "`workdir` must be the path of a folder, which is made if it is missing. "
            f"Received: workdir={os.fspath(workdir) if given else workdir!r}"
        )
    return path


class RunFolder:
    """Paths of the files of a run, and their readers and writers. The folder itself need not exist.

    Args:
        path: path of the folder; `~` at its beginning is the home folder.

    Attributes:
        recipe_file: settings of the run as JSON; a folder that has this file holds a run.
        about_file: software, devices and data of the run, and whether it is finished, as JSON.
        data_file: the image files that the run was trained on, with their sizes and times, as gzipped JSON.
        results_file: results of evaluators and callbacks, one JSON object a line.
        history_file: loss and other means of every epoch, as CSV.
        status_file: progress of the training, as JSON; `leoclr watch` reads it.
        lock_file: lock that the training process holds.
        checkpoints: folder of the checkpoints.
        model_file: the whole pretrained model, as Keras saves it.
        backbone_file: the pretrained backbone as a Keras model, which takes raw images.
        initial_file: the backbone before the training, where its weights were not random.
        card_file: the model card of the backbone as JSON.
        card_page: the model card of the backbone as Markdown.
        views_file: PNG that shows some of the views that the run trained on.
        missed_file: PNG that shows which parts of a picture its crops miss.
        report_file: HTML page with the results of the run.
        skipped_file: list of the pictures that could not be read.
        features: folder of cached features.
        evaluation: folder of arrays that belong to results, such as predictions.
        logs: folder of TensorBoard's logs.
        exports: folder of the backbone in other formats, unless `leoclr export` was given another one.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).expanduser()
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
        self.exports = self.path / "export"

    @classmethod
    def around(cls, path: str | os.PathLike) -> RunFolder:
        """The folder itself, or the folder of the run that a file lies in.

        That is the folder of the file, as for the backbone of a run, or the folder above it, as for what
        `leoclr export` writes and for checkpoints. If neither holds a run, it is the folder of the file.
        """
        path = pathlib.Path(path).expanduser()
        if path.is_dir():
            return cls(path)
        folders = [cls(folder) for folder in path.absolute().parents[:2]]
        return next((folder for folder in folders if folder.holds_run), folders[0])

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def holds_run(self) -> bool:
        """Whether a run was started in this folder."""
        return self.recipe_file.is_file()

    @property
    def holds_study(self) -> bool:
        """Whether the results of a study (`leoclr ablate`) are collected in this folder."""
        return any("ablation" in line for line in self.results.read([]))

    def check_no_study(self, argument: str) -> None:
        """Raises a ValueError if the results in the folder are those of a study or of a search for settings.

        Args:
            argument: name of the argument that names the folder.
        """
        if not self.holds_run and self.holds_study:
            raise ValueError(
                f"`{argument}` must not name the folder of a study or of a search: its results are of many "
                "runs, which lie in folders within it. `leoclr ablate NAME --workdir DIR --show` prints the "
                "table of a study. "
                f"Received: {os.fspath(self.path)}"
            )

    @property
    def trained(self) -> bool:
        """Whether a model was trained in this folder, even if its checkpoints have been deleted since.

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
        """Reads the settings of the run; returns {} if there are none.

        Raises:
            ValueError: if the file is damaged.
        """
        return _read(self.recipe_file)

    def value_range(self) -> tuple[float, ...]:
        """The two values that become 0 and 255 in the pictures of the run; () for those of their type."""
        return tuple(self.recipe().get("value_range", ()))

    def about(self) -> dict[str, Any]:
        """Reads backend, environment and data of the run, and whether it is finished; {} if unknown.

        Raises:
            ValueError: if the file is damaged.
        """
        return _read(self.about_file)

    def data(self) -> DataRecord:
        """Reads the record of the images that the run was trained on; it is empty if none was written yet.

        Raises:
            ValueError: if `run.json` is damaged.
        """
        about = self.about().get("data", {})
        return DataRecord(about, DataRecord.read_files(self.data_file) if about else {})

    def note_repeated(self, name: str) -> None:
        """Notes that a step after the training, which had failed, has now succeeded.

        When no failed step is left, the run is marked as finished.

        Args:
            name: name of the step; nothing happens if it is not among the failed ones.
        """
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
        """Writes backend, environment and data of the run, and whether it is finished."""
        write_json(self.about_file, about)


def draws_parts(folder: RunFolder) -> bool:
    """Whether the run chooses images at random where it uses only a part of them.

    The setting `max_images` and the kNN measurement use a part of the images. Version 0.1.0 took the first
    images of the data set, and a run that was started with it continues to do so.
    """
    return folder.about().get("parts") == DRAWN


def _read(path: pathlib.Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        # "utf-8-sig": an editor with which somebody has changed it may have put a mark at its beginning.
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} must hold JSON in UTF-8; the file is damaged. Received: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold an object of JSON, {{...}}. Received: {str(found)[:60]}")
    return found


# === Folders of runs among pictures ===

OF_A_LOCK, OF_RESULTS = b"process ", b'{"name": "'  # the first bytes of a lock file and of a results file


def holds_results(folder: str | bytes | os.PathLike, names: Collection[str]) -> bool:
    """Whether a folder holds a run, a study or results of an evaluation.

    The pictures in such a folder are figures of the library, and must not be taken for training images.

    Args:
        folder: path of the folder.
        names: names of the files and folders in it.
    """
    run = RunFolder(os.fsdecode(folder))
    if run.recipe_file.name in names and run.about_file.name in names:
        return True
    own = {run.lock_file: OF_A_LOCK, run.results_file: OF_RESULTS}
    return any(path.name in names and _begins_with(path, start) for path, start in own.items())


def delete_run(run: RunFolder) -> None:
    """Deletes the files and folders of a run; others, and the lock file, which may be held, stay.

    The settings are deleted last and the checkpoints before them: whatever ends the process in between,
    nothing is left that a new run would take for its own.
    """
    last = (run.checkpoints, run.recipe_file)
    own = (run.path / name for name in sorted(names_in_a_run()))
    for path in (*(path for path in own if path not in (*last, run.lock_file)), *last):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def names_in_a_run() -> set[str]:
    """Names of all files and folders that a run can have in its folder."""
    run = RunFolder("")
    return {path.name for name, path in vars(run).items() if name != "path"}


def _begins_with(path: pathlib.Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(start)) == start
    except OSError:
        return False
