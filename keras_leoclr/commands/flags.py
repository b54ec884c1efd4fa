"""What the commands share: errors of usage, flags, and the text of `--help`."""

from __future__ import annotations

import difflib
import re
import shutil
import textwrap
from collections.abc import Iterable

from absl import flags

COLUMN = 32  # where the texts of flags begin


class UsageError(Exception):
    """What was typed cannot be run; the command ends with status 2."""


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """The name, if it is one of these.

    Raises:
        UsageError: otherwise, with the nearest name.
    """
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(names))}")


def parse(values: flags.FlagValues, arguments: list[str], usage: str) -> list[str] | None:
    """Reads flags; `--help` prints the text of the command and its flags.

    Args:
        values: the flags of the command.
        arguments: what follows its name.
        usage: text above the flags.

    Returns:
        What is left beside the flags, or None if the help was shown.

    Raises:
        absl.flags.Error: for an unknown flag, with the nearest one, or a value of a wrong kind.
    """
    # defined last, so that it stands at the end
    flags.DEFINE_bool("help", False, "show this", short_name="h", flag_values=values, module_name="help")
    rest = values(["leoclr", *arguments])[1:]
    if values["help"].value:
        print(f"{usage}\n{flags_text(values)}")
        return None
    return rest


def flags_text(values: flags.FlagValues, width: int | None = None) -> str:
    """Flags by group (the `module_name` that they were defined with), wrapped, with their defaults.

    Args:
        values: the flags.
        width: of a line; that of the terminal by default, 100 at most.
    """
    width = width or max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
    lines = []
    for group, members in values.flags_by_module_dict().items():
        shown = [flag for flag in members if flag.name != "help"]
        if shown:
            lines += ["", f"{group[:1].upper()}{group[1:]}:"]
        for flag in shown:
            lines += _flag_lines(flag, width)
    return "\n".join(lines)


def _flag_lines(flag, width):
    if flag.boolean:
        head = f"  --[no]{flag.name}"
    else:
        values = getattr(flag.parser, "enum_values", None)
        head = f"  --{flag.name} {'|'.join(values) if values else _KINDS.get(flag.flag_type(), 'TEXT')}"
    default = flag.default
    if flag.boolean:
        told = "on by default" if default else ""
    elif isinstance(default, list):
        told = f"default {','.join(default)}" if default else ""
    else:
        told = "" if default in (None, "") else f"default {default}"
    text = re.sub(r"^<[^>]*>: ", "", " ".join(flag.help.split()))  # absl's list of an enum
    text = text.replace("; comma-separated", "")  # as A,B shows
    text += f" ({told})" if told else ""
    wrapped = textwrap.wrap(text, width - COLUMN) or [""]
    if len(head) < COLUMN - 1:
        lines = [head.ljust(COLUMN) + wrapped.pop(0)]
    else:
        lines = [head]
    return lines + [" " * COLUMN + line for line in wrapped]


_KINDS = {"int": "N", "float": "X", "comma separated list of strings": "A,B"}
