"""Which candidates a search for settings tries, and for how many epochs, within a number of minutes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from keras_leoclr.training.ablations import Variants
from keras_leoclr.training.recipe import Recipe

RATES = (1 / 3, 1.0, 3.0)  # learning rates that are tried, as multiples of that of the recipe
AREAS = (0.08, 0.2, 0.5)  # least areas of a crop that are tried besides that of the recipe
NEAR = 1.6  # areas that differ by less than this factor from that of the recipe are left out
LEAST_STEPS = 100  # a shorter training says nothing about its settings
SPARE = 0.9  # share of the time that is planned
TIMED_EPOCHS = 2  # epochs of the run whose time is measured; the first one compiles the model


@dataclasses.dataclass(frozen=True)
class Timing:
    """How long the first short run took.

    Attributes:
        epoch: seconds of an epoch.
        besides: seconds of everything else: start of the process, compilation, evaluation.
    """

    epoch: float
    besides: float

    def of_run(self, epochs: int, jobs: int = 1) -> float:
        """Seconds of a run of so many epochs, beside others on the same cores or the same GPU."""
        return self.besides + self.epoch * epochs * jobs


def candidates(recipe: Recipe, rates: Sequence[float] = (), areas: Sequence[float] = ()) -> Variants:
    """Pairs of learning rate and least area of the crops, those of the recipe first.

    Candidates that differ from the recipe in one of the two come before those that differ in both, so that
    the first of them are worth the most if there is no time for all.

    Args:
        recipe: the settings.
        rates: learning rates for 256 images; by default a third, once and three times that of the recipe.
        areas: least areas of a crop, as shares of the area of the picture; by default that of the recipe, and
            those of 0.08, 0.2 and 0.5 that are not close to it.

    Returns:
        Changes of the recipe by label.

    Raises:
        ValueError: if a learning rate is not positive, or an area is not in (0, the largest area].
    """
    own_rate, (own_area, high) = recipe.learning_rate, recipe.crop_scale
    rates = tuple(rates) or tuple(
        float(f"{own_rate * factor:.2g}") if factor != 1 else own_rate for factor in RATES
    )
    areas = tuple(areas) or (
        own_area,
        *(a for a in AREAS if a < high and not 1 / NEAR < a / own_area < NEAR),
    )
    if bad := [rate for rate in rates if not (rate > 0 and math.isfinite(rate))]:
        raise ValueError(f"`learning_rates` must be numbers > 0. Received: {bad[0]:g}")
    if bad := [area for area in areas if not 0 < area <= high]:
        raise ValueError(
            "`least_areas` must be shares of the area of a picture, > 0 and at most the largest area in "
            f"`crop_scale`, {high:g}. Received: {bad[0]:g}"
        )
    own = (own_rate, own_area)
    pairs = dict.fromkeys([own, *((rate, area) for rate in rates for area in areas)])
    ordered = sorted(pairs, key=lambda pair: (pair[0] != own_rate) + (pair[1] != own_area))
    return {
        f"learning rate {rate:g}, crops from {100 * area:g} %": {
            "learning_rate": rate,
            "crop_scale": (area, high),
        }
        for rate, area in ordered
    }


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a search does in its time.

    Attributes:
        count: number of candidates, the first ones of all.
        epochs: number of epochs of each.
        seconds: how long this takes, as an estimate.
    """

    count: int
    epochs: int
    seconds: float


def planned(timing: Timing, seconds: float, steps: int, most: int, epochs: int, jobs: int = 1) -> Plan:
    """Plans as many candidates as fit with 100 steps each; what time is left makes all of them longer.

    Args:
        timing: how long the first short run took.
        seconds: the time that is left.
        steps: number of steps of an epoch.
        most: number of candidates that there are.
        epochs: number of epochs of the recipe, which are never exceeded.
        jobs: number of runs at the same time.

    Raises:
        ValueError: if there is no time for two candidates.
    """
    least = min(epochs, max(2, math.ceil(LEAST_STEPS / steps)))
    for count in range(most, 1, -1):
        rounds = math.ceil(count / jobs)
        each = SPARE * seconds / rounds
        fit = min(epochs, int((each - timing.besides) / (timing.epoch * min(jobs, count))))
        if fit >= least:
            return Plan(count, fit, rounds * timing.of_run(fit, min(jobs, count)))
    needed = 2 * timing.of_run(least) / SPARE + timing.of_run(TIMED_EPOCHS)
    raise ValueError(
        f"`minutes` must be enough for two candidates of {least} epochs, about {math.ceil(needed / 60)} "
        f"minutes: an epoch takes {timing.epoch:.1f} seconds, and a run {timing.besides:.0f} seconds besides."
        " With fewer pictures (`max_images`) it takes less."
    )


def extended(
    timing: Timing, seconds: float, count: int, complete: int, most: int, epochs: int, jobs: int = 1
) -> int:
    """How many candidates an earlier plan has if there is more time now; the number of epochs stays.

    Args:
        timing: how long the first short run took.
        seconds: the time that is left.
        count: number of candidates that were planned.
        complete: number of candidates that are complete.
        most: number of candidates that there are.
        epochs: number of epochs of each.
        jobs: number of runs at the same time.
    """
    room = jobs * int(SPARE * seconds / timing.of_run(epochs, jobs))
    return min(most, max(count, complete + room))


def short(recipe: Recipe, epochs: int, pictures: int) -> Recipe:
    """The recipe of a short run on some of the pictures, without what only a whole run needs.

    A queue that holds more keys than half an epoch makes, or a momentum above 0.99, would leave the short
    runs with keys of a network that has hardly learned; both are reduced, in all candidates alike.

    Args:
        recipe: the settings.
        epochs: number of epochs of the run.
        pictures: number of pictures that are trained on.
    """
    queue = recipe.queue_size
    if recipe.method != "end_to_end":
        queue = min(queue, max(recipe.batch_size, 2 ** int(math.log2(max(2, pictures // 2)))))
    return dataclasses.replace(
        recipe,
        epochs=epochs,
        warmup_epochs=recipe.warmup_epochs * epochs / recipe.epochs,
        queue_size=queue,
        momentum=min(recipe.momentum, 0.99),
        knn_every=0,
        online_probe=False,
        curve_images=0,
        map_images=0,
        evaluate=False,
    )
