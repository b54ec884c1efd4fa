"""The properties of a measure by its name: title, unit, whether it is a main result, and its format.

Results are lines of `results.jsonl`: dictionaries with a `name`, a `value` and the protocol of the
measurement. The comparison, the report and the model card use this module to interpret the name of a line.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

SHARE, NUMBER = "share", "number"


@dataclasses.dataclass(frozen=True)
class Measure:
    """The properties of the measures of one name.

    Attributes:
        title: the name in tables and pictures.
        unit: "share" for accuracies and other shares in [0, 1], which are shown in percent; "number" for all
            others.
        main: whether it is a main result. Results of a single class, seed or severity, and results measured
            during training, are not.
    """

    title: str
    unit: str = SHARE
    main: bool = True


USUAL_K = 20  # number of neighbours of the kNN result that stands in tables, see `is_usual`
# The main measure for one label per image, and the main measure for several.
KINDS = {"top1": "accuracy", "map": "mean average precision"}
# The longest entry that a name begins with applies.
MEASURES = {
    "finetune_run/": Measure("fine-tuned, one seed", main=False),
    "retrieval/recall@1": Measure("retrieval of the original, recall@1"),
    "robustness/linear/mean": Measure("linear, changed images"),
    "quality/alignment": Measure("alignment", NUMBER),
    "quality/uniformity": Measure("uniformity", NUMBER),
    "quality/rankme": Measure("RankMe", NUMBER),
    "quality/class_accuracy": Measure("accuracy of a class", main=False),
    "quality/average_precision": Measure("average precision of a class", main=False),
    "embedding/": Measure("variance on the map", main=False),
    "monitor/": Measure("accuracy during training", main=False),
    "speed/": Measure("speed of training", NUMBER, main=False),
    "speed/waiting_share": Measure("share of the time spent waiting for images", main=False),
    "health/": Measure("warning during training", NUMBER, main=False),
    "study/": Measure("progress of a study", NUMBER, main=False),
    "curve/": Measure("end of a curve", NUMBER, main=False),
}
for _kind, _suffix in {"top1": "", "map": ", mAP"}.items():
    MEASURES |= {
        f"knn/{_kind}": Measure(f"kNN{_suffix}"),
        f"knn_train/{_kind}": Measure(f"kNN among training images{_suffix}"),
        f"linear/{_kind}": Measure(f"linear{_suffix}"),
        f"linear_few/{_kind}": Measure(f"linear, few labels{_suffix}"),
        f"linear_sgd/{_kind}": Measure(f"linear, SGD on crops{_suffix}"),
        f"finetune/{_kind}": Measure(f"fine-tuned, few labels{_suffix}"),
        f"robustness/knn/{_kind}": Measure(f"kNN, changed images{_suffix}", main=False),
        f"robustness/linear/{_kind}": Measure(f"linear, changed images{_suffix}", main=False),
    }

# These settings distinguish measurements of one name, and they are shown in this order. The rest of a
# protocol says how a measurement was made and may differ between runs, such as the weight decay that was
# chosen.
SETTINGS = ("k", "per_class", "crop_scale", "change", "severity", "fraction", "class")
# Two lines with equal values of these entries, and of as many images, were measured on the same images.
SAME_IMAGES = ("dataset", "test_split", "test_part", "data_sets")
# The checksum of the images, and the names of the data sets that a mean is over; older results have neither.
CONTENT, TARGETS = "test_content", "targets"
# Results with one of these entries are means over draws of labelled images, or over trainings.
REPEATED = ("draws", "seeds")


def is_usual(line: dict[str, Any]) -> bool:
    """Whether a result is of the usual number of neighbours, or does not depend on neighbours at all.

    Fewer neighbours vote if there are fewer images; the number that was asked for counts.
    """
    return neighbours_of(line) == USUAL_K


def neighbours_of(line: dict[str, Any]) -> int:
    """The number of neighbours that was asked for; the usual one where a result does not depend on them."""
    return line.get("k_asked", line.get("k", USUAL_K))


def either(stem: str) -> tuple[str, ...]:
    """The two names of a main measure: with one label per image, and with several.

    Args:
        stem: first part of the name, such as "knn" for "knn/top1" and "knn/map".
    """
    return tuple(f"{stem}/{kind}" for kind in KINDS)


def kind_of_results(lines: Iterable[dict[str, Any]]) -> str:
    """The main measure of a run, "top1" or "map".

    Args:
        lines: lines of `results.jsonl`.
    """
    return next((kind for line in lines for kind in KINDS if line["name"].endswith(f"/{kind}")), "top1")


def measure_of(name: str) -> Measure:
    """The properties of a measure; a name that is not listed is a main result and a share.

    Args:
        name: name of the measure, such as "knn/top1".
    """
    found = max((known for known in MEASURES if name.startswith(known)), key=len, default=None)
    return Measure(name) if found is None else MEASURES[found]


def is_main(name: str) -> bool:
    """Whether a result is a main result: not of one class, seed or severity, nor measured in training."""
    return measure_of(name).main


def is_share(name: str) -> bool:
    """Whether a value lies in [0, 1] and is shown in percent, as accuracies are."""
    return measure_of(name).unit == SHARE


def label_of(line: dict[str, Any]) -> str:
    """The name of a result, with the settings that distinguish it from others of the same name.

    Args:
        line: a line of `results.jsonl`.
    """
    settings = [f"{key} {_setting(line[key])}" for key in SETTINGS if key in line]
    return ", ".join([line["name"], *settings])


def _setting(value):
    if isinstance(value, list):
        return " to ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def on_same_images(line: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results are known to be measured on the same images."""
    return _images_of(line) == _images_of(other)


