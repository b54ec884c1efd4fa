"""The definition of a command: its flags, its other arguments, its help, and its function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_leoclr import wording
from keras_leoclr.commands.flags import Flag, Given, UsageError, known, read, text_of

NOTHING, ONE, SOME = (0, 0), (1, 1), (1, None)  # least and largest number of arguments that are not flags

JSON = Flag("json", bool, False, "print JSON")


def workdir(help: str, needed: str, group: str = "") -> Flag:
    """Makes the flag `--workdir` of a command that requires it.

    Args:
        help: see `Flag`.
        needed: what it must name, such as "a folder for the run".
        group: see `Flag`.
    """
    return Flag("workdir", str, None, help, group, needed=needed)


VERBOSITY = Flag(
    "verbose",
    int,
    1,
    "what is printed: 0 nothing, 1 a progress bar, 2 one line per epoch",
    "run",
    low=0,
    high=2,
)
IMAGE_SIZE = Flag(
    "image_size",
    int,
    0,
    "height and width that images are resized to, in pixels; 0: as the backbone takes them",
    low=0,
)


def on_error(what: str) -> Flag:
    """Makes the flag `--on_error` of a command that reads pictures.

    Args:
        what: what may be unreadable, such as "a picture".
    """
    help = f"what to do with {what} that cannot be read: stop, or leave it out"
    return Flag("on_error", str, "raise", help, choices=("raise", "skip"))


def max_failures(default: float | None, more: str = "") -> Flag:
    """Makes the flag `--max_failures` of a command that has `--on_error`.

    Args:
        default: see `Flag`.
        more: what is added to its help.
    """
    help = f"with --on_error skip, largest share of pictures that may be left out, in [0, 1]{more}"
    return Flag("max_failures", float, default, help, low=0.0, high=1.0)


def check_output(given: Given, name: str, endings: tuple[str, ...] = ()) -> None:
    """Checks the flag of a file that will be written, see `checks.output_file`; none is no fault.

    Raises:
        UsageError: if the file cannot be written, or not under this name.
    """
    from keras_leoclr.checks import output_file  # It needs NumPy; `leoclr --help` does not.

    try:
        if given[name]:
            output_file(name, given[name], endings)
    except ValueError as error:
        raise UsageError(str(error)) from error


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `leoclr`.

    Attributes:
        name: name of the command and of its module.
        arguments: text after the name in `leoclr --help`.
        summary: one line for `leoclr --help`.
        text: text above the flags in `leoclr NAME --help`; it begins with the call.
        run: function that runs the command and returns the exit status; if there is `chosen`, that of the
            command that `chosen` returns is used.
        flags: the flags.
        takes: name of the other arguments, for error messages.
        count: least and largest number of other arguments; None as the largest for no limit.
        names: a word for the other arguments, and the names that they may have; () for any.
        chosen: for a command whose flags depend on other arguments, such as the name of a recipe: a function
            from the arguments to the command with these flags, and the remaining arguments.
    """

    name: str
    arguments: str
    summary: str
    text: str
    run: Callable[[Given], int] | None = None
    flags: tuple[Flag, ...] = ()
    takes: str = "no arguments"
    count: tuple[int, int | None] = NOTHING
    names: tuple[str, tuple[str, ...]] | tuple[()] = ()
    chosen: Callable[[list[str]], tuple[Command, list[str]]] | None = None

    def __call__(self, arguments: list[str]) -> int:
        """Reads the arguments that follow the name and runs the command, or shows its help.

        Returns:
            Exit status.

        Raises:
            UsageError: if what was typed cannot be run.
        """
        command, left = self.chosen(arguments) if self.chosen else (self, arguments)
        return command._run(left)

    def but(self, **changes: Any) -> Command:
        """Returns a copy of the command with other attributes, for use in `chosen`."""
        return dataclasses.replace(self, chosen=None, **changes)

    def _run(self, arguments: list[str]) -> int:
        given = read(self.flags, arguments)
        if given is None:
            print(f"{self.text}\n{text_of(self.flags, self.name)}".rstrip())
            return 0
        least, most = self.count
        if len(given.rest) < least or (most is not None and len(given.rest) > most):
            raise UsageError(f"`{self.name}` takes {self.takes}. Received: {' '.join(given.rest) or 'none'}")
        for name in given.rest if self.names else ():
            known(self.names[0], name, self.names[1])
        for flag in self.flags:
            if flag.needed and not given[flag.name]:
                raise UsageError(f"`--{flag.name}` must name {flag.needed}. Received: no --{flag.name}")
        with wording.of_a_command([flag.name for flag in self.flags]):
            return self.run(given)
