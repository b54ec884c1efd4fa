"""`leoclr compare` shows the results of several runs in one table."""

from __future__ import annotations

import json

from keras_leoclr.commands.command import SOME, Command
from keras_leoclr.commands.flags import Flag, Given

TEXT = """leoclr compare RUN [RUN ...] [--FLAG VALUE ...]

Says whether the pretrained backbone of each further run is ahead of that of the first run, by how many
percentage points, and with which 95 % interval. A table of all results follows, in percent where they are
shares, with 95 % confidence intervals. Raw pixels and random weights are listed once where the runs agree on
them. Of a single run, each subject (random, pretrained, ...) has a column.

All differences are from the backbone that comes first. * marks a difference beyond chance: its interval, from
a paired bootstrap over the test images, does not hold 0. Where what was found for the single images is not
kept, * means that the intervals of both results do not overlap. Results on different test images have no
mark."""


def _run(given: Given) -> int:
    from keras_leoclr.evaluation.comparison import compare, compare_rows

    subjects = list(given["subjects"]) or None
    asked = given.rest, subjects, given["only"], given["everything"]
    if given["json"]:
        print(json.dumps(compare_rows(*asked), indent=2))
    else:
        print(compare(*asked, given["markdown"]))
    return 0


COMMAND = Command(
    name="compare",
    arguments="RUN [RUN ...]",
    summary="which run is ahead, and all results",
    text=TEXT,
    run=_run,
    flags=(
        Flag(
            "subjects",
            tuple[str, ...],
            (),
            "what was judged, such as pretrained,random, in this order; by default all",
        ),
        Flag("only", str, "", 'names that contain this, such as "linear"'),
        Flag(
            "everything",
            bool,
            False,
            "show single classes, seeds and severities as well, and what was measured during training",
        ),
        Flag("markdown", bool, False, "print the table in Markdown"),
        Flag("json", bool, False, "print JSON, with values and intervals as numbers"),
    ),
    takes="the folders of one or more runs",
    count=SOME,
)
