"""A slow reference of the views: one image, float64, loops, by the formulas of torchvision and Pillow."""

import colorsys
import math

import numpy as np

from keras_leoclr.views import IMAGENET_MEAN, IMAGENET_STD


def reference_resize(image, box, size, flip=False):
    """Bilinear, half-pixel centres, edges of the image repeated, no antialias."""
    image = image.astype("float64")
    top, left, height, width = box
    result = np.empty((size, size, image.shape[2]))
    for row, column in np.ndindex(size, size):
        y = min(max(top + (row + 0.5) * height / size - 0.5, 0.0), image.shape[0] - 1.0)
        x = min(max(left + (column + 0.5) * width / size - 0.5, 0.0), image.shape[1] - 1.0)
        y0, x0 = math.floor(y), math.floor(x)
        y1, x1 = min(y0 + 1, image.shape[0] - 1), min(x0 + 1, image.shape[1] - 1)
        upper = (1 - x + x0) * image[y0, x0] + (x - x0) * image[y0, x1]
        lower = (1 - x + x0) * image[y1, x0] + (x - x0) * image[y1, x1]
        result[row, column] = (1 - y + y0) * upper + (y - y0) * lower
    return result[:, ::-1] if flip else result


def reference_luma(image):
    """ITU-R BT.601, in all three channels."""
    luma = 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
    return np.stack([luma, luma, luma], axis=-1)


def reference_brightness(image, factor):
    return image * factor


def reference_contrast(image, factor):
    return factor * image + (1 - factor) * reference_luma(image).mean()


def reference_saturation(image, factor):
    return factor * image + (1 - factor) * reference_luma(image)


def reference_hue(image, share):
    """Turns the chroma from Q towards I by a share of the circle.

    I and Q are NTSC's scaled colour differences V = 0.877283 (R - Y) and U = 0.492111 (B - Y), turned by
    33 degrees.
    """
    luma = np.array([0.299, 0.587, 0.114])
    u, v = 0.492111 * (np.array([0, 0, 1]) - luma), 0.877283 * (np.array([1, 0, 0]) - luma)
    cos, sin = math.cos(math.radians(33)), math.sin(math.radians(33))
    to_yiq = np.stack([luma, v * cos - u * sin, v * sin + u * cos])
    cos, sin = math.cos(2 * math.pi * share), math.sin(2 * math.pi * share)
    y, i, q = np.moveaxis(image @ to_yiq.T, -1, 0)
    turned = np.stack([y, cos * i + sin * q, cos * q - sin * i], axis=-1)
    return turned @ np.linalg.inv(to_yiq).T


def reference_hsv_shift(image, share):
    """A shift of the hue in HSV, as Pillow and torchvision do it."""
    result = np.empty(image.shape)
    for row, column in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*(image[row, column] / 255.0))
        result[row, column] = colorsys.hsv_to_rgb((hue + share) % 1.0, saturation, value)
    return result * 255.0


def reference_blur(image, sigma, largest_sigma):
    """Separable Gaussian, cut at three times the largest sigma, reflected without repeating the edge."""
    size = image.shape[0]
    radius = min(math.ceil(3 * largest_sigma), size - 1)
    weights = np.array([math.exp(-(t**2) / (2 * sigma**2)) for t in range(-radius, radius + 1)])
    weights /= weights.sum()
    for axis in (0, 1):
        padding = [(radius, radius) if a == axis else (0, 0) for a in range(3)]
        padded = np.pad(image, padding, mode="reflect")
        image = sum(w * np.take(padded, range(t, t + size), axis) for t, w in enumerate(weights))
    return image


def reference_normalise(image, mean=IMAGENET_MEAN, std=IMAGENET_STD):
    return (image / 255.0 - np.array(mean)) / np.array(std)


def reference_boxes(count, height, width, scale, ratio, seed=0):
    """torchvision's RandomResizedCrop.get_params, `count` times: rows of top, left, height, width.

    A centred crop has one pixel or more, where torchvision's may have none.
    """
    rng = np.random.default_rng(seed)

    def get_params():
        for _ in range(10):
            target_area = height * width * rng.uniform(*scale)
            aspect_ratio = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            w = round(math.sqrt(target_area * aspect_ratio))
            h = round(math.sqrt(target_area / aspect_ratio))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
        w, h = width, height
        if width / height < min(ratio):
            h = max(1, round(w / min(ratio)))
        elif width / height > max(ratio):
            w = max(1, round(h * max(ratio)))
        return (height - h) // 2, (width - w) // 2, h, w

    return np.array([get_params() for _ in range(count)])


def reference_antialias(image, box, size, flip=False):
    """Pillow's reduction with `Image.BILINEAR`: a tent as wide as an output pixel, cut at the edges."""
    image = image.astype("float64")
    for axis, (start, length) in enumerate(((box[0], box[2]), (box[1], box[3]))):
        reach = max(length / size, 1.0)
        lines = []
        for place in range(size):
            distance = np.arange(image.shape[axis]) + 0.5 - (start + (place + 0.5) * length / size)
            weights = np.maximum(0.0, 1.0 - np.abs(distance) / reach)
            lines.append(np.tensordot(weights / weights.sum(), image, (0, axis)))
        image = np.stack(lines, axis)
    return image[:, ::-1] if flip else image


def reference_view(image, settings, parameters):
    """A view of one image (H, W, 3), all steps, by parameters as a dictionary of single values."""
    resize = reference_antialias if settings.antialias else reference_resize
    view = resize(image, parameters["box"], settings.image_size, parameters["flip"])
    view = reference_hue(view, parameters["hue"])
    view = reference_saturation(view, parameters["saturation"])
    if parameters["grayscale"]:
        view = reference_luma(view)
    view = reference_brightness(reference_contrast(view, parameters["contrast"]), parameters["brightness"])
    view = np.clip(view, 0.0, 255.0)
    if parameters["sigma"]:
        view = reference_blur(view, parameters["sigma"], settings.blur_sigma[1])
    return reference_normalise(view, settings.mean, settings.std)
