"""The checkpoint folder of a run: finding the newest undamaged one, writing and deleting."""

from __future__ import annotations

import math
import pathlib
import re
import warnings
from typing import Any

import numpy as np

from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.checkpoint_file import DamagedCheckpointError
from keras_leoclr.runs.files import delete_partial

WRITTEN = rf".+{re.escape(checkpoint_paths.SUFFIX)}|model\.keras"  # names of the files in this folder


def epochs_done(folder: pathlib.Path) -> int:
    """Number of whole epochs that were trained before the newest readable checkpoint; 0 without one."""
    return position(folder)[0]


def position(folder: pathlib.Path) -> tuple[int, int]:
    """Whole epochs and steps of the next one before the newest readable checkpoint; (0, 0) without one."""
    epochs, batches, _ = newest_position(folder) or (0, 0, None)
    return epochs, batches


def newest_position(folder: pathlib.Path) -> tuple[int, int, int | None] | None:
    """The position of the newest readable checkpoint; None without one.

    Returns:
        Number of whole epochs that are done, of steps of the next epoch, and of steps of an epoch,
        which is None if it was not known.
    """
    for path in reversed(checkpoint_paths.paths(folder)):
        try:
            state = checkpoint_file.read_state(path)
            epochs, batches = state["position"]
            return epochs, batches, state["steps"]
        except (DamagedCheckpointError, OSError, KeyError):
            continue
    return None


def newest_whole(
    folder: pathlib.Path, writes: bool = True
) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
    """Returns arrays and state of the newest checkpoint that is not damaged; None without any checkpoint.

    Args:
        folder: path of the folder.
        writes: whether to delete partly written files and to rename damaged files to "*.damaged"; True by
            default.

    Raises:
        DamagedCheckpointError: if all checkpoints are damaged. They keep their names then, so that starting
            the run once more fails again instead of training from the beginning.
    """
    if writes:
        delete_partial(folder, WRITTEN, folders=True)
    damaged = []
    for path in reversed(checkpoint_paths.paths(folder)):
        try:
            whole = checkpoint_file.read(path)
        except DamagedCheckpointError as error:
            damaged.append(path)
            warnings.warn(f"The checkpoint {path} is damaged: {error}.", stacklevel=4)
            continue
        for each in damaged if writes else ():
            each.rename(each.with_name(each.name + ".damaged"))
        if damaged:
            warnings.warn(
                f"Going on from {path.name}; what is damaged was set aside as *.damaged.", stacklevel=4
            )
        return whole
    if damaged:
        raise DamagedCheckpointError(
            f"`folder` must hold a whole checkpoint; all {len(damaged)} of them are damaged. "
            f"Received: folder={folder}"
        )
    return None


def write(
    folder: pathlib.Path, step: int, arrays: dict[str, np.ndarray], state: dict[str, Any]
) -> pathlib.Path:
    """Writes a checkpoint.

    Args:
        folder: path of the folder, which is made if it is missing.
        step: number of training steps that are done.
        arrays: name -> array, see `checkpoint_file.write`.
        state: what else belongs to the checkpoint, see `checkpoint_file.write`.

    Returns:
        Path of the file.

    Raises:
        OSError: if it cannot be written; the earlier checkpoints stay unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = checkpoint_paths.path_of(folder, step)
    try:
        checkpoint_file.write(path, arrays, state)
    except OSError as error:
        before = checkpoint_paths.paths(folder)
        advice = f"{before[-1].name} is whole: make room and start again" if before else "There is none yet"
        raise OSError(
            error.errno,
            f"{error.strerror}; the checkpoint after step {step} could not be written. {advice}",
            str(path),
        ) from error
    return path


def delete_later(folder: pathlib.Path, step: int) -> None:
    """Deletes the checkpoints that were written after more than `step` training steps."""
    last = checkpoint_paths.path_of(folder, step)
    for path in checkpoint_paths.paths(folder):
        if path > last:
            path.unlink()


def delete_old(folder: pathlib.Path, keep: int) -> None:
    """Deletes all checkpoints except the newest ones and the one with the largest `value` in its state.

    Args:
        folder: path of the folder.
        keep: >= 1, how many of the newest checkpoints stay.
    """
    found = checkpoint_paths.paths(folder)
    values = {}
    for path in found:
        try:
            values[path] = checkpoint_file.read_state(path)["value"]
        except (DamagedCheckpointError, OSError):
            continue  # no warning here: `newest_whole` warns about a damaged file when it reads it
    # NaN compares as neither larger nor smaller: as the first value it would stay the best for ever.
    measured = [path for path in found if values.get(path) is not None and not math.isnan(values[path])]
    best = max(measured, key=lambda path: values[path], default=None)
    for path in found[:-keep]:
        if path != best:
            path.unlink()
