"""Reads one annotation in the format of Pascal VOC: the boxes of an XML file, or the mask of a PNG."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.data.failures import shown

VOID = 255  # value in a mask of a pixel that belongs to no class and is not judged


class AnnotationError(ValueError):
    """Raised for an annotation that is not valid; the message begins with its file."""


@dataclasses.dataclass(frozen=True)
class Boxes:
    """The objects of a picture.

    Attributes:
        names: class of each object.
        boxes: (N, 4) float32, top, left, bottom, right as shares of height and width, in [0, 1].
        difficult: (N,) bool, objects that are not judged.
        size: (height, width) of the picture according to the file; None if the file does not say.
    """

    names: tuple[str, ...]
    boxes: np.ndarray
    difficult: np.ndarray
    size: tuple[int, int] | None


def read_boxes(path: str | os.PathLike) -> Boxes:
    """Reads an XML file of VOC's format.

    A file with a document type or entities is refused. VOC counts pixels from 1, and a box includes its last
    pixel: xmin 1 and xmax W span the whole width.

    Args:
        path: path of the file.

    Raises:
        AnnotationError: if it is not such a file, or a box is empty or reaches beyond the picture.
    """
    tree = _safe_xml(path)
    size = _picture_size(tree, path)
    names, boxes, difficult = [], [], []
    for number, entry in enumerate(tree.findall("object"), 1):
        name, box = (entry.findtext("name") or "").strip(), entry.find("bndbox")
        if not name or box is None:
            raise AnnotationError(f"{shown(str(path))}: object {number} must have a name and a bndbox")
        sides = {}
        for side in ("xmin", "ymin", "xmax", "ymax"):
            try:
                sides[side] = float(box.findtext(side) or "")
            except ValueError:
                sides[side] = np.nan
        height, width = size or (np.inf, np.inf)
        fits = sides["xmin"] >= 0 and sides["ymin"] >= 0  # 0 is accepted, since some tools count from 0.
        fits &= sides["xmax"] <= width and sides["ymax"] <= height
        top, left = max(0.0, sides["ymin"] - 1), max(0.0, sides["xmin"] - 1)
        if not (fits and sides["xmax"] > left and sides["ymax"] > top):  # NaN fails these comparisons, too.
            raise AnnotationError(
                f"{shown(str(path))}: object {number}, {name}, must have a box within the picture"
                f"{f' of {width} x {height} pixels' if size else ''}, xmin <= xmax and ymin <= ymax. "
                f"Received: {', '.join(f'{side} {value:g}' for side, value in sides.items())}"
            )
        names.append(name)
        boxes.append((top, left, sides["ymax"], sides["xmax"]))
        difficult.append((entry.findtext("difficult") or "0").strip() == "1")
    array = np.array(boxes, "float32").reshape(-1, 4)
    return Boxes(tuple(names), array, np.array(difficult, bool), size)


def read_mask(path: str | os.PathLike, class_names: Sequence[str]) -> np.ndarray:
    """Reads a PNG whose palette numbers, or grey values, are classes.

    Args:
        path: path of the file.
        class_names: the known classes.

    Returns:
        (H, W) uint8, 255 for void.

    Raises:
        AnnotationError: if it is not such a file, or holds a number without a class.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            mode = image.mode
            mask = np.array(image)
    except Exception as error:  # Pillow's parsers raise many types of errors on damaged files.
        raise AnnotationError(f"{shown(str(path))}: no PNG that can be read ({error})") from error
    if mode not in ("P", "L"):
        raise AnnotationError(
            f"{shown(str(path))}: must have a palette or be grey, 8 bits, its numbers being classes. "
            f"Received: mode {mode}"
        )
    unknown = np.setdiff1d(mask, [*range(len(class_names)), VOID])
    if len(unknown):
        raise AnnotationError(
            f"{shown(str(path))}: must hold the numbers of the {len(class_names)} classes, or {VOID}. "
            f"Received: {', '.join(map(str, unknown[:5]))}"
        )
    return mask


def _safe_xml(path: str | os.PathLike) -> Any:
    try:
        from defusedxml import DefusedXmlException, ElementTree
    except ImportError as error:
        raise ImportError(
            'annotations in XML need defusedxml: pip install "keras-leoclr[downstream]"'
        ) from error
    try:
        return ElementTree.parse(path, forbid_dtd=True).getroot()
    except DefusedXmlException as error:
        raise AnnotationError(f"{shown(str(path))}: must not have a document type or entities") from error
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise AnnotationError(f"{shown(str(path))}: no XML that can be read ({error})") from error


def _picture_size(tree: Any, path: str | os.PathLike) -> tuple[int, int] | None:
    """(height, width) of the picture; None if the file does not say, or says 0 as some tools do."""
    texts = [tree.findtext(f"size/{side}") for side in ("height", "width")]
    if None in texts:
        return None
    try:
        height, width = (int(text) for text in texts)
    except ValueError as error:
        raise AnnotationError(f"{shown(str(path))}: size must be whole numbers. Received: {texts}") from error
    return (height, width) if height > 0 and width > 0 else None
