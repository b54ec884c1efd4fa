"""Keeps the headers of pictures in the user's cache, so that a folder is read quickly the next time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib

import numpy as np
import PIL

from keras_leoclr.data.decode import Header
from keras_leoclr.runs.files import locked, whole_file

_FORMAT_OF_CACHE = f"2 {PIL.__version__}"


def cache_file(key: bytes) -> pathlib.Path:
    """The path of the file that keeps the headers of this key."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return pathlib.Path(base, "keras_leoclr", "index", hashlib.sha256(key).hexdigest()[:32] + ".npz")


def read_cache(key: bytes) -> dict[bytes, tuple[tuple[int, int], Header]]:
    """Returns what `write_cache` has kept; an empty dictionary if there is nothing, or it is not valid.

    Args:
        key: name of the cache, such as the path of a folder.

    Returns:
        ((size in bytes, time of change in ns), header) by path.
    """
    try:
        with np.load(cache_file(key), allow_pickle=False) as file:
            if str(file["about"]) != _FORMAT_OF_CACHE:
                return {}
            columns = {name: file[name].tolist() for name in file.files if name not in ("about", "paths")}
            names = file["paths"].tobytes()
        ends = np.cumsum(columns.pop("lengths")).tolist()
        paths = [names[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        fields = [columns[name] for name in Header._fields]
        headers = (Header(*values) for values in zip(*fields, strict=True))
        states = zip(columns["size"], columns["changed"], strict=True)
        return dict(zip(paths, zip(states, headers, strict=True), strict=True))
    except Exception:  # A damaged cache can fail in many ways and is simply written again.
        return {}


def write_cache(key: bytes, rows: dict[bytes, tuple[tuple[int, int], Header]]) -> None:
    """Keeps headers for later calls; a disk that cannot be written is no error.

    Args:
        key: name of the cache, such as the path of a folder.
        rows: ((size in bytes, time of change in ns), header) by path.
    """
    path = cache_file(key)
    sizes, changed = zip(*(state for state, _ in rows.values()), strict=True) if rows else ((), ())
    columns = {name: np.array([getattr(h, name) for _, h in rows.values()]) for name in Header._fields}
    columns |= {
        "about": np.array(_FORMAT_OF_CACHE),
        "paths": np.frombuffer(b"".join(rows), np.uint8),
        "lengths": np.array([len(name) for name in rows], np.int64),
        "size": np.array(sizes, np.int64),
        "changed": np.array(changed, np.int64),
    }
    # A full or read-only disk is not an error, because everything works without a cache, only more slowly.
    with contextlib.suppress(OSError):
        with locked(f"{path}.lock"), whole_file(path) as file:  # Several processes may write this cache.
            np.savez(file, **columns)
