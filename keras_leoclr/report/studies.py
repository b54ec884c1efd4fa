"""Studies (`leoclr ablate`) as tables and pictures: means over seeds, differences from the reference."""

from __future__ import annotations

import dataclasses
import html
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.evaluation.statistics import student_interval
from keras_leoclr.report.drawing import round_numbers as nice
from keras_leoclr.runs.results import Results

RANDOM = "random weights"
COLLECTED = "study/run"  # the last line of a run, with its settings: all of the run is there
CHANGED = "robustness/linear/mean"
MEASURES = {
    "knn/top1": "kNN",
    "linear/top1": "linear",
    "linear_few/top1": "linear, few labels",
    "finetune/top1": "fine-tuned, few labels",
    "knn_train/top1": "kNN among training images",
    "retrieval/recall@1": "crop to original, recall@1",
    CHANGED: "linear, changed images",
}
SCALE = 0.6  # of the crops whose recall is shown


class Spread(NamedTuple):
    """A mean over seeds.

    Attributes:
        mean: of them.
        deviation: standard deviation over the seeds; None for one.
        low: low end of the 95 % interval of the mean (Student's t); None for one seed.
        high: high end.
        count: of seeds.
    """

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    count: int

    @property
    def beyond_chance(self) -> bool:
        """Of a difference: whether its interval does not hold 0."""
        return self.low is not None and (self.low > 0 or self.high < 0)


def spread(values: Sequence[float]) -> Spread:
    """Mean, deviation and 95 % interval of values of several seeds."""
    mean = statistics.fmean(values)
    interval = student_interval(values)
    if interval is None:
        return Spread(mean, None, None, None, len(values))
    return Spread(mean, statistics.stdev(values), *interval, len(values))


@dataclasses.dataclass
class Study:
    """What was measured in one ablation.

    Attributes:
        name: of the ablation.
        values: `{variant: {measure: {seed: value}}}`, the reference first, random weights last.
        curves: `{variant: {name: {seed: {epoch: value}}}}`.
        changed: `{variant: {change: {seed: value}}}`, linear accuracy on changed test images, mean over the
            strengths of the change.
        runs: lines `COLLECTED`, with recipe and environment; one for each variant and seed.
    """

    name: str
    values: dict[str, dict[str, dict[int, float]]] = dataclasses.field(default_factory=dict)
    curves: dict[str, dict[str, dict[int, dict[int, float]]]] = dataclasses.field(default_factory=dict)
    changed: dict[str, dict[str, dict[int, float]]] = dataclasses.field(default_factory=dict)
    runs: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def reference(self) -> str:
        """The variant that the others are compared with."""
        return next(iter(self.values))

    @property
    def measures(self) -> list[str]:
        """Names in the order of the columns."""
        return [m for m in MEASURES if any(m in found for found in self.values.values())]

    def of(self, variant: str, measure: str) -> Spread | None:
        """A mean over the seeds; None where nothing was measured."""
        found = self.values[variant].get(measure)
        return spread(list(found.values())) if found else None

    def change(self, variant: str, measure: str, reference: str | None = None) -> Spread | None:
        """Mean difference from the reference over the seeds that both have; None where there are none."""
        base = self.values[reference or self.reference].get(measure, {})
        found = self.values[variant].get(measure, {})
        seeds = [seed for seed in base if seed in found]
        return spread([found[seed] - base[seed] for seed in seeds]) if seeds else None


def read(results: Results) -> dict[str, Study]:
    """The studies in a file, by name; of several lines of one measurement the last counts."""
    found: dict[str, Study] = {}
    for line in results.read():
        if "ablation" not in line:
            continue
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
            study.values.setdefault(variant, {}).setdefault(name, {})[seed] = line["value"]
    for study in found.values():  # whatever ended first
        study.runs = list({(line["variant"], line["seed"]): line for line in study.runs}.values())
        for variant, changes in study.changed.items():
            seeds = set.intersection(*(set(by_seed) for by_seed in changes.values()))
            means = {s: statistics.fmean(by_seed[s] for by_seed in changes.values()) for s in sorted(seeds)}
            study.values.setdefault(variant, {})[CHANGED] = means
        places = {line["variant"]: line["place"] for line in study.runs}
        order = sorted(study.values, key=lambda variant: places.get(variant, len(places)))
        study.values = {variant: study.values[variant] for variant in order}
        study.curves = {variant: study.curves[variant] for variant in order if variant in study.curves}
    return found


