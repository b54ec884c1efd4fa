"""Scores of detection and segmentation."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of one picture, either true or detected.

    Attributes:
        boxes: (N, 4) top, left, bottom and right in pixels of the picture.
        classes: (N,) int, class numbers.
        scores: (N,) scores of detections; None for true objects.
        difficult: (N,) bool, true objects that are not judged; None if all are.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray | None = None
    difficult: np.ndarray | None = None


def average_precision(
    truth: Sequence[Objects], detected: Sequence[Objects], class_names: Sequence[str]
) -> dict[str, float]:
    """COCO's average precision, computed by pycocotools.

    Args:
        truth: true objects of each picture. Difficult ones are treated as COCO's crowd regions: detecting
            them counts neither as right nor as wrong.
        detected: detections in the same pictures; the best 100 of each picture are judged.
        class_names: names of the classes.

    Returns:
        `{"AP", "AP50", "AP75"}` in [0, 1], means over the classes that occur. AP is averaged over the
        overlaps 0.50 to 0.95; AP50 and AP75 are for the overlaps 0.50 and 0.75. `"AP NAME"` is the AP of each
        of these classes.

    Raises:
        ImportError: if pycocotools is not installed.
        ValueError: if no true object exists.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise ImportError(
            'average precision needs pycocotools: pip install "keras-leoclr[downstream]"'
        ) from error
    if len(truth) != len(detected):
        raise ValueError(
            "`truth` and `detected` must be of the same pictures. "
            f"Received: {len(truth)} and {len(detected)} pictures"
        )
    annotations = [
        {"image_id": picture, **entry} for picture, objects in enumerate(truth) for entry in _entries(objects)
    ]
    if not any(not entry["iscrowd"] for entry in annotations):
        raise ValueError("`truth` must hold an object that is not difficult. Received: none")
    found = [entry for picture, objects in enumerate(detected) for entry in _results(objects, picture)]
    known = COCO()
    known.dataset = {
        "info": {},
        "images": [{"id": picture} for picture in range(len(truth))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(class_names)],
        "annotations": [{"id": number, **entry} for number, entry in enumerate(annotations, 1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints every step.
        known.createIndex()
        scores = {"AP": 0.0, "AP50": 0.0, "AP75": 0.0}
        if not found:  # pycocotools takes no empty list.
            there = {entry["category_id"] for entry in annotations if not entry["iscrowd"]}
            return scores | {f"AP {name}": 0.0 for n, name in enumerate(class_names) if n in there}
        judge = COCOeval(known, known.loadRes(found), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    scores |= dict(zip(scores, map(float, judge.stats[:3]), strict=True))
    precision = judge.eval["precision"][:, :, :, 0, -1]  # (overlap, recall, class), all sizes, 100 detections
    for number, name in enumerate(class_names):
        of_class = precision[:, :, number]
        if (of_class > -1).any():
            scores[f"AP {name}"] = float(of_class[of_class > -1].mean())
    return scores


def _entries(objects: Objects) -> list[dict]:
    difficult = np.zeros(len(objects.classes), bool) if objects.difficult is None else objects.difficult
    rows = zip(objects.boxes, objects.classes, difficult, strict=True)
    return [
        {
            "category_id": int(number),
            "bbox": _xywh(box),
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "iscrowd": int(hard),
        }
        for box, number, hard in rows
    ]


def _results(objects: Objects, picture: int) -> list[dict]:
    rows = zip(objects.boxes, objects.classes, objects.scores, strict=True)
    return [
        {"image_id": picture, "category_id": int(number), "bbox": _xywh(box), "score": float(score)}
        for box, number, score in rows
    ]


def _xywh(box: np.ndarray) -> list[float]:
    top, left, bottom, right = (float(side) for side in box)
    return [left, top, right - left, bottom - top]


class MeanIoU:
    """Intersection over union of each class, summed over the pixels of all pictures as in VOC.

    Args:
        class_names: names of the classes.
        void: number in the masks that marks pixels that are not judged; 255 by default.
    """

    def __init__(self, class_names: Sequence[str], void: int = 255):
        self.class_names = tuple(class_names)
        self.void = void
        self.counts = np.zeros((len(self.class_names),) * 2, np.int64)  # rows: true class; columns: predicted

    def add(self, truth: np.ndarray, predicted: np.ndarray) -> None:
        """Counts the pixels of one picture; both arguments are (H, W) arrays of class numbers."""
        classes = len(self.class_names)
        judged = truth != self.void
        pairs = truth[judged].astype(np.int64) * classes + predicted[judged]
        self.counts += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def result(self) -> dict[str, float]:
        """`{"mIoU", "pixel accuracy"}` in [0, 1] and "IoU NAME" for each class that occurs or was predicted.

        Raises:
            ValueError: if no pixel was counted.
        """
        if not self.counts.sum():
            raise ValueError("`add` must have counted a pixel that is not void. Received: none")
        hits = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        of_class = {
            f"IoU {name}": float(hit / total)
            for name, hit, total in zip(self.class_names, hits, union, strict=True)
            if total
        }
        accuracy = float(hits.sum() / self.counts.sum())
        return {"mIoU": float(np.mean(list(of_class.values()))), "pixel accuracy": accuracy, **of_class}
