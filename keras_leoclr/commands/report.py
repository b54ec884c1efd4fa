"""`leoclr report` writes a page on one or several runs."""

from __future__ import annotations

from keras_leoclr.commands.command import SOME, Command, check_output
from keras_leoclr.commands.flags import Flag, Given, UsageError

TEXT = """leoclr report RUN [RUN ...] [--output FILE.html]

One HTML file that needs no network: is it learning, curves, views, a map of the embedding, nearest
neighbours, retrieval, robustness, confusion, settings. It is made from the files of the run alone; no model
is loaded. Of several runs the curves are laid on top of each other and the results compared."""


def _run(given: Given) -> int:
    if len(given.rest) > 1 and given["output"] is None:
        raise UsageError("`--output` must name a file for the report of several runs. Received: none")
    check_output(given, "output", (".html",))
    from keras_leoclr.report import write_report
    from keras_leoclr.training import fields
    from keras_leoclr.training.recipe import Recipe

    print(write_report(given.rest, given["output"], fields.meanings(Recipe)))
    return 0


COMMAND = Command(
    name="report",
    arguments="RUN [RUN ...]",
    summary="a run, or several, as one page to look at",
    text=TEXT,
    run=_run,
    flags=(
        Flag(
            "output",
            str,
            None,
            "file that is written, .html; by default report.html in the folder of a single run; needed for "
            "several runs",
        ),
    ),
    takes="the folders of one or more runs",
    count=SOME,
)
