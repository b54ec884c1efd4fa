"""Checkpoint files: written whole or not at all, checked bit by bit, and readable without this library.

A checkpoint is a safetensors file (https://github.com/huggingface/safetensors), so that loading it cannot run
code. The metadata in its header hold the state of the run as JSON and the SHA-256 checksum of the whole file.
The checksum is computed with zeros in the place where the checksum itself is stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import re
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from keras_leoclr.runs.files import TO_HASH, whole_path

NO_DIGEST = "0" * 64
# Quotes in names and in the state are escaped in JSON, so this pattern can match only the checksum itself.
DIGEST = re.compile(rb'"sha256":\s*"([0-9a-f]{64})"')
SYSTEM_ERROR = re.compile(r"(?:os error|code:) (\d+)")  # how safetensors' messages give an OSError's number


class DamagedCheckpointError(ValueError):
    """The content of a checkpoint file differs from what was written, or the file is incomplete."""


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: path of the file.
        arrays: name -> array of numbers (bfloat16 included) or of bools.
        state: everything else that `read` is to return; it must be something that JSON can hold.

    Raises:
        OSError: if the file cannot be written; the error names the file.
    """
    metadata = {"sha256": NO_DIGEST, "state": json.dumps(state)}
    with whole_path(path) as partial:
        try:
            ordered = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            safetensors.numpy.save_file(ordered, partial, metadata)
        except safetensors.SafetensorError as error:
            number = SYSTEM_ERROR.search(str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
        place = _place_of_digest(_header(partial))
        with partial.open("r+b") as file:
            digest = _digest(file, place)
            file.seek(place)
            file.write(digest.encode())


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Returns the arrays and the state of a checkpoint, exactly as they were written.

    Args:
        path: path of the file.

    Raises:
        DamagedCheckpointError: if the file differs in a single bit from what was written.
    """
    header = _header(path)
    state = _state(header)
    place = _place_of_digest(header)
    written = header[place - 8 :][: len(NO_DIGEST)].decode()
    with pathlib.Path(path).open("rb") as file:
        found = _digest(file, place)
        size = os.fstat(file.fileno()).st_size
    if found != written:
        raise DamagedCheckpointError(f"SHA-256 {found[:12]}..., written as {written[:12]}..., {size} bytes")
    with safetensors.safe_open(path, "np") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, state


def read_state(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the state alone, which stands in the header; the rest of the file is not read or checked.

    Raises:
        DamagedCheckpointError: if the header is incomplete or cannot be read.
    """
    return _state(_header(path))


def _header(path: str | os.PathLike) -> bytes:
    """Returns the header of the file; the eight bytes before it hold its length."""
    with pathlib.Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 + length:
            raise DamagedCheckpointError(f"the file ends in its header, after {size} bytes")
        return file.read(length)


def _place_of_digest(header: bytes) -> int:
    found = DIGEST.search(header)
    if found is None:
        raise DamagedCheckpointError("the header has no SHA-256")
    return 8 + found.start(1)


def _digest(file, place: int) -> str:
    """Returns the SHA-256 of an open file, computed with zeros in the place of the stored checksum."""
    file.seek(0)
    digest = hashlib.sha256(file.read(place))
    file.seek(len(NO_DIGEST), os.SEEK_CUR)
    digest.update(NO_DIGEST.encode())
    while piece := file.read(TO_HASH):
        digest.update(piece)
    return digest.hexdigest()


def _state(header: bytes) -> dict[str, Any]:
    try:
        return dict(json.loads(json.loads(header)["__metadata__"]["state"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(f"the header cannot be read: {error}") from error
