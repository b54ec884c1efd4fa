"""Sections with curves: training, retrieval by the size of the crop, and changed images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_leoclr.evaluation.measures import KINDS, either, kind_of_results
from keras_leoclr.report.charts import Line, chart
from keras_leoclr.report.explanations import CURVES
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.runs.monitored import KNN

IN_PERCENT = ("knn_top1", "knn_map", "online_linear_top1", "probe_map", "contrast_accuracy", "waiting")
CHANGES = {  # title, and what the strength of the change is
    "centre_crop": ("Centre crop", "share of the area that is left"),
    "random_crop": ("Random crop", "share of the area that is left"),
    "shrink": ("Made smaller", "share of the area that is left"),
    "occlusion": ("Partly covered", "share of the area that is covered"),
}
ROBUSTNESS = either("robustness/knn")


def training(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """Curves over the epochs; those of several runs are drawn into the same charts."""
    known = [name for run in runs for name in run.history]
    others = [name for name in dict.fromkeys(known) if name not in CURVES and not name.startswith("val_")]
    charts = []
    for name, (title, about) in {**CURVES, **{name: (name, "") for name in others}}.items():
        lines = [
            Line(run.name, run.history[name], number, run.breaks.get(name, ()))
            for number, run in enumerate(runs)
            if name in run.history
        ]
        if not lines:
            continue
        resumed = [epoch + 0.5 for run in runs for epoch in run.resumed]
        level = (1.0, "guessing") if name == "loss_to_chance" else None
        about = f"{about} {_voters(runs, name)}".strip()
        charts.append(chart(title, lines, "epoch", name in IN_PERCENT, level, resumed, about))
    stopped = any(run.resumed for run in runs)
    words = "A dashed vertical line shows where the run was resumed." if stopped else ""
    return {"words": words, "charts": charts} if charts else None


def _voters(runs, name):
    """A sentence on how many images vote in the kNN measurement; "" for other curves."""
    if name not in KNN:
        return ""
    counts = {line["k"] for run in runs for line in run.named(f"monitor/{name}") if "k" in line}
    return f"The {' or '.join(map(str, sorted(counts)))} most similar vote." if counts else ""


def retrieval(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """The recall of an original by its crop, by the size of the crop."""
    charts = []
    for rank, place in ((1, "nearest"), (5, "among the five nearest")):
        lines = _lines(runs, f"retrieval/recall@{rank}", "crop_scale")
        if lines:
            title = f"Original is {place} to its crop, %"
            charts.append(chart(title, lines, "area of the crop, share", percent=True))
    if not charts:
        return None
    counts = {r.get("images") for run in runs for r in run.results if r["name"].startswith("retrieval/")}
    among = " or ".join(map(str, sorted(filter(None, counts))))
    return {"words": f"The crops were compared with the originals of {among} images.", "charts": charts}


def robustness(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """Accuracy, or mean average precision, on changed test images."""
    changes = dict.fromkeys(
        r["change"]
        for run in runs
        for r in run.results
        if r["name"] in ROBUSTNESS and isinstance(r.get("change"), str) and r["change"] != "none"
    )
    charts = []
    for change in changes:
        title, x_label = CHANGES.get(change, (change.replace("_", " ").capitalize(), "severity"))
        key = "strength" if change in CHANGES else "severity"
        for name in ROBUSTNESS:
            lines = _lines(runs, name, key, change=change)
            if lines:
                measure = KINDS[kind_of_results([{"name": name}])]
                charts.append(chart(f"{title}: kNN {measure}, %", lines, x_label, percent=True))
    return {"words": "", "charts": charts} if charts else None


def _lines(runs, name, key, **wanted):
    """A curve for each subject of a single run; of several runs for what was pretrained and random ones."""
    lines = []
    for run in runs:
        for subject in run.subjects:
            if len(runs) > 1 and subject not in ("pretrained", "random"):
                continue
            points = {
                r[key]: (r[key], r["value"], *((r["low"], r["high"]) if "low" in r else ()))
                for r in run.named(name, subject=subject, **wanted)
                if isinstance(r.get(key), (int, float))
            }
            if points:
                label = f"{run.name}: {subject}" if len(runs) > 1 else subject
                lines.append(Line(label, [points[x] for x in sorted(points)], len(lines)))
    return lines
