"""The steps after the last epoch of a run; none of them can lose the training if it fails."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator

REPEATED_AT_ANY_TIME = ("table", "page")  # A run counts as finished even if these failed.


class Ending:
    """Runs every step that follows the training, even if others have failed.

    Args:
        workdir: folder of the run.

    Attributes:
        failed: the errors, by the name of the step that they ended.
    """

    def __init__(self, workdir: str | os.PathLike):
        self.workdir = shlex.quote(os.fspath(workdir))
        self.failed: dict[str, Exception] = {}
        self._evaluations: dict[str, str] = {}

    @contextlib.contextmanager
    def part(self, name: str, evaluation: str | None = None) -> Iterator[None]:
        """A context whose errors are recorded; signals that end the process pass through.

        Args:
            name: name of the step, for people.
            evaluation: flags of the `leoclr evaluate` command that repeats the step; None if it is none.
        """
        try:
            yield
        except Exception as error:
            self.failed[name] = error
            if evaluation is not None:
                self._evaluations[name] = evaluation

    def reasons(self) -> dict[str, str]:
        """The first line of each error, by the name of its step."""
        return {
            name: f"{type(error).__name__}: {error}".splitlines()[0] for name, error in self.failed.items()
        }

    def left(self) -> dict[str, str]:
        """Those errors whose steps are needed for a run to be finished."""
        return {name: why for name, why in self.reasons().items() if name not in REPEATED_AT_ANY_TIME}

    def commands(self) -> list[str]:
        """The commands that repeat the failed steps."""
        if self.left().keys() - self._evaluations.keys():  # Resuming evaluates again, using earlier results.
            return ["the same `leoclr pretrain` again, which trains no more"]
        found = []
        for flags in dict.fromkeys(self._evaluations.values()):
            names = ",".join(name for name, own in self._evaluations.items() if own == flags)
            found.append(" ".join(filter(None, (f"leoclr evaluate {names} --workdir {self.workdir}", flags))))
        return [*found, f"leoclr report {self.workdir}"]

    def message(self) -> str:
        """One text that says what failed and how to repeat it."""
        parts = "\n".join(f"  {name}: {reason}" for name, reason in self.reasons().items())
        commands = "\n".join(f"  {command}" for command in self.commands())
        return f"The training is finished and its backbone is saved. This failed after it:\n{parts}\n" + (
            f"It is repeated by\n{commands}"
        )

    def raise_first(self) -> None:
        """Raises the first error, if any, with the message as a note (from Python 3.11 on)."""
        for error in self.failed.values():
            if hasattr(error, "add_note"):  # Python 3.11 and later
                error.add_note(self.message())
            raise error
