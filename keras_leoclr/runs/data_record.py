"""The images that a run was trained on, as it noted them, and how those that are there now differ."""

from __future__ import annotations

import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable
from typing import Any

from keras_leoclr.runs.files import whole_file

NAMED = 3  # files of each kind of change that are named; the rest is counted

Files = dict[str, list[Any]]  # name -> [size in bytes, time of change in ns, checksum or None]


@dataclasses.dataclass
class DataRecord:
    """The images of a run by the name of their split.

    Attributes:
        about: what is known of each split: name of the data set, number of images, checksum of arrays, and of
            the labels of files that have several.
        files: the files of each split, by their path below the folder, so that it does not matter where the
            folder lies or how its path is written; no entry where the images are not files. A few files have
            a checksum, by which a copy, whose files have other times, is told from other pictures.
    """

    about: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    files: dict[str, Files] = dataclasses.field(default_factory=dict)

    def write_files(self, path: pathlib.Path) -> None:
        """Writes the files of all splits as packed JSON, whole or not at all."""
        with whole_file(path) as file:
            file.write(gzip.compress(json.dumps(self.files).encode(), mtime=0))

    @staticmethod
    def read_files(path: pathlib.Path) -> dict[str, Files]:
        """What `write_files` has written; {} if it is not there or damaged."""
        try:
            return json.loads(gzip.decompress(path.read_bytes()))
        except (OSError, EOFError, ValueError, zlib.error):
            return {}


@dataclasses.dataclass
class DataChange:
    """How the images of a split have changed.

    Attributes:
        counts: numbers of images before and now; -1 where it is not known.
        added, removed, changed: names of files, sorted; None where the images are not files.
        labels: whether files that have several labels have others.
    """

    counts: tuple[int, int]
    added: list[str] | None = None
    removed: list[str] | None = None
    changed: list[str] | None = None
    labels: bool = False

    def __str__(self) -> str:
        """Such as "1 added (a.png), 2 removed (b.png, c.png); 10 images before, 9 now"."""
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
    """How the images have changed, by split; {} if they are the same. Splits that only one has are left out.

    Args:
        before: the images that the run began with.
        now: the images that the source holds now.
        checksum: `(split, name)` to the checksum that the file has now.
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
    """Whether a split is of another data set: none of its files is the same, or what else is known of it."""
    if split in before.files and split in now.files:
        return not before.files[split].keys() & now.files[split].keys()
    known = [_content(record, split) for record in (before, now)]
    if split in before.files or split in now.files or None in known:
        names = [record.about.get(split, {}).get("dataset") for record in (before, now)]
        return known[0] != known[1] or names[0] != names[1]
    return known[0] != known[1]


def _of_files(before: Files, now: Files, checksum: Callable[[str], str | None]) -> tuple[list[str], ...]:
    """Names that were added, removed and changed.

    A file of another size has changed. One of another time alone has changed unless its checksum is that of
    before, or, where none was noted, unless those of all files whose checksum was noted are: files that were
    copied have other times.
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