# === Tables ===


def _rows(study):
    rows = [["variant", "seeds", *(MEASURES[m] for m in study.measures)]]
    for variant in study.values:
        found = [study.of(variant, m) for m in study.measures]
        seeds = max(s.count for s in found if s is not None)
        cells = [_cell(study, variant, m) for m in study.measures]
        rows.append([variant, str(seeds), *cells])
    return rows


def _cell(study, variant, measure):
    value = study.of(variant, measure)
    if value is None:
        return "–"
    text = f"{100 * value.mean:.1f}" + (
        f" ± {100 * value.deviation:.1f}" if value.deviation is not None else ""
    )
    if variant in (study.reference, RANDOM):
        return text
    change = study.change(variant, measure)
    return text if change is None else f"{text} ({points(change)})"


def points(change: Spread) -> str:
    """A difference in points with its interval, such as "+1.2, 0.8 to 1.6 *"; * beyond chance."""
    text = f"{100 * change.mean:+.1f}"
    if change.low is not None:
        text += f", {100 * change.low:+.1f} to {100 * change.high:+.1f}"
    return text + (" *" if change.beyond_chance else "")


def text(study: Study) -> str:
    """The table as plain text, accuracies in percent."""
    return text_table(_rows(study))


def markdown(study: Study) -> str:
    """The table in Markdown, accuracies in percent."""
    return text_table(_rows(study), markdown=True)


# === Pictures ===

ROW, WIDTH, TOP, GAP, LETTER = 22, 960, 46, 16, 7
STYLE = (
    "text{font:12px sans-serif;fill:#24292f}.head{font-weight:600}.grid{stroke:#d0d7de}"
    ".bar{stroke:#0a5fb4;stroke-width:2}.mean{fill:#0a5fb4}.seed{fill:none;stroke:#8a5a00}"
    ".reference{stroke:#57606a;stroke-dasharray:4 3}.quiet{fill:#57606a}"
)


def picture(study: Study, measures: Sequence[str] = ("knn/top1", "linear/top1")) -> str:
    """A picture of its own (SVG): per variant a dot for each seed, the mean and its 95 % interval.

    Args:
        study: what to show.
        measures: one panel for each that was measured.
    """
    shown = [m for m in measures if m in study.measures]
    variants = list(study.values)
    height = TOP + ROW * len(variants) + 34
    left = 24 + LETTER * max(map(len, variants))
    room = (WIDTH - left - GAP * len(shown)) / max(1, len(shown))
    parts = []
    for row, variant in enumerate(variants):
        y = TOP + ROW * row + ROW / 2 + 4
        parts.append(f'<text x="{left - 12}" y="{y:.1f}" text-anchor="end">{html.escape(variant)}</text>')
    for column, measure in enumerate(shown):
        parts += _panel(study, measure, left + column * (room + GAP), room, height)
    return _svg(f"{study.name}: " + ", ".join(MEASURES[m] for m in shown), height, parts)


