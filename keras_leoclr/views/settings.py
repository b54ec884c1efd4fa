"""The settings of views, as checked numbers; reading and checking them needs no framework."""

from __future__ import annotations

import dataclasses
import functools
import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.checks import whole_number

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# These are the weights of ITU-R BT.601, as in Pillow's mode "L" and in torchvision's colour operations.
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# The rows are Y, I and Q (NTSC). Y is LUMA, so a rotation in the I-Q plane changes the hue but not the luma.
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]]
)

# These settings are shared by the views of all methods; those of the crop are not among them.
PHOTOMETRICS = (
    "color_jitter",
    "jitter_probability",
    "grayscale_probability",
    "blur_sigma",
    "blur_probability",
    "flip_probability",
    "mean",
    "std",
)
LAYER_OPTIONS = ("name", "dtype", "trainable")  # options of a Keras layer that the layers of views pass on
# These settings switch off the colour operations and the blur; the flip remains.
CLEAN = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}


@dataclasses.dataclass(frozen=True)
class ViewSettings:
    """The checked settings of one kind of view; `RandomView` describes what they do.

    The defaults are MoCo v2's augmentation (arXiv 2003.04297, section 3; SimCLR's appendix A).

    Args:
        image_size: side of the square view in pixels; 224 by default.
        crop_scale: two numbers, the range of the crop's area as a share of the image's, with
            0 < low <= high <= 1; (0.2, 1.0) by default. `None` takes the whole image.
        crop_ratio: two numbers, the range of the crop's width / height; (3/4, 4/3) by default.
        num_views: number of views per image; 1 by default.
        color_jitter: strengths of brightness, contrast and saturation (>= 0) and of hue (0 to 0.5);
            (0.4, 0.4, 0.4, 0.1) by default.
        jitter_probability: probability of the colour jitter, in [0, 1]; 0.8 by default.
        grayscale_probability: probability of a grey view, in [0, 1]; 0.2 by default.
        blur_sigma: two numbers, the range of the Gaussian's sigma in pixels; (0.1, 2.0) by default.
        blur_probability: probability of the blur, in [0, 1]; 0.5 by default.
        flip_probability: probability of the horizontal flip, in [0, 1]; 0.5 by default.
        mean: one number per channel, its mean with pixels in [0, 1]; ImageNet's by default. Three are RGB.
            With others, which have no hue, `color_jitter` must have no saturation and no hue, and
            `grayscale_probability` must be 0.
        std: one number per channel, its standard deviation with pixels in [0, 1]; ImageNet's by default.
        antialias: whether images and crops that are reduced get an antialiasing filter; false by default.
        jit_compile: whether XLA compiles the colour operations, the blur and the normalisation in tf.data;
            true by default.
    """

    image_size: int = 224
    crop_scale: Sequence[float] | None = (0.2, 1.0)
    crop_ratio: Sequence[float] = (3 / 4, 4 / 3)
    num_views: int = 1
    color_jitter: Sequence[float] = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_sigma: Sequence[float] = (0.1, 2.0)
    blur_probability: float = 0.5
    flip_probability: float = 0.5
    mean: Sequence[float] = IMAGENET_MEAN
    std: Sequence[float] = IMAGENET_STD
    antialias: bool = False
    jit_compile: bool = True

    def __post_init__(self):
        crop_scale = None if self.crop_scale is None else check_crop_scale(self.crop_scale)
        checked = {
            "image_size": whole_number("image_size", self.image_size, 1),
            "crop_scale": crop_scale,
            "crop_ratio": check_range("crop_ratio", self.crop_ratio),
            "num_views": whole_number("num_views", self.num_views, 1),
            "color_jitter": check_color_jitter(self.color_jitter),
            "jitter_probability": check_probability("jitter_probability", self.jitter_probability),
            "grayscale_probability": check_probability("grayscale_probability", self.grayscale_probability),
            "blur_sigma": check_range("blur_sigma", self.blur_sigma),
            "blur_probability": check_probability("blur_probability", self.blur_probability),
            "flip_probability": check_probability("flip_probability", self.flip_probability),
            "mean": check_numbers("mean", self.mean),
            "std": check_std(self.std),
            "antialias": bool(self.antialias),
            "jit_compile": bool(self.jit_compile),
        }
        check_channels(checked)
        for name, value in checked.items():
            object.__setattr__(self, name, value)


@dataclasses.dataclass(frozen=True)
class PairSettings:
    """The settings of the views of an image: one query view and `keys.num_views` key views.

    Args:
        query: settings of the query view.
        keys: settings of the key views.
    """

    query: ViewSettings
    keys: ViewSettings

    @functools.cached_property
    def number(self) -> int:
        """A checksum from 1 to 4093 (from CRC-32); different settings share it with a chance of 1 in 4093."""
        fields = [dataclasses.asdict(view) for view in (self.query, self.keys)]
        text = json.dumps([{**view, "jit_compile": None} for view in fields], sort_keys=True)
        return 1 + zlib.crc32(text.encode()) % 4093

    @property
    def least_pixels(self) -> int | None:
        """See `least_pixels`."""
        return least_pixels(self.query, self.keys)


def least_pixels(*views: Any) -> int | None:
    """The number of pixels that an image needs so that its smallest crop is as large as the view.

    Args:
        views: `ViewSettings`, or layers with their attributes; the result is None if none of them is a crop.
    """
    needed = [
        view.image_size**2 * max(view.crop_ratio[1], 1 / view.crop_ratio[0]) / view.crop_scale[0]
        for view in views
        if view.crop_scale is not None
    ]
    return round(max(needed)) if needed else None


# === Methods ===


