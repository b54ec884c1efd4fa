"""Images that are given as Python objects instead of the name of a data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_leoclr.data.splits import SplitError, split_name, split_rows
from keras_leoclr.runs.folder import IN_PYTHON


class GivenImages:
    """The splits of images that are given as objects.

    Args:
        images: a `Source` or a `tf.data.Dataset` of images, which becomes the split "train"; or a dictionary
            of these by the name of their split; or a dictionary of arrays, as `data.load` takes it.
        name: name of the argument, for messages; "data" by default.

    Raises:
        ValueError: if it is anything else.
    """

    def __init__(self, images: Any, name: str = "data"):
        from keras_leoclr.data.source_arguments import (
            as_source,  # It needs TensorFlow; listing recipes does not.
        )

        self.arrays: dict[str, Any] | None = None
        self.sources: dict[str, Any] = {}
        if not isinstance(images, Mapping):
            self.sources = {"train": as_source(images, name)}
        elif any(hasattr(value, "element_spec") for value in images.values()):
            self.sources = {split: as_source(each, f"{name}[{split!r}]") for split, each in images.items()}
        else:
            self.arrays = dict(images)

    @property
    def splits(self) -> list[str]:
        """The names of the splits; arrays that are not divided have only "train"."""
        if self.arrays is None:
            return list(self.sources)
        named = [name.removesuffix("_image") for name in self.arrays if name.endswith("_image")]
        return ["train", *named] if "image" in self.arrays and "train" not in named else named or ["train"]

    def set_aside(self) -> GivenImages | None:
        """Arrays `image` and `label` as two splits: "test", a tenth that is drawn, and "train", the others.

        Returns:
            The images; None unless these are arrays of at least two images with the split "train" alone.
        """
        if self.arrays is None or self.splits != ["train"] or "image" not in self.arrays:
            return None
        from keras_leoclr.data.parts import SEED

        images = np.asarray(self.arrays["image"])
        if images.ndim == 0 or len(images) < 2:
            return None
        rows = np.random.default_rng(SEED).permutation(len(images))
        held = max(1, len(images) // 10)
        parts = {"test": np.sort(rows[:held]), "train": np.sort(rows[held:])}
        both = {name: np.asarray(self.arrays[name]) for name in ("image", "label") if name in self.arrays}
        if any(len(array) != len(images) for array in both.values()):
            return None  # Loading the arrays raises an error that says so.
        divided = {f"{split}_{name}": a[parts[split]] for split in parts for name, a in both.items()}
        return GivenImages({n: a for n, a in self.arrays.items() if n not in both} | divided)

    def has_labels(self, split: str) -> bool:
        """Whether images of a split have labels; arrays are not read as images for this.

        Raises:
            SplitError: if there is no such split.
        """
        if self.arrays is None:
            return self.load(split).labelled
        from keras_leoclr.data.readers.arrays import array_has_labels

        return array_has_labels(self.arrays, split, "a dictionary of arrays")

    def check_value_range(self, value_range: Any) -> None:
        """Checks that a setting `value_range` applies to the images.

        Args:
            value_range: the setting, see `data.load`; None or () if it is not given.

        Raises:
            ValueError: if it is given for a `Source` or a `tf.data.Dataset`, whose values are already read.
        """
        if value_range is not None and len(value_range) and self.arrays is None:
            raise ValueError(
                "`value_range` must be given to `data.load` where images are a Source, and be applied by "
                "yourself where they are a tf.data.Dataset: their values are used unchanged. "
                f"Received: value_range={value_range!r}, and images as objects"
            )

    def load(self, split: str, **options: Any) -> Any:
        """Loads the images of a split, see `data.load`.

        Args:
            split: name of a split, or a slice such as "train[:80%]".
            **options: options of `data.load`, which apply to arrays; sources are used unchanged.

        Raises:
            SplitError: if there is no such split.
        """
        if self.arrays is not None:
            from keras_leoclr.data.loading import load

            return load(self.arrays, split, **options)
        name = split_name(split)
        if name not in self.sources:
            raise SplitError(
                f"`split` must be one of those that were given, {', '.join(self.sources)}. "
                f"Received: split={split!r}"
            )
        source = self.sources[name]
        if name == split:
            return source
        if source.count is None:
            raise SplitError(f"`split` of a stream must be the whole of it. Received: split={split!r}")
        return source.subset(split_rows(split, source.count))


def named(data: Any) -> tuple[Any, GivenImages | None]:
    """Returns the name of a data set for a recipe, and the images if they were given as objects.

    Args:
        data: an argument of `data.load`, or one of `GivenImages`.
    """
    if isinstance(data, (str, bytes, os.PathLike)):
        return os.fsdecode(data), None
    if isinstance(data, (list, tuple)) and data and all(isinstance(p, (str, os.PathLike)) for p in data):
        places = list(map(os.fspath, data))
        if odd := [place for place in places if "," in place]:
            raise ValueError(
                "`data` of several places must have names without commas, which stand between them in the "
                f"settings of a run; a link may have another name. Received: {odd[0]}"
            )
        return ",".join(places), None
    return IN_PYTHON, GivenImages(data)