def _svg(title, height, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{html.escape(title)}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _panel(study, measure, left, room, height):
    found = {v: study.values[v][measure] for v in study.values if measure in study.values[v]}
    values = [100 * value for seeds in found.values() for value in seeds.values()]
    low, high = min(values), max(values)
    pad = 0.08 * (high - low) or 1.0
    low, high = low - pad, high + pad

    def x(value):
        return left + (100 * value - low) / (high - low) * room

    bottom = height - 30
    parts = [f'<text class="head" x="{left:.1f}" y="18">{html.escape(MEASURES[measure])}, %</text>']
    for tick in _within(low, high, 7):
        at = x(tick / 100)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
        text = f'<text class="quiet" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">'
        parts.append(f"{text}{tick:.3g}</text>")
    at = x(study.of(study.reference, measure).mean) if study.reference in found else None
    if at is not None:
        parts.append(f'<line class="reference" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{bottom}"/>')
    for row, variant in enumerate(study.values):
        if variant not in found:
            continue
        y = TOP + ROW * row + ROW / 2
        mean = study.of(variant, measure)
        if mean.low is not None:
            ends = [min(max(x(end), left), left + room) for end in (mean.low, mean.high)]
            parts.append(f'<line class="bar" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}"/>')
        for seed, value in found[variant].items():
            told = f"{variant}, seed {seed}: {100 * value:.1f} %"
            parts.append(f'<circle class="seed" cx="{x(value):.1f}" cy="{y}" r="3">')
            parts.append(f"<title>{html.escape(told)}</title></circle>")
        parts.append(f'<circle class="mean" cx="{x(mean.mean):.1f}" cy="{y}" r="3.5"/>')
    return parts


def _within(low, high, count):
    """Round numbers in a range, `count` or a few less."""
    return [tick for tick in nice(low, high, count) if low <= tick <= high]


def mean_curves(study: Study, name: str = "knn_top1") -> dict[str, list[tuple[int, float]]]:
    """Of each variant that has the curve, its mean over the seeds: (epoch, value) by epoch.

    Args:
        study: what to show.
        name: column of `history.csv` that was kept: `knn_top1`, `loss_to_chance`.
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


def curves(study: Study, name: str = "knn_top1") -> str | None:
    """A picture of its own (SVG): the curve of each variant over the epochs, mean over the seeds.

    Args:
        study: what to show.
        name: see `mean_curves`.

    Returns:
        None where there is nothing to show.
    """
    means = mean_curves(study, name)
    if not means:
        return None
    factor = 100 if name.endswith("top1") else 1
    every = [factor * y for points_ in means.values() for _, y in points_]
    low, high, last = min(every), max(every), max(points_[-1][0] for points_ in means.values())
    pad = 0.05 * (high - low) or 1.0
    low, high, height, left, right = low - pad, high + pad, max(320, 50 + ROW * len(means)), 56, 330

    def place(epoch, value):
        x = left + (epoch - 1) / max(1, last - 1) * (WIDTH - left - right)
        return x, 20 + (high - factor * value) / (high - low) * (height - 64)

    parts = []
    for tick in _within(low, high, 8):
        y = place(1, tick / factor)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="quiet" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.4g}</text>'
        )
    for epoch in sorted({1, *range(0, last + 1, max(1, round(last / 8)))} - {0}):
        x = place(epoch, high / factor)[0]
        parts.append(f'<text class="quiet" x="{x:.1f}" y="{height - 24}" text-anchor="middle">{epoch}</text>')
    label = {"knn_top1": "kNN on held-out training images, %", "loss_to_chance": "loss / chance"}.get(
        name, name
    )
    parts.append(f'<text class="quiet" x="{left}" y="{height - 6}">epoch</text>')
    parts.append(f'<text class="head" x="{left}" y="13">{html.escape(label)}, mean over seeds</text>')
    for number, (variant, points_) in enumerate(means.items()):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points_)
        dashes = f' stroke-dasharray="{DASHES[number % len(DASHES)]}"' if number % len(DASHES) else ""
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"{dashes}'
        parts.append(f'<polyline {stroke} points="{line}"/>')
        y = 30 + ROW * number
        parts.append(f'<polyline {stroke} points="{WIDTH - right + 16},{y} {WIDTH - right + 50},{y}"/>')
        parts.append(f'<text x="{WIDTH - right + 58}" y="{y + 4}">{html.escape(variant)}</text>')
    return _svg(f"{study.name}: {label}, over epochs", height, parts)


COLOURS = ("#0a5fb4", "#b3261e", "#1a7f37", "#8a5a00", "#6f42c1", "#0f766e")
DASHES = ("", "7 3", "2 3")
