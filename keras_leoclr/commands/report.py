"""`leoclr report`: runs as a page to look at."""

from __future__ import annotations

from absl import flags

from keras_leoclr.commands.flags import parse

USAGE = """leoclr report RUN [RUN ...] [--output FILE.html]

One HTML file that needs no network: is it learning, curves, views, a map of the embedding, nearest
neighbours, retrieval, robustness, confusion, settings. It is made from the files of the run alone; no model
is loaded. Of several runs the curves are laid on top of each other and the results compared."""


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = define()
    folders = parse(values, arguments, USAGE)
    if folders is None:
        return 0
    output = values["output"].value
    if not folders:
        raise flags.Error("`report` takes the folders of one or more runs. Received: none")
    if len(folders) > 1 and output is None:
        raise flags.Error("`--output` must name a file for the report of several runs. Received: none")
    from keras_leoclr.report import write_report

    print(write_report(folders, output))
    return 0


def define() -> flags.FlagValues:
    """The flags of the command."""
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "report"}
    flags.DEFINE_string(
        "output", None, "the file; by default report.html in the folder of a single run", **own
    )
    return values
