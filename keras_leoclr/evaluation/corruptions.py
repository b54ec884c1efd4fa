"""Changes of pictures, in TensorFlow: six of ImageNet-C's corruptions, occlusion, and shrunken images.

The corruptions follow arXiv 1903.12261 (section 3 and its code) with that code's strengths for ImageNet
at sizes above 64 pixels and for CIFAR below. Differences: the blur is truncated at four standard
deviations with the border repeated; JPEG is TensorFlow's encoder.

Every function takes pixels (B, S, S, 3) float32 in [0, 255], a strength and a seed (2,), and returns
pixels of the same kind.
"""

from __future__ import annotations

from typing import Any

from keras_leoclr.tensorflow_host import tf

RGB_ONLY = ("brightness", "jpeg")  # they need hue and saturation, or a file of RGB
SMALL = 64  # largest side in pixels at which the strengths of CIFAR-C are used

# The strengths of the severities 1 to 5.
IMAGENET = {
    "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation
    "shot_noise": (60, 25, 12, 5, 3),  # photons at white
    "gaussian_blur": (1, 2, 3, 4, 6),  # standard deviation in pixels
    "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # factor
    "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # amount added to the value of HSV
    "jpeg": (25, 18, 15, 10, 7),  # quality of the JPEG encoder
}
CIFAR = {
    "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
    "shot_noise": (500, 250, 100, 75, 50),
    "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
    "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
    "jpeg": (80, 65, 58, 50, 40),
}


def strengths(image_size: int, channels: int = 3) -> dict[str, tuple[float, ...]]:
    """The strengths of the severities 1 to 5 of each corruption.

    Args:
        image_size: side of the images in pixels.
        channels: of the images; those that are not RGB have only the corruptions that need no colours.
    """
    known = CIFAR if image_size <= SMALL else IMAGENET
    return {name: each for name, each in known.items() if channels == 3 or name not in RGB_ONLY}


def corrupt(pixels: Any, corruption: str, strength: float, seed: Any) -> tf.Tensor:
    """Applies one of the corruptions of `strengths`; values are rounded to integers, as in a picture file."""
    damaged = _CORRUPTIONS[corruption](pixels / 255.0, strength, seed)
    return tf.round(tf.clip_by_value(damaged, 0.0, 1.0) * 255.0)


def _gaussian_noise(images, strength, seed):
    return images + tf.random.stateless_normal(tf.shape(images), seed, stddev=strength)


def _shot_noise(images, strength, seed):
    rates = images * float(strength)
    return tf.random.stateless_poisson(tf.shape(images), seed, rates, tf.float32) / float(strength)


def _gaussian_blur(images, strength, seed):
    del seed
    radius = max(1, round(4 * strength))
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (offsets / strength) ** 2)
    kernel = tf.tile((kernel / tf.reduce_sum(kernel))[:, None, None, None], [1, 1, images.shape[-1], 1])
    shape = tf.shape(images)
    for axis, taps in ((1, kernel), (2, tf.transpose(kernel, [1, 0, 2, 3]))):
        places = tf.clip_by_value(tf.range(-radius, shape[axis] + radius), 0, shape[axis] - 1)
        images = tf.gather(images, places, axis=axis)  # This repeats the border.
        images = tf.nn.depthwise_conv2d(images, taps, [1, 1, 1, 1], "VALID")
    return images


def _contrast(images, strength, seed):
    del seed
    mean = tf.reduce_mean(images, axis=[1, 2], keepdims=True)
    return (images - mean) * strength + mean


def _brightness(images, strength, seed):
    del seed
    hue, saturation, value = tf.unstack(tf.image.rgb_to_hsv(tf.clip_by_value(images, 0.0, 1.0)), axis=-1)
    return tf.image.hsv_to_rgb(tf.stack([hue, saturation, tf.minimum(value + strength, 1.0)], axis=-1))


def _jpeg(images, strength, seed):
    del seed

    def through_a_file(image):
        data = tf.io.encode_jpeg(tf.cast(image, tf.uint8), quality=int(strength))
        return tf.cast(tf.io.decode_jpeg(data, channels=3), tf.float32) / 255.0

    return tf.map_fn(through_a_file, tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0))


_CORRUPTIONS = {
    "gaussian_noise": _gaussian_noise,
    "shot_noise": _shot_noise,
    "gaussian_blur": _gaussian_blur,
    "contrast": _contrast,
    "brightness": _brightness,
    "jpeg": _jpeg,
}


def occlude(pixels: Any, area: float, seed: Any, fill: Any) -> tf.Tensor:
    """Fills a square of the given area at a random place within each image.

    Args:
        pixels: (B, S, S, 3) float32 in [0, 255].
        area: area of the square as a share of the image, in (0, 1).
        seed: seed of the places, shape (2,).
        fill: (3,), colour of the square in [0, 255].
    """
    shape = tf.shape(pixels)
    count, side = shape[0], shape[1]
    patch = tf.cast(tf.round(tf.cast(side, tf.float32) * area**0.5), tf.int32)
    corner = tf.random.stateless_uniform([count, 2], seed, maxval=side - patch + 1, dtype=tf.int32)
    places = tf.range(side)[None]
    rows = (places >= corner[:, :1]) & (places < corner[:, :1] + patch)
    columns = (places >= corner[:, 1:]) & (places < corner[:, 1:] + patch)
    return tf.where((rows[:, :, None] & columns[:, None, :])[..., None], tf.cast(fill, tf.float32), pixels)


def centre_crop(pixels: Any, area: float) -> tf.Tensor:
    """Cuts out the centre with the given share of the area and resizes it to the size of the image."""
    side = tf.shape(pixels)[1]
    kept = tf.maximum(1, tf.cast(tf.round(tf.cast(side, tf.float32) * area**0.5), tf.int32))
    first = (side - kept) // 2
    return tf.image.resize(pixels[:, first : first + kept, first : first + kept], (side, side))


def shrink(pixels: Any, area: float, fill: Any) -> tf.Tensor:
    """Shrinks the image to the given share of the area in the middle and fills the rest with `fill`."""
    side = tf.shape(pixels)[1]
    small = tf.maximum(1, tf.cast(tf.round(tf.cast(side, tf.float32) * area**0.5), tf.int32))
    before = (side - small) // 2
    after = side - small - before
    inner = tf.image.resize(pixels, (small, small), antialias=True)
    border = [[0, 0], [before, after], [before, after], [0, 0]]
    fill = tf.cast(fill, tf.float32)
    return tf.pad(inner - fill, border) + fill
