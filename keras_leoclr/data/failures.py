"""Counts the files that could not be read, once each, with name and reason."""

from __future__ import annotations

import os
import pathlib
import threading
import warnings

NAMED = 3  # number of files that a message names; the others are only counted


class ImageError(ValueError):
    """The problem of one picture; the message is a few words that follow the picture's name."""


class Failures:
    """The files of a source that were skipped; safe to use from several threads.

    Args:
        total: number of all files, or None if it is not known; the share is then taken of the files seen so
            far, but of at least `LEAST_TOTAL`.
        max_failures: largest share of files that may fail, in [0, 1]. None (the default) takes `SHARE`, but
            always allows one file, so that a folder of 50 pictures with a damaged one can be used.
    """

    LEAST_TOTAL = 1000
    SHARE = 0.01

    def __init__(self, total: int | None = None, max_failures: float | None = None):
        if max_failures is not None and not 0 <= max_failures <= 1:
            raise ValueError(f"`max_failures` must lie in [0, 1]. Received: max_failures={max_failures!r}")
        self.total = total
        self.max_failures = max_failures
        self._reasons: dict[bytes, str] = {}
        self._lock = threading.Lock()
        self._warned = False
        self._seen = 0

    @property
    def count(self) -> int:
        """The number of files that failed; a file that fails in every epoch counts once."""
        return len(self._reasons)

    def __contains__(self, path: bytes) -> bool:
        return path in self._reasons

    def items(self) -> list[tuple[str, str]]:
        """Pairs of path and reason, in the order in which they were found."""
        with self._lock:
            return [(os.fsdecode(path), reason) for path, reason in self._reasons.items()]

    def write(self, path: str | pathlib.Path) -> None:
        """Writes a line `path<TAB>reason` per file; line breaks and tabs in names are escaped."""
        with self._lock:
            lines = [_one_line(name) + b"\t" + r.encode() + b"\n" for name, r in self._reasons.items()]
        pathlib.Path(path).write_bytes(b"".join(lines))

    def add(self, path: bytes, reason: str) -> None:
        """Counts a file that failed."""
        with self._lock:
            self._reasons.setdefault(path, reason)

    def saw(self, count: int) -> None:
        """Adds to the number of files of a stream that were seen."""
        with self._lock:
            self._seen += count

    def warn(self, more: str = "") -> None:
        """Warns once and names the first few files; does nothing without failures or at a second call."""
        with self._lock:
            if self._warned or not self._reasons:
                return
            self._warned = True
        text = f"{files(self.count)} cannot be read and will be skipped: {self.first()}. {more}".strip()
        warnings.warn(f"{text} `dataset.failures` has the list.", stacklevel=2)

    def check(self) -> None:
        """Raises ValueError if more than `max_failures` of the files have failed."""
        total = self.total if self.total is not None else max(self._seen, self.LEAST_TOTAL)
        share = self.max_failures
        if self.count > (max(1, self.SHARE * total) if share is None else share * total):
            of = f"{self.total:,}" if self.total is not None else "a stream of unknown length"
            raise ValueError(
                f"{files(self.count)} of {of} cannot be read, more than `max_failures` allows: "
                f"{self.first()}. Repair or remove them, or allow more. "
                f"Received: max_failures={f'{self.SHARE:g}, the default' if share is None else f'{share:g}'}"
            )

    def first(self) -> str:
        """The first few files with their reasons, for a message."""
        with self._lock:
            first = [f"{shown(path)} ({reason})" for path, reason in list(self._reasons.items())[:NAMED]]
        rest = self.count - len(first)
        return ", ".join(first) + (f" and {rest:,} more" if rest else "")


def files(count: int) -> str:
    """The number, followed by "file" or "files"."""
    return f"{count:,} file" + ("" if count == 1 else "s")


def shown(path: str | bytes) -> str:
    """A printable form of a path; bytes that are not UTF-8 and control characters are escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _one_line(path: bytes) -> bytes:
    return path.replace(b"\t", rb"\t").replace(b"\n", rb"\n").replace(b"\r", rb"\r")
