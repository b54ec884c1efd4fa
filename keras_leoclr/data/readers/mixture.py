"""Reads pictures from several places (folders, patterns, lists, archives, single files) as one source."""

from __future__ import annotations

import collections
import glob
import os
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_leoclr.data import channels, decode
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.readers import archives, idx, picture_lists, voc_labels
from keras_leoclr.data.readers.files import (
    HIDDEN,
    LITTER,
    NO_SUFFIX,
    Index,
    cached_headers,
    in_mixed_order,
    move_too_large,
    read_index,
    state_or_reason,
)
from keras_leoclr.data.readers.folder import FolderImages, check_types, indexed_images
from keras_leoclr.data.readers.folder_splits import other_splits, split_folder
from keras_leoclr.data.readers.folder_warnings import left_out
from keras_leoclr.data.readers.labels_csv import NAME
from keras_leoclr.data.readers.places import Place, Reading, RunsBelow, suffixes_of
from keras_leoclr.data.splits import SplitError, split_name, split_rows

TWICE, FOLDER = "named more than once", "folder"


def places_in(name: str, pixels: channels.ChannelPixels | None = None) -> list[str] | None:
    """Returns the places that a name stands for; None if it names a source of another kind.

    Args:
        name: a pattern, a list, an archive, or several places with commas between them. If a file or a folder
            has exactly this name, commas and brackets included, it is one place.
        pixels: see `Reading`.
    """
    suffixes = suffixes_of(pixels)
    if os.path.exists(name):
        return [name] if os.path.isfile(name) and (_is_list(name) or archives.is_archive(name)) else None
    if "," in name:
        return [os.path.expanduser(part.strip()) for part in name.split(",") if part.strip()]
    if not glob.has_magic(name):
        return None
    if name.lower().endswith(archives.ARCHIVES) or _is_picture(name, suffixes):
        return [name]
    found = glob.iglob(name, recursive=True)
    return [name] if any(_is_picture(path, suffixes) or archives.is_archive(path) for path in found) else None


def mixed_images(
    names: Iterable[str], split: str, failures: Failures, progress: bool = True, **options: Any
) -> FolderImages:
    """Returns the pictures of several places. Each is there once; their order is that of a hash of the path.

    A picture is there once also if one place is a link to another, or to a folder around it.

    Args:
        names: paths and patterns of the places.
        split: "train" or a slice of it. If all places are folders with sub-folders for splits, any of these.
        failures: counts the pictures that cannot be read.
        progress: whether progress is shown if reading the headers takes longer than a second.
        **options: `skip`, `background`, `max_pixels` and `pixels` of `FolderImages`.

    Raises:
        ValueError: if a place holds no pictures, or for the reasons of `folder_images`.
        FileNotFoundError: if a place does not exist.
    """
    pixels = options.get("pixels")
    reading = Reading(options.get("max_pixels", decode.MAX_PIXELS), progress, pixels)
    places = [place for name in names for place in _places(name, split_name(split), reading)]
    merged, known = Place(b""), {}
    for place in places:
        _add(merged, place, known)
    root = _common_folder(places, merged)
    start = len(os.path.join(root, b""))
    move_too_large(merged.headers, merged.failures, reading.max_pixels)
    headers = in_mixed_order({path[start:]: header for path, header in merged.headers.items()})
    broken = {path[start:]: reason for path, reason in sorted(merged.failures.items())}
    index = Index(headers, broken, merged.ignored, [], merged.runs, mixed=True)
    if pixels is not None:
        check_types(index, pixels)
    failures.total = len(index.headers) + len(index.failures)
    classes = {path[start:]: name for path, name in merged.classes.items()}
    images = indexed_images(root, index, failures, listed=_labels(headers, classes), **options)
    return images.subset(split_rows(split, images.count))


