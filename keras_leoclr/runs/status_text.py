"""Describes the progress of a run in words and with progress bars."""

from __future__ import annotations

import time
from typing import Any

from keras_leoclr.runs.monitored import KNN, knn_of
from keras_leoclr.runs.status import SILENCE, UNDER_WAY
from keras_leoclr.terminal import duration


def loss_text(status: dict[str, Any]) -> str:
    """Returns the loss as text, such as "loss 5.21 (0.71 of chance)"; "" before the first step."""
    if status.get("loss") is None:
        return ""
    ratio = status.get("loss_to_chance")
    return f"loss {status['loss']:.4g}" + ("" if ratio is None else f" ({ratio:.2f} of chance)")


def knn_text(status: dict[str, Any]) -> str:
    """Returns the kNN measurement as text; "" before it is measured.

    The text is "kNN 78.3 %", for example, or "kNN mAP 51.0 %" where an image has several labels.
    """
    found = knn_of(status)
    return "" if found is None else f"{KNN[found[0]]} {100 * found[1]:.1f} %"


def speed_text(status: dict[str, Any]) -> str:
    """Returns the speed, such as "1,240 images/s, 3 % waiting for input"; "" before it is measured."""
    if status.get("images_per_second") is None:
        return ""
    waiting = status.get("waiting")
    return f"{status['images_per_second']:,.0f} images/s" + (
        "" if waiting is None else f", {100 * waiting:.0f} % waiting for input"
    )


def left_text(status: dict[str, Any]) -> str:
    """Returns the time until the training ends, such as "4 min left"; "" before it can be estimated."""
    return "" if status.get("seconds_left") is None else f"{duration(status['seconds_left'])} left"


def bar(share: float, width: int) -> str:
    """Returns a progress bar such as "[####----]".

    Args:
        share: part that is done, in [0, 1]; values outside are clipped.
        width: number of characters of the bar, brackets included.
    """
    done = round(min(max(share, 0.0), 1.0) * (width - 2))
    return f"[{'#' * done}{'-' * (width - 2 - done)}]"


def share_done(status: dict[str, Any]) -> float:
    """Returns which part of all training steps is done, in [0, 1]; 0 if the number of steps is unknown."""
    steps = status.get("steps") or 0
    total = steps * (status.get("epochs") or 0)
    done = steps * (status.get("epoch", 1) - 1) + status.get("step", 0)
    return done / total if total else 0.0


def step_text(status: dict[str, Any]) -> str:
    """Returns epoch, step, loss, kNN measurement, speed and remaining time in one line."""
    steps = str(status["steps"])
    head = f"epoch {status['epoch']}/{status['epochs']} step {status['step']:>{len(steps)}}/{steps}"
    texts = [loss_text(status), knn_text(status), speed_text(status), left_text(status)]
    return "  ".join([head, *filter(None, texts)])


def one_line(status: dict[str, Any], width: int = 100) -> str:
    """Returns the progress of the training in one line, with a progress bar if there is room for it.

    Args:
        status: status of a run, as `read_status` returns it.
        width: largest number of characters of the line; 100 by default.
    """
    line = step_text(status)
    room = next((size for size in (22, 12) if size < width - len(line)), 0)
    return f"{bar(share_done(status), room)} {line}"[:width] if room else line[:width]


def lines(status: dict[str, Any]) -> list[str]:
    """Returns everything that is known about the progress of a run, one item a line.

    Args:
        status: status of a run, as `read_status` returns it.
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
    if knn_of(status) is not None:
        rows.append(("kNN", f"{knn_text(status).removeprefix('kNN ')} (epoch {status['knn_epoch']})"))
    if state == "training" and speed_text(status):
        rows.append(("speed", speed_text(status)))
    if state == "training" and status.get("seconds_left") is not None:
        end = time.strftime("%a %H:%M", time.localtime(time.time() + status["seconds_left"]))
        rows.append(("time left", f"{duration(status['seconds_left'])}, until {end}"))
    if status["warning"]:
        rows.append(("warning", status["warning"]))
    return [f"{name:<11}{value}" for name, value in rows]
