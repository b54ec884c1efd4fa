"""Names of checkpoint files; separate from their format, so that asking for them does not load NumPy."""

from __future__ import annotations

import os
import pathlib

SUFFIX = ".safetensors"


def path_of(folder: str | os.PathLike, step: int) -> pathlib.Path:
    """Path of the checkpoint after so many steps."""
    return pathlib.Path(folder) / f"step-{step:09d}{SUFFIX}"


def paths(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The checkpoints of a folder, oldest first: by training step, so that no clock matters."""
    return sorted(pathlib.Path(folder).glob(f"step-*{SUFFIX}"))
