"""Finds mean and deviation of the images that a network in a file was trained on."""

from __future__ import annotations

import os
import pathlib

from keras_leoclr.backbones.torch_files import read_metadata
from keras_leoclr.runs.folder import RunFolder

Numbers = tuple[tuple[float, ...], tuple[float, ...]]


def image_numbers(path: str | os.PathLike) -> Numbers | None:
    """Mean and deviation that images are normalised with before they enter the network in a file.

    They are read from the metadata of a `.safetensors` file, as `to_torch` writes them, or else from the
    recipe of the run that the file lies in, see `RunFolder.around`. Layers of the network that normalise are
    not looked at, see `normalization_of`.

    Args:
        path: path of a file of any format, or of the folder of a run.

    Returns:
        Mean and standard deviation per channel, in [0, 1]; None if neither metadata nor a recipe tell them.

    Raises:
        TorchWeightsError: if a `.safetensors` file is damaged.
        ValueError: if `recipe.json` is damaged.
    """
    path = pathlib.Path(path).expanduser()
    of_file = _of_metadata(read_metadata(path)) if path.suffix == ".safetensors" and path.is_file() else None
    return of_file or _of_recipe(RunFolder.around(path).recipe())


def _of_metadata(metadata: dict[str, str]) -> Numbers | None:
    try:
        mean, std = (tuple(map(float, metadata[name].split(","))) for name in ("mean", "std"))
        return mean, std
    except (KeyError, ValueError):
        return None


def _of_recipe(recipe: dict) -> Numbers | None:
    return (tuple(recipe["mean"]), tuple(recipe["std"])) if {"mean", "std"} <= recipe.keys() else None
