"""Declares and reads the flags of commands, and formats the text of `--help`.

A flag is data: commands list their flags, and the fields of a recipe become flags by their metadata. The
parser is absl's; only this file uses it.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import shutil
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from absl import flags

COLUMN = 32  # column at which the help text of a flag begins
NUMBERS = {int: "whole numbers", float: "numbers"}


class UsageError(flags.Error):
    """Raised if the typed arguments cannot be run; the command ends with status 2."""


@dataclasses.dataclass(frozen=True)
class Flag:
    """A flag of a command.

    Attributes:
        name: name without the leading `--`.
        kind: bool, int, float, str, or a tuple of one of these such as `tuple[int, ...]`, which is typed as
            values separated by commas.
        default: value if the flag is not given.
        help: description without the default.
        group: heading in `--help`; that of its command by default.
        choices: allowed values; () allows any.
        low: smallest allowed number.
        high: largest allowed number.
        above: number that the value must exceed.
        auto: whether a list of numbers may be the word "auto".
        needed: for a required flag, what it must name, such as "a folder".
    """

    name: str
    kind: Any
    default: Any
    help: str
    group: str = ""
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    needed: str = ""
    auto: bool = False
    above: float | None = None

    @property
    def each(self) -> type | None:
        """The type of the values of a list; None for a flag with one value."""
        return typing.get_args(self.kind)[0] if typing.get_origin(self.kind) is tuple else None


class Given(Mapping):
    """The values of all flags by name, and the other arguments.

    Attributes:
        rest: the arguments that are not flags.
        typed: names of the flags that were typed.
    """

    def __init__(self, values: dict[str, Any], rest: Sequence[str] = (), typed: Iterable[str] = ()):
        self._values, self.rest, self.typed = values, list(rest), frozenset(typed)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> typing.Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def some(self, *names: str) -> dict[str, Any]:
        """The values of some flags by name."""
        return {name: self._values[name] for name in names}


def known(kind: str, name: str, names: Iterable[str]) -> str:
    """Returns the name if it is one of the known names.

    Raises:
        UsageError: otherwise; the message suggests the nearest name.
    """
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(sorted(names))}")


# === Fields of a dataclass ===


def flags_of(settings: Any) -> tuple[Flag, ...]:
    """Makes one flag for each field of a recipe or of other settings.

    Choices and bounds are not declared here, because the dataclass checks them for all its users.

    Args:
        settings: a dataclass whose fields have "help" and "group" in their `metadata`.
    """
    hints = typing.get_type_hints(type(settings))
    return tuple(
        Flag(
            field.name,
            _kind(hints[field.name]),
            getattr(settings, field.name),
            field.metadata["help"],
            field.metadata["group"],
            auto=field.metadata.get("auto", False),
        )
        for field in dataclasses.fields(settings)
    )


def fields_of(given: Given, settings: Any) -> dict[str, Any]:
    """The fields of settings that were typed as flags, with their values."""
    names = (field.name for field in dataclasses.fields(settings))
    return given.some(*(name for name in names if name in given.typed))


def _kind(hint: Any) -> Any:
    if isinstance(hint, types.UnionType):
        (hint,) = (kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


# === Reading ===


def read(declared: Sequence[Flag], arguments: Sequence[str]) -> Given | None:
    """Reads the flags of a command.

    Args:
        declared: the flags of the command.
        arguments: arguments after its name; `--some-flag` is read as `--some_flag`.

    Returns:
        The values, or None for `--help` or `-h`.

    Raises:
        UsageError: for an unknown flag, where the message suggests the nearest one, or a value that is not
            allowed.
    """
    values = flags.FlagValues()
    for flag in declared:
        _define(values, flag)
    flags.DEFINE_bool("help", False, "", short_name="h", flag_values=values)
    try:
        rest = values(["leoclr", *map(_underscored, arguments)])[1:]
    except flags.Error as error:
        raise UsageError(str(error)) from error
    if values["help"].value:
        return None
    typed = {flag.name for flag in declared if values[flag.name].present}
    return Given({flag.name: _value(values[flag.name].value, flag) for flag in declared}, rest, typed)


def _underscored(argument: str) -> str:
    return re.sub(r"^--[\w-]+", lambda flag: "--" + flag[0][2:].replace("-", "_"), argument)


def _define(values: flags.FlagValues, flag: Flag) -> None:
    what = {"name": flag.name, "default": flag.default, "help": flag.help, "flag_values": values}
    bounds = {"lower_bound": flag.low, "upper_bound": flag.high}
    if flag.each:
        what["default"] = None if flag.default is None else [str(value) for value in flag.default]
        flags.DEFINE_list(**what)
    elif flag.choices:
        flags.DEFINE_enum(enum_values=flag.choices, **what)
    elif flag.kind is bool:
        flags.DEFINE_bool(**what)
    elif flag.kind is int:
        flags.DEFINE_integer(**bounds, **what)
    elif flag.kind is float:
        flags.DEFINE_float(**bounds, **what)
    else:
        flags.DEFINE_string(**what)


def _value(value: Any, flag: Flag) -> Any:
    if flag.above is not None and value is not None and not value > flag.above:
        raise UsageError(f"`--{flag.name}` must be > {flag.above:g}. Received: {flag.name}={value}")
    if flag.each is None or value is None:
        return value
    if flag.auto and value == ["auto"]:
        return "auto"
    try:
        values = tuple(flag.each(each) for each in value)
    except ValueError as error:
        raise UsageError(
            f"`--{flag.name}` must be comma-separated {NUMBERS[flag.each]}. Received: {','.join(value)}"
        ) from error
    return values


# === The text of --help ===


def text_of(declared: Sequence[Flag], group: str = "", width: int | None = None) -> str:
    """Formats the flags by group, wrapped, with types and defaults.

    Args:
        declared: the flags of a command.
        group: heading of flags without a group.
        width: width of a line in characters; by default that of the terminal, but at most 100.
    """
    width = width or max(60, min(100, shutil.get_terminal_size((100, 24)).columns))
    groups: dict[str, list[Flag]] = {}
    for flag in declared:
        groups.setdefault(flag.group or group, []).append(flag)
    lines = []
    for name, members in groups.items():
        lines += ["", f"{name[:1].upper()}{name[1:]}:"]
        for flag in members:
            lines += _lines(flag, width)
    return "\n".join(lines)


def _lines(flag: Flag, width: int) -> list[str]:
    shown = {int: "N", float: "X"}.get(flag.kind, "A,B" if flag.each else "TEXT")
    head = (
        f"  --[no]{flag.name}" if flag.kind is bool else f"  --{flag.name} {'|'.join(flag.choices) or shown}"
    )
    text = " ".join(flag.help.split())
    if default := _default(flag):
        text += f" ({default})"
    wrapped = textwrap.wrap(text, width - COLUMN) or [""]
    lines = [head.ljust(COLUMN) + wrapped.pop(0)] if len(head) < COLUMN - 1 else [head]
    return lines + [" " * COLUMN + line for line in wrapped]


def _default(flag: Flag) -> str:
    if flag.kind is bool:
        return "on by default" if flag.default else ""
    if flag.each:
        return f"default {','.join(map(str, flag.default))}" if flag.default else ""
    return "" if flag.default in (None, "") else f"default {flag.default}"
