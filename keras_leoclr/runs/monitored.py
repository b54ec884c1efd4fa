"""Names of the kNN measurement during training, in logs, `history.csv` and the status of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNN = {
    "knn_top1": "kNN",
    "knn_map": "kNN mAP",
}  # one label per picture, several; what each is called in short


def knn_of(numbers: Mapping[str, Any]) -> tuple[str, float] | None:
    """The name and the value of the kNN measurement among some numbers; None if it was not measured.

    Args:
        numbers: such as the logs of an epoch or the status of a run.
    """
    return next(((name, numbers[name]) for name in KNN if numbers.get(name) is not None), None)
