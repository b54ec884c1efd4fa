"""The folder of a run: whose it is, what it was started with, and whether it is finished."""

from __future__ import annotations

import dataclasses
import errno
import fcntl
import json
import os
import pathlib
import shutil
import socket
import time
from typing import Any

import keras

from keras_leoclr.runs import status as progress
from keras_leoclr.runs.environment import environment
from keras_leoclr.runs.files import whole_file
from keras_leoclr.training import fields
from keras_leoclr.training.recipe import Recipe

LOCK = "lock"

# What may differ when a run is resumed with `override`: the weights do not depend on it, but for `epochs`,
# from which the schedules are computed anew, and for rounding.
SAFE = ("backend", *fields.resumable(Recipe))


class ChangedRecipeError(ValueError):
    """A run was to be resumed with other settings."""


class RunInProgressError(OSError):
    """Another process runs in the folder."""


class Run:
    """One process's hold on the folder of a run, for as long as the process lives.

    Args:
        workdir: folder of the run.
        recipe: its settings.
        overwrite: whether a run that is there may be deleted.
        override: whether the settings in `SAFE` may differ from those of the run that is there.
        deterministic: is noted in `run.json`.
        writes: whether this process is the one that writes; others read the folder and hold nothing.

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
        self.workdir = pathlib.Path(workdir)
        self.recipe = recipe
        self.overwrite = overwrite
        self.override = override
        self.about = {"backend": keras.backend.backend(), "deterministic": deterministic}
        self._lock = None
        self._begun = self._finished = False
        self.progress = progress.ProgressFile(self.workdir / progress.FILE)
        if self._there():
            self._look()

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the checkpoints."""
        return self.workdir / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether the run that is there has come to its end, with these settings."""
        return self._there() and self._noted("run.json").get("finished", False)

    def begin(self) -> None:
        """Makes the folder, or empties it, or notes settings that were overridden."""
        if not self.writes:
            return
        if self._lock is None:
            self.workdir.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            if self._there():  # of a process that was faster
                self._look()
        if self.overwrite and self._there():
            for path in self.workdir.iterdir():
                if path.name == LOCK:
                    continue  # without it, another process could take the folder
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for name in ("data", "resumed"):  # what earlier processes of the run found out
            if name in self._noted("run.json"):
                self.about[name] = self._noted("run.json")[name]
        self.about["environment"] = environment()
        self.checkpoints.mkdir(exist_ok=True)
        self._note("run.json", {**self.about, "finished": False})
        self._begun = True
        known = {"process": os.getpid(), "host": socket.gethostname(), "backend": self.about["backend"]}
        known |= {"method": self.recipe.method, "dataset": self.recipe.dataset, "started": time.time()}
        self.progress.update(now=True, state="starting", **known)
        self._note("recipe.json", dataclasses.asdict(self.recipe))  # last: now the folder holds a run

    def add(self, **facts: Any) -> None:
        """Notes facts about the run in `run.json`."""
        self.about |= facts
        if self.writes:
            self._note("run.json", {**self.about, "finished": False})

    def finish(self) -> None:
        """Notes that nothing is left to do."""
        if self.writes:
            self._note("run.json", {**self.about, "finished": True})
            self._finished = True

    def close(self) -> None:
        """Lets another process in; so does the end of this one, however it comes."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._begun:
            end = {"state": "finished" if self._finished else "stopped"}
            if error is not None and isinstance(error, Exception):  # and not a signal
                end = {"state": "failed", "error": f"{kind.__name__}: {error}".splitlines()[0]}
            self.progress.update(now=True, **end)
        self.close()

    def _there(self):
        return (self.workdir / "recipe.json").is_file()

    def _look(self):
        if self._lock is None and self.writes:
            self._take_lock()
        if not self.overwrite:
            self._compare()

    def _note(self, name, content):
        with whole_file(self.workdir / name) as file:
            file.write((json.dumps(content, indent=2) + "\n").encode())

    def _noted(self, name):
        path = self.workdir / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def _take_lock(self):
        path = self.workdir / LOCK
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise RunInProgressError(
                errno.EWOULDBLOCK, f"`workdir` is in use by {holder}; one run at a time", str(self.workdir)
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        self._lock = file  # closed when the process ends, and the lock with it

    def _compare(self):
        default = {field.name: field.default for field in dataclasses.fields(Recipe)}
        noted = self._noted("run.json")
        before = {**default, **self._noted("recipe.json"), "backend": noted.get("backend")}
        now = {**dataclasses.asdict(self.recipe), "backend": self.about["backend"]}
        changed = [name for name in now if _plain(before.get(name)) != _plain(now[name])]
        unsafe = [name for name in changed if name not in SAFE]
        if unsafe or (changed and not self.override):
            raise ChangedRecipeError(_refusal(self.workdir, changed, unsafe, before, now))
        if changed:
            self.about["overridden"] = [*noted.get("overridden", []), *changed]
            if noted.get("finished") and self.writes:
                self._note("run.json", {**noted, "finished": False})


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


def make_deterministic() -> None:
    """Asks TensorFlow, JAX and torch for the same bits every time; must precede the first operation.

    It holds for the rest of the process, and costs speed on GPUs.
    """
    import tensorflow as tf

    # keras-cv's layers ask for a global generator, which must have a seed then; the views do not use it
    tf.random.set_global_generator(tf.random.Generator.from_seed(0))
    tf.config.experimental.enable_op_determinism()  # the views are TensorFlow's everywhere
    backend = keras.backend.backend()
    if backend == "jax":
        # read when JAX first looks for devices
        known = os.environ.get("XLA_FLAGS", "")
        if "xla_gpu_deterministic_ops" not in known:
            os.environ["XLA_FLAGS"] = f"{known} --xla_gpu_deterministic_ops=true".strip()
    elif backend == "torch":
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
