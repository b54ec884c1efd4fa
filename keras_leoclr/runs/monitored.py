"""Names of the kNN measurement during training, in logs, `history.csv` and the status of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KNN = {
    "knn_top1": "kNN",
    "knn_map": "kNN mAP",
}  # name in the logs -> short name for people; the first with one label per picture, the second with several
NOT_MEASURED = "NA"  # in `history.csv`, for an epoch in which a number was not measured (Keras' CSVLogger)


def knn_of(numbers: Mapping[str, Any]) -> tuple[str, float] | None:
    """Returns name and value of the kNN measurement; None if it was not measured.

    Args:
        numbers: name -> value, such as the logs of an epoch or the status of a run.
    """
    return next(((name, numbers[name]) for name in KNN if numbers.get(name) is not None), None)
