"""The file `labels.csv` beside pictures, which lists the classes on each picture."""

from __future__ import annotations

import collections
import csv
import dataclasses
import os
from collections.abc import Iterable

import numpy as np

from keras_leoclr.data.failures import NAMED, shown
from keras_leoclr.data.multi_hot import rows_of
from keras_leoclr.data.readers.files import Index
from keras_leoclr.data.readers.text_lines import lines_of

NAME = "labels.csv"
CLASSES = "classes.txt"
COLUMNS = ("file", "labels")
SEPARATOR = "|"
NOT_THERE = f"named by {NAME}, and no picture that was found"
NOT_NAMED = f"not named by {NAME}"


@dataclasses.dataclass(frozen=True)
class ListedLabels:
    """The labels of the pictures of one folder.

    Attributes:
        path: path of the file that they come from.
        class_names: C names of classes, sorted, or in the order of `classes.txt`.
        of_picture: dictionary from path of a picture, relative to the folder, to the names of its classes.
    """

    path: str
    class_names: tuple[str, ...]
    of_picture: dict[bytes, tuple[str, ...]]

    def apply(self, index: Index, skip: bool) -> tuple[Index, tuple[tuple[str, ...], np.ndarray]]:
        """Selects the pictures that have labels.

        Args:
            index: the pictures that the folder holds.
            skip: whether pictures without labels, and labels without pictures, are left out and counted among
                the failures.

        Returns:
            The index without unlabelled pictures, and names of the classes with labels (N, C) uint8.

        Raises:
            ValueError: unless `skip`, if a picture has no labels or a listed picture does not exist.
        """
        known = index.headers.keys() | index.failures.keys()
        not_there = sorted(self.of_picture.keys() - known)
        not_named = sorted(index.headers.keys() - self.of_picture.keys())
        if (not_there or not_named) and not skip:
            found = [f"names {len(not_there):,} files that are not there ({_some(not_there)})"] * bool(
                not_there
            )
            found += [f"misses {len(not_named):,} pictures ({_some(not_named)})"] * bool(not_named)
            raise ValueError(
                f"`name_or_path`: {NAME} must name every picture once and nothing else; a picture of none of "
                f"the classes has no labels. Received: {shown(self.path)}, which {' and '.join(found)}. "
                'Correct it, or pass on_error="skip" to leave them out.'
            )
        reasons = dict.fromkeys(not_there, NOT_THERE) | dict.fromkeys(not_named, NOT_NAMED)
        headers = {path: header for path, header in index.headers.items() if path in self.of_picture}
        kept = dataclasses.replace(index, headers=headers, failures={**index.failures, **reasons})
        return kept, (
            self.class_names,
            rows_of([self.of_picture[path] for path in headers], self.class_names),
        )


def listed_labels(folder: str, root: str, splits: Iterable[str], single: bool) -> ListedLabels | None:
    """Reads the labels of the pictures in a folder, or in the folder of one of its splits.

    Either one file in `folder` lists the pictures of all splits, or each split has a file in its folder. The
    classes are those of all splits, so that a class has the same number in each.

    Args:
        folder: folder that holds the splits, or the pictures.
        root: folder that holds the pictures of one split; `folder` itself if there are no splits.
        splits: the folders of all splits.
        single: whether the folders of the pictures would give their classes.

    Returns:
        The labels; None if there is no such file.

    Raises:
        ValueError: if a file is damaged, if there are files in both places, or if some splits have a file and
            the pictures of another split are sorted into folders of classes.
    """
    places = dict.fromkeys(os.path.join(place, NAME) for place in (root, *splits) if place != folder)
    beside = [path for path in places if os.path.isfile(path)]
    above, own = os.path.join(folder, NAME), os.path.join(root, NAME)
    if os.path.isfile(above):
        if beside:
            raise ValueError(
                f"{NAME} must lie in the folder of the splits or in that of each split. "
                f"Received: {shown(above)} and {shown(beside[0])}"
            )
        return _of_split(above, root, [os.path.relpath(place, folder) for place in splits])
    if own in beside:
        labels = {path: read_labels_csv(path) for path in beside}
        return ListedLabels(own, _classes([folder, root], own, list(labels.values())), labels[own])
    if beside and single:
        raise ValueError(
            f"The pictures of all splits must have several labels, or those of none. Received: "
            f"{shown(beside[0])}, and one folder per class without {NAME} in {shown(root)}"
        )
    return None


