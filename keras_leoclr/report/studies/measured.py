"""The results of a study: means over the seeds, and differences from the reference."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation.measures import either, measure_of
from keras_leoclr.evaluation.statistics import student_interval
from keras_leoclr.evaluation.suite_options import with_setting
from keras_leoclr.runs.results import Results

RANDOM = "random weights"
COLLECTED = "study/run"  # name of the last line of a run, with its settings; the run is then complete
CHANGED = "robustness/linear/mean"
MEASURES = {  # title by name, in the order of the columns
    name: measure_of(name).title
    for name in (
        *(
            name
            for stem in ("knn", "linear", "linear_few", "linear_sgd", "finetune", "knn_train")
            for name in either(stem)
        ),
        "retrieval/recall@1",
        CHANGED,
    )
}
# What the results of evaluators say that were asked for another measure than usual, see `SuiteOptions`.
SETTINGS = {
    "fraction": lambda share: f"{100 * share:.3g} % of the labels",
    "per_class": lambda count: f"{count:g} labels per class",
}
SCALE = 0.6  # area of the crops, as a share of the image, whose recall is shown


class Spread(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: mean of the values.
        deviation: standard deviation over the seeds; None for one seed.
        low: low end of the 95 % interval of the mean (Student's t); None for one seed.
        high: high end of the interval; None for one seed.
        count: number of seeds.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def beyond_chance(self) -> bool:
        """Whether a difference is beyond chance, that is, its interval does not contain 0.

        Differences that are equal in all seeds, such as those of few test images, say nothing about chance.
        """
        return bool(self.deviation) and (self.low > 0 or self.high < 0)


def spread(values: Sequence[float]) -> Spread:
    """Mean, deviation and 95 % interval of values of several seeds."""
    low, high = student_interval(values) or (None, None)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, low, high, len(values))


@dataclasses.dataclass
class Study:
    """The results of one ablation.

    Attributes:
        name: name of the ablation.
        values: `{variant: {measure: {seed: value}}}`, the reference first, random weights last.
        curves: `{variant: {name: {seed: {epoch: value}}}}`.
        changed: `{variant: {change: {seed: value}}}`, linear accuracy or mean average precision on changed
            test images, mean over the strengths of the change.
        runs: lines of results named `COLLECTED`, with recipe and environment, one for each variant and seed.
        replaced: lines as in `runs`, of runs that were trained anew with other settings.
        tested: `{measure: {(variant, seed): number of test images}}`, where it is known.
        commands: all commands that added to the results, in the order of their first runs.
    """

    name: str
    values: dict[str, dict[str, dict[int, float]]] = dataclasses.field(default_factory=dict)
    curves: dict[str, dict[str, dict[int, dict[int, float]]]] = dataclasses.field(default_factory=dict)
    changed: dict[str, dict[str, dict[int, float]]] = dataclasses.field(default_factory=dict)
    runs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    replaced: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    tested: dict[str, dict[tuple[str, int], int]] = dataclasses.field(default_factory=dict)
    commands: list[str] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> str:
        """Name of the variant that the others are compared with: the first of those that have results."""
        return next(iter(self.values))

    @property
    def measures(self) -> list[str]:
        """Names of the measures in the order of the columns."""
        order = list(MEASURES)
        names = {name for found in self.values.values() for name in found if name.split(" ")[0] in MEASURES}
        return sorted(names, key=lambda name: (order.index(name.split(" ")[0]), len(name), name))

    def of(self, variant: str, measure: str) -> Spread | None:
        """The mean over the seeds; None if nothing was measured."""
        found = self.values[variant].get(measure)
        return spread(list(found.values())) if found else None

    def change(self, variant: str, measure: str, reference: str | None = None) -> Spread | None:
        """Mean difference from the reference over the seeds that both have; None if there are none."""
        base = self.values[reference or self.reference].get(measure, {})
        found = self.values[variant].get(measure, {})
        seeds = [seed for seed in base if seed in found]
        return spread([found[seed] - base[seed] for seed in seeds]) if seeds else None


def read(results: Results) -> dict[str, Study]:
    """Reads the studies in a file, by name; if a measurement has several lines, the last one counts.

    Lines that are damaged are left out, and so are those of a run that was trained anew with other settings.
    """
    found: dict[str, Study] = {}
    lines = [line for line in results.read(damaged=[]) if "ablation" in line]
    kept = list(_of_newest_runs(lines))
    for line in kept:
        name, variant, seed = line["name"], line["variant"], line["seed"]
        study = found.setdefault(line["ablation"], Study(line["ablation"]))
        if name == COLLECTED:
            study.runs.append(line)
        elif name.startswith("curve/"):
            curves = study.curves.setdefault(variant, {}).setdefault(name.removeprefix("curve/"), {})
            curves[seed] = dict(map(tuple, line["epochs"]))
        elif "change" in line:
            study.changed.setdefault(variant, {}).setdefault(line["change"], {})[seed] = line["value"]
        elif not name.startswith("retrieval/") or line["crop_scale"] == SCALE:
            measure = with_setting(name, line)
            study.values.setdefault(variant, {}).setdefault(measure, {})[seed] = line["value"]
            if line.get("test_images", -1) >= 0:
                study.tested.setdefault(measure, {})[variant, seed] = line["test_images"]
    known = set(map(id, kept))
    for study in found.values():
        runs = (line for line in lines if line["name"] == COLLECTED and line["ablation"] == study.name)
        study.replaced = [line for line in runs if id(line) not in known]
        _put_in_order(study)
    return found


def _of_newest_runs(lines):
    """The lines without those of a variant and a seed of which a run with other settings was collected later.

    Random weights have no run of their own: they are measured in one of the first variant.
    """
    every = {(line["ablation"], line["run"]) for line in lines if line["name"] == COLLECTED}
    newest = {_place_of(line): line["run"] for line in lines if line["name"] == COLLECTED}
    replaced = every - {(ablation, run) for (ablation, *_), run in newest.items()}
    for line in lines:
        run = line.get("run")
        if line["variant"] == RANDOM:
            kept = (line["ablation"], run) not in replaced
        else:
            kept = run is None or newest.get(_place_of(line), run) == run
        if kept:
            yield line


def _place_of(line):
    return line["ablation"], line["variant"], line["seed"]


def title_of(measure: str) -> str:
    """The title of one of `Study.measures` in tables and pictures."""
    name, *how = measure.split(" ")
    if not how:
        return MEASURES[name]
    setting, value = how
    return MEASURES[name].replace("few labels", SETTINGS[setting](float(value)))


def _put_in_order(study):
    """Puts the variants into the order of the study and adds the mean over the changes as a measure."""
    study.commands = list(dict.fromkeys(line["command"] for line in study.runs if line.get("command")))
    study.runs = list({(line["variant"], line["seed"]): line for line in study.runs}.values())
    for variant, changes in study.changed.items():
        seeds = set.intersection(*(set(by_seed) for by_seed in changes.values()))
        means = {s: statistics.fmean(by_seed[s] for by_seed in changes.values()) for s in sorted(seeds)}
        study.values.setdefault(variant, {})[CHANGED] = means
    places = {line["variant"]: line["place"] for line in study.runs}
    order = sorted(study.values, key=lambda variant: places.get(variant, math.inf))
    study.values = {variant: study.values[variant] for variant in order}
    study.curves = {variant: study.curves[variant] for variant in order if variant in study.curves}


def mean_curves(study: Study, name: str = "knn_top1") -> dict[str, list[tuple[int, float]]]:
    """The mean over the seeds of each variant's curve, as (epoch, value) in the order of the epochs.

    Args:
        study: the results of the study.
        name: column of `history.csv` that was kept: `knn_top1`, `knn_map`, `loss_to_chance`.
    """
    means = {}
    for variant, by_name in study.curves.items():
        by_epoch: dict[int, list[float]] = {}
        for curve in by_name.get(name, {}).values():
            for epoch, value in curve.items():
                by_epoch.setdefault(epoch, []).append(value)
        if by_epoch:
            means[variant] = [(epoch, statistics.fmean(by_epoch[epoch])) for epoch in sorted(by_epoch)]
    return means