def _places(name: str, split: str, reading: Reading) -> list[Place]:
    path = os.path.abspath(os.path.expanduser(name))
    if os.path.isdir(path):
        return [_of_folder(path, split, reading)]
    if split != "train":
        raise SplitError(
            f'`split` of several places must be "train", or one that all of them have as folders. '
            f"Received: split={split!r}, with {shown(name)}, which is no folder"
        )
    if archives.is_archive(path):
        return [_with_headers(_of_archive(path, reading.suffixes), path, reading)]
    if os.path.isfile(path) and _is_list(path):
        return [_with_headers(_of_list(path), path, reading)]
    if os.path.isfile(path) and _is_picture(path, reading.suffixes):
        place = Place(os.fsencode(os.path.dirname(path)))
        place.states[os.fsencode(path)] = archives.state_of(path)
        return [_with_headers(place, path, reading)]
    if os.path.isfile(path):
        raise ValueError(
            "`name_or_path`: several places may be folders of pictures, patterns, .txt and .csv lists, .zip "
            f"and .tar archives, and pictures. Received: {shown(name)}"
        )
    if not glob.has_magic(path):
        raise FileNotFoundError(
            f"`name_or_path`: one of several places is not there. Received: {shown(name)}"
        )
    return [_with_headers(place, path, reading) for place in _of_pattern(path, reading.suffixes)]


def _of_folder(path: str, split: str, reading: Reading) -> Place:
    root = os.fsencode(split_folder(path, split))
    odd = [where for where in (os.fsencode(path), root) if os.path.isfile(os.path.join(where, NAME.encode()))]
    if odd or idx.has_idx(path) or voc_labels.is_voc(path):
        raise ValueError(
            f"`name_or_path`: a folder with {NAME}, of Pascal VOC or of IDX files must be the only place. "
            f"Received: {shown(path)} among several"
        )
    without = other_splits(path, os.fsdecode(root))
    found = read_index(root, reading.max_pixels, reading.progress, reading.suffixes, reading.read, without)
    place = Place(root, ignored=found.ignored, runs=[os.path.join(root, run) for run in found.runs])
    place.headers = {os.path.join(root, path): header for path, header in found.headers.items()}
    place.failures = {os.path.join(root, path): reason for path, reason in found.failures.items()}
    place.take_classes_of_folders(root)
    if len(place.classes) < len(
        place.headers
    ):  # A picture that lies beside the folders has no class; then no picture has one.
        place.classes = {}
    return place


def _of_archive(path: str, suffixes: tuple[bytes, ...]) -> Place:
    base = os.fsencode(path)
    place = Place(base)
    for name, member in archives.members(path).items():
        parts = name.split(b"/")
        if any(part.startswith(b".") or part in LITTER for part in parts):
            place.ignored[HIDDEN] += 1
        elif not name.lower().endswith(suffixes):
            place.ignored[os.fsdecode(os.path.splitext(name)[1].lower()) or NO_SUFFIX] += 1
        elif member.problem:
            place.failures[base + b"/" + name] = member.problem
        else:
            full = base + b"/" + name
            place.states[full] = archives.state_of(full)
    tops = {path[len(base) + 1 :].split(b"/")[0] for path in place.states}
    deep = all(path[len(base) + 1 :].count(b"/") >= 2 for path in place.states)
    # Many archives hold a single folder with everything else; its sub-folders are the classes then.
    place.take_classes_of_folders(os.path.join(base, *tops) if len(tops) == 1 and deep else base)
    if len(place.classes) < len(place.states):
        place.classes = {}
    return place


def _of_list(path: str) -> Place:
    base = os.fsencode(os.path.dirname(path))
    listed = picture_lists.read_list(path)
    place = Place(base, ignored=collections.Counter({TWICE: listed.repeated} if listed.repeated else {}))
    for name in listed.paths:
        try:
            place.states[name] = archives.state_of(name)
        except OSError as error:
            place.failures[name] = f"named by {shown(os.path.basename(path))}, {error.strerror}"
    if listed.classes is None:
        place.take_classes_of_folders(base)
    else:
        place.classes = {name: listed.classes[name] for name in place.states}
    return place


