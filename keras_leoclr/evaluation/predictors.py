"""Models and compiled functions that compute features, kept from one pass over images to the next."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np

from keras_leoclr.backbones.copying import copy_of, copy_weights
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.backbones.pooling import with_pooled_features
from keras_leoclr.distribution.devices import on_one_device

Predictor = Callable[[np.ndarray], np.ndarray]


@contextlib.contextmanager
def predicting(
    backbone: keras.Model, precision: str | None = None, devices: Sequence[str] = ()
) -> Iterator[tuple[keras.Model, list[Predictor]]]:
    """A backbone for use by this process, and one function from images to features for each device.

    Compiled functions are kept with the backbone. In a later call, copies on other devices, in another
    precision or outside of a distribution strategy are reused and only get the current weights.

    Args:
        backbone: (B, H, W, C) -> (B, F), or feature maps, which are averaged.
        precision: dtype policy that it computes in; None (the default) for its own.
        devices: names as `keras.device` takes them; with none or one, the current device is used.

    Yields:
        The model that computes the features, and the functions (B, H, W, C) -> (B, F).
    """
    kept = _kept_of(backbone)
    pooled = kept.model("pooled", lambda: with_pooled_features(backbone))
    with on_one_device(pooled, lambda model: kept.model("single", lambda: copy_of(model), model)) as model:
        if precision is not None:
            copy = model  # The lambda runs later, when the name `model` would mean its own result.
            model = kept.model(precision, lambda: copy_of(copy, dtype=precision), copy)
        yield model, kept.predictors(model, precision, tuple(devices))


def in_turn(
    predictors: Sequence[Predictor], batches: Iterable[tuple[np.ndarray, np.ndarray]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields features and labels in the order of the batches; each predictor works on one batch at a time.

    A batch that is smaller than an earlier one, as the last batch may be, is padded with copies of its last
    image, and their features are dropped. Otherwise the functions would be compiled again for its shape.
    """
    size = 0

    def filled(images):
        nonlocal size
        size = max(size, len(images))
        if len(images) == size:
            return images
        return np.concatenate([images, np.repeat(images[-1:], size - len(images), axis=0)])

    if len(predictors) == 1:
        for images, labels in batches:
            yield np.asarray(predictors[0](filled(images)), "float32")[: len(labels)], labels
        return
    waiting = collections.deque()
    with ThreadPoolExecutor(len(predictors)) as pool:
        for number, (images, labels) in enumerate(batches):
            if len(waiting) == len(predictors):
                features, own = waiting.popleft()
                yield np.asarray(features.result(), "float32")[: len(own)], own
            waiting.append((pool.submit(predictors[number % len(predictors)], filled(images)), labels))
        for features, own in waiting:
            yield np.asarray(features.result(), "float32")[: len(own)], own


class _Kept:
    """The models that were made to compute features of one backbone."""

    def __init__(self):
        self._models: dict[object, keras.Model] = {}

    def model(
        self, key: object, make: Callable[[], keras.Model], source: keras.Model | None = None
    ) -> keras.Model:
        """The model for a key. It is made once; a copy of `source` gets its current weights each time."""
        if key not in self._models:
            self._models[key] = make()
        elif source is not None:
            copy_weights(source, self._models[key])
        return self._models[key]

    def predictors(self, model, precision, devices) -> list[Predictor]:
        if len(devices) < 2:
            if keras.backend.backend() != "torch":  # Only torch has faster kernels for inference.
                return [model.predict_on_batch]
            # The faster model shares its layers with the model, so no weights have to be copied.
            faster = self.model(("faster", id(model)), lambda: with_fast_kernels(model))
            return [faster.predict_on_batch]
        return [self._on(device, number, model, precision) for number, device in enumerate(devices)]

    def _on(self, device, number, model, precision):
        key = (device, number, precision, id(model))
        copy = self.model(key, lambda: copy_of(model, device=device), model)

        def predict(images):
            with keras.device(device):
                return copy.predict_on_batch(images)

        return predict


def _kept_of(backbone: keras.Model) -> _Kept:
    name = "_kept_for_features"
    if name not in backbone.__dict__:
        # A plain attribute would make Keras track these models and save them as parts of the backbone.
        object.__setattr__(backbone, name, _Kept())
    return backbone.__dict__[name]
