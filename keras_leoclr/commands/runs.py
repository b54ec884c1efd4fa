"""`leoclr runs` lists the runs below a folder."""

from __future__ import annotations

import json
import sys

from keras_leoclr.commands.command import JSON, ONE, Command
from keras_leoclr.commands.flags import Given

TEXT = """leoclr runs DIR [--FLAG VALUE ...]

Lists the runs in DIR and in the folders below it, newest first, with their method, data, finished epochs,
state (as in `leoclr watch`) and the main results of the pretrained backbone, in percent. ~ marks the last kNN
measurement of a run that was not evaluated yet. Links to folders are not followed."""


def _run(given: Given) -> int:
    from keras_leoclr.report.run_list import list_runs, run_table

    unread: list[str] = []
    runs = list_runs(given.rest[0], unread)
    if given["json"]:
        print(json.dumps(runs, indent=2))
    else:
        print(run_table(runs) if runs else f"There is no run below {given.rest[0]}.")
    for path in unread:
        print(f"leoclr: {path} cannot be listed", file=sys.stderr)
    return 0


COMMAND = Command(
    name="runs",
    arguments="DIR",
    summary="the runs below a folder, newest first",
    text=TEXT,
    run=_run,
    flags=(JSON,),
    takes="one folder",
    count=ONE,
)
