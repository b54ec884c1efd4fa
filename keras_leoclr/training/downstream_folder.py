"""The folder of a detector or of a segmentation model, which gets its name when it is complete."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from typing import Any

from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.files import PARTIAL, replace_folder, write_json
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.run_data import same_place

SETTINGS = "settings.json"  # the file of an unfinished training, beside its checkpoints
CONTENTS = "contents"  # the entry of that file with what `downstream.contents` returns
PATHS = ("backbone", "dataset", "data_dir")  # settings that are paths, which can be written in several ways
PARTS = {  # of what a setting names, those that the weights depend on
    "backbone": "weights or layers",
    "architecture": "layers",
    "dataset": "training pictures, annotations or classes",
}


class Place:
    """Where a training is to lie at its end, and where it lies until then.

    Args:
        task: the task, see `downstream_runs.Task`.
        workdir: path of the folder; of a link, the folder that it leads to is meant.
        overwrite: whether earlier results, or an interrupted training with other settings, may be deleted.

    Attributes:
        folder: the folder until it has its name, with the suffix ".partial".

    Raises:
        ValueError: if the folder cannot get its name, because there is something that may not be deleted.
    """

    def __init__(self, task: Any, workdir: str | os.PathLike, overwrite: bool):
        workdir = pathlib.Path(workdir).expanduser()
        # "." and "run/.." are paths without a name that a suffix could be added to.
        self.workdir = workdir.resolve() if workdir.is_symlink() else pathlib.Path(os.path.abspath(workdir))
        if self.workdir in (pathlib.Path.cwd(), *pathlib.Path.cwd().parents):
            raise ValueError(
                "`workdir` must be a folder that can be renamed, and not the one that the command runs in or "
                f"one above it. Received: workdir={workdir}"
            )
        self.folder = RunFolder(self.workdir.with_name(self.workdir.name + PARTIAL))
        self._task, self._overwrite = task, overwrite
        if what := self._what_is_there():
            raise ValueError(
                "`workdir` must be a new folder or, with `overwrite`, one with results of this command. "
                f"Received: workdir={workdir}, {what}"
            )

    def _what_is_there(self) -> str:
        """What may not be deleted there; "" if nothing is there or all of it may."""
        if not self.workdir.exists():
            return ""
        if not self.workdir.is_dir():
            return "a file"
        if os.path.ismount(self.workdir):
            return "a mounted disk, which cannot be renamed; a folder on it can"
        run = RunFolder(self.workdir)
        written = {run.results_file.name, run.recipe_file.name, self._task.model_file, *self._task.files}
        if (run.checkpoints / SETTINGS).is_file():  # A process was killed before it had deleted them.
            written.add(run.checkpoints.name)
        present = {path.name for path in self.workdir.iterdir()}
        if others := present - written:
            return f"with {min(others)}, which `overwrite` does not delete"
        return "with results" if present and not self._overwrite else ""

    @property
    def has_begun(self) -> bool:
        """Whether there is a checkpoint of the first step or of a later one."""
        first = checkpoint_paths.path_of(self.folder.checkpoints, 0)
        return any(path != first for path in checkpoint_paths.paths(self.folder.checkpoints))

    @property
    def files(self) -> list[str]:
        """The names of what is there besides checkpoints, until the folder has its name."""
        path = self.folder.path
        present = [found.name for found in path.iterdir()] if path.is_dir() else []
        return sorted(name for name in present if name != self.folder.checkpoints.name)

    def take_up(self, settings: dict[str, Any], contents: dict[str, str]) -> bool:
        """Makes the folder of a training, or keeps the checkpoints of an interrupted one.

        Args:
            settings: the settings of the training.
            contents: what the files hold that the settings name, see `downstream.contents`.

        Returns:
            Whether the interrupted training goes on.

        Raises:
            ValueError: if the interrupted training began with other settings or files.
        """
        noted = self.folder.checkpoints / SETTINGS
        settings = json.loads(json.dumps(settings))
        if self.has_begun and noted.is_file():
            before = json.loads(noted.read_text(encoding="utf-8"))
            try:
                _check_same(self.folder.path, before, settings, contents)
            except ValueError:
                if not self._overwrite:
                    raise
            else:
                for name in self.files:
                    (self.folder.path / name).unlink()
                return True
        elif self.files and not self._overwrite:
            raise ValueError(
                "`workdir` with the suffix .partial must be a new folder or hold an interrupted training; "
                f"`overwrite` deletes it. Received: {self.folder.path}, with {self.files[0]}"
            )
        shutil.rmtree(self.folder.path, ignore_errors=True)
        self.folder.checkpoints.mkdir(parents=True)
        write_json(noted, settings | {CONTENTS: contents})
        return False

    def give_name(self) -> None:
        """Gives the complete folder its name, and only then deletes the checkpoints.

        Raises:
            OSError: if it cannot be renamed; all is kept then.
        """
        what = self._what_is_there()
        try:
            if not what:
                replace_folder(self.folder.path, self.workdir)
        except OSError as error:
            what = str(error)
        if what:
            raise OSError(
                f"`workdir` must be a name that {self.folder.path} can get, where the complete training is. "
                f"The same command tries it again. Received: workdir={self.workdir}, {what}"
            )
        checkpoints = RunFolder(self.workdir).checkpoints
        with contextlib.suppress(OSError):  # `overwrite` deletes them too, as long as the settings are there.
            for path in checkpoint_paths.paths(checkpoints):
                path.unlink()
            shutil.rmtree(checkpoints)


def _check_same(
    path: pathlib.Path, before: dict[str, Any], settings: dict[str, Any], contents: dict[str, str]
) -> None:
    """Raises a ValueError unless settings and contents are those that the interrupted training began with."""
    changed = [
        f"{key} {before.get(key)}"
        for key in settings
        if settings[key] != before.get(key)
        and not (key in PATHS and same_place(settings[key] or "", before.get(key) or ""))
    ]
    if changed:
        raise ValueError(
            "`workdir` must not hold an interrupted training with other settings; `overwrite` deletes "
            f"it. Received: {path}, with {', '.join(changed)}"
        )
    known = before.get(CONTENTS, {})  # Version 0.1.0 did not note them.
    others = [
        f"other {PARTS[name]} in {name}={settings[name]}"
        for name in contents
        if contents[name] != known.get(name, contents[name])
    ]
    if others:
        raise ValueError(
            "`workdir` must not hold an interrupted training that began with other files. With the old files "
            "the same command goes on; with `overwrite` it deletes the training and begins anew. "
            f"Received: {path}, and since it began {' and '.join(others)}"
        )
