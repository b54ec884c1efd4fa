"""The accuracies of a run: which results a table of them shows, and the table as plain text."""

from __future__ import annotations

from typing import Any

COLUMNS = {
    "knn/top1": "kNN (k = 20)",
    "linear/top1": "linear, all labels",
    "linear_few/top1": "linear, few labels",
}


def table(results: list[dict[str, Any]]) -> str:
    """A table of accuracies in percent with one line for each subject, as plain text.

    Args:
        results: lines of `results.jsonl`.
    """
    lines = ["accuracy on the test images, %".ljust(32) + "".join(f"{c:>22}" for c in COLUMNS.values())]
    for subject, found in rows(results):
        lines.append(subject.ljust(32) + "".join(f"{_cell(result):>22}" for result in found))
    return "\n".join(lines)


def rows(results: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """The last result of each column for each subject, in the order of first appearance.

    Args:
        results: lines of `results.jsonl`.
    """
    subjects = dict.fromkeys(r["subject"] for r in results if "subject" in r)
    return [(subject, [latest(results, subject, name) for name in COLUMNS]) for subject in subjects]


def latest(results: list[dict[str, Any]], subject: str, name: str) -> dict[str, Any] | None:
    """The last result of a name; None if there is none.

    Of kNN with several numbers of neighbours it is the result for k = 20, if that was measured.
    """
    found = [r for r in results if r.get("subject") == subject and r["name"] == name]
    usual = [r for r in found if r.get("k", 20) == 20]
    return (usual or found or [None])[-1]


def _cell(result):
    if result is None:
        return "-"
    spread = f" ± {100 * result['top1_std']:.1f}" if "top1_std" in result else ""
    return f"{100 * result['value']:.1f}{spread}"
