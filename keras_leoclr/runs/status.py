"""The progress of a run: the writer and the reader of `progress.json`."""

from __future__ import annotations

import json
import math
import os
import pathlib
import socket
import time
from typing import Any

from keras_leoclr.runs import processes
from keras_leoclr.runs.files import write_text
from keras_leoclr.runs.folder import RunFolder

TEXTS = ("state", "error", "host", "backend", "method", "dataset")  # entries that are texts
UNDER_WAY = ("starting", "training", "evaluating")
SILENCE = 120.0  # seconds without an update after which a run on another host counts as stale


class StatusFile:
    """Writes the progress of a run to a file, whole or not at all.

    A run that goes on begins with the place of its newest checkpoint.

    Two writes are at least `seconds` apart, and further apart where a write takes long: writing takes less
    than 0.5 % of the time. If the disk cannot be written, no error is raised here, because the next
    checkpoint raises one that says what to do.

    Args:
        path: path of the file; its folder must exist when something is written.
        seconds: >= 0, shortest time between two writes in seconds; 5 by default.
    """

    SHARE = 0.005

    def __init__(self, path: str | os.PathLike, seconds: float = 5.0):
        self.path = pathlib.Path(path)
        self.seconds = seconds
        self.status: dict[str, Any] = {}
        self._due = -math.inf

    def update(self, now: bool = False, **changes: Any) -> None:
        """Stores new values, and writes all values if enough time has passed since the last write.

        Args:
            now: whether to write in any case; False by default.
            **changes: new values by name, of types that JSON can hold; NaN and infinity become null.
        """
        if not self.status:
            self.status = {"process_started": processes.start_of(os.getpid()), **_reached(self.path)}
        self.status |= {name: _finite(value) for name, value in changes.items()}
        began = time.monotonic()
        if began < self._due and not now:
            return
        content = json.dumps({**self.status, "updated": time.time()}, indent=1)
        try:
            write_text(self.path, f"{content}\n")
        except OSError:
            pass
        ended = time.monotonic()
        self._due = ended + max(self.seconds, (ended - began) / self.SHARE)


def place(epochs: int, batches: int, steps: int) -> dict[str, int]:
    """Entries of a status for a position in the training.

    Args:
        epochs: number of whole epochs that are done.
        batches: number of steps of the next epoch that are done.
        steps: number of steps of an epoch.

    Returns:
        `epoch`, from 1; `step`, the number of its steps that are done; `steps`. Between two epochs it is the
        earlier one.
    """
    if epochs and not batches:
        return {"epoch": epochs, "step": steps, "steps": steps}
    return {"epoch": epochs + 1, "step": batches, "steps": steps}


def _reached(path):
    """The place of the newest checkpoint of the run that a status file belongs to; {} without one."""
    from keras_leoclr.runs.checkpoint_folder import newest_position  # This needs NumPy; reading does not.

    run = RunFolder(path.parent)
    found, epochs = newest_position(run.checkpoints), run.recipe().get("epochs")
    return {} if found is None or None in (*found, epochs) else {**place(*found), "epochs": epochs}


def read_status(workdir: str | os.PathLike) -> dict[str, Any]:
    """Reads the progress of the run in a folder.

    Args:
        workdir: path of the folder of a run.

    Returns:
        A dictionary with what the run wrote, and these entries:
        `state`: "starting", "training" or "evaluating" while the run is under way; "finished"; "stopped" if
        a signal has stopped it, so that it can be resumed; "failed" after an error; "killed" if its process
        does not exist any more, or if another one has its number; "stale" if it runs on another host, or on
        Windows, and has not written for two minutes; "unknown" if it has never written its state;
        `silent`: seconds since the run wrote last, or None if it never did;
        `warning`: the last advice of `callbacks.Health`, or None;
        `workdir`: path of the folder.

    Raises:
        FileNotFoundError: if the folder holds no run.
    """
    run = RunFolder(workdir)
    if not run.holds_run:
        raise FileNotFoundError(f"`workdir` must hold a run (recipe.json). Received: {workdir}")
    about = _json(run.about_file)
    status = {"state": "finished" if about.get("finished") else "unknown", "updated": None}
    # What a damaged file holds in the place of numbers and texts is left out.
    status |= {
        name: value
        for name, value in _json(run.status_file).items()
        if isinstance(value, str if name in TEXTS else int | float | None)
    }
    updated = status["updated"]
    status["silent"] = None if updated is None else max(0.0, time.time() - updated)
    if status["state"] in UNDER_WAY:
        if status.get("host") == socket.gethostname() and processes.CAN_ASK:
            if not processes.alive(status.get("process"), status.get("process_started")):
                status["state"] = "killed"
        elif status["silent"] is None or status["silent"] > SILENCE:
            status["state"] = "stale"
    if about.get("finished") and status["state"] not in UNDER_WAY:
        # The file may say something else where a failed evaluation was repeated, or where the process was
        # killed while it wrote the page.
        status["state"] = "finished"
    return {**status, "warning": _last_warning(run.results_file), "workdir": str(run.path)}


def _json(path):
    """The object in a file; {} if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _last_warning(path):
    warning = None
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if '"health/' in line:
                try:
                    warning = dict(json.loads(line)).get("advice", warning)
                except (TypeError, ValueError):  # the run is writing this line at the moment
                    continue
    return warning


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
