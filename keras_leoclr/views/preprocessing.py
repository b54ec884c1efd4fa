"""How images are prepared for evaluation: they are resized and normalised, and nothing is random."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.views.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    allowed_channels,
    check_numbers,
    check_same_channels,
    check_std,
)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Resizes and normalises images to what a backbone takes: `(resize(x) / 255 - mean) / std`.

    No framework is loaded before images are preprocessed: `preprocess` uses TensorFlow, `normalise` NumPy.

    Args:
        image_size: side of the square images in pixels.
        mean: one number per channel, the mean of each channel with pixels in [0, 1]; three are RGB.
        std: one number per channel, the standard deviation of each channel with pixels in [0, 1].

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

    def __post_init__(self):
        object.__setattr__(self, "image_size", whole_number("image_size", self.image_size, 1))
        object.__setattr__(self, "mean", check_numbers("mean", self.mean))
        object.__setattr__(self, "std", check_std(self.std))
        check_same_channels(self.mean, self.std)

    @classmethod
    def of(cls, views: Any) -> Preprocessing:
        """Returns the preprocessing that belongs to some views.

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
            return cls(views.image_size, keys.mean, keys.std)
        except AttributeError:
            raise TypeError(
                "`views` must be a Preprocessing or a layer with `image_size` and `key_view`, such as "
                f"LeOCLRViews. Received: views={views!r}"
            ) from None

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
        images = tf.image.resize(images, (self.image_size, self.image_size))
        normalised = _compiled() if tf.inside_function() else _normalised
        return normalised(images, *self._scale_and_offset())

    def normalise(self, images: np.ndarray) -> np.ndarray:
        """Normalises images of any size with NumPy, where TensorFlow is not installed.

        Args:
            images: (..., H, W, C), uint8 or float in [0, 255], C is 1 or 3; they keep their size.

        Returns:
            (..., H, W, 3) float32. Grey images stay grey.
        """
        images = np.asarray(images)
        if images.ndim < 3 or images.shape[-1] not in allowed_channels(self.channels):
            raise ValueError(
                f"`images` must have {_named(self.channels)} channels, last, as `mean` has. "
                f"Received: images.shape={images.shape}"
            )
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
    if images.dtype != tf.uint8 and not images.dtype.is_floating:
        raise ValueError(
            f"`images` must be uint8 or float, in [0, 255]. Received: images.dtype={images.dtype.name}"
        )
    return images


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
