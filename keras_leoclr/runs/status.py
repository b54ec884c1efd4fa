"""How far a run is: what it writes into `progress.json`, and what is found out beside that."""

from __future__ import annotations

import json
import math
import os
import pathlib
import socket
import time
from typing import Any

from keras_leoclr.runs.files import write_text
from keras_leoclr.runs.folder import RunFolder

UNDER_WAY = ("starting", "training", "evaluating")
SILENCE = 120.0  # seconds without news after which a run on another host counts as stale


class StatusFile:
    """Writes where a run is, whole or not at all, and not more often than is cheap.

    A write is due after `seconds`, and late enough that all of them take less than 0.5 % of the time by
    the cost of the last one. A disk that cannot be written does not end a run here: a checkpoint will.

    Args:
        path: the file; its folder must exist when something is written.
        seconds: >= 0, from one write to the next.
    """

    SHARE = 0.005

    def __init__(self, path: str | os.PathLike, seconds: float = 5.0):
        self.path = pathlib.Path(path)
        self.seconds = seconds
        self.status: dict[str, Any] = {}
        self._due = -math.inf

    def update(self, now: bool = False, **changes: Any) -> None:
        """Takes over values, and writes all of them if that is due.

        Args:
            now: write in any case.
            **changes: what JSON can hold; numbers that are not finite become null.
        """
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


def read_status(workdir: str | os.PathLike) -> dict[str, Any]:
    """Where the run in a folder is.

    Args:
        workdir: folder of a run.

    Returns:
        What the run wrote, and
        `state`: starting, training, evaluating; finished, stopped (by a signal, it can go on), failed;
        killed (its process is not there any more), stale (no news for two minutes from another host), or
        unknown (it never said);
        `silent`: seconds since the run wrote, None if it never did;
        `warning`: the last advice of `callbacks.Health`, or None;
        `workdir`: the folder.

    Raises:
        FileNotFoundError: if the folder holds no run.
    """
    run = RunFolder(workdir)
    if not run.holds_run:
        raise FileNotFoundError(f"`workdir` must hold a run (recipe.json). Received: {workdir}")
    about = _json(run.about_file)
    status = {"state": "finished" if about.get("finished") else "unknown", "updated": None}
    status |= _json(run.status_file)
    if about.get("finished") and status["state"] not in UNDER_WAY:
        status["state"] = "finished"  # also where what had failed was repeated
    updated = status["updated"]
    status["silent"] = None if updated is None else max(0.0, time.time() - updated)
    if status["state"] in UNDER_WAY:
        if status.get("host") == socket.gethostname():
            if not _alive(status.get("process")):
                status["state"] = "killed"
        elif status["silent"] > SILENCE:
            status["state"] = "stale"
    return {**status, "warning": _last_warning(run.results_file), "workdir": str(run.path)}


def _json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}


def _alive(process):
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError):
        return False
    except PermissionError:  # of another user, and alive
        return True
    return True


def _last_warning(path):
    warning = None
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if '"health/' in line:
                try:
                    warning = json.loads(line).get("advice", warning)
                except json.JSONDecodeError:  # a line that is being written
                    continue
    return warning


def _finite(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
