"""The exclusive use of a run's folder by one process: lock, settings, and whether the run is finished."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import socket
import time
from collections.abc import Mapping
from typing import Any

import keras

from keras_leoclr.runs import checkpoint_folder, checkpoint_paths
from keras_leoclr.runs.data_record import DataChange, nothing_in_common
from keras_leoclr.runs.environment import environment
from keras_leoclr.runs.files import Lock, LockHeldError, delete_partial
from keras_leoclr.runs.folder import DRAWN, RunFolder, delete_run, draws_parts, names_in_a_run
from keras_leoclr.runs.status import StatusFile
from keras_leoclr.training.fields import resumable
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.run_data import RunData, same_place


class ChangedRecipeError(ValueError):
    """Raised when a run would be resumed with other settings."""


class ChangedDataError(ChangedRecipeError):
    """Raised when a run would be resumed on other images than those that it began with."""


class RunInProgressError(OSError):
    """Raised when another process is running in the folder."""


class RunSession:
    """The exclusive use of a run's folder by one process, for as long as the process lives.

    Args:
        workdir: folder of the run.
        recipe: settings of the run.
        overwrite: whether a run that is already in the folder may be deleted; false by default. Files that
            are not of the run stay.
        override: whether `resumable` settings, the images and the backend may differ from those of the run in
            the folder; false by default.
        deterministic: whether training is deterministic, which is recorded in `run.json`: as true only if all
            of the run was.
        writes: whether this process writes; other workers only read the folder and take no lock.

    Attributes:
        folder: paths of the run's files.
        deterministic: whether training is deterministic from here on.
        recipe: settings of the run. If the data set is the same folder as when the run began, its path is
            written as it was then.
        status: writes the progress of the run.
        moved_from: name of the data set when the run began, if it may be another one; otherwise None.
            `compare_data` decides that.
        data: the current images; None before `compare_data`.
        changed: differences between the current images and those that the run was trained on, by split; {} if
            there are none, or if nothing was trained yet.
        draws: whether a part of the images is drawn, see `draws_parts`.

    Raises:
        ChangedRecipeError: if there is a run with other settings.
        RunInProgressError: if another process uses the folder.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        recipe: Recipe,
        overwrite: bool = False,
        override: bool = False,
        deterministic: bool = False,
        writes: bool = True,
    ):
        self.writes = writes
        self.folder = RunFolder(workdir)
        self.recipe = recipe
        self.overwrite = overwrite
        self.override = override
        self.deterministic = deterministic
        self.about = {"backend": keras.backend.backend(), "deterministic": deterministic}
        self.draws = overwrite or not self.folder.holds_run or draws_parts(self.folder)
        if self.draws:
            self.about["parts"] = DRAWN
        self._lock = Lock(self.folder.lock_file)
        self._begun = self._finished = False
        self.moved_from: str | None = None
        self.data: RunData | None = None
        self.changed: dict[str, DataChange] = {}
        self.status = StatusFile(self.folder.status_file)
        if self.folder.holds_run:
            self._look()
        elif self.folder.holds_study:
            raise ValueError(
                "`workdir` must not be the folder of a study, whose results lie in the same file. "
                f"Received: workdir={os.fspath(workdir)!r}"
            )
        elif self._has_checkpoints and not overwrite:
            raise ChangedRecipeError(
                f"`workdir` must not hold checkpoints without {self.folder.recipe_file.name}: "
                "the run of these checkpoints was deleted in part. `overwrite` deletes the rest of it. "
                f"Received: workdir={self.folder.path}"
            )

    @property
    def finished(self) -> bool:
        """Whether the folder holds a finished run with these settings."""
        return self.folder.holds_run and self.folder.about().get("finished", False)

    @property
    def _has_checkpoints(self) -> bool:
        return bool(checkpoint_paths.paths(self.folder.checkpoints))

    def compare_data(self, sources: Mapping[str, Any]) -> bool:
        """Compares the images with those that the run was trained on; it must be called before `begin`.

        Args:
            sources: the current images, by the name of their split.

        Returns:
            Whether the run is resumed with other images than those that its settings were made for.

        Raises:
            ValueError: if the images lie in the folder of the run.
            ChangedDataError: if they have changed and `override` is not set.
            ChangedRecipeError: if they are of another data set.
        """
        now = self.data = RunData(sources, self.recipe.dataset)
        now.check_apart(self.folder.path, self.recipe.dataset, self.overwrite)
        if self.overwrite or not self._has_checkpoints:
            return False
        before = self.folder.data()
        changed = now.changes_since(before)
        if self.moved_from is not None and nothing_in_common(before, now.record, self.recipe.train_split):
            settings = {"dataset": self.moved_from}, {"dataset": self.recipe.dataset}
            raise ChangedRecipeError(_refusal(self.folder.path, ["dataset"], ["dataset"], *settings))
        if changed and not self.override:
            lines = "\n".join(f"  {split}: {change}" for split, change in changed.items())
            raise ChangedDataError(
                "`dataset` must hold the images that the run began with. `override` goes on with those that "
                "are there now: steps, schedules and kNN sizes will be theirs. Another `workdir` starts a run"
                f" of its own. Received: dataset={self.recipe.dataset!r}, workdir={self.folder.path}, with "
                f"changes since the run began\n{lines}"
            )
        self.changed = changed
        noted = self.about.get("overridden", self.folder.about().get("overridden", []))
        if changed:
            self.about["overridden"] = noted = [*noted, "data"]
        return "data" in noted

    def note_data(self) -> None:
        """Records the images that the run is trained on; it must be called after `compare_data`."""
        if self.writes:
            self.data.record.write_files(self.folder.data_file)
        self.add(data=self.data.record.about)

    def begin(self) -> None:
        """Creates the folder, deletes the run in it, or records settings that were overridden."""
        if not self.writes:
            return
        if not self._lock.held:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if self.folder.holds_run:  # Another process has created a run in the meantime.
                self._look()
        if self.overwrite and (self.folder.holds_run or self._has_checkpoints):
            delete_run(self.folder)
        delete_partial(self.folder.path, "|".join(map(re.escape, names_in_a_run())))
        before = self.folder.about()  # facts that earlier processes of the run have recorded
        kept = ("data", "resumed", "overridden", "initial_weights", "licence")
        self.about = {name: before[name] for name in kept if name in before} | self.about
        if self._has_checkpoints:  # The run is deterministic only if all of it is.
            self.about["deterministic"] &= bool(before.get("deterministic"))
        self.about["environment"] = environment(self.about["backend"])
        self.folder.checkpoints.mkdir(exist_ok=True)
        self.folder.write_about({**self.about, "finished": False})
        self._begun = True
        known = {"process": os.getpid(), "host": socket.gethostname(), "backend": self.about["backend"]}
        known |= {"method": self.recipe.method, "dataset": self.recipe.dataset, "started": time.time()}
        self.status.update(now=True, state="starting", **known)
        self.folder.write_recipe(dataclasses.asdict(self.recipe))  # Written last: it marks a folder as a run.

    def add(self, **facts: Any) -> None:
        """Records facts about the run in `run.json`."""
        self.about |= facts
        if self.writes:
            self.folder.write_about({**self.about, "finished": False})

    def finish(self, failed: Mapping[str, str] | None = None) -> None:
        """Records that the run is finished.

        Args:
            failed: steps that have failed, with the reasons; if there are any, the run is not finished.
        """
        if self.writes:
            left = {"failed": dict(failed)} if failed else {}
            self.folder.write_about({**self.about, **left, "finished": not left})
            self._finished = not left

    def close(self) -> None:
        """Releases the folder for other processes; the end of this process has the same effect."""
        self._lock.free()

    def __enter__(self) -> RunSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._begun:
            end = {"state": "finished" if self._finished else "stopped"}
            if isinstance(error, Exception) and not self._finished:  # Signals are not recorded as failures.
                end = {"state": "failed", "error": f"{kind.__name__}: {error}".splitlines()[0]}
            self.status.update(now=True, **end)
        self.close()

    def _look(self):
        if self.writes and not self._lock.held:
            self._take_lock()
        if not self.overwrite:
            self._compare()

    def _take_lock(self):
        try:
            self._lock.take()
        except LockHeldError as error:
            raise RunInProgressError(
                errno.EWOULDBLOCK,
                f"`workdir` is in use by {error.holder}; wait for its end or choose another folder",
                str(self.folder.path),
            ) from error

    def _compare(self):
        default = {field.name: field.default for field in dataclasses.fields(Recipe)}
        noted = self.folder.about()
        before = {**default, **self.folder.recipe(), "backend": noted.get("backend")}
        if self.recipe.precision == "auto":  # "auto" means the precision that the run began with.
            self.recipe = dataclasses.replace(self.recipe, precision=before["precision"])
        now = {**dataclasses.asdict(self.recipe), "backend": self.about["backend"]}
        changed = [name for name in now if _plain(before.get(name)) != _plain(now[name])]
        if "epochs" in changed:
            self._check_epochs(now["epochs"])
        if "dataset" in changed:
            changed = self._without_dataset(changed, before["dataset"], noted)
        safe = {"backend", *resumable(Recipe)}
        unsafe = [name for name in changed if name not in safe]
        if unsafe or (changed and not self.override):
            raise ChangedRecipeError(_refusal(self.folder.path, changed, unsafe, before, now))
        if changed:
            self.about["overridden"] = [*noted.get("overridden", []), *changed]
            if noted.get("finished") and self.writes:
                self.folder.write_about({**noted, "finished": False})

    def _check_epochs(self, epochs: int) -> None:
        done, steps = checkpoint_folder.position(self.folder.checkpoints)
        begun = done + (steps > 0)
        if epochs < begun:
            raise ChangedRecipeError(
                f"`epochs` must be at least {begun}, as many as the run in `workdir` has begun. "
                f"Received: epochs={epochs}, workdir={self.folder.path}"
            )

    def _without_dataset(self, changed, before, noted):
        """Leaves the data set to `compare_data` if the images can tell whether it is the same."""
        if same_place(before, self.recipe.dataset):
            self.recipe = dataclasses.replace(self.recipe, dataset=before)
        elif noted.get("data") and self._has_checkpoints:
            self.moved_from = before
        else:
            return changed
        return [name for name in changed if name != "dataset"]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _refusal(workdir, changed, unsafe, before, now):
    rows = [
        ("setting", "the run", "now"),
        *((name, str(before.get(name)), str(now[name])) for name in changed),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    table = "\n".join(f"  {a:{widths[0]}}  {b:{widths[1]}}  {c}" for a, b, c in rows)
    if unsafe:
        advice = f"Another `workdir` starts a run of its own. `override` cannot change {', '.join(unsafe)}."
    else:
        advice = "`override` resumes with the new values."
    return f"`workdir` holds a run with other settings. {advice} Received: workdir={workdir}\n{table}"
