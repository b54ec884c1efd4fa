"""Checkpoint files: written whole or not at all, checked bit by bit, and readable without this library.

A file is a safetensors file (https://github.com/huggingface/safetensors): 8 bytes, the length of the header
as a little-endian number; the header, JSON, `{name: {"dtype", "shape", "data_offsets"}}`; the numbers. What
it holds of the run is JSON in the header's `__metadata__`, beside the SHA-256 of the whole file, computed
with zeros in its own place. Nothing in it is code: there is no pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import random
from typing import Any

import keras
import ml_dtypes
import numpy as np

from keras_leoclr import distribution
from keras_leoclr.runs.files import PARTIAL, whole_file  # noqa: F401

SUFFIX = ".safetensors"
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
NUMPY_DTYPES = {code: np.dtype(getattr(ml_dtypes, name, name)) for name, code in DTYPES.items()}
NO_DIGEST = "0" * 64


class DamagedCheckpointError(ValueError):
    """A file is not what was written."""


# === Files ===


def write(path: str | os.PathLike, arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: of the file.
        arrays: by name, of the dtypes in `DTYPES`.
        state: anything else that is to come back, as JSON can hold it.
    """
    header: dict[str, Any] = {"__metadata__": {"sha256": NO_DIGEST, "state": json.dumps(state)}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        dtype = DTYPES[str(array.dtype)]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with whole_file(path) as file:
        for piece in (len(text).to_bytes(8, "little"), text):
            file.write(piece)
            digest.update(piece)
        for array in arrays.values():
            # a view as bytes: bfloat16 has no buffer of its own, and nothing is copied
            piece = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            file.write(piece)
            digest.update(piece)
        file.seek(8 + text.index(NO_DIGEST.encode()))
        file.write(digest.hexdigest().encode())


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and state of a checkpoint, exactly as they were written.

    Args:
        path: of the file.

    Raises:
        DamagedCheckpointError: if a single bit is not as it was.
    """
    data = pathlib.Path(path).read_bytes()
    header = _header(data)
    digest = str(header["__metadata__"].get("sha256"))
    place = data.find(digest.encode(), 8)
    hashed = hashlib.sha256(data[:place])
    hashed.update(NO_DIGEST.encode())
    hashed.update(memoryview(data)[place + len(NO_DIGEST) :])
    if len(digest) != len(NO_DIGEST) or hashed.hexdigest() != digest:
        raise DamagedCheckpointError(
            f"SHA-256 {hashed.hexdigest()[:12]}..., written as {digest[:12]}..., {len(data)} bytes"
        )
    state = _state(header)
    del header["__metadata__"]
    base = 8 + int.from_bytes(data[:8], "little")
    arrays = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        flat = np.frombuffer(data, np.uint8, end - start, base + start)
        arrays[name] = flat.view(NUMPY_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return arrays, state


def read_state(path: str | os.PathLike) -> dict[str, Any]:
    """The state alone, from the header; the rest of the file is not checked.

    Raises:
        DamagedCheckpointError: if there is no header.
    """
    with pathlib.Path(path).open("rb") as file:
        data = file.read(8)
        size = min(int.from_bytes(data, "little"), os.fstat(file.fileno()).st_size)
        data += file.read(size)
    return _state(_header(data))


def _header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or len(data) < 8 + length:
        raise DamagedCheckpointError(f"the file ends in its header, after {len(data)} bytes")
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError as error:
        raise DamagedCheckpointError(f"the header cannot be read: {error}") from error
    if not isinstance(header, dict) or not isinstance(header.get("__metadata__"), dict):
        raise DamagedCheckpointError("the header has no metadata")
    return header


def _state(header: dict[str, Any]) -> dict[str, Any]:
    try:
        return dict(json.loads(header["__metadata__"]["state"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedCheckpointError(f"the header's state cannot be read: {error}") from error


def path_of(folder: str | os.PathLike, step: int) -> pathlib.Path:
    """Where the checkpoint after so many steps lies."""
    return pathlib.Path(folder) / f"step-{step:09d}{SUFFIX}"


def paths(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The checkpoints of a folder, oldest first: by training step, so that no clock matters."""
    return sorted(pathlib.Path(folder).glob(f"step-*{SUFFIX}"))


# === The state of a model ===


def _groups(model: keras.Model) -> dict[str, list]:
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    # Reading a metric of several workers is a sum over them, in which all would have to take part.
    alone = not distribution.spans_workers(distribution.strategy_of(model))
    return {
        "model": model.variables,
        "optimizer": [] if model.optimizer is None else model.optimizer.variables,
        "metrics": model.metrics_variables if alone else [],
    }


def arrays_of(model: keras.Model) -> dict[str, np.ndarray]:
    """Every number of a model in training, `{"model/0003/path": array}`.

    Both encoders, BatchNorm's statistics, the queue and its pointer, the optimizer's iterations and slots,
    the states of seed generators, and the totals of the metrics.
    """
    if keras.backend.backend() == "jax":
        model.jax_state_sync()  # within an epoch, the numbers are not in the variables
    return {
        f"{group}/{number:04d}/{variable.path}": np.asarray(keras.ops.convert_to_numpy(variable))
        for group, variables in _groups(model).items()
        for number, variable in enumerate(variables)
    }


def restore(model: keras.Model, arrays: dict[str, np.ndarray], groups: tuple[str, ...]) -> None:
    """Puts the numbers of `arrays_of` back, if all of them fit.

    Args:
        model: compiled, of the architecture that was saved.
        arrays: as `arrays_of` returned them.
        groups: which to restore, of "model", "optimizer" and "metrics".

    Raises:
        ValueError: if the model has other variables. It is as it was then.
    """
    pairs = []
    for group, variables in _groups(model).items():
        if group not in groups:
            continue
        # by number, not by path: Keras counts the names of layers within a process
        saved = sorted(name for name in arrays if name.startswith(f"{group}/"))
        if len(saved) != len(variables):
            raise ValueError(
                f"`model` must have the variables that were saved. Received: {len(variables)} variables "
                f"({group}), {len(saved)} in the checkpoint"
            )
        for name, variable in zip(saved, variables, strict=True):
            array = arrays[name]
            here = (tuple(variable.shape), str(variable.dtype))
            if (array.shape, str(array.dtype)) != here:
                raise ValueError(
                    "`model` must have the variables that were saved. "
                    f"Received: {variable.path} {here}, in the checkpoint {array.shape, str(array.dtype)}"
                )
            pairs.append((variable, array))
    for variable, array in pairs:
        variable.assign(array)


def has_metrics(model: keras.Model, arrays: dict[str, np.ndarray]) -> bool:
    """Whether the model has all metrics that were saved; Keras makes some in the first step only."""
    saved = sum(name.startswith("metrics/") for name in arrays)
    return saved <= len(_groups(model)["metrics"])


# === Random states outside of the model ===


def random_states() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and JSON of the generators that are not a model's: Python's, NumPy's and torch's global ones."""
    _, keys, *numpy_rest = np.random.get_state()
    arrays = {"random/numpy": np.asarray(keys)}
    if keras.backend.backend() == "torch":
        import torch

        arrays["random/torch"] = torch.get_rng_state().numpy()
    version, numbers, gauss = random.getstate()
    return arrays, {"python": [version, list(numbers), gauss], "numpy": numpy_rest}


def restore_random_states(arrays: dict[str, np.ndarray], state: dict[str, Any]) -> None:
    """Puts back what `random_states` returned."""
    np.random.set_state(("MT19937", arrays["random/numpy"], *state["numpy"]))
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    if keras.backend.backend() == "torch" and "random/torch" in arrays:
        import torch

        torch.set_rng_state(torch.tensor(arrays["random/torch"]))
