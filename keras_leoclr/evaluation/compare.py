"""Results of several backbones in one table, with their differences."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.evaluation.scores import CONFIDENCE, read_hits
from keras_leoclr.results import Results

# What tells two measurements of one name apart, as it is shown; the rest of a protocol is how they came
# about and may differ between runs, such as the weight decay that was chosen.
SETTINGS = ("k", "per_class", "crop_scale", "change", "severity", "fraction", "class")
SAME_IMAGES = ("dataset", "test_split", "images", "test_content")
LEFT_OUT = (
    "finetune_run/",
    "quality/class_accuracy",
    "robustness/knn/top1",
    "robustness/linear/top1",
    "monitor/",
)
NOT_ACCURACIES = ("quality/alignment", "quality/uniformity", "quality/rankme")
RESAMPLES = 10_000


def compare(
    workdirs: Sequence[str | pathlib.Path],
    subjects: Sequence[str] | None = None,
    only: str = "",
    everything: bool = False,
    markdown: bool = False,
) -> str:
    """One table of `results.jsonl` of several runs; accuracies in percent.

    The first column is what the others are compared with. Where both have the hits of the same test
    images, the interval of the difference comes from a paired bootstrap over the images: how often do
    they agree matters, not only how often they are right. A difference whose 95 % interval does not
    hold 0 is marked with `*`. Of several lines of one measurement the last counts.

    Args:
        workdirs: folders with `results.jsonl`.
        subjects: which of the subjects that a run evaluated ("pretrained", "random", ...), in this order;
            all by default.
        only: names that contain this, such as "linear".
        everything: also single classes, seeds and severities, and what was measured during training.
        markdown: whether to write a Markdown table.

    Raises:
        FileNotFoundError: if a folder has no results.
        ValueError: if nothing is left to compare.
    """
    columns = {}
    for workdir in map(pathlib.Path, workdirs):
        lines = Results(workdir / "results.jsonl").read()
        if not lines:
            raise FileNotFoundError(f"`workdirs` must hold results.jsonl. Received: {workdir}")
        found = dict.fromkeys(line.get("subject", "") for line in lines)
        for subject in subjects or found:
            chosen = {}
            for line in lines:
                wanted = only in line["name"] and (everything or is_main(line["name"]))
                if line.get("subject", "") == subject and wanted:
                    chosen[label_of(line)] = line
            if chosen:
                title = subject if len(workdirs) == 1 else f"{workdir.name}: {subject}".rstrip(": ")
                columns[title] = (workdir, chosen)
    if not columns:
        raise ValueError(f"`subjects` and `only` must leave results. Received: {subjects}, {only!r}")
    labels = dict.fromkeys(label for _, chosen in columns.values() for label in chosen)
    first, *others = columns
    header = ["measurement", first]
    for title in others:
        header += [title, "difference"]
    rows = [header]
    for label in labels:
        reference = columns[first][1].get(label)
        row = [label, shown(reference)]
        for title in others:
            workdir, chosen = columns[title]
            line = chosen.get(label)
            row += [shown(line), _difference(reference, columns[first][0], line, workdir)]
        rows.append(row)
    return text_table(rows, markdown)


def paired_bootstrap(hits: np.ndarray, others: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same images.

    The images are drawn anew, with repetition, 10,000 times. All that matters of an image is which of the
    two is right, so a draw of the images is a draw of three counts from a multinomial distribution.

    Args:
        hits: (M,) bool, of the one.
        others: (M,) bool, of the other.
        seed: of the draws.

    Returns:
        Low and high end of `others.mean() - hits.mean()`.
    """
    count = len(hits)
    gained, lost = int((~hits & others).sum()), int((hits & ~others).sum())
    shares = np.array([gained, lost, count - gained - lost]) / count
    draws = np.random.default_rng(seed).multinomial(count, shares, RESAMPLES)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / count, [tail, 100 - tail])
    return float(low), float(high)


def is_main(name: str) -> bool:
    """Whether a result is neither of a single class, seed or severity nor of the time of training."""
    return not name.startswith(LEFT_OUT)


def label_of(line: dict[str, Any]) -> str:
    """What a result is called, with the settings that tell it from others of its name."""
    settings = [f"{key} {_value(line[key])}" for key in SETTINGS if key in line]
    return ", ".join([line["name"], *settings])


def _value(value):
    if isinstance(value, list):
        return " to ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def shown(line: dict[str, Any] | None) -> str:
    """A result as it is shown: an accuracy in percent, with its interval; "-" for None."""
    if line is None:
        return "-"
    if line["name"].startswith(NOT_ACCURACIES):
        return f"{line['value']:.3f}"
    text = f"{100 * line['value']:.1f}"
    return text + (f" ({100 * line['low']:.1f} to {100 * line['high']:.1f})" if "low" in line else "")


def _difference(reference, workdir, line, other_workdir):
    if reference is None or line is None:
        return "-"
    change = line["value"] - reference["value"]
    if line["name"].startswith(NOT_ACCURACIES):
        return f"{change:+.3f}"
    text = f"{100 * change:+.1f}"
    same = all(reference.get(key) == line.get(key) for key in SAME_IMAGES)
    hits, others = (
        (read_hits(one, where) for one, where in ((reference, workdir), (line, other_workdir)))
        if same
        else (None, None)
    )
    if hits is not None and others is not None:
        low, high = paired_bootstrap(hits, others)
        return f"{text} ({100 * low:+.1f} to {100 * high:+.1f}){' *' if low > 0 or high < 0 else ''}"
    if "low" in reference and "low" in line:
        # two intervals that do not touch: a stricter rule than the paired one, which needs the hits
        apart = line["low"] > reference["high"] or line["high"] < reference["low"]
        return text + (" *" if apart else "")
    return text


def text_table(rows: Sequence[Sequence[str]], markdown: bool = False) -> str:
    """Rows of equal length, the first of them the head, as plain text or Markdown."""
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
