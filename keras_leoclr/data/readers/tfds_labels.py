"""Finds the feature of a data set of TensorFlow Datasets that holds the labels of a picture."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np

from keras_leoclr.data.multi_hot_in_graph import checked_in_graph, of_numbers
from keras_leoclr.tensorflow_host import tf

SEVERAL = (("labels",), ("label",), ("objects", "label"))  # The first that a data set has is used.


@dataclasses.dataclass(frozen=True)
class LabelFeature:
    """The labels of a picture within an element of TensorFlow Datasets.

    Attributes:
        place: keys that lead to the labels: `("label",)`, `("labels",)` or `("objects", "label")`.
        classes: C, if a picture has several labels; 0 if it has one.
        numbers: whether several labels are class numbers rather than zeros and ones (C,).
        class_names: names of the classes; () if there are none.
    """

    place: tuple[str, ...]
    classes: int
    numbers: bool
    class_names: tuple[str, ...]

    def decoded(self) -> dict[str, Any]:
        """The part of an element, besides the picture, that `tfds.decode.PartialDecoding` must read."""
        spec: Any = True
        for name in reversed(self.place):
            spec = {name: spec}
        return spec

    def of(self, element: dict[str, Any]) -> tf.Tensor:
        """The label of an element: () int64, or (C,) uint8 with several labels per picture."""
        for name in self.place:
            element = element[name]
        if not self.classes:
            return element
        if self.numbers:
            return of_numbers(element, self.classes)
        return checked_in_graph({"label": element}, "/".join(self.place))["label"]

    def says_something(self, label: np.ndarray) -> bool:
        """Whether a label () or (C,) is not empty; -1 and zeros alone are empty if all pictures have them."""
        return bool(label.any() if self.classes else label >= 0)


def label_feature(features: Any, name: str) -> LabelFeature | None:
    """Finds the labels; None if there are none.

    A single number named `label` has precedence. Several labels per picture are a list of class labels, or
    zeros and ones, named `labels` or `label`, or else the class labels of `objects`; each class counts once,
    however often it is in the list. A list of numbers with unknown classes is ignored, with a message.

    Args:
        features: features of the builder.
        name: name of the data set, for messages.
    """
    single = _at(features, ("label",))
    if single is not None and single.shape == () and np.issubdtype(single.np_dtype, np.integer):
        return LabelFeature(("label",), 0, True, tuple(getattr(single, "names", None) or ()))
    unknown = []
    for place in SEVERAL:
        feature = _at(features, place)
        listed = getattr(_at(features, place[:1]), "feature", None) is not None
        if listed:  # The feature is a list of class labels, or of objects with a class label.
            inner = feature if len(place) > 1 else feature.feature
            if getattr(inner, "shape", None) != ():
                continue
            classes = getattr(inner, "num_classes", None) or 0
            if classes >= 2:
                return LabelFeature(place, classes, True, tuple(inner.names or ()))
            if np.issubdtype(inner.np_dtype, np.integer):
                unknown.append("/".join(place))
        elif len(place) == 1 and len(getattr(feature, "shape", None) or ()) == 1:
            if (feature.shape[0] or 0) >= 2 and feature.np_dtype in (np.bool_, np.uint8, np.int32, np.int64):
                return LabelFeature(place, feature.shape[0], False, ())
    if unknown:
        warnings.warn(
            f"{name}: {' and '.join(unknown)} are numbers whose classes are not known, and are not taken as "
            "labels",
            stacklevel=3,
        )
    return None


def _at(features: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        try:
            features = features[name]
        except (KeyError, TypeError):
            return None
    return features
