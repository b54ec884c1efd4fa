"""Decides where the views of a run are made: on the host, or on the device within the training step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keras_leoclr import distribution

if TYPE_CHECKING:
    from keras_leoclr.runs.folder import RunFolder
    from keras_leoclr.training.recipe import Recipe


def place_of_views(recipe: Recipe, run: RunFolder | None = None) -> tuple[str, str]:
    """Returns where the views are made, and why.

    "auto" takes the device where the backend sees a GPU, except for pictures whose values are kept as they
    are: the device gets pixels of 8 bits. A run that goes on keeps the place that it began
    with, whatever computer it goes on with: the views of the two places differ a little, see
    `views.device`. Runs of version 0.1.0 began on the host.

    Args:
        recipe: the settings.
        run: folder of the run that is resumed; None for a new one.

    Returns:
        "host" or "device", and the reason as the end of a sentence.
    """
    if recipe.views_on != "auto":
        return recipe.views_on, f"`views_on` is {recipe.views_on}"
    if run is not None and run.trained:
        return run.about().get("views_on", "host"), "the run began so"
    if recipe.channels != 3 or recipe.value_range:
        return "host", "which keeps pictures of more than 8 bits as they are"
    gpus = distribution.gpus()
    if gpus:
        return "device", f"there is a GPU ({gpus[0]})"
    return "host", "there is no GPU"
