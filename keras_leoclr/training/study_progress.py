"""The progress of a study, on the terminal."""

from __future__ import annotations

import contextlib
import pathlib
import time
from collections.abc import Iterable

from keras_leoclr import terminal
from keras_leoclr.runs import status_text
from keras_leoclr.runs.status import read_status


class StudyProgress:
    """Shows how many runs are done and how far the running ones are.

    Args:
        total: number of runs.
        done: number of runs that were finished before.
        verbose: whether to show anything.
    """

    def __init__(self, total: int, done: int, verbose: bool):
        self.total, self.done, self.verbose = total, done, verbose
        self.began, self.first = time.monotonic(), done
        self.live = terminal.Live()
        if verbose:
            self.live.say(f"{total} runs" + (f", {done} of them are there" if done else ""))

    def ended(self, name: str, status: int) -> None:
        """Reports that a run has ended.

        Args:
            name: variant and seed of the run.
            status: exit status of its process.
        """
        self.done += 1
        if self.verbose:
            word = f"failed with status {status}" if status else "finished"
            self.live.say(f"{self.done}/{self.total} {name}: {word}{self._left()}")

    def update(self, folders: Iterable[pathlib.Path]) -> None:
        """Shows the progress of the runs in some folders, if the output is a terminal."""
        if not (self.verbose and self.live.is_terminal):
            return
        texts = []
        for folder in folders:
            with contextlib.suppress(OSError, ValueError, KeyError):
                status = read_status(folder)
                texts.append(f"{status['state']} {status_text.share_done(status):.0%}")
        text = "  ".join([f"{self.done}/{self.total}", *texts]) + self._left()
        self.live.show(text, self.done / self.total)

    def _left(self):
        finished = self.done - self.first
        if not finished or self.done == self.total:
            return ""
        seconds = (time.monotonic() - self.began) / finished * (self.total - self.done)
        return f", about {terminal.duration(seconds)} left"

    def close(self) -> None:
        """Removes the progress line from the terminal."""
        self.live.close()
