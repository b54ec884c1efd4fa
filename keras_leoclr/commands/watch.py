"""`leoclr watch`: how far a run is that goes on elsewhere."""

from __future__ import annotations

import json
import sys
import time

from absl import flags

from keras_leoclr.commands.flags import UsageError, parse
from keras_leoclr.runs import status_text
from keras_leoclr.runs.status import read_status
from keras_leoclr.terminal import Live, is_terminal

USAGE = """leoclr watch DIR [--FLAG VALUE ...]

Shows epoch and step, loss against chance, kNN, speed, time left and the last health warning of the run in
DIR, until it ends or until Ctrl-C. It reads what the run writes (progress.json, a few times a minute) and
does not touch the run. Where there is no terminal, it prints a line whenever another epoch has begun.

Exit status: 0 finished (with --once or --json also: under way), 1 failed, stopped, killed or without news,
130 Ctrl-C."""
BAD = ("failed", "stopped", "killed", "stale", "unknown")


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "watch"}
    flags.DEFINE_bool("once", False, "show it once and end", **own)
    flags.DEFINE_bool("json", False, "print what is known as JSON, once", **own)
    flags.DEFINE_float("seconds", 2.0, "from one look to the next, seconds", 0.1, **own)
    rest = parse(values, arguments, USAGE)
    if rest is None:
        return 0
    if len(rest) != 1:
        raise UsageError(f"`watch` takes one folder. Received: {' '.join(rest) or 'none'}")
    workdir = rest[0]
    status = read_status(workdir)
    if values["json"].value:
        print(json.dumps(status, indent=2))
    elif values["once"].value:
        print("\n".join(status_text.lines(status)))
    elif is_terminal(sys.stdout):
        status = _on_a_terminal(workdir, values["seconds"].value)
    else:
        status = _in_lines(workdir, values["seconds"].value)
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
