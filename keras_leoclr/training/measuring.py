"""Range of values, mean and deviation of a recipe that asks for those of the data."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from keras_leoclr.data.splits import SplitError, split_name
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import load_split, open_split

if TYPE_CHECKING:
    from keras_leoclr.data.given import GivenImages


def ranged(
    recipe: Recipe, run: RunFolder | None = None, images: GivenImages | None = None
) -> tuple[Recipe, list[str]]:
    """The recipe with two numbers where `value_range` is "auto", and a line that says what they are.

    They are the least and the greatest value of all pictures of the splits that the recipe names, also of the
    test split if there is one: none of them may have a value outside of the range. A run that goes on keeps
    the range that it began with.

    Args:
        recipe: the settings.
        run: folder of the run; None for a new run.
        images: the images, where they are given as objects.
    """
    if recipe.value_range != "auto":
        return recipe, []
    begun = tuple(run.recipe().get("value_range", ())) if run is not None and run.holds_run else ()
    if len(begun) == 2:
        return dataclasses.replace(recipe, value_range=begun), []
    # They need TensorFlow, as reading images does.
    from keras_leoclr.data.extent import in_all_digits, value_range_of

    ends, count = [], 0
    splits = [split_name(split) for split in (recipe.train_split, recipe.labelled_split, recipe.test_split)]
    for number, split in enumerate(dict.fromkeys(splits)):

        def opened(extent, split=split):
            return open_split(dataclasses.replace(recipe, value_range=()), split, images, extent)

        try:
            found, pictures = value_range_of(opened, recipe.channels)
        except SplitError:
            if number == 0:
                raise
            continue  # There need not be a test split.
        ends, count = [*ends, *found], count + pictures
    low, high = min(ends), max(ends)
    typed = in_all_digits((low, high))
    line = f"value_range {typed}: the least and the greatest value of {count:,} pictures"
    return dataclasses.replace(recipe, value_range=(low, high)), [line]


def measured(
    recipe: Recipe,
    workdir: str | os.PathLike | None = None,
    overwrite: bool = False,
    images: GivenImages | None = None,
) -> tuple[Recipe, list[str]]:
    """The recipe with numbers where `value_range`, `mean` or `std` is "auto", and lines that say which.

    A run that goes on keeps the numbers that it began with. For a new run they are those of
    `data.statistics` of the training split.

    Args:
        recipe: the settings.
        workdir: folder of the run, if there is one.
        overwrite: whether a run that the folder already holds is started anew.
        images: the images, where they are given as objects.
    """
    run = None if workdir is None or overwrite else RunFolder(workdir)
    recipe, lines = ranged(recipe, run, images)
    wanted = [name for name in ("mean", "std") if getattr(recipe, name) == "auto"]
    if recipe.channels != 3:
        strengths = ",".join(f"{strength:g}" for strength in recipe.color_jitter)
        lines.append(
            f"color_jitter {strengths}: saturation, hue and greyscale are for RGB alone, and the pictures "
            f"have {recipe.channels} channel{'s' * (recipe.channels != 1)}"
        )
    if not wanted:
        return recipe, lines
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
