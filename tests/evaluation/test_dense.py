"""Scores of detection and segmentation."""

import numpy as np
import pytest

from keras_leoclr.evaluation.dense import MeanIoU, Objects, average_precision

pytestmark = pytest.mark.backend_free


def objects(*rows, scores=None, difficult=None):
    boxes = np.array([row[:4] for row in rows], "float32").reshape(-1, 4)
    return Objects(boxes, np.array([row[4] for row in rows], int), scores, difficult)


def test_average_precision_of_perfect_shifted_and_missing_detections():
    pytest.importorskip("pycocotools")
    truth = [objects((0, 0, 10, 10, 0)), objects((0, 0, 20, 10, 1))]
    right = [objects((0, 0, 10, 10, 0), scores=[0.9]), objects((0, 0, 20, 10, 1), scores=[0.8])]
    scores = average_precision(truth, right, ("cat", "dog"))
    assert scores == pytest.approx({"AP": 1, "AP50": 1, "AP75": 1, "AP cat": 1, "AP dog": 1})
    # 6 of 10 columns: an overlap of 0.6, which counts at 0.50, 0.55 and 0.60
    shifted = [objects((0, 0, 10, 6, 0), scores=[0.9]), right[1]]
    scores = average_precision(truth, shifted, ("cat", "dog"))
    assert scores["AP50"] == pytest.approx(1) and scores["AP75"] == pytest.approx(0.5)
    assert scores["AP cat"] == pytest.approx(0.3)
    nothing = [objects(scores=[]), objects(scores=[])]
    none = average_precision(truth, nothing, ("cat", "dog", "sheep"))  # there is no sheep
    assert none == {"AP": 0, "AP50": 0, "AP75": 0, "AP cat": 0, "AP dog": 0}


def test_difficult_objects_are_neither_missed_nor_wrong():
    pytest.importorskip("pycocotools")
    truth = [objects((0, 0, 10, 10, 0), (20, 20, 30, 30, 0), difficult=np.array([False, True]))]
    for found in (
        objects((0, 0, 10, 10, 0), scores=[0.5]),
        objects((20, 20, 30, 30, 0), (0, 0, 10, 10, 0), scores=[0.9, 0.5]),
    ):
        assert average_precision(truth, [found], ("cat",))["AP"] == pytest.approx(1)
    with pytest.raises(ValueError, match="`truth` must hold an object that is not difficult"):
        average_precision([objects((0, 0, 9, 9, 0), difficult=np.array([True]))], [found], ("cat",))


def test_mean_iou_counts_pixels_and_leaves_out_void():
    rng = np.random.default_rng(0)
    score = MeanIoU(("a", "b", "c", "never"))
    pairs = [(rng.integers(0, 3, (5, 7)), rng.integers(0, 3, (5, 7))) for _ in range(3)]
    for truth, predicted in pairs:
        truth[0] = 255
        score.add(truth.astype("uint8"), predicted)
    truth = np.concatenate([t.ravel() for t, _ in pairs])
    predicted = np.concatenate([p.ravel() for _, p in pairs])[truth != 255]
    truth = truth[truth != 255]
    ious = [
        ((truth == c) & (predicted == c)).sum() / ((truth == c) | (predicted == c)).sum() for c in range(3)
    ]
    result = score.result()
    assert result["mIoU"] == pytest.approx(np.mean(ious)) and "IoU never" not in result
    assert result["pixel accuracy"] == pytest.approx((truth == predicted).mean())
    with pytest.raises(ValueError, match="not void"):
        MeanIoU(("a",)).result()
