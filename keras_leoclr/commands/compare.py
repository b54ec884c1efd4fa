"""`leoclr compare`: results of several runs in one table."""

from __future__ import annotations

import json

from absl import flags

from keras_leoclr.commands.flags import UsageError, parse

USAGE = """leoclr compare RUN [RUN ...] [--FLAG VALUE ...]

One table of the results in the folders, in percent, with 95 % confidence intervals. The first column is
what the others are compared with; * marks a difference beyond chance: its interval, from a paired
bootstrap over the test images, does not hold 0. Without the hits of single images, * means that the two
intervals do not touch."""


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "compare"}
    flags.DEFINE_list("subjects", [], "such as pretrained,random; all, in the order of the file", **own)
    flags.DEFINE_string("only", "", 'names that contain this, such as "linear"', **own)
    flags.DEFINE_bool(
        "everything",
        False,
        "also classes, seeds, severities and what was measured in training",
        **own,
    )
    flags.DEFINE_bool("markdown", False, "as a Markdown table", **own)
    flags.DEFINE_bool("json", False, "rows as JSON, with values and intervals as numbers", **own)
    folders = parse(values, arguments, USAGE)
    if folders is None:
        return 0
    if not folders:
        raise UsageError("`compare` takes the folders of one or more runs. Received: none")
    from keras_leoclr.evaluation.comparison import compare, compare_rows

    chosen = folders, values["subjects"].value or None, values["only"].value, values["everything"].value
    if values["json"].value:
        print(json.dumps(compare_rows(*chosen), indent=2))
    else:
        print(compare(*chosen, values["markdown"].value))
    return 0
