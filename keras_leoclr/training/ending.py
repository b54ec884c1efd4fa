"""What comes after the last epoch of a run, file by file: the training is not lost to any of it."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator

REPEATED_AT_ANY_TIME = ("table", "page")  # a run whose table or page failed is finished all the same


class Ending:
    """Tries every part of what comes after the training, whatever became of the others.

    Args:
        workdir: folder of the run.

    Attributes:
        failed: the errors by the name of the part that they ended.
    """

    def __init__(self, workdir: str | os.PathLike):
        self.workdir = shlex.quote(os.fspath(workdir))
        self.failed: dict[str, Exception] = {}
        self._evaluations: dict[str, str] = {}

    @contextlib.contextmanager
    def part(self, name: str, evaluation: str | None = None) -> Iterator[None]:
        """A block that may fail; the signals that end a process pass through.

        Args:
            name: what it is, for people.
            evaluation: flags of the `leoclr evaluate` that repeats the block under the same name.
        """
        try:
            yield
        except Exception as error:
            self.failed[name] = error
            if evaluation is not None:
                self._evaluations[name] = evaluation

    def reasons(self) -> dict[str, str]:
        """First line of each error by the name of its part."""
        return {
            name: f"{type(error).__name__}: {error}".splitlines()[0] for name, error in self.failed.items()
        }

    def left(self) -> dict[str, str]:
        """Of these, the parts without which a run is not finished."""
        return {name: why for name, why in self.reasons().items() if name not in REPEATED_AT_ANY_TIME}

    def commands(self) -> list[str]:
        """The commands that repeat what failed."""
        if self.left().keys() - self._evaluations.keys():  # evaluates once more, from the results before
            return ["the same `leoclr pretrain` again, which trains no more"]
        found = []
        for flags in dict.fromkeys(self._evaluations.values()):
            names = ",".join(name for name, own in self._evaluations.items() if own == flags)
            found.append(" ".join(filter(None, (f"leoclr evaluate {names} --workdir {self.workdir}", flags))))
        return [*found, f"leoclr report {self.workdir}"]

    def message(self) -> str:
        """What failed and how it is repeated, as one text."""
        parts = "\n".join(f"  {name}: {reason}" for name, reason in self.reasons().items())
        commands = "\n".join(f"  {command}" for command in self.commands())
        return f"The training is finished and its backbone is saved. This failed after it:\n{parts}\n" + (
            f"It is repeated by\n{commands}"
        )

    def raise_first(self) -> None:
        """Raises the first error, if there is one, with the message as a note where Python has notes."""
        for error in self.failed.values():
            if hasattr(error, "add_note"):  # from Python 3.11 on
                error.add_note(self.message())
            raise error
