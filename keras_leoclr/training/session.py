"""One process's hold on the folder of a run: whose it is, its settings, and whether it is finished."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import socket
import time
from typing import Any

import keras

from keras_leoclr.runs.environment import environment
from keras_leoclr.runs.files import Lock, LockHeldError, delete_partial
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.status import StatusFile
from keras_leoclr.training.fields import resumable
from keras_leoclr.training.recipe import Recipe


class ChangedRecipeError(ValueError):
    """A run was to be resumed with other settings."""


class RunInProgressError(OSError):
    """Another process runs in the folder."""


class RunSession:
    """One process's hold on the folder of a run, for as long as the process lives.

    Args:
        workdir: folder of the run.
        recipe: its settings.
        overwrite: whether a run that is there may be deleted.
        override: whether settings that are `resumable`, and the backend, may differ from those of the run
            that is there.
        deterministic: is noted in `run.json`.
        writes: whether this process is the one that writes; others read the folder and hold nothing.

    Attributes:
        folder: paths of the run's files.
        status: writes where the run is.

    Raises:
        ChangedRecipeError: if there is a run with other settings.
        RunInProgressError: if another process holds the folder.
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
        self.about = {"backend": keras.backend.backend(), "deterministic": deterministic}
        self._lock = Lock(self.folder.lock_file)
        self._begun = self._finished = False
        self.status = StatusFile(self.folder.status_file)
        if self.folder.holds_run:
            self._look()

    @property
    def finished(self) -> bool:
        """Whether the run that is there has come to its end, with these settings."""
        return self.folder.holds_run and self.folder.about().get("finished", False)

    def begin(self) -> None:
        """Makes the folder, or empties it, or notes settings that were overridden."""
        if not self.writes:
            return
        if not self._lock.held:
            self.folder.path.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if self.folder.holds_run:  # of a process that was faster
                self._look()
        if self.overwrite and self.folder.holds_run:
            for path in self.folder.path.iterdir():
                if path == self.folder.lock_file:
                    continue  # without it, another process could take the folder
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        delete_partial(self.folder.path)
        before = self.folder.about()  # what earlier processes of the run found out
        self.about |= {name: before[name] for name in ("data", "resumed") if name in before}
        self.about["environment"] = environment(self.about["backend"])
        self.folder.checkpoints.mkdir(exist_ok=True)
        self.folder.write_about({**self.about, "finished": False})
        self._begun = True
        known = {"process": os.getpid(), "host": socket.gethostname(), "backend": self.about["backend"]}
        known |= {"method": self.recipe.method, "dataset": self.recipe.dataset, "started": time.time()}
        self.status.update(now=True, state="starting", **known)
        self.folder.write_recipe(dataclasses.asdict(self.recipe))  # last: now the folder holds a run

    def add(self, **facts: Any) -> None:
        """Notes facts about the run in `run.json`."""
        self.about |= facts
        if self.writes:
            self.folder.write_about({**self.about, "finished": False})

    def finish(self) -> None:
        """Notes that nothing is left to do."""
        if self.writes:
            self.folder.write_about({**self.about, "finished": True})
            self._finished = True

    def close(self) -> None:
        """Lets another process in; so does the end of this one, however it comes."""
        self._lock.free()

    def __enter__(self) -> RunSession:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._begun:
            end = {"state": "finished" if self._finished else "stopped"}
            if error is not None and isinstance(error, Exception):  # and not a signal
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
                f"`workdir` is in use by {error.holder}; one run at a time",
                str(self.folder.path),
            ) from error

    def _compare(self):
        default = {field.name: field.default for field in dataclasses.fields(Recipe)}
        noted = self.folder.about()
        before = {**default, **self.folder.recipe(), "backend": noted.get("backend")}
        now = {**dataclasses.asdict(self.recipe), "backend": self.about["backend"]}
        changed = [name for name in now if _plain(before.get(name)) != _plain(now[name])]
        safe = {"backend", *resumable(Recipe)}
        unsafe = [name for name in changed if name not in safe]
        if unsafe or (changed and not self.override):
            raise ChangedRecipeError(_refusal(self.folder.path, changed, unsafe, before, now))
        if changed:
            self.about["overridden"] = [*noted.get("overridden", []), *changed]
            if noted.get("finished") and self.writes:
                self.folder.write_about({**noted, "finished": False})


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