def on_different_images(line: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two results are known to be measured on different images.

    Results without a checksum of the images, such as those of version 0.1.0, without the number of images, or
    without the names of the data sets are of the same images as others if the rest agrees.
    """
    one, two = _images_of(line), _images_of(other)
    if any(one[key] != two[key] for key in SAME_IMAGES):
        return True
    maybe = (CONTENT, TARGETS, "images")
    return any(one[key] != two[key] for key in maybe if None not in (one[key], two[key]))


def _images_of(line):
    """What a line says about its test images; None for what it does not say.

    Their number is in `images` where single images were counted, and in `test_images` otherwise, with -1 for
    a stream.
    """
    count = line.get("images", line.get("test_images"))
    found = {key: line.get(key) for key in (*SAME_IMAGES, CONTENT, TARGETS)}
    return found | {"images": None if count == -1 else count}


def has_interval_over_images(line: dict[str, Any]) -> bool:
    """Whether a result has an interval that says how much it depends on the choice of the test images.

    The interval of a mean over draws of labelled images, or over trainings with several seeds, does not: all
    of them are judged on the same test images, and the interval shrinks with their number.
    """
    return "low" in line and not any(key in line for key in REPEATED)


def value_text(line: dict[str, Any] | None) -> str:
    """Formats a value: a share in percent, with its interval if it has one; "-" for None.

    Args:
        line: a line of `results.jsonl`, or None.
    """
    if line is None:
        return "-"
    if not is_share(line["name"]):
        return f"{line['value']:.3f}"
    text = f"{100 * line['value']:.1f}"
    return text + (f" ({100 * line['low']:.1f} to {100 * line['high']:.1f})" if "low" in line else "")


def difference_text(line: dict[str, Any] | None, change: dict[str, Any] | None) -> str:
    """Formats a difference: shares in percentage points, with the interval, and `*` if it is beyond chance.

    Args:
        line: a line of `results.jsonl`, whose name gives the unit.
        change: `{"value"}` and, if they are known, "low", "high" and "beyond_chance"; None gives "-".
    """
    if line is None or change is None:
        return "-"
    if not is_share(line["name"]):
        return f"{change['value']:+.3f}"
    text = f"{100 * change['value']:+.1f}"
    if "low" in change:
        text += f" ({100 * change['low']:+.1f} to {100 * change['high']:+.1f})"
    return text + (" *" if change.get("beyond_chance") else "")
