"""A measured value with its confidence interval and its protocol, and the files that it is written to."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from keras_leoclr.evaluation.average_precision import ranks
from keras_leoclr.evaluation.measures import USUAL_K
from keras_leoclr.evaluation.statistics import CONFIDENCE, wilson
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results

PICTURES = "pictures"  # name of arrays (H, W, 3) uint8 that are saved as a PNG or JPEG
SUFFIXES = (".npy", ".png", ".jpg")
LONGEST_STEM = 120  # characters; file systems take 255 bytes, some 143, for a name with its number and suffix


class Score(tuple):
    """The pair (name, value), with the details of the measurement.

    Attributes:
        name: name of the measure, such as "knn/top1".
        value: the measured value.
        protocol: anything that JSON can hold: k, temperature, crop scale and so on.
        interval: (low, high) of the 95 % confidence interval, or None.
        hits: (M,) bool, which test images are classified correctly, or None.
        arrays: further arrays by name, each of which is saved in a file.
    """

    def __new__(
        cls,
        name: str,
        value: float,
        interval: tuple[float, float] | None = None,
        hits: np.ndarray | None = None,
        arrays: dict[str, np.ndarray] | None = None,
        /,
        **protocol: Any,
    ):
        self = super().__new__(cls, (name, float(value)))
        self.name, self.value = self
        self.interval, self.hits, self.arrays, self.protocol = interval, hits, arrays or {}, protocol
        return self


def accuracy_scores(
    name: str, ranked: np.ndarray, labels: np.ndarray, top: Sequence[int] = (1, 5), /, **protocol: Any
) -> Iterable[Score]:
    """Yields the scores `name/top1` and so on, with Wilson's intervals and the hits of each image.

    Args:
        name: name of the classifier, such as "knn".
        ranked: (M, R), classes of each image, best first.
        labels: (M,) true classes.
        top: numbers of best classes among which the label may be, (1, 5) by default.
        **protocol: how the scores were measured.
    """
    found = ranked == np.asarray(labels)[:, None]
    for rank in top:
        hits = found[:, :rank].any(axis=1)
        yield Score(
            f"{name}/top{rank}", hits.mean(), wilson(int(hits.sum()), len(hits)), hits, None, **protocol
        )


def ranking_arrays(scores: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What is kept of the scores of images with several labels, so that two results can be compared.

    Args:
        scores: (M, C) scores of the test images.
        labels: (M, C), zeros and ones.

    Returns:
        `ranks` (M, C), which order the images of a class as the scores do, and `positives`, the labels,
        eight per byte.
    """
    return {"ranks": ranks(scores), "positives": np.packbits(np.asarray(labels, bool))}


def write_scores(scores: Iterable[Score], results: Results, /, **protocol: Any) -> dict[str, float]:
    """Writes scores as they are computed, one line each, and their arrays into files.

    Hits are packed, eight images per byte, in `evaluation/` next to the file of results; their line names
    the file. Lines that differ in their protocol have separate hits. Further arrays are files too; one
    named "pictures", (H, W, 3) uint8, is a PNG if it is grey and a JPEG otherwise.

    Args:
        scores: the scores that an evaluator's `run()` yields.
        results: the file to write to.
        **protocol: entries that all lines share: subject, data, splits, epoch.

    Returns:
        The values by name; of kNN with several numbers of neighbours, that with 20.
    """
    folder = RunFolder(results.path.parent).evaluation
    values: dict[str, float] = {}
    usual: set[str] = set()  # names of which there is a value for `USUAL_K` neighbours
    for score in scores:
        line = {**protocol, **score.protocol}
        if score.interval is not None:
            low, high = score.interval
            line |= {"low": float(low), "high": float(high), "confidence": CONFIDENCE}
        arrays = {**score.arrays}
        if score.hits is not None:
            arrays["hits"] = np.packbits(np.asarray(score.hits, bool))
            line["images"] = len(score.hits)
        for kind, array in arrays.items():
            folder.mkdir(parents=True, exist_ok=True)
            words = [protocol.get(key, "") for key in ("subject", "dataset", "epoch")]
            path = _unused(folder, _stem(score.name, *words, kind))
            if kind == PICTURES:
                path = _write_picture(path, array)
            else:
                np.save(path, array, allow_pickle=False)
            line[f"{kind}_file"] = f"{folder.name}/{path.name}"
        results.write(score.name, score.value, **line)
        if score.name not in values or score.name not in usual or line.get("k") == USUAL_K:
            values[score.name] = score.value
        if line.get("k") == USUAL_K:
            usual.add(score.name)
    return values