def leoclr(
    image_size: int,
    crop_scale: Sequence[float],
    num_crops: int,
    original_photometrics: bool,
    antialias_original: bool,
    antialias_crops: bool,
    photometrics: dict[str, Any],
) -> PairSettings:
    """The settings of LeOCLR: the original as query, crops as keys; `LeOCLRViews` describes the arguments."""
    whole_number("num_crops", num_crops, 1)
    original = _original(image_size, original_photometrics, antialias_original, photometrics)
    return PairSettings(original, _crop(image_size, crop_scale, antialias_crops, photometrics, num_crops))


def crop_to_original(
    image_size: int,
    crop_scale: Sequence[float],
    original_photometrics: bool,
    antialias_original: bool,
    antialias_crops: bool,
    photometrics: dict[str, Any],
) -> PairSettings:
    """The settings for a crop as query, the original as key; see `CropToOriginalViews` for the arguments."""
    crop = _crop(image_size, crop_scale, antialias_crops, photometrics)
    return PairSettings(crop, _original(image_size, original_photometrics, antialias_original, photometrics))


def moco_v2(
    image_size: int, crop_scale: Sequence[float], antialias_crops: bool, photometrics: dict[str, Any]
) -> PairSettings:
    """The settings of MoCo v2: a crop as query, another as key; `MoCoV2Views` describes the arguments."""
    crop = _crop(image_size, crop_scale, antialias_crops, photometrics)
    return PairSettings(crop, crop)


def _crop(image_size, crop_scale, antialias, photometrics, number=1):
    _check_photometrics(photometrics)
    crop_scale = check_crop_scale(crop_scale)  # A crop needs a range: None, for the whole image, is refused.
    return ViewSettings(image_size, crop_scale, num_views=number, antialias=antialias, **photometrics)


def _original(image_size, with_photometrics, antialias, photometrics):
    _check_photometrics(photometrics)
    options = {name: value for name, value in photometrics.items() if name != "crop_ratio"}
    if not with_photometrics:
        options |= CLEAN
    return ViewSettings(image_size, crop_scale=None, antialias=antialias, **options)


def _check_photometrics(options: dict[str, Any]) -> None:
    known = ("crop_ratio", "jit_compile", *PHOTOMETRICS)
    for name in options:
        if name not in known:
            raise TypeError(f"`{name}` is not an option of the views. Known options: {', '.join(known)}")


# === Checks ===


def check_range(name: str, value: Any, high: float | None = None) -> tuple[float, ...]:
    """Returns the value as two floats with 0 < low <= high, and high at most `high` if it is given."""
    rule = "two numbers with 0 < low <= high" + ("" if high is None else f" <= {high:g}")
    numbers = _numbers(name, value, 2, rule)
    if not 0 < numbers[0] <= numbers[1] or (high is not None and numbers[1] > high):
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={value}")
    return numbers


def check_crop_scale(value: Any) -> tuple[float, ...]:
    """Returns the value as a range of shares of an image's area."""
    return check_range("crop_scale", value, high=1.0)


def check_numbers(name: str, value: Any) -> tuple[float, ...]:
    """The value as one float per channel."""
    sized = hasattr(value, "__len__") and not isinstance(value, str)
    return _numbers(
        name,
        value,
        max(1, len(value)) if sized else 3,
        "three numbers, one per channel of RGB, or as many as there are channels",
    )


def check_std(value: Any) -> tuple[float, ...]:
    """The value as one float > 0 per channel."""
    numbers = check_numbers("std", value)
    if min(numbers) <= 0:
        raise ValueError(f"`std` must be numbers > 0, one per channel. Received: std={value}")
    return numbers


def allowed_channels(channels: int) -> tuple[int, ...]:
    """Returns the numbers of channels that images may have: those of the normalisation; for RGB also one."""
    return (1, 3) if channels == 3 else (channels,)


def check_same_channels(mean: Sequence[float], std: Sequence[float]) -> None:
    """Raises ValueError unless mean and deviation are of as many channels."""
    if len(mean) != len(std):
        raise ValueError(
            "`mean` and `std` must have one number per channel, as many in both. "
            f"Received: mean={tuple(mean)}, std={tuple(std)}"
        )


def check_channels(values: dict[str, Any]) -> None:
    """Raises ValueError if settings ask for operations on colours where images are not RGB."""
    check_same_channels(values["mean"], values["std"])
    if len(values["mean"]) == 3:
        return
    for name, off in (
        ("color_jitter", (*values["color_jitter"][:2], 0.0, 0.0)),
        ("grayscale_probability", 0.0),
    ):
        if values[name] != off:
            raise ValueError(
                f"`{name}` must leave out saturation, hue and greyscale for images that are not RGB: it must "
                f"be {off}. Received: {name}={values[name]}, with a `mean` of {len(values['mean'])} channels"
            )


def check_color_jitter(value: Any) -> tuple[float, ...]:
    """Returns the value as strengths of brightness, contrast, saturation and hue."""
    rule = "four strengths, brightness, contrast and saturation >= 0 and hue in [0, 0.5]"
    numbers = _numbers("color_jitter", value, 4, rule)
    if min(numbers) < 0 or numbers[3] > 0.5:
        raise ValueError(f"`color_jitter` must be {rule}. Received: color_jitter={value}")
    return numbers


def check_probability(name: str, value: Any) -> float:
    """Returns the value as a float in [0, 1]."""
    (number,) = _numbers(name, [value], 1, "in [0, 1]")
    if not 0 <= number <= 1:
        raise ValueError(f"`{name}` must be in [0, 1]. Received: {name}={value}")
    return number


def _numbers(name: str, value: Any, count: int, rule: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(v) for v in value)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not np.all(np.isfinite(numbers)):
        shown = value[0] if count == 1 else value
        raise ValueError(f"`{name}` must be {rule}. Received: {name}={shown}")
    return numbers
