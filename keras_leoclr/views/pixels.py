"""Operations on the pixels of a batch of views, by TensorFlow: colour, blur and normalisation."""

from __future__ import annotations

import numpy as np

from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views import sampling
from keras_leoclr.views.settings import LUMA
from keras_leoclr.views.tensorflow_functions import TensorFlowFunctions


def adjust_colour(images: tf.Tensor, parameters: dict[str, tf.Tensor]) -> tf.Tensor:
    """Applies brightness, contrast, saturation, hue and greyscale; clips the values to [0, 255].

    Args:
        images: (N, S, S, C) float32. Three channels are RGB; images with other numbers of channels get
            brightness and contrast alone, each channel about its own mean. Grey images stay (N, S, S, 1).
        parameters: arrays with N rows, as `sampling.parameters` returns them; `sampling.colour_matrix` says
            how they are used.
    """
    gain, shift = sampling.gain_and_shift(parameters)
    mean = tf.reduce_mean(images, axis=[1, 2])
    if images.shape[-1] != 3:  # Without RGB only gain and bias apply, to each channel by itself.
        images = images * gain[:, None, None, None] + (shift[:, None] * mean)[:, None, None]
        return tf.clip_by_value(images, 0.0, 255.0)
    bias = shift * tf.linalg.matvec(mean, LUMA)
    matrix = sampling.colour_matrix(parameters, TensorFlowFunctions)
    shape = tf.shape(images)
    pixels = tf.matmul(tf.reshape(images, [shape[0], -1, 3]), matrix) + bias[:, None, None]
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), shape)


# A Gaussian blur is a weighted sum of shifted rows, then a weighted sum of shifted columns. The pixels of a
# row, with their channels, are laid out in one line so that compiled loops read contiguous memory.


def mirror(images: tf.Tensor, radius: int) -> tf.Tensor:
    """Pads images (N, S, S, C) to (N, S + 2r, S + 2r, C) by reflection at the outermost pixels."""
    return tf.pad(images, [[0, 0], [radius, radius], [radius, radius], [0, 0]], "REFLECT")


def blur_columns(padded: tf.Tensor, sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Blurs (N, S + 2r, S + 2r, C) along the first axis of the image, to (N, S, S + 2r, C)."""
    height, width, channels = padded.shape[1:]
    lines = tf.reshape(padded, [-1, height, width * channels])
    kernel = _gaussian_kernel(sigma, radius)
    size = height - 2 * radius
    blurred = sum(kernel[:, tap] * lines[:, tap : tap + size] for tap in range(2 * radius + 1))
    return tf.reshape(blurred, [-1, size, width, channels])


def blur_rows(padded: tf.Tensor, sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Blurs (N, S, S + 2r, C) along the second axis of the image, to (N, S, S, C)."""
    size, width, channels = padded.shape[1:]
    lines = tf.reshape(padded, [-1, size, width * channels])
    kernel = _gaussian_kernel(sigma, radius)
    starts = [tap * channels for tap in range(2 * radius + 1)]
    blurred = sum(
        kernel[:, t] * lines[:, :, start : start + size * channels] for t, start in enumerate(starts)
    )
    return tf.reshape(blurred, [-1, size, size, channels])


def _gaussian_kernel(sigma, radius):
    """The filters (N, 2r + 1, 1, 1) of sigmas (N,); where sigma is 0 all weight lies on the centre."""
    taps = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (taps / tf.maximum(sigma, 1e-6)[:, None]) ** 2)
    return (kernel / tf.reduce_sum(kernel, axis=1, keepdims=True))[:, :, None, None]


def normalised(images: tf.Tensor, scale: np.ndarray, offset: np.ndarray) -> tf.Tensor:
    """Computes `images * scale + offset` with all channels; both are repeated along each line of pixels."""
    size, channels = images.shape[2:]
    if channels == 1:
        return images * scale + offset
    lines = tf.reshape(images, [-1, size, size * channels])
    lines = lines * np.tile(scale, size) + np.tile(offset, size)
    return tf.reshape(lines, [-1, size, size, channels])
