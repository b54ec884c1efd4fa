"""`leoclr watch` shows the progress of a run in another process."""

from __future__ import annotations

import json
import sys
import time

from keras_leoclr.commands.command import ONE, Command
from keras_leoclr.commands.flags import Flag, Given
from keras_leoclr.runs import status_text
from keras_leoclr.runs.status import read_status
from keras_leoclr.terminal import Live, is_terminal

TEXT = """leoclr watch DIR [--FLAG VALUE ...]

Shows epoch and step, loss against chance, kNN, speed, time left and the last health warning of the run in
DIR, until it ends or until Ctrl-C. It reads what the run writes (progress.json, a few times a minute) and
does not touch the run. Where there is no terminal, it prints a line whenever another epoch has begun.

Exit status: 0 finished (with --once or --json also: under way), 1 failed, stopped, killed or without news,
130 Ctrl-C."""
BAD = ("failed", "stopped", "killed", "stale", "unknown")


def _run(given: Given) -> int:
    workdir = given.rest[0]
    status = read_status(workdir)
    if given["json"]:
        print(json.dumps(status, indent=2))
    elif given["once"]:
        print("\n".join(status_text.lines(status)))
    elif is_terminal(sys.stdout):
        status = _on_a_terminal(workdir, given["seconds"])
    else:
        status = _in_lines(workdir, given["seconds"])
    return 1 if status["state"] in BAD else 0


def _on_a_terminal(workdir, seconds):
    live = Live()
    try:
        while True:
            status = read_status(workdir)
            live.show("\n".join(status_text.lines(status)))
            if status["state"] in ("finished", *BAD):
                return status
            time.sleep(seconds)
    finally:
        live.close(keep=True)


def _in_lines(workdir, seconds):
    before = None
    while True:
        status = read_status(workdir)
        ended = status["state"] in ("finished", *BAD)
        now = status["state"], status.get("epoch")
        if now != before:
            text = status_text.one_line(status) if status.get("loss") is not None else ""
            print(f"{status['state']:<11}{text}".rstrip(), flush=True)
            before = now
        if ended:
            return status
        time.sleep(seconds)


COMMAND = Command(
    name="watch",
    arguments="DIR",
    summary="show how far a run elsewhere is",
    text=TEXT,
    run=_run,
    flags=(
        Flag("once", bool, False, "show the state once and end"),
        Flag("json", bool, False, "print the state once, as JSON"),
        Flag("seconds", float, 2.0, "seconds from one look at the run to the next", low=0.1),
    ),
    takes="one folder",
    count=ONE,
)
