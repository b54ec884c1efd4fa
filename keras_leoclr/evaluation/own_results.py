"""Tells the results on the test images of a run from those on other images, which are not comparable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_leoclr.evaluation.measures import either
from keras_leoclr.runs.folder import IN_PYTHON

STEMS = ("knn", "linear", "linear_few")  # the measures that decide which images a run is judged on
TRANSFER, MAP = "transfer/", "embedding/"  # beginnings of names of results that are not of test images alone
OTHER_DATA = "on_other_data"  # entry of a line of results, see `marked`

Data = tuple[str, str]  # name of a data set and its test split


def judged_on(
    recipe: Mapping[str, Any], lines: list[dict[str, Any]], preferred: Data | None = None
) -> Data | None:
    """The data set and the test split that the results of a run are of.

    They are those of its recipe. If nothing was measured on these, they are those of the last result on
    another split of the data set, or else of the last result on any, preferably of the pretrained backbone.

    Args:
        recipe: the settings of the run; {} if they are not known.
        lines: lines of `results.jsonl`.
        preferred: a data set and a split that are taken instead if there are results on them.

    Returns:
        None if there are no such results.
    """
    measures = {name for stem in STEMS for name in either(stem)}
    found = [
        (line.get("subject") == "pretrained", data)
        for line in lines
        if line["name"] in measures and (data := _data_of(line)) is not None
    ]
    known = [data for _, data in sorted(found, key=lambda each: each[0])]  # The sort is stable.
    own = str(recipe.get("dataset")), str(recipe.get("test_split"))
    for data in (preferred, own):
        if data in known:
            return data
    of_dataset = [data for data in known if data[0] == own[0]]
    return (of_dataset or known or [None])[-1]


def divided(
    recipe: Mapping[str, Any], lines: list[dict[str, Any]], preferred: Data | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of results on the images that a run is judged on, see `judged_on`, and those on others.

    A line that does not name data belongs to the first, and so does a transfer, whose data set is a part of
    what is measured. A map of pictures belongs to the second only if there is one of the run's data set.
    Images that were given in Python have no name: the checksum of the first ones tells them from others.

    Args:
        recipe: see `judged_on`.
        lines: see `judged_on`.
        preferred: see `judged_on`.
    """
    data = judged_on(recipe, lines, preferred)
    contents = [_content(line) for line in lines if _data_of(line) == data and _content(line)]
    mapped = {line.get("dataset") for line in lines if line["name"].startswith(MAP)}

    def is_own(line):
        if line["name"].startswith(MAP):
            return recipe.get("dataset") not in mapped or line.get("dataset") == recipe.get("dataset")
        if line["name"].startswith(TRANSFER) or data is None or _data_of(line) is None:
            return True
        return _data_of(line) == data and _content(line) in (None, *contents[:1])

    own = [line for line in lines if is_own(line)]
    return own, [line for line in lines if not is_own(line)]


def own_results(recipe: Mapping[str, Any], lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first part of what `divided` returns."""
    return divided(recipe, lines)[0]


def marked(
    recipe: Mapping[str, Any], lines: list[dict[str, Any]], preferred: Data | None = None
) -> list[dict[str, Any]]:
    """All lines; those on other images with an entry `on_other_data`, such as "on DIR (test)".

    Args:
        recipe: see `judged_on`.
        lines: see `judged_on`.
        preferred: see `judged_on`.
    """
    own, others = divided(recipe, lines, preferred)
    return [*own, *(line | {OTHER_DATA: named_data(line)} for line in others)]


def named_data(line: dict[str, Any]) -> str:
    """The images of a result in words, such as "on DIR (test)".

    Args:
        line: a line of `results.jsonl` that names a data set and a test split.
    """
    content = f", checksum {_content(line)[:6]}" if _content(line) else ""
    return f"on {line['dataset']} ({line['test_split']}{content})"


def _content(line: dict[str, Any]) -> str | None:
    """The checksum of test images without a name."""
    return line.get("test_content") if line.get("dataset") == IN_PYTHON else None


def _data_of(line: dict[str, Any]) -> Data | None:
    if "dataset" not in line or "test_split" not in line:
        return None
    return str(line["dataset"]), str(line["test_split"])
