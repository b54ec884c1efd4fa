"""How images are prepared for evaluation: they are resized as LeOCLR's originals, and nothing is random."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.views.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ViewSettings,
    allowed_channels,
    check_numbers,
    check_same_channels,
    check_std,
    least_pixels,
)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resizes and normalises images to what a backbone takes: `(resize(x) / 255 - mean) / std`.

    No framework is loaded before images are preprocessed: `preprocess` uses TensorFlow, `normalise` NumPy.

    Args:
        image_size: side of the square images in pixels.
        mean: one number per channel, the mean of each channel with pixels in [0, 1]; three are RGB.
        std: one number per channel, the standard deviation of each channel with pixels in [0, 1].
        antialias: whether images that are reduced get an antialiasing filter; false by default.
        least_pixels: large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least so many
            pixels remain; None (the default) decodes at full size. `preprocess` takes images that are decoded
            already: `data.image_batches` and the evaluators read them so. `of` takes the number of the
            views, so that a backbone is judged on the pictures that it was trained with.

    Example:
        ```python
        preprocessing = Preprocessing(224)
        images = preprocessing.preprocess(images)
        ```
    """

    takes_pixels = True  # The input must be pixels in [0, 255]; `data.image_batches` checks this.

    image_size: int
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    antialias: bool = False
    least_pixels: int | None = None

    def __post_init__(self):
        object.__setattr__(self, "image_size", whole_number("image_size", self.image_size, 1))
        object.__setattr__(self, "antialias", bool(self.antialias))
        if self.least_pixels is not None:
            object.__setattr__(self, "least_pixels", whole_number("least_pixels", self.least_pixels, 1))
        object.__setattr__(self, "mean", check_numbers("mean", self.mean))
        object.__setattr__(self, "std", check_std(self.std))
        check_same_channels(self.mean, self.std)

    @classmethod
    def of(cls, views: Any) -> Preprocessing:
        """Returns the preprocessing that belongs to some views.

        Images are read and resized as the original is in training: with its filter, and large JPEGs decoded
        at the same fraction of their size. The views of MoCo v2 have no original. They give what
        `LeOCLRViews` of the same size and crops give without a filter, so that both methods are judged on
        the same pictures.

        Args:
            views: a Preprocessing, or views such as `LeOCLRViews`, whose `image_size` and `key_view`
                give the size, the mean and the standard deviation.

        Raises:
            TypeError: if it is neither.
        """
        if isinstance(views, cls):
            return views
        try:
            settings = getattr(views, "settings", None)
            keys = views.key_view if settings is None else settings.keys
            made = cls(views.image_size, keys.mean, keys.std)
        except AttributeError:
            raise TypeError(
                "`views` must be a Preprocessing or a layer with `image_size` and `key_view`, such as "
                f"LeOCLRViews. Received: views={views!r}"
            ) from None
        if settings is None:  # For a layer of the user, `view_dataset` decodes at full size as well.
            return made
        originals = [view for view in (settings.query, settings.keys) if view.crop_scale is None]
        filtered = any(original.antialias for original in originals)
        return dataclasses.replace(made, antialias=filtered, least_pixels=settings.least_pixels)

    @classmethod
    def of_recipe(
        cls,
        recipe: Mapping[str, Any],
        image_size: int,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> Preprocessing:
        """Returns the preprocessing for a backbone of a run: images are read as the run's originals.

        `antialias_original` and `crop_scale` of the recipe count for every method, so that those of a study
        are judged on the same pictures.

        Args:
            recipe: the settings of the run by name; those that are missing have the values of `LeOCLRViews`,
                so {} serves a backbone from elsewhere.
            image_size: see the class.
            mean: see the class.
            std: see the class.
        """
        crop = ViewSettings(image_size, recipe.get("crop_scale") or ViewSettings.crop_scale)
        filtered = bool(recipe.get("antialias_original", False))
        return cls(image_size, mean, std, filtered, least_pixels(crop))

    @property
    def channels(self) -> int:
        """C of the images."""
        return len(self.mean)

    def preprocess(self, images: Any) -> Any:
        """Resizes and normalises images with TensorFlow, eagerly or in tf.data.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3, or that of `mean` where it is not 3.

        Returns:
            (B, image_size, image_size, 3 or C) float32 TensorFlow tensor. Grey images stay grey.
        """
        from keras_leoclr.tensorflow_host import tf

        images = tf.cast(check_images(images, self.channels), tf.float32)
        size = (self.image_size, self.image_size)
        images = tf.image.resize(images, size, antialias=self.antialias)
        normalised = _compiled() if tf.inside_function() else _normalised
        return normalised(images, *self._scale_and_offset())

    def normalise(self, images: np.ndarray) -> np.ndarray:
        """Normalises images of any size with NumPy, where TensorFlow is not installed.

        Args:
            images: (..., H, W, C), uint8 or float in [0, 255], C is 1 or 3; they keep their size.

        Returns:
            (..., H, W, 3) float32. Grey images stay grey.

        Raises:
            ValueError: if images have other channels, or are neither uint8 nor float.
        """
        images = np.asarray(images)
        if images.ndim < 3 or images.shape[-1] not in allowed_channels(self.channels):
            raise ValueError(
                f"`images` must have {_named(self.channels)} channels, last, as `mean` has. "
                f"Received: images.shape={images.shape}"
            )
        _check_pixels(images.dtype.name, images.dtype.kind == "f" or images.dtype.name == "bfloat16")
        scale, offset = self._scale_and_offset()
        return np.clip(images.astype("float32"), 0.0, 255.0) * scale + offset

    def _scale_and_offset(self):
        return scale_and_offset(self.mean, self.std)


def _named(channels):
    return " or ".join(map(str, allowed_channels(channels)))


def check_images(images: Any, channels: int = 3) -> Any:
    """Converts images to a TensorFlow tensor and checks them.

    Args:
        images: the images.
        channels: of the normalisation.

    Raises:
        ValueError: unless they are (B, H, W, C), uint8 or float, with C as `allowed`.
    """
    from keras_leoclr.tensorflow_host import tf

    images = tf.convert_to_tensor(images)
    if images.shape.rank != 4:
        raise ValueError(f"`images` must have rank 4, (B, H, W, C). Received: images.shape={images.shape}")
    if images.shape[-1] not in allowed_channels(channels):
        raise ValueError(
            f"`images` must have {_named(channels)} channels, last, as `mean` has. "
            f"Received: images.shape={images.shape}"
        )
    _check_pixels(images.dtype.name, images.dtype.is_floating)
    return images


def _check_pixels(kind, floating):
    if kind != "uint8" and not floating:
        raise ValueError(f"`images` must be uint8 or float, in [0, 255]. Received: images.dtype={kind}")


def scale_and_offset(mean: Sequence[float], std: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Two float32 arrays, one number per channel, with `x * scale + offset = (x / 255 - mean) / std`."""
    std = np.asarray(std, np.float32)
    return 1.0 / (255.0 * std), -np.asarray(mean, np.float32) / std


def _normalised(images, scale, offset):
    from keras_leoclr.tensorflow_host import tf

    return tf.clip_by_value(images, 0.0, 255.0) * scale + offset


@functools.cache
def _compiled():
    """`_normalised` as one XLA program for use in graphs; it serves all sizes, means and deviations."""
    from keras_leoclr.tensorflow_host import tf

    return tf.function(_normalised, jit_compile=True)
