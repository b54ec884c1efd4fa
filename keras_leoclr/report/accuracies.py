"""The accuracies or mean average precisions of a run: the entries of a table, and the table as text."""

from __future__ import annotations

from typing import Any

from keras_leoclr.data.split_overlap import overlap
from keras_leoclr.evaluation.measures import KINDS, either, is_usual, kind_of_results, neighbours_of
from keras_leoclr.evaluation.own_results import divided, judged_on, named_data, own_results

COLUMNS = {
    "knn": "kNN (k = 20)",
    "linear": "linear, all labels",
    "linear_few": "linear, few labels",
}


def table(
    results: list[dict[str, Any]],
    without: str = "The features have not been measured.",
    recipe: dict[str, Any] | None = None,
) -> str:
    """A table of accuracies in percent with one line for each subject, as plain text.

    Args:
        results: lines of `results.jsonl`.
        without: text that is returned if there are no accuracies, such as that of `unmeasured`.
        recipe: settings of the run, which tell its own test images from others; None if they are not known.
    """
    judged = [(subject, found) for subject, found in rows(results, recipe) if any(found)]
    if not judged:
        return without
    head = f"{KINDS[kind_of_results(results)]} on the test images, %"
    width = max(32, *(len(text) + 1 for text in (head, *(subject for subject, _ in judged))))
    lines = [head.ljust(width) + "".join(f"{c:>22}" for c in COLUMNS.values())]
    for subject, found in judged:
        lines.append(subject.ljust(width) + "".join(f"{_cell(result):>22}" for result in found))
    return "\n".join(lines)


def rows(
    results: list[dict[str, Any]], recipe: dict[str, Any] | None = None
) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """The last result of each column for each subject; subjects are in the order of first appearance.

    Results on other images than those of the run, see `own_results.judged_on`, follow in rows that name them.
    If there are several data sets, and none is that of the recipe, all rows name them.

    Args:
        results: lines of `results.jsonl`.
        recipe: settings of the run; None if they are not known.
    """
    own, others = divided(recipe or {}, results)
    data = judged_on(recipe or {}, results)
    known = not others or data[0] == str((recipe or {}).get("dataset"))
    groups = {"" if known else f", on {data[0]} ({data[1]})": own}
    for line in others:
        groups.setdefault(f", {named_data(line)}", []).append(line)
    return [
        (f"{subject}{where}", [latest(lines, subject, stem) for stem in COLUMNS])
        for where, lines in groups.items()
        for subject in dict.fromkeys(line["subject"] for line in lines if "subject" in line)
    ]


def latest(results: list[dict[str, Any]], subject: str, stem: str) -> dict[str, Any] | None:
    """The last result of a main measure; None if there is none.

    For kNN with several numbers of neighbours it is the result for k = 20, if that was measured.

    Args:
        results: lines of `results.jsonl`, all of the same images, see `own_results.divided`.
        subject: name of what was judged, such as "pretrained".
        stem: "knn", "linear" or "linear_few"; it stands for accuracies and for mean average precisions.
    """
    found = [r for r in results if r.get("subject") == subject and r["name"] in either(stem)]
    usual = [r for r in found if is_usual(r)]
    return (usual or found or [None])[-1]


def seen_in_training(recipe: dict[str, Any], results: list[dict[str, Any]]) -> str:
    """A sentence if the test images of the pretrained backbone were among those that it was trained on.

    Args:
        recipe: the settings of the run.
        results: lines of `results.jsonl`.

    Returns:
        The sentence; "" if the test images were others, or if that cannot be told from the names of the
        splits.
    """
    trained = recipe.get("train_split", "train")
    own = own_results(recipe, results)
    for line in filter(None, (latest(own, "pretrained", stem) for stem in COLUMNS)):
        split = line.get("test_split")
        if line.get("dataset") == recipe.get("dataset") and split and overlap(trained, str(split)):
            return (
                f"The test images ({split}) are among those that the network was pretrained on ({trained}), "
                "without their labels; new images may be classified less well."
            )
    return ""


def _cell(result):
    if result is None:
        return "-"
    spread = next((result[key] for key in (f"{kind}_std" for kind in KINDS) if key in result), None)
    told = f"{100 * result['value']:.1f}" + ("" if spread is None else f" ± {100 * spread:.1f}")
    return told + other_neighbours(result)


def other_neighbours(result: dict[str, Any]) -> str:
    """The number of neighbours of a result, such as " (k = 5)", if it is not that of the column; else ""."""
    return "" if is_usual(result) else f" (k = {neighbours_of(result)})"
