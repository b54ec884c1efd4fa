"""Describes the labels of a source in words and numbers, as a part of the command `leoclr data`."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_leoclr.data.multi_hot import counts
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.source import Source

LISTED = 40  # largest number of classes in a table
SAMPLED = 1000  # number of pictures whose labels are read if they are not in memory


def of_labels(source: Source, verify: bool = False) -> tuple[dict[str, str], dict[str, Any]]:
    """Describes the labels of a source.

    Args:
        source: the images.
        verify: whether to read the labels of all pictures with several labels even if they are not in memory;
            otherwise (the default) those of the first 1,000.

    Returns:
        Texts by title, and a dictionary for programs. The latter is `{}` if there are no labels or they are
        not in memory, and otherwise `{"pictures": N, "several": bool, "classes": {name: pictures}}`. With
        several labels per picture it also has `"per_picture"`, the number of pictures by number of labels.
    """
    if not source.labelled:
        return {"labels": "none"}, {}
    labels = source.labels
    if source.several_labels:
        return _several(source, verify)
    names = source.class_names
    if labels is None:
        return {"labels": "yes" + (f", {len(names)} classes" if names else "")}, {}
    known = has_label(labels)
    if not known.any():
        return {"labels": "none"}, {}
    told = "yes" if known.all() else f"{known.sum():,} pictures; {(~known).sum():,} have none (-1)"
    found = counts(labels[known], len(names))
    facts = {"pictures": int(known.sum()), "several": False, "classes": _by_name(found, names)}
    return {"labels": told, "classes": _extremes(found, names)}, facts


def _several(source: Source, verify: bool) -> tuple[dict[str, str], dict[str, Any]]:
    labels, of = source.labels, ""
    if labels is None:
        part = source if verify or (source.count or SAMPLED + 1) <= SAMPLED else _first(source)
        labels = part.read_labels()
        of = "" if part is source else f" (of the first {SAMPLED:,})"
    found = counts(labels)
    names = source.class_names or tuple(map(str, range(len(found))))
    each = labels.sum(axis=1, dtype="int64")
    told = f"several per picture: {each.mean():.1f} on average, {each.min()} to {each.max()}"
    told += f"; {(each == 0).sum():,} of {len(each):,} pictures have none"
    empty = [names[number] for number in np.flatnonzero(found == 0)]
    lines = {"labels": told + of, "classes": _table(found, names, len(labels)) + of}
    if empty:
        some = ", ".join(empty[:LISTED]) + (f" and {len(empty) - LISTED:,} more" * (len(empty) > LISTED))
        lines["on none"] = f"{len(empty):,} of {len(names):,} classes are on no picture: {some}{of}"
    if (each == 1).all():
        lines["one each"] = (
            f"every picture has one label{of}: as numbers of classes (N,) they are judged by accuracy, as "
            "rows of zeros and ones by mean average precision"
        )
    numbers, pictures = np.unique(each, return_counts=True)
    per_picture = {str(number): int(count) for number, count in zip(numbers, pictures, strict=True)}
    facts = {"pictures": len(labels), "several": True, "classes": _by_name(found, names)}
    return lines, facts | {"per_picture": per_picture}


def _first(source: Source) -> Source:
    """The first images, for reading their labels only: no picture is decoded."""
    if source.images is not None:
        return source.subset(np.arange(SAMPLED))
    if source.encoded is None:
        return source.take(SAMPLED)
    return Source(encoded=source.encoded.take(SAMPLED), decode=source.decode)


def _table(found: np.ndarray, names: tuple[str, ...], count: int) -> str:
    """A line for each class, the most frequent first; with many classes, only the first and the last."""
    order = np.argsort(-found, kind="stable")
    half = LISTED // 2
    shown = order if len(order) <= LISTED else [*order[:half], *order[-half:]]
    width = max(len(names[number]) for number in shown)
    lines = [
        f"  {names[number]:<{width}} {found[number]:>9,} pictures {found[number] / count:>7.1%}"
        for number in shown
    ]
    if len(order) > LISTED:
        lines.insert(half, f"  {len(order) - LISTED:,} classes between them")
    first = f"{len(found):,}; smallest {_one(found, names, order[-1])}, "
    return "\n".join([f"{first}largest {_one(found, names, order[0])}", *lines])


def _one(found, names, number) -> str:
    return f"{names[number]} ({found[number]:,} pictures)"


def _extremes(found, names) -> str:
    names = names or range(len(found))
    if found.min() == found.max():
        return f"{len(found):,} of {found[0]:,} pictures each"
    extremes = f"smallest {_one(found, names, found.argmin())}, largest {_one(found, names, found.argmax())}"
    return f"{len(found):,}; {extremes}"


def _by_name(found, names) -> dict[str, int]:
    names = names or tuple(map(str, range(len(found))))
    return {str(name): int(count) for name, count in zip(names, found, strict=True)}
