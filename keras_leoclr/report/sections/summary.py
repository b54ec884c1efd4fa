"""The verdict on each run, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_leoclr.evaluation.measures import KINDS, kind_of_results
from keras_leoclr.report import verdict as judge
from keras_leoclr.report.accuracies import COLUMNS, other_neighbours, rows, seen_in_training
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import Cell, Table


class Mark(NamedTuple):
    """The appearance of an answer, and its text for screen readers."""

    sign: str
    word: str
    look: str


MARKS = {
    judge.YES: Mark("✓", "yes", "good"),
    judge.NO: Mark("✗", "no", "bad"),
    judge.OPEN: Mark("–", "open", "open"),
}


class Summary(NamedTuple):
    """The verdict on a run.

    Attributes:
        heading: name of the run; "" if it is the only one.
        mark: mark of the answer.
        headline: the answer in words.
        points: the findings that the answer is based on.
        measure: name of the measure in the table of accuracies.
        accuracies: the table; None if nothing was measured.
        note: a sentence on the test images; "" for none.
        warnings: pairs of epoch and advice.
    """

    heading: str
    mark: Mark
    headline: str
    points: list[tuple[Mark, str]]
    measure: str
    accuracies: Table | None
    note: str
    warnings: list[tuple[Any, str]]


def verdicts(runs: Sequence[RunRecord]) -> list[Summary]:
    """The verdict on each run, its accuracies and its warnings."""
    made = []
    for run in runs:
        found = judge.verdict(run)
        about = f"{run.recipe.get('method', 'a run')} on {run.recipe.get('dataset', 'unknown data')}"
        health = [r for r in run.results if r["name"].startswith("health/") and "advice" in r]
        made.append(
            Summary(
                f"{run.name}: {about}" if len(runs) > 1 else "",
                MARKS[found.mark],
                found.headline,
                [(MARKS[point.mark], point.text) for point in found.points],
                KINDS[kind_of_results(run.results)].capitalize(),
                _accuracies(run),
                seen_in_training(run.recipe, run.results),
                [(r.get("epoch", "?"), r["advice"]) for r in health],
            )
        )
    return made


def missing(runs: Sequence[RunRecord]) -> list[str]:
    """Sentences on files that could not be read."""
    return [
        f"{run.name}: {sentence}" if len(runs) > 1 else sentence for run in runs for sentence in run.missing
    ]


def _accuracies(run):
    body = []
    for subject, results in rows([*run.results, *run.on_other_data], run.recipe):
        if any(results):
            body.append((subject, [Cell("–") if r is None else _accuracy(r) for r in results]))
    return Table(["", *COLUMNS.values()], body, "Accuracies") if body else None


def _accuracy(result):
    interval = f"({100 * result['low']:.1f} to {100 * result['high']:.1f})" if "low" in result else ""
    return Cell(f"{100 * result['value']:.1f}{other_neighbours(result)}", small=interval)
