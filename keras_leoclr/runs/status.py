"""Where a run is: the file `progress.json` of its folder, and words for what it holds.

Nothing here needs Keras or TensorFlow, so that `leoclr watch` starts at once.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import socket
import time
from typing import Any

from keras_leoclr.runs.files import whole_file
from keras_leoclr.terminal import duration

FILE = "progress.json"
UNDER_WAY = ("starting", "training", "evaluating")
SILENCE = 120.0  # seconds without news after which a run on another host counts as stale


class ProgressFile:
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
            with whole_file(self.path) as file:
                file.write(f"{content}\n".encode())
        except OSError:
            pass
        ended = time.monotonic()
        self._due = ended + max(self.seconds, (ended - began) / self.SHARE)


def read(workdir: str | os.PathLike) -> dict[str, Any]:
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
    workdir = pathlib.Path(workdir)
    if not (workdir / "recipe.json").is_file():
        raise FileNotFoundError(f"`workdir` must hold a run (recipe.json). Received: {workdir}")
    about = _json(workdir / "run.json")
    status = {"state": "finished" if about.get("finished") else "unknown", "updated": None}
    status |= _json(workdir / FILE)
    updated = status["updated"]
    status["silent"] = None if updated is None else max(0.0, time.time() - updated)
    if status["state"] in UNDER_WAY:
        if status.get("host") == socket.gethostname():
            if not _alive(status.get("process")):
                status["state"] = "killed"
        elif status["silent"] > SILENCE:
            status["state"] = "stale"
    return {**status, "warning": _last_warning(workdir / "results.jsonl"), "workdir": str(workdir)}


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


# === In words ===


def loss_text(status: dict[str, Any]) -> str:
    """Such as "loss 5.21 (0.71 of chance)"; empty before the first step."""
    if status.get("loss") is None:
        return ""
    ratio = status.get("loss_to_chance")
    return f"loss {status['loss']:.4g}" + ("" if ratio is None else f" ({ratio:.2f} of chance)")


def knn_text(status: dict[str, Any]) -> str:
    """Such as "kNN 78.3 %"; empty before it is measured."""
    return "" if status.get("knn_top1") is None else f"kNN {100 * status['knn_top1']:.1f} %"


def speed_text(status: dict[str, Any]) -> str:
    """Such as "1,240 images/s, 3 % waiting for input"; empty before it is measured."""
    if status.get("images_per_second") is None:
        return ""
    waiting = status.get("waiting")
    return f"{status['images_per_second']:,.0f} images/s" + (
        "" if waiting is None else f", {100 * waiting:.0f} % waiting for input"
    )


def left_text(status: dict[str, Any]) -> str:
    """Such as "4 min left", of the training; empty before it is measured."""
    return "" if status.get("seconds_left") is None else f"{duration(status['seconds_left'])} left"


def bar(share: float, width: int) -> str:
    """Such as "[####----]", of `width` characters."""
    done = round(min(max(share, 0.0), 1.0) * (width - 2))
    return f"[{'#' * done}{'-' * (width - 2 - done)}]"


def share_done(status: dict[str, Any]) -> float:
    """Steps that are done, of all of the training."""
    steps = status.get("steps") or 0
    total = steps * (status.get("epochs") or 0)
    done = steps * (status.get("epoch", 1) - 1) + status.get("step", 0)
    return done / total if total else 0.0


def step_text(status: dict[str, Any]) -> str:
    """Epoch and step, loss, kNN, speed and time left in one line."""
    steps = str(status["steps"])
    head = f"epoch {status['epoch']}/{status['epochs']} step {status['step']:>{len(steps)}}/{steps}"
    texts = [loss_text(status), knn_text(status), speed_text(status), left_text(status)]
    return "  ".join([head, *filter(None, texts)])


def one_line(status: dict[str, Any], width: int = 100) -> str:
    """The training in one line, with a bar where there is room for one.

    Args:
        status: as `read` returns it.
        width: characters that the line may have.
    """
    line = step_text(status)
    room = next((size for size in (22, 12) if size < width - len(line)), 0)
    return f"{bar(share_done(status), room)} {line}"[:width] if room else line[:width]


def lines(status: dict[str, Any]) -> list[str]:
    """All that is known of a run, one thing a line.

    Args:
        status: as `read` returns it.
    """
    state, silent = status["state"], status["silent"]
    about = [status.get("method"), status.get("dataset") and f"on {status['dataset']}", status.get("backend")]
    rows = [("run", f"{status['workdir']}  {' '.join(filter(None, about))}".rstrip())]
    text = {
        "killed": f"killed: its process {status.get('process')} is not there any more",
        "stale": f"stale: no news for {duration(silent)} from {status.get('host')}",
        "stopped": "stopped; the same command goes on with it",
        "failed": f"failed: {status.get('error')}",
        "unknown": "unknown: it has not written where it is",
    }.get(state, state)
    if state in UNDER_WAY and silent > SILENCE:
        text += f" (no news for {duration(silent)})"
    rows.append(("state", text))
    if status.get("step") is not None:
        place = f"epoch {status['epoch']} of {status['epochs']}, step {status['step']} of {status['steps']}"
        share = share_done(status)
        rows.append(("training", f"{bar(share, 24)} {share:4.0%}  {place}"))
    if status.get("loss") is not None:
        rows.append(("loss", loss_text(status).removeprefix("loss ")))
    if status.get("knn_top1") is not None:
        rows.append(("kNN", f"{knn_text(status).removeprefix('kNN ')} (epoch {status['knn_epoch']})"))
    if state == "training" and speed_text(status):
        rows.append(("speed", speed_text(status)))
    if state == "training" and status.get("seconds_left") is not None:
        end = time.strftime("%a %H:%M", time.localtime(time.time() + status["seconds_left"]))
        rows.append(("time left", f"{duration(status['seconds_left'])}, until {end}"))
    if status["warning"]:
        rows.append(("warning", status["warning"]))
    return [f"{name:<11}{value}" for name, value in rows]
