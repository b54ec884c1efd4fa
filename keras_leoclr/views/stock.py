"""LeOCLR's views from the layers that keras-cv has, for comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras_cv
import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import check_images
from keras_leoclr.views.settings import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    check_color_jitter,
    check_crop_scale,
    check_probability,
    check_std,
    check_three,
)


def keras_cv_views(
    image_size: int = 224,
    crop_scale: Sequence[float] = (0.2, 1.0),
    num_crops: int = 2,
    color_jitter: Sequence[float] = (0.4, 0.4, 0.4, 0.1),
    jitter_probability: float = 0.8,
    grayscale_probability: float = 0.2,
    blur_sigma: float = 2.0,
    blur_probability: float = 0.5,
    flip_probability: float = 0.5,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> Callable[[Any], dict[str, tf.Tensor]]:
    """LeOCLR's views built from stock keras-cv layers, to compare with and to extend.

    keras-cv draws from generators with a state, so these views differ from call to call and a run
    that uses them cannot be repeated exactly; they are also much slower than `LeOCLRViews`. Its
    brightness is added to the values instead of multiplied, and its blur pads with black.

    Args:
        image_size: side of the square views in pixels.
        crop_scale: area of the crops as a share of the image.
        num_crops: V, crops of an image.
        color_jitter: strengths of brightness, contrast, saturation and hue.
        jitter_probability: in [0, 1].
        grayscale_probability: in [0, 1].
        blur_sigma: largest sigma of the blur in pixels; keras-cv draws U(0, `blur_sigma`).
        blur_probability: in [0, 1].
        flip_probability: in [0, 1].
        mean: three numbers, in [0, 1] units.
        std: three numbers, in [0, 1] units.

    Returns:
        A function of images (B, H, W, C) in [0, 255], and an ignored seed, that returns the same
        dictionary as `LeOCLRViews`.
    """
    layers = keras_cv.layers
    brightness, contrast, saturation, hue = check_color_jitter(color_jitter)
    whole_number("image_size", image_size, 1)
    whole_number("num_crops", num_crops, 1)
    mean, std = tf.constant(check_three("mean", mean)), tf.constant(check_std(std))

    def sometimes(name, rate, layer):
        return [layers.RandomApply(layer, rate=rate)] if check_probability(name, rate) > 0 else []

    photometrics = [
        *sometimes(
            "jitter_probability",
            jitter_probability,
            layers.RandomColorJitter(
                value_range=(0, 255),
                brightness_factor=brightness,
                contrast_factor=contrast,
                # keras-cv maps a factor f in [0, 1] to the strength f / (1 - f), and halves the hue
                saturation_factor=tuple(s / (1 + s) for s in (max(0.0, 1 - saturation), 1 + saturation)),
                hue_factor=min(1.0, 2 * hue),
            ),
        ),
        *sometimes("grayscale_probability", grayscale_probability, layers.Grayscale(output_channels=3)),
        *sometimes(
            "blur_probability",
            blur_probability,
            layers.RandomGaussianBlur(kernel_size=2 * int(np.ceil(3 * blur_sigma)) + 1, factor=blur_sigma),
        ),
        layers.RandomFlip("horizontal", rate=check_probability("flip_probability", flip_probability)),
    ]
    crop = layers.RandomCropAndResize(
        target_size=(image_size, image_size),
        crop_area_factor=check_crop_scale(crop_scale),
        aspect_ratio_factor=(3 / 4, 4 / 3),
    )
    resize = layers.Resizing(image_size, image_size)

    def view(images, first):
        views = first(images)
        for layer in photometrics:
            views = layer(views)
        return (views / 255.0 - mean) / std

    def make(images, seed=None):
        del seed
        images = tf.cast(check_images(images), tf.float32)
        if images.shape[-1] == 1:
            images = tf.tile(images, [1, 1, 1, 3])
        keys = [view(images, crop) for _ in range(num_crops)]
        return {"query": view(images, resize), "keys": tf.stack(keys, axis=1)}

    return make
