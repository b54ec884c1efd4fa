"""Mean and deviation of a recipe that asks for those of the data."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import load_split

if TYPE_CHECKING:
    from keras_leoclr.data.given import GivenImages


def measured(
    recipe: Recipe,
    workdir: str | os.PathLike | None = None,
    overwrite: bool = False,
    images: GivenImages | None = None,
) -> tuple[Recipe, list[str]]:
    """The recipe with numbers where `mean` or `std` is "auto", and lines that say what they are.

    A run that goes on keeps the numbers that it began with. For a new run they are those of
    `data.statistics` of the training split.

    Args:
        recipe: the settings.
        workdir: folder of the run, if there is one.
        overwrite: whether a run that the folder already holds is started anew.
        images: the images, where they are given as objects.
    """
    wanted = [name for name in ("mean", "std") if getattr(recipe, name) == "auto"]
    lines = []
    if recipe.channels != 3:
        strengths = ",".join(f"{strength:g}" for strength in recipe.color_jitter)
        lines.append(
            f"color_jitter {strengths}: saturation, hue and greyscale are for RGB alone, and the pictures "
            f"have {recipe.channels} channel{'s' * (recipe.channels != 1)}"
        )
    if not wanted:
        return recipe, lines
    run = None if workdir is None or overwrite else RunFolder(workdir)
    begun = run.recipe() if run is not None and run.holds_run else {}
    if all(len(begun.get(name, ())) == recipe.channels for name in wanted):
        return dataclasses.replace(recipe, **{name: tuple(begun[name]) for name in wanted}), lines
    from keras_leoclr.data.channels import statistics  # needs TensorFlow, as reading images does

    found = statistics(load_split(recipe, recipe.train_split, images=images))
    for name in wanted:
        numbers = ",".join(f"{number:g}" for number in found[name])
        lines.append(f"{name} {numbers}: measured on {found['pictures']:,} training pictures")
    return dataclasses.replace(recipe, **{name: _of_channels(found[name], recipe) for name in wanted}), lines


def _of_channels(numbers: list[float], recipe: Recipe) -> tuple[float, ...]:
    """Numbers of grey pictures as those of three equal channels, where the recipe takes them as RGB."""
    return tuple(numbers) * (recipe.channels // len(numbers))
