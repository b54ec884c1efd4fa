"""Names of checkpoint files; in a module of its own, so that listing checkpoints does not load NumPy."""

from __future__ import annotations

import os
import pathlib

SUFFIX = ".safetensors"


def path_of(folder: str | os.PathLike, step: int) -> pathlib.Path:
    """Path of the checkpoint that is written after `step` training steps."""
    return pathlib.Path(folder) / f"step-{step:09d}{SUFFIX}"


def paths(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Paths of the checkpoints in a folder, oldest first.

    They are sorted by training step and not by time, because clocks of machines can be wrong.
    """
    return sorted(pathlib.Path(folder).glob(f"step-*{SUFFIX}"))
