"""Split strings, such as "train[:80%]", for sources that TensorFlow Datasets does not know."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

# These settings divide a source that has a single split. The pictures of a folder are in a mixed order.
SET_ASIDE = {"train_split": "train[:90%]", "test_split": "train[90%:]"}


class SplitError(ValueError):
    """Raised if a split does not exist or has no images; a damaged split raises another ValueError."""


@dataclasses.dataclass
class _Size:
    num_examples: int


def split_name(split: str) -> str:
    """The name in a split string, such as "train" in "train[:80%]".

    Raises:
        ValueError: if it is not a split string of TensorFlow Datasets, or names several splits.
    """
    if str(split).isidentifier() and split != "all":
        return str(split)
    names = {getattr(part, "split_name", None) for part in _parts(_parse(split))}
    if len(names) > 1 or None in names:
        raise ValueError(
            f"`split` must name one split of this source. Received: split={split!r}, which names several"
        )
    return names.pop()


def split_rows(split: str, count: int) -> np.ndarray:
    """The numbers (N,) of the images that a split string selects out of `count`."""
    name = split_name(split)
    if name == split:
        return np.arange(count)
    instruction = _parse(split)
    if any(part.unit == "shard" for part in _parts(instruction)):
        raise ValueError(
            "`split` must be in images or percent, such as train[:100] or train[:10%]: this source has no "
            "shards. "
            f"Received: split={split!r}"
        )
    try:
        pieces = instruction.to_absolute({name: _Size(count)})
    except ValueError as error:
        raise SplitError(
            f"`split` must lie within the {count:,} images. Received: split={split!r}"
        ) from error
    ranges = [np.arange(piece.from_ or 0, count if piece.to is None else piece.to) for piece in pieces]
    rows = np.concatenate(ranges)
    if not len(rows):
        raise SplitError(f"`split` must leave an image. Received: split={split!r} of {count:,} images")
    return rows


def _parse(split: str) -> Any:
    import tensorflow_datasets as tfds  # The import takes seconds and is not needed for a plain name.

    try:
        return tfds.core.ReadInstruction.from_spec(split)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(
            '`split` must be a split string of TensorFlow Datasets, such as "train", "train[:80%]" or '
            f'"train[100:200]". Received: split={split!r}'
        ) from error


def _parts(instruction: Any) -> list:
    if hasattr(instruction, "left"):
        return [*_parts(instruction.left), *_parts(instruction.right)]
    return [instruction]
