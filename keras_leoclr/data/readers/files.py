"""Finds the pictures in a folder and reads their headers."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import errno
import hashlib
import os
import stat
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from keras_leoclr import terminal
from keras_leoclr.data.decode import Header, read_header
from keras_leoclr.data.failures import ImageError
from keras_leoclr.data.readers.archives import open_file
from keras_leoclr.data.readers.header_cache import read_cache, write_cache
from keras_leoclr.runs.folder import holds_results, names_in_a_run

SUFFIXES = (b".jpg", b".jpeg", b".jpe", b".jfif", b".png", b".webp", b".bmp", b".gif", b".tif", b".tiff")
HIDDEN, LOOP, NO_SUFFIX = "hidden", "link to a folder around it", "no extension"
OTHER_SPLIT = "folder of another split"
AGAIN, NOWHERE = "link to a folder that is read already", "link that leads nowhere"
# Formats of pictures that are not read, and files that may contain pictures.
OTHER_PICTURES = (
    *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".jpx", ".jpf", ".jxr", ".svg", ".svgz"),
    *(".psd", ".tga", ".ppm", ".pgm", ".pbm", ".pnm", ".exr", ".hdr", ".dcm", ".dicom", ".ico", ".icns"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".srw", ".pef", ".npy"),
    *(".eps", ".ai", ".pdf", ".qoi", ".pcx", ".dds", ".xcf", ".webm", ".mp4", ".mov", ".avi", ".mkv"),
)
PACKED = (".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar", ".bz2", ".xz", ".zst")
# Folders that programs leave behind and that are ignored, like hidden folders.
LITTER = (b"__MACOSX", b"@eaDir")
_THREADS = 8
OF_A_RUN = names_in_a_run()


@dataclasses.dataclass
class Scan:
    """The files below a folder.

    Attributes:
        files: dictionary from path relative to the folder to (size in bytes, time of change in ns); only
            pictures.
        problems: dictionary from path relative to the folder to the reason why it cannot be read.
        ignored: number of ignored files by extension, or by another reason.
        folders: names of the first-level folders, sorted.
        runs: paths of the folders that hold runs or results and are left out; "." for `root`.
    """

    files: dict[bytes, tuple[int, int]] = dataclasses.field(default_factory=dict)
    problems: dict[bytes, str] = dataclasses.field(default_factory=dict)
    ignored: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    folders: list[bytes] = dataclasses.field(default_factory=list)
    runs: list[bytes] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Index:
    """The pictures below a folder; paths are relative to it.

    Attributes:
        headers: dictionary from path to Header, in the order of the hash of the path, which is the same on
            every machine and sorted neither by class nor by date.
        failures: dictionary from path to reason.
        ignored: number of ignored files by extension, or by another reason.
        folders: names of the first-level folders, sorted.
        runs: see `Scan`.
        mixed: whether these are the pictures of several places, or of a place that is no folder.
    """

    headers: dict[bytes, Header]
    failures: dict[bytes, str]
    ignored: collections.Counter
    folders: list[bytes]
    runs: list[bytes] = dataclasses.field(default_factory=list)
    mixed: bool = False


def read_index(
    folder: str | bytes | os.PathLike,
    max_pixels: int,
    progress: bool = True,
    suffixes: tuple[bytes, ...] = SUFFIXES,
    read: Callable[[BinaryIO], Header] | None = None,
    without: frozenset[bytes] = frozenset(),
) -> Index:
    """Finds the pictures below a folder and reads their headers.

    Headers come from the cache if name, size and time of change of a file are those of the last call.

    Args:
        folder: path of the folder; it is searched at any depth, and links are followed.
        max_pixels: largest width times height of a picture; larger ones count as failures.
        progress: whether to show a progress bar if it takes longer than a second; true by default.
        suffixes: extensions of the pictures.
        read: reads a header, `decode.read_header` by default; what another function reads is not kept.
        without: names of first-level folders that are not read; none by default.
    """
    root = os.path.abspath(os.fsencode(folder))
    scan = scan_folder(root, suffixes, without)
    headers, failures = cached_headers(root, scan.files, progress, read=read)
    failures |= scan.problems
    move_too_large(headers, failures, max_pixels)
    ordered = in_mixed_order(headers)
    return Index(ordered, dict(sorted(failures.items())), scan.ignored, scan.folders, scan.runs)


def cached_headers(
    root: bytes,
    states: dict[bytes, tuple[int, int]],
    progress: bool,
    key: bytes | None = None,
    read: Callable[[BinaryIO], Header] | None = None,
) -> tuple[dict[bytes, Header], dict[bytes, str]]:
    """Headers by path, and reasons of the files that have none; from the cache where a file is the same.

    Args:
        root: what paths are relative to.
        states: path -> (size in bytes, time of change in ns).
        progress: whether a bar is shown if it takes longer than a second.
        key: name of the cache; None for `root`.
        read: reads a header, `decode.read_header` by default; what another function reads is not kept.
    """
    key = root if key is None else key
    kept = read is None
    known = read_cache(key) if kept else {}
    headers, failures = {}, {}
    missing = []
    for path, state in states.items():
        cached_state, header = known.get(path, (None, None))
        if cached_state == state:
            headers[path] = header
        elif state[0] == 0:
            failures[path] = "empty, 0 bytes"
        else:
            missing.append(path)
    for path, outcome in _read_headers(root, missing, progress, read or read_header):
        if isinstance(outcome, Header):
            headers[path] = outcome
        else:
            failures[path] = outcome
    rows = {path: (states[path], header) for path, header in headers.items()}
    if rows != known and kept:
        write_cache(key, rows)
    return headers, failures


def move_too_large(headers: dict[bytes, Header], failures: dict[bytes, str], max_pixels: int) -> None:
    """Pictures of more than `max_pixels` become failures."""
    for path, header in list(headers.items()):
        if header.width * header.height > max_pixels:
            failures[path] = (
                f"{header.width} x {header.height} pixels are more than `max_pixels`, {max_pixels:,}, allows"
            )
            del headers[path]


def in_mixed_order(headers: dict[bytes, Header]) -> dict[bytes, Header]:
    """The headers in the order of the hash of their path."""
    return {path: headers[path] for path in sorted(headers, key=_place)}


def scan_folder(
    root: bytes, suffixes: tuple[bytes, ...] = SUFFIXES, without: frozenset[bytes] = frozenset()
) -> Scan:
    """Lists the pictures below `root` by their names; none is opened.

    Pictures that a run has written, such as the sheet of its views, are not data, so folders that hold runs
    are left out. If `root` itself holds a run, only the run's own files are left out. The first-level folders
    whose names are in `without` are not listed either.
    """
    scan = Scan()
    # A folder that is reached by a link is read only once for each first-level folder. Otherwise folders that
    # link to each other would be read on every possible path.
    through_links = set()
    waiting = [(b"", frozenset([_identity(os.stat(root))]), False)]
    while waiting:
        below, around, linked = waiting.pop()
        try:
            with os.scandir(os.path.join(root, below)) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not below:
                raise
            scan.problems[below] = f"cannot be listed: {error.strerror}"
            continue
        if holds_results(os.path.join(root, below), {os.fsdecode(entry.name) for entry in entries}):
            scan.runs.append(below or b".")
            entries = [] if below else [e for e in entries if os.fsdecode(e.name) not in OF_A_RUN]
        for entry in entries:
            path = os.path.join(below, entry.name)
            if entry.name.startswith(b".") or entry.name in LITTER:
                scan.ignored[HIDDEN] += 1
            elif not below and entry.name in without:
                scan.ignored[OTHER_SPLIT] += 1
            elif is_folder(entry):
                identity = _identity(entry.stat())
                by_link = linked or entry.is_symlink()
                place = (path.split(b"/", 1)[0], identity)
                if identity in around or (by_link and place in through_links):
                    scan.ignored[LOOP if identity in around else AGAIN] += 1
                    continue
                if by_link:
                    through_links.add(place)
                waiting.append((path, around | {identity}, by_link))
                if not below:
                    scan.folders.append(entry.name)
            elif entry.name.lower().endswith(suffixes):
                found = state_or_reason(os.DirEntry.stat, entry)
                (scan.problems if isinstance(found, str) else scan.files)[path] = found
            else:
                suffix = os.fsdecode(os.path.splitext(entry.name)[1].lower())
                nowhere = not suffix and not os.path.exists(os.path.join(root, path))
                scan.ignored[NOWHERE if nowhere else suffix or NO_SUFFIX] += 1
    # A folder that contains nothing but runs is not a class.
    full = {path.split(b"/", 1)[0] for path in (*scan.files, *scan.problems)}
    emptied = {path.split(b"/", 1)[0] for path in scan.runs} - full
    scan.folders = sorted(name for name in scan.folders if name not in emptied)
    scan.runs.sort()
    return scan


def is_folder(entry: os.DirEntry) -> bool:
    """Whether an entry is a folder, or a link to one; a link that leads to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def state_or_reason(stat_of: Callable[[Any], os.stat_result], path: Any) -> tuple[int, int] | str:
    """Size in bytes and time of change in ns of a file; if it cannot be read, the reason.

    Args:
        stat_of: function that takes `path`, such as `os.stat`.
        path: path of the file, or an entry of a folder.
    """
    try:
        found = stat_of(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself"
        return "a link to nothing" if os.path.islink(path) else f"cannot be opened: {error.strerror}"
    if not stat.S_ISREG(found.st_mode):
        return "neither a file nor a folder"  # Reading a pipe, for instance, would block.
    return found.st_size, found.st_mtime_ns


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _place(path: bytes) -> tuple[bytes, bytes]:
    return hashlib.blake2b(path, digest_size=8).digest(), path


def _read_headers(
    root: bytes, paths: list[bytes], progress: bool, read: Callable[[BinaryIO], Header]
) -> Iterator[tuple[bytes, Header | str]]:
    """Yields pairs of path and header, or of path and reason."""

    def one(path):
        try:
            with open_file(os.path.join(root, path)) as file:
                return path, read(file)
        except OSError as error:
            return path, f"cannot be opened: {error.strerror}"
        except ImageError as error:
            return path, str(error)

    # Threads hide the latency of the disk. Pillow's warnings about pixels are irrelevant for headers.
    executor = concurrent.futures.ThreadPoolExecutor(_THREADS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            chunks = [paths[start : start + 64] for start in range(0, len(paths), 64)]
            done = executor.map(lambda chunk: [one(path) for path in chunk], chunks)
            pairs = (pair for chunk in done for pair in chunk)
            yield from terminal.progress(pairs, len(paths), "Headers", "files", progress)
        finally:
            executor.shutdown(cancel_futures=True)
