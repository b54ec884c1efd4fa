"""LeOCLR's views built from the layers of keras-cv, for comparison."""

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
    check_numbers,
    check_probability,
    check_std,
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

    The layers of keras-cv draw from generators with a state, so these views differ from call to call and a
    run that uses them cannot be repeated exactly. They are also much slower than `LeOCLRViews`. Their
    brightness is added to the values instead of multiplied, and their blur pads with black.

    Args:
        image_size: side of the square views in pixels; 224 by default.
        crop_scale: two numbers, the range of the crops' area as a share of the image; (0.2, 1.0) by default.
        num_crops: V, number of crops of an image; 2 by default.
        color_jitter: strengths of brightness, contrast, saturation and hue; (0.4, 0.4, 0.4, 0.1) by default.
        jitter_probability: probability of the colour jitter, in [0, 1]; 0.8 by default.
        grayscale_probability: probability of a grey view, in [0, 1]; 0.2 by default.
        blur_sigma: largest sigma of the blur in pixels, 2.0 by default; keras-cv draws U(0, `blur_sigma`).
        blur_probability: probability of the blur, in [0, 1]; 0.5 by default.
        flip_probability: probability of the horizontal flip, in [0, 1]; 0.5 by default.
        mean: three numbers, the mean of each channel with pixels in [0, 1]; ImageNet's by default.
        std: three numbers, the standard deviation of each channel likewise; ImageNet's by default.

    Returns:
        A function of images (B, H, W, C) in [0, 255] and a seed, which is ignored. It returns the same
        dictionary as `LeOCLRViews`.
    """
    layers = keras_cv.layers
    brightness, contrast, saturation, hue = check_color_jitter(color_jitter)
    whole_number("image_size", image_size, 1)
    whole_number("num_crops", num_crops, 1)
    mean, std = tf.constant(check_numbers("mean", mean)), tf.constant(check_std(std))
    if mean.shape != (3,) or std.shape != (3,):
        raise ValueError(
            "`mean` must have three numbers for the layers of keras-cv, and `std` as well: they are for RGB. "
            f"Received: mean={mean.numpy()}, std={std.numpy()}"
        )

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
                # keras-cv maps a factor f in [0, 1] to the strength f / (1 - f), and it halves the hue.
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