def _of_pattern(pattern: str, suffixes: tuple[bytes, ...]) -> list[Place]:
    fixed = pattern
    while glob.has_magic(fixed):
        fixed = os.path.dirname(fixed)
    place, others = Place(os.fsencode(fixed)), []
    runs = RunsBelow(place.base)
    for path in glob.iglob(pattern, recursive=True):
        if os.path.isdir(path):
            place.ignored[FOLDER] += 1
        elif runs.own(os.fsencode(path)):
            continue
        elif archives.is_archive(path):
            others.append(_of_archive(path, suffixes))
        elif _is_picture(path, suffixes):
            found = state_or_reason(os.stat, path)
            (place.failures if isinstance(found, str) else place.states)[os.fsencode(path)] = found
        else:
            place.ignored[os.path.splitext(path)[1].lower() or NO_SUFFIX] += 1
    place.runs = runs.found
    if not (place.states or place.failures or others):
        matched = f"{place.ignored.total():,} other files and folders" if place.ignored else "nothing"
        matched += f"; {left_out(place.runs)}" if place.runs else ""
        raise ValueError(
            "`name_or_path`: a pattern must match pictures. "
            f"Received: {shown(pattern)}, which matches {matched}"
        )
    place.take_classes_of_folders(place.base)
    return [place, *others] if place.states or place.failures else others


def _with_headers(place: Place, name: str, reading: Reading) -> Place:
    """Reads the headers of the pictures whose size and time are known."""
    key = b"\0".join([b"place", os.fsencode(name), place.base])
    found, failures = cached_headers(b"", place.states, reading.progress, key, reading.read)
    place.headers |= found
    place.failures |= failures
    return place


def _add(merged: Place, place: Place, known: dict[bytes, bytes]) -> None:
    """Adds the pictures of a place; `known` has the path of each picture by the one that no link is in."""
    real = os.path.realpath(place.base)

    def named(path):
        inside = path.startswith(os.path.join(place.base, b""))
        return known.setdefault(real + path[len(place.base) :] if inside else path, path)

    for path, header in place.headers.items():
        first, own = named(path), place.classes.get(path)
        if first in merged.headers:
            merged.ignored[TWICE] += 1
            classes = merged.classes.get(first), own
            if None not in classes and len(set(classes)) > 1:
                raise ValueError(
                    "`name_or_path`: a picture in several places must have the same class in all of them. "
                    f"Received: {shown(path)}, with {classes[0]} and {classes[1]}"
                )
        merged.headers[first] = header
        if own is not None:
            merged.classes[first] = own
    merged.failures |= {named(path): reason for path, reason in place.failures.items()}
    merged.ignored += place.ignored
    merged.runs += [run for run in map(named, place.runs) if run not in merged.runs]


def _common_folder(places: list[Place], merged: Place) -> bytes:
    bases = {place.base for place in places}
    starts = tuple(os.path.join(base, b"") for base in bases)
    outside = {os.path.dirname(p) for p in (*merged.headers, *merged.failures) if not p.startswith(starts)}
    return os.path.commonpath([*bases, *outside])


def _labels(headers: Iterable[bytes], classes: dict[bytes, str]) -> tuple[tuple[str, ...], np.ndarray | None]:
    """Returns the names of the classes and the labels (N,) int64.

    Without labels for all pictures, the result is `((), None)`. A picture to which a list gives an empty
    class has the label -1.
    """
    given = [classes.get(path) for path in headers]
    if None in given or not any(given):
        if any(given):
            warnings.warn(
                f"{sum(map(bool, given)):,} of {len(given):,} pictures lie in folders of classes and the "
                "others do not: all are taken, without labels.",
                stacklevel=3,
            )
        return (), None
    names = tuple(sorted(set(given) - {""}))
    number = {name: place for place, name in enumerate(names)} | {"": -1}
    return names, np.array([number[name] for name in given], np.int64)


def _is_list(path: str) -> bool:
    return path.lower().endswith(picture_lists.LISTS)


def _is_picture(path: str, suffixes: tuple[bytes, ...]) -> bool:
    return os.fsencode(path).lower().endswith(suffixes)