def read_labels_csv(path: str) -> dict[bytes, tuple[str, ...]]:
    """Reads the file and returns the class names by path of the picture, in the order of the lines.

    Raises:
        ValueError: if it is not such a file; the message names the line.
    """

    def error(rule, received):
        return ValueError(f"{shown(path)}: {rule}. Received: {received}")

    labels: dict[bytes, tuple[str, ...]] = {}
    lines: dict[bytes, int] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if not set(COLUMNS) <= set(header):
                raise error(
                    f"the first line must name the columns, {','.join(COLUMNS)}; a file of another kind "
                    "needs another name",
                    ",".join(header)[:80] or "an empty file",
                )
            places = [header.index(name) for name in COLUMNS]
            for row in reader:
                if not row:
                    continue
                line = reader.line_num
                if len(row) != len(header):
                    raise error(f"line {line} must have {len(header)} columns", len(row))
                name, names = (row[place].strip() for place in places)
                file_name = _checked_path(name, line, error)
                if file_name in labels:
                    raise error(
                        f"a file must be named once, with all of its labels separated by {SEPARATOR}",
                        f"{name} in the lines {lines[file_name]} and {line}",
                    )
                found = [part.strip() for part in names.split(SEPARATOR)] if names else []
                if "" in found or len(set(found)) < len(found):
                    raise error(f"the labels of line {line} must be names that differ", names)
                labels[file_name], lines[file_name] = tuple(found), line
    except (UnicodeDecodeError, csv.Error) as problem:
        raise error("it must be a CSV file in UTF-8, with commas between the columns", problem) from problem
    if not any(labels.values()):
        raise error("a picture must have a label", f"{len(labels):,} pictures without any")
    _check_separator(labels, error)
    return labels


def _of_split(path: str, root: str, splits: list[str]) -> ListedLabels:
    """The labels of the pictures in `root`, from a file there or in the folder of the splits.

    Listed pictures that belong to no split are kept, so that they are reported as missing; without a folder
    `train` they belong to "train".
    """
    folder, labels = os.path.dirname(path), read_labels_csv(path)
    class_names = _classes([folder], path, [labels])
    own = os.path.relpath(root, folder)
    others = tuple(os.fsencode(os.path.join(split, "")) for split in splits if split != own)
    if root == folder:
        own_labels = {name: names for name, names in labels.items() if not name.startswith(others)}
        return ListedLabels(path, class_names, own_labels)
    prefix = os.fsencode(os.path.join(own, ""))
    up = os.fsencode(os.path.relpath(folder, root))
    of_train = not any(os.path.basename(split) == "train" for split in splits)
    below = {
        name[len(prefix) :] if name.startswith(prefix) else os.path.join(up, name): names
        for name, names in labels.items()
        if name.startswith(prefix) or not (of_train or name.startswith(others))
    }
    return ListedLabels(path, class_names, below)


def _classes(folders: list[str], path: str, labels: list[dict[bytes, tuple[str, ...]]]) -> tuple[str, ...]:
    """The names of the classes of several files together."""
    occurring = {name for each in labels for names in each.values() for name in names}
    for folder in folders:
        listed = os.path.join(folder, CLASSES)
        if os.path.isfile(listed):
            names = tuple(lines_of(listed, "a list of classes"))
            unknown = sorted(occurring - set(names))
            twice = [name for name, count in collections.Counter(names).items() if count > 1]
            if unknown or twice:
                raise ValueError(
                    f"{shown(listed)} must name every class of {shown(path)} once. Received: "
                    + (f"none for {_some(unknown)}" if unknown else f"{_some(twice)} twice")
                )
            break
    else:
        names = tuple(sorted(occurring))
    if len(names) < 2:
        raise ValueError(f"{shown(path)}: there must be 2 classes or more. Received: {_some(names)} alone")
    return names


def _checked_path(name, line, error):
    path = os.path.normpath(name)
    if not name or os.path.isabs(name) or path.split(os.sep)[0] == os.pardir:
        raise error(
            f"line {line} must name a file below the folder of {NAME}, relative to it", name or "none"
        )
    return os.fsencode(path)


def _check_separator(labels, error):
    """Refuses labels with another separator, because each list of names would become a class."""
    names = collections.Counter(name for found in labels.values() for name in found)
    for other in (";", ",", "/"):
        joined = [name for name in names if other in name]
        parts = {part.strip() for name in joined for part in name.split(other)}
        alone = not any(len(found) > 1 for found in labels.values())
        if alone and joined and parts & names.keys():
            raise error(f"the labels of a picture must be separated by {SEPARATOR}", joined[0])


def _some(names) -> str:
    return ", ".join(map(shown, names[:NAMED])) + (f" and {len(names) - NAMED:,} more" * (len(names) > NAMED))
