"""A record of the images that a run was trained on, and how the images of today differ from it."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

from keras_leoclr.runs.files import whole_file

NAMED = 3  # how many files of each kind of change a message names; the others are only counted

Files = dict[str, list[Any]]  # name -> [size in bytes, time of change in ns, checksum or None]


@dataclasses.dataclass
class DataRecord:
    """A record of the images of a run.

    Attributes:
        about: name of a split -> what is known about it: name of the data set, number of images, checksum of
            images that are arrays, and checksum of the labels where a file has several labels.
        files: name of a split -> its files, by their path below the folder of the data, so that the folder
            may be moved. A split whose images are not files has no entry. Some of the files have a checksum:
            copying files changes their times, and the checksum tells a copy from different pictures.
    """

    about: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    files: dict[str, Files] = dataclasses.field(default_factory=dict)

    def write_files(self, path: pathlib.Path) -> None:
        """Writes the files of all splits as gzipped JSON, whole or not at all."""
        with whole_file(path) as file:
            file.write(gzip.compress(json.dumps(self.files).encode(), mtime=0))

    @staticmethod
    def read_files(path: pathlib.Path) -> dict[str, Files]:
        """Reads what `write_files` has written; returns {} if the file is missing or damaged."""
        try:
            return json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error):
            return {}


@dataclasses.dataclass
class DataChange:
    """How the images of a split have changed.

    Attributes:
        counts: number of images before and now; -1 stands for an unknown number.
        added, removed, changed: sorted names of files; None where the images are not files.
        labels: whether the labels have changed of a data set in which a file has several labels.
    """

    counts: tuple[int, int]
    added: list[str] | None = None
    removed: list[str] | None = None
    changed: list[str] | None = None
    labels: bool = False

    def __str__(self) -> str:
        """Returns a text such as "1 added (a.png), 2 removed (b.png, c.png); 10 images before, 9 now"."""
        parts = [
            f"{len(names):,} {word} ({_shown(names)})"
            for word in ("added", "removed", "changed")
            if (names := getattr(self, word))
        ]
        parts += ["other labels"] * self.labels
        before, now = ("an unknown number" if count < 0 else f"{count:,}" for count in self.counts)
        return f"{', '.join(parts) or 'other pixels or labels'}; {before} images before, {now} now"


def changes(
    before: DataRecord, now: DataRecord, checksum: Callable[[str, str], str | None]
) -> dict[str, DataChange]:
    """Returns how the images of each split have changed; {} if they are the same.

    A split that only one of the two records has is left out.

    Args:
        before: record of the images that the run began with.
        now: record of the images that the source holds now.
        checksum: function `(split, name) -> checksum` which computes the checksum that the file has now, or
            returns None.
    """
    found = {}
    for split in before.about.keys() & now.about.keys():
        counts = tuple(each.about[split].get("count", -1) for each in (before, now))
        if split in before.files and split in now.files:
            change = _of_files(before.files[split], now.files[split], lambda name: checksum(split, name))  # noqa: B023
            other_labels = len({each.about[split].get("labels") for each in (before, now)}) > 1
            if any(change) or other_labels:
                found[split] = DataChange(counts, *change, labels=other_labels)
        elif counts[0] != counts[1] or _content(before, split) != _content(now, split):
            found[split] = DataChange(counts)
    return found


def nothing_in_common(before: DataRecord, now: DataRecord, split: str) -> bool:
    """Whether a split now comes from another data set.

    This is so if the two records share no file name or, for images that are not files, if the checksum of
    the images differs (or is unknown, and the name of the data set differs).
    """
    if split in before.files and split in now.files:
        return not before.files[split].keys() & now.files[split].keys()
    known = [_content(record, split) for record in (before, now)]
    if split in before.files or split in now.files or None in known:
        names = [record.about.get(split, {}).get("dataset") for record in (before, now)]
        return known[0] != known[1] or names[0] != names[1]
    return known[0] != known[1]


def _of_files(before: Files, now: Files, checksum: Callable[[str], str | None]) -> tuple[list[str], ...]:
    """Returns the names of the files that were added, removed and changed.

    A file with another size has changed. A file with the same size but another time needs a closer look,
    because copying a folder changes the times of its files. If the record holds the file's checksum, the file
    has changed if its checksum differs now. If the record holds none, the file counts as unchanged if some of
    the other files with new times have a recorded checksum and all of those checksums still agree.
    """
    common = before.keys() & now.keys()
    changed = {name for name in common if before[name][0] != now[name][0]}
    other_time = {name for name in common - changed if before[name][1] != now[name][1]}
    known = {name for name in other_time if before[name][2] is not None}
    different = {name for name in known if before[name][2] != checksum(name)}
    copied = known and not different
    changed |= different | (set() if copied else other_time - known)
    return sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys()), sorted(changed)


def _content(record: DataRecord, split: str) -> Any:
    return record.about.get(split, {}).get("content")


def _shown(names: list[str]) -> str:
    shown = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED:,} more" if len(names) > NAMED else "")
