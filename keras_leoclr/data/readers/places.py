"""A place of pictures, and how their headers are read."""

from __future__ import annotations

import collections
import dataclasses
import functools
import os
from typing import Any, NamedTuple

from keras_leoclr.data import channels, decode
from keras_leoclr.data.failures import shown
from keras_leoclr.data.readers.files import OF_A_RUN, SUFFIXES
from keras_leoclr.runs.folder import holds_results


@dataclasses.dataclass
class Place:
    """The pictures of one place; all paths are absolute.

    Attributes:
        base: folder or archive that the pictures lie in.
        states: size in bytes and time of change in ns by path, of pictures whose headers are not read yet.
        headers: header by path, of pictures whose headers are known.
        failures: reason by path, of pictures that cannot be read.
        ignored: number of files that are no pictures, by their extension or by another reason.
        runs: folders that hold runs, whose files are left out.
        classes: name of the class by path, of pictures that have one.
    """

    base: bytes
    states: dict[bytes, tuple[int, int]] = dataclasses.field(default_factory=dict)
    headers: dict[bytes, decode.Header] = dataclasses.field(default_factory=dict)
    failures: dict[bytes, str] = dataclasses.field(default_factory=dict)
    ignored: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    runs: list[bytes] = dataclasses.field(default_factory=list)
    classes: dict[bytes, str] = dataclasses.field(default_factory=dict)

    def take_classes_of_folders(self, root: bytes) -> None:
        """Takes the name of the first folder below `root` as the class of each picture."""
        start = os.path.join(root, b"")
        for path in (*self.states, *self.headers):
            below = path.removeprefix(start)
            if path.startswith(start) and b"/" in below:
                self.classes[path] = shown(below.split(b"/", 1)[0])


class RunsBelow:
    """Tells which files below a folder belong to runs; as in `files.scan_folder`, these are no data.

    Args:
        base: path of the folder. If it holds a run itself, only the run's own files in it are no data.

    Attributes:
        found: paths of the folders that hold runs, as far as files in them were asked for.
    """

    def __init__(self, base: bytes):
        self.base = base
        self.found: list[bytes] = []
        self._holds_run = functools.cache(self._look)

    def own(self, path: bytes) -> bool:
        """Whether a file below the folder belongs to a run."""
        first, *others = os.path.relpath(path, self.base).split(b"/")
        if os.fsdecode(first) in OF_A_RUN and self._holds_run(self.base):
            return True
        folders = [os.path.join(self.base, first, *others[:depth]) for depth in range(len(others))]
        return any(map(self._holds_run, folders))

    def _look(self, folder):
        holds = holds_results(folder, {os.fsdecode(name) for name in os.listdir(folder)})
        if holds:
            self.found.append(folder)
        return holds


class Reading(NamedTuple):
    """How the headers of pictures are read.

    Attributes:
        max_pixels: largest width times height of a picture.
        progress: whether progress is shown if it takes longer than a second.
        pixels: number of channels and range of the values; None for RGB of 8 bits.
    """

    max_pixels: int
    progress: bool
    pixels: channels.ChannelPixels | None

    @property
    def suffixes(self) -> tuple[bytes, ...]:
        """Extensions of the pictures."""
        return suffixes_of(self.pixels)

    @property
    def read(self) -> Any:
        """Reads a header; None for the reader of RGB."""
        return None if self.pixels is None else self.pixels.header


def suffixes_of(pixels: channels.ChannelPixels | None) -> tuple[bytes, ...]:
    """Extensions of the pictures that `pixels` reads; of those of RGB where it is None."""
    return SUFFIXES if pixels is None else channels.SUFFIXES
