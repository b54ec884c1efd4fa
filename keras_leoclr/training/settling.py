"""Determines the recipe of a run from its module, a preset, given settings and chosen settings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from keras_leoclr.backbones.names import library_of
from keras_leoclr.data.given import GivenImages
from keras_leoclr.runs import checkpoint_folder
from keras_leoclr.runs.folder import RunFolder, draws_parts
from keras_leoclr.training import beginning, measuring
from keras_leoclr.training.fields import resumable
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import load_split, open_split

SMOKE_PIXELS = 64  # largest side of the images that `Recipe.smoke` leaves

# A function from the recipe that is known before the devices are, to the final recipe and lines with reasons.
Settle = Callable[[Recipe], tuple[Recipe, list[str]]]


def presets_of(module: ModuleType) -> tuple[str, ...]:
    """Names of the presets of a recipe's module."""
    return ("full", "smoke", *getattr(module, "PRESETS", {}))


def requested(
    module: ModuleType,
    preset: str = "full",
    given: Mapping[str, Any] | None = None,
    workdir: str | os.PathLike | None = None,
    overwrite: bool = False,
    override: bool = False,
    images: GivenImages | None = None,
) -> tuple[Recipe, Settle | None]:
    """Returns the recipe that was asked for, and a function that completes it once the devices are known.

    A module may choose settings by the pictures and the computer. It then has `CHOSEN`, the names of these
    settings, and `choose(recipe, given, source)`. A resumed run keeps the settings that were chosen when it
    began, even if the pictures or the computer have changed; given settings take precedence. If the pictures
    have changed and `override` is set, or if nothing was trained yet, the settings that the weights do not
    depend on are chosen again.

    Args:
        module: module of a recipe, with `RECIPE` and optionally `PRESETS`.
        preset: one of `presets_of`; "full" by default.
        given: the settings that were asked for, by name.
        workdir: folder of the run; None if there will be none.
        overwrite: whether a run that is already in the folder is deleted; false by default.
        override: whether a run may be resumed with other pictures; false by default.
        images: the images, if they are given as objects.

    Returns:
        The recipe, and the argument `settle` of `pretrain`, which is None if nothing is chosen.

    Raises:
        ValueError: if the preset does not exist, or a setting is not allowed.
    """
    given = dict(given or {})
    if preset not in (presets := presets_of(module)):
        raise ValueError(f"`preset` must be one of {', '.join(presets)}. Received: preset={preset!r}")
    base = {"full": module.RECIPE, "smoke": module.RECIPE, **getattr(module, "PRESETS", {})}[preset]

    def made(recipe: Recipe, taken: Mapping[str, Any] | None = None) -> Recipe:
        if preset != "smoke":
            return dataclasses.replace(recipe, **given)
        # The network of initial weights is kept in a smaller preset, but a smaller queue begins empty.
        fixed = {name: value for name, value in (taken or {}).items() if name != "queue_size"}
        return dataclasses.replace(recipe.smoke(), **{**fixed, **given})

    recipe = made(base)
    fixed_by_network = recipe.initial_weights or library_of(recipe.backbone)[0]
    if not hasattr(module, "choose") and not fixed_by_network:
        return recipe, None
    run = None if workdir is None or overwrite else RunFolder(workdir)

    def settle(_: Recipe) -> tuple[Recipe, list[str]]:
        most, measured = SMOKE_PIXELS if preset == "smoke" else None, []
        if given.get("value_range", base.value_range) == "auto":
            ranged, measured = measuring.ranged(dataclasses.replace(base, **given), run, images)
            given["value_range"] = ranged.value_range
        chosen, lines, taken = beginning.settled(dataclasses.replace(base, **given), given, run, most)
        if not hasattr(module, "choose"):
            return made(chosen, taken), [*measured, *lines]
        chosen, reasons = choose(chosen, {**taken, **given})
        return made(chosen, taken), [*measured, *lines, *reasons]

    def choose(chosen: Recipe, fixed: dict[str, Any]) -> tuple[Recipe, list[str]]:
        begun = {} if run is None else run.recipe()
        if begun:
            kept = {name: begun[name] for name in module.CHOSEN if name in begun and name not in fixed}
            lines = []
            if not run.trained or (override and _has_other_pictures(run, made(chosen), images)):
                anew = kept.keys() & {*resumable(Recipe)}
                same = {name: value for name, value in kept.items() if name not in anew}
                fresh, reasons = module.choose(
                    dataclasses.replace(chosen, **same),
                    {**fixed, **same},
                    _training_pictures(chosen, images),
                )
                kept = same | {name: getattr(fresh, name) for name in anew}
                lines = [line for line in reasons if line.split()[0] in anew]
                done = checkpoint_folder.epochs_done(run.checkpoints)
                if "epochs" in anew and kept["epochs"] <= done:
                    kept["epochs"] = max(begun["epochs"], done)
                    lines = [line for line in lines if not line.startswith("epochs ")]
            told = ", ".join(f"{n} {v}" for n, v in kept.items() if v == begun.get(n))
            return dataclasses.replace(chosen, **kept), [
                f"As the run in {workdir} began: {told}",
                *lines,
            ]
        chosen, reasons = module.choose(chosen, fixed, _training_pictures(chosen, images))
        if preset == "smoke":
            reasons.append("The preset smoke makes less of these.")
        return chosen, reasons

    return recipe, settle


def completed(recipe: Recipe, settle: Settle | None, verbose: bool = True) -> Recipe:
    """Completes what `requested` returns where there is no run whose devices have to be known first.

    Args:
        recipe: the recipe that was asked for.
        settle: the function that completes it; None if nothing is chosen.
        verbose: whether to print the reasons of the choices; true by default.
    """
    if settle is None:
        return recipe
    recipe, reasons = settle(recipe)
    if verbose:
        print("\n".join(reasons))
    return recipe


def _training_pictures(recipe: Recipe, images: GivenImages | None) -> Any:
    return open_split(recipe, recipe.train_split, images)


def _has_other_pictures(run: RunFolder, recipe: Recipe, images: GivenImages | None) -> bool:
    from keras_leoclr.training.run_data import RunData  # Its imports are slow; listing settings avoids them.

    source = load_split(recipe, recipe.train_split, draws_parts(run), images)
    return bool(RunData({recipe.train_split: source}, recipe.dataset).changes_since(run.data()))