def drop_unnamed(results: Results) -> None:
    """Deletes the files in `evaluation/` that no line of results names, for instance because it was removed.

    Args:
        results: the file of results; its folder is cleaned.
    """
    named = {
        pathlib.PurePosixPath(value).name
        for line in results.read()
        for key, value in line.items()
        if key.endswith("_file")
    }
    for path in RunFolder(results.path.parent).evaluation.glob("*"):
        if path.name not in named and path.suffix in SUFFIXES:
            path.unlink()


def read_hits(line: dict[str, Any], workdir: pathlib.Path) -> np.ndarray | None:
    """Reads the hits (M,) bool that belong to a line of results; None if it has none.

    Raises:
        ValueError: if the file does not hold what was written.
    """
    if "hits_file" not in line:
        return None
    path = RunFolder(workdir).evaluation / pathlib.PurePosixPath(line["hits_file"]).name
    packed = np.load(path, allow_pickle=False)
    if packed.dtype != np.uint8 or packed.ndim != 1 or len(packed) != -(-line["images"] // 8):
        raise ValueError(
            f"{path} must hold the packed hits of {line['images']} images. Received: {packed.shape}"
        )
    return np.unpackbits(packed, count=line["images"]).astype(bool)


def read_ranking(line: dict[str, Any], workdir: pathlib.Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Reads the ranks and labels (M, C) of a line of results, see `ranking_arrays`; None if it has none.

    Raises:
        ValueError: if the files do not hold what was written.
    """
    if "ranks_file" not in line or "positives_file" not in line:
        return None
    folder = RunFolder(workdir).evaluation
    order, packed = (
        np.load(folder / pathlib.PurePosixPath(line[f"{kind}_file"]).name, allow_pickle=False)
        for kind in ("ranks", "positives")
    )
    if order.ndim != 2 or len(order) != line["images"] or packed.shape != (-(-order.size // 8),):
        raise ValueError(
            f"{folder} must hold the ranks and labels of {line['images']} images. "
            f"Received: {order.shape} and {packed.shape}"
        )
    return order, np.unpackbits(packed, count=order.size).reshape(order.shape)


def _write_picture(path: pathlib.Path, array: np.ndarray) -> pathlib.Path:
    """Saves grey pictures as PNG and colour pictures as JPEG, whose PNG would be several times as large."""
    grey = bool((array == array[..., :1]).all())
    path = path.with_suffix(".png" if grey else ".jpg")
    if grey:
        Image.fromarray(array[..., 0]).save(path, optimize=True)
    else:
        # With `optimize`, Pillow would need a buffer for the whole file and would fail with one that is too
        # small.
        Image.fromarray(array).save(path, quality=85, subsampling=0)
    return path


def _stem(*words: Any) -> str:
    """A file name of ASCII letters, digits, dots and "-", of which the middle is left out if it is long.

    The name of a data set may be a list of many folders.
    """
    stem = re.sub(r"[^A-Za-z0-9.]+", "-", "-".join(map(str, words))).strip("-")
    half = LONGEST_STEM // 2
    return stem if len(stem) <= LONGEST_STEM else f"{stem[:half]}-{stem[1 - half :]}"


def _unused(folder: pathlib.Path, stem: str) -> pathlib.Path:
    number, name = 1, stem
    while any((folder / f"{name}{suffix}").exists() for suffix in SUFFIXES):
        number += 1
        name = f"{stem}-{number}"
    return folder / f"{name}.npy"
