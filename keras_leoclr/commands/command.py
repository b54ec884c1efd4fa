"""What a command is: its flags, what it takes beside them, its help, and what it does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_leoclr.commands.flags import Flag, Given, UsageError, known, read, text_of

NOTHING, ONE, SOME = (0, 0), (1, 1), (1, None)  # least and largest number of arguments beside the flags

JSON = Flag("json", bool, False, "print JSON")


def workdir(help: str, needed: str, group: str = "") -> Flag:
    """The flag `--workdir`, which a command cannot do without.

    Args:
        help: see `Flag`.
        needed: what it must name, such as "a folder for the run".
        group: see `Flag`.
    """
    return Flag("workdir", str, None, help, group, needed=needed)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command of `leoclr`.

    Attributes:
        name: what it is called; its module has the same name.
        arguments: what follows the name, for `leoclr --help`.
        summary: one line for `leoclr --help`.
        text: what `leoclr NAME --help` says above the flags; begins with the call.
        run: does what was asked for and returns the exit status; of `chosen` where there is one.
        flags: its flags.
        takes: what it takes beside the flags, as words of an error.
        count: how many of these, least and largest number; None for any.
        names: a word for what these are and the names that they may be; () for any.
        chosen: for a command whose flags depend on what was typed, such as on the name of a recipe: from the
            arguments to the command with these flags, and what is left of the arguments.
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
        """The same command with other attributes, as `chosen` returns it."""
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
        return self.run(given)
