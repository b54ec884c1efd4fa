"""Initial weights: which settings they fix, and where a resumed run finds them.

A run keeps its initial weights in its folder, as `initial.keras`. It can therefore be resumed, and evaluated
again, without the file that was given.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from keras_leoclr.backbones.names import library_of
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import INITIAL, Recipe

if TYPE_CHECKING:
    from keras_leoclr.backbones.initial import InitialWeights

# These settings are fixed by the initial weights; a resumed run takes them from its recipe.
NETWORK = ("backbone", "stem", "widths", "patch_size")
FIXED = (*NETWORK, "image_size", "mean", "std", "projection_dim", "hidden_dim", "queue_size")
TAKEN = "that of the initial weights"


def settled(
    recipe: Recipe,
    given: Collection[str] | None = None,
    run: RunFolder | None = None,
    most_pixels: int | None = None,
) -> tuple[Recipe, list[str], dict[str, Any]]:
    """Returns a recipe with the settings that its initial weights fix.

    Args:
        recipe: the settings; without `initial_weights` they are returned unchanged.
        given: names of the settings that the user gave, which the weights are checked against; None takes
            those that differ from the defaults of `Recipe` and are not "auto".
        run: folder of the run, whose settings are kept if it is resumed; None for a new run.
        most_pixels: largest side of the images in pixels, for networks that accept several sizes.

    Returns:
        The recipe, lines "NAME VALUE: why", and the settings that were taken from the weights, by name.

    Raises:
        ValueError: if the weights cannot be read, or do not agree with the settings that were given; see
            `read_initial_weights`.
    """
    named = library_of(recipe.backbone)[0]
    if not recipe.initial_weights and not named:
        return recipe, [], {}
    if given is None:
        default = {field.name: field.default for field in dataclasses.fields(Recipe)}
        given = {name for name, value in default.items() if getattr(recipe, name) not in (value, "auto")}
    if not recipe.initial_weights:
        return _of_library(recipe, given)
    if run is not None and _goes_on(run):
        from keras_leoclr.training.run_data import same_place  # Its imports are slow and not needed above.

        begun = run.recipe()
        if same_place(begun.get("initial_weights") or "", recipe.initial_weights):
            recipe = dataclasses.replace(recipe, initial_weights=begun["initial_weights"])
        if recipe.initial_weights != begun.get("initial_weights"):
            return recipe, [], {}  # The comparison of the settings will refuse this recipe.
        kept = {name: begun[name] for name in FIXED if name in begun and name not in given}
        kept = {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}
        return dataclasses.replace(recipe, **kept), [], kept
    weights = read(recipe, given)
    taken, lines = _network(recipe, given, weights), []
    side = weights.backbone.input_shape[1] if weights.sized else None
    if side and "image_size" not in given:
        if most_pixels is not None and side > most_pixels and weights.any_size:
            side = most_pixels
        taken["image_size"] = side
    if weights.normalization is not None:
        taken |= _numbers(recipe, given, weights)
    if weights.head is not None and recipe.method != "end_to_end":
        hidden, projection = weights.head[0].shape[1], weights.head[2].shape[1]
        sizes = {"projection_dim": projection, "hidden_dim": hidden}
        if weights.queue is not None:
            sizes["queue_size"] = len(weights.queue[0])
        taken |= {name: size for name, size in sizes.items() if name not in given}
    for name, value in taken.items():
        if getattr(recipe, name) != value:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            lines.append(f"{name} {shown}: {TAKEN}")
    made = dataclasses.replace(recipe, **taken)
    weights.at_size(made.image_size)  # This raises an error now if the network cannot take this size.
    return made, lines, taken


def read(recipe: Recipe, given: Collection[str] = FIXED) -> InitialWeights:
    """Reads the initial weights of a recipe, at the size of its images if the file does not fix the size.

    Args:
        recipe: the settings.
        given: names of the settings that the recipe decides, not the file.
    """
    from keras_leoclr.backbones.initial import of_channels, read_initial_weights

    stem = recipe.stem if "stem" in given else None
    network = recipe.backbone if library_of(recipe.backbone)[0] else None
    weights = read_initial_weights(recipe.initial_weights, stem, recipe.image_size, network)
    return of_channels(weights, recipe.channels)


def of_run(recipe: Recipe, run: RunFolder, anew: bool) -> InitialWeights | None:
    """The weights that a run begins with, or began with; None for random weights.

    Args:
        recipe: the settings, as `settled` returns them.
        run: the folder of the run.
        anew: whether a run that is already in the folder is restarted instead of resumed.
    """
    if not recipe.initial_weights:
        return None
    if not anew and _goes_on(run) and run.initial_file.is_file():
        recipe = dataclasses.replace(recipe, initial_weights=os.fspath(run.initial_file))
    return read(recipe).at_size(recipe.image_size)


def _goes_on(run: RunFolder) -> bool:
    return run.holds_run and run.trained


def _network(recipe: Recipe, given: Collection[str], weights: InitialWeights) -> dict[str, Any]:
    """The settings of the network in the file; those that the user gave must agree with them."""
    found = dict(weights.settings)
    for name, value in found.items():
        asked = getattr(recipe, name)
        if name in given and asked != value and (name, asked) != ("backbone", INITIAL):
            held = "a network of its own" if value == INITIAL else f"one with {name} {value}"
            raise ValueError(
                f"`initial_weights` must hold a network with the `{name}` that was asked for. "
                f"Received: initial_weights={recipe.initial_weights!r} with {held} "
                f"({weights.backbone.name!r}, {weights.backbone.count_params():,} weights), {name}={asked!r}"
            )
    return found


def _of_library(recipe: Recipe, given: Collection[str]) -> tuple[Recipe, list[str], dict[str, Any]]:
    """Returns the recipe with the mean and the deviation that a network of another library expects."""
    from keras_leoclr.backbones.named import named_backbone

    numbers = named_backbone(recipe.backbone, recipe.image_size).normalization
    if numbers is None:
        return recipe, [], {}
    taken = {name: v for name, v in zip(("mean", "std"), numbers, strict=True) if name not in given}
    lines = [f"{name} {','.join(map(str, v))}: what {recipe.backbone} takes" for name, v in taken.items()]
    return dataclasses.replace(recipe, **taken), lines, taken


def _numbers(recipe: Recipe, given: Collection[str], weights: InitialWeights) -> dict[str, Any]:
    found = dict(zip(("mean", "std"), weights.normalization, strict=True))
    for name, value in found.items():
        asked = getattr(recipe, name)
        close = asked != "auto" and len(asked) == len(value)
        close = close and all(abs(a - b) < 1e-4 for a, b in zip(asked, value, strict=True))
        if name in given and not close:
            raise ValueError(
                f"`{name}` must be that of the images which the initial weights were trained on, "
                f"{','.join(map(str, value))}. Received: {name}={asked}, "
                f"initial_weights={recipe.initial_weights!r}"
            )
    return found
