"""Images to views: the query view and the key views of a batch, each made in one fused pass.

The only module that imports keras_cv.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import keras_cv
import numpy as np
from keras_cv.layers import VectorizedBaseImageAugmentationLayer

from keras_leoclr.checks import whole_number
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing, check_images
from keras_leoclr.views.settings import (
    CLEAN,
    IMAGENET_MEAN,
    IMAGENET_STD,
    LUMA,
    PHOTOMETRICS,
    RGB_TO_YIQ,
    check_color_jitter,
    check_crop_scale,
    check_probability,
    check_range,
    check_std,
    check_three,
)

# The colour matrix of an image is a mix of these three; pixels are row vectors, x @ matrix. The turn
# goes from red to yellow, as a positive hue shift in HSV.
_TO_LUMA = np.outer(LUMA, np.ones(3)).astype("float32")
_CHROMA = np.eye(3, dtype="float32") - _TO_LUMA
_QUARTER_TURN = (
    RGB_TO_YIQ.T @ np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ np.linalg.inv(RGB_TO_YIQ).T
).astype("float32")

CROP_TRIES = 10  # as torchvision's RandomResizedCrop
_PHOTOMETRIC_PARAMETERS = ("brightness", "contrast", "saturation", "hue", "grayscale", "sigma")


@keras.saving.register_keras_serializable("keras_leoclr")
class RandomView(VectorizedBaseImageAugmentationLayer):
    """Random views of images: crop, flip, colour jitter, greyscale, blur and normalisation.

    The defaults are MoCo v2's augmentation (arXiv 2003.04297, section 3; SimCLR's appendix A).
    All randomness comes from the seed of the call, so a view is a pure function of
    `(images, seed)`: parallel maps and restarts give the same pixels. Called eagerly and in a compiled
    pipeline it differs by rounding (about 1e-6).

    Every image of the batch draws its own parameters:

    - **crop**: torchvision's `RandomResizedCrop`. Area U(`crop_scale`), aspect ratio log-uniform in
      `crop_ratio`, ten tries, then the largest centred crop; resized bilinearly with half-pixel
      centres. `crop_scale=None` takes the whole image: resized, never cropped.
    - **flip**: horizontal, with `flip_probability`.
    - **colour**: with `jitter_probability`, brightness, contrast and saturation factors
      U(max(0, 1-s), 1+s) and a hue shift U(-h, h) of the colour circle; then luma in all channels
      with `grayscale_probability`. All of it is one 3 x 3 matrix and one bias per image.
    - **blur**: with `blur_probability`, Gaussian with sigma U(`blur_sigma`) pixels of the output,
      truncated at three times the largest sigma, reflected at the border.
    - **normalisation**: `(x / 255 - mean) / std`.

    Differences from torchvision's sequence of operations:

    - hue is a rotation of the chroma in YIQ by the same share of a turn, with the luma unchanged, not
      a shift in HSV. The four colour operations then commute, so their random order has no effect.
      The direction agrees, the pixels do not: at the largest shift of 0.1, smooth random colours
      differ by 17 of 255 on average, where the HSV shift itself moves them by 19; over MoCo v2's
      draws by 6.9, while mean, contrast and chroma of a thousand views agree to 2 %;
    - values are clipped once, after all colour operations, instead of after each: 0.5 of 255;
    - in batches of small images, a crop that is enlarged interpolates over up to half a pixel beyond
      its own border where the image goes on: 0.25 of 255 for crops of images of 32 pixels;
    - reducing does not antialias, unless `antialias` is set: photographs of 500 x 375 pixels differ by
      1.6 of 255 at 224 pixels and by 3.2 at 96 (`benchmarks/approximations.py`).

    Args:
        image_size: side of the square output in pixels.
        crop_scale: two numbers, the range of the crop's area as a share of the image's, with
            0 < low <= high <= 1; `None` for the whole image.
        crop_ratio: two numbers, the range of the crop's width / height.
        num_views: views per image.
        color_jitter: strengths of brightness, contrast and saturation (>= 0) and hue (0 to 0.5).
        jitter_probability: in [0, 1].
        grayscale_probability: in [0, 1].
        blur_sigma: two numbers, range of the Gaussian's sigma in pixels.
        blur_probability: in [0, 1].
        flip_probability: in [0, 1].
        mean: three numbers, mean of the data in [0, 1] units.
        std: three numbers, standard deviation of the data in [0, 1] units.
        antialias: whether whole images (`crop_scale=None`) are reduced with an antialiasing filter.
        jit_compile: whether colour, blur and normalisation are compiled with XLA where the layer is part
            of a graph, as in tf.data. Without it a data set starts some seconds sooner and is slower.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
        seed: int tensor (2,).

    Returns:
        (B, num_views, image_size, image_size, 3) float32. Grey input stays grey.
    """

    def __init__(
        self,
        image_size: int = 224,
        crop_scale: Sequence[float] | None = (0.2, 1.0),
        crop_ratio: Sequence[float] = (3 / 4, 4 / 3),
        num_views: int = 1,
        color_jitter: Sequence[float] = (0.4, 0.4, 0.4, 0.1),
        jitter_probability: float = 0.8,
        grayscale_probability: float = 0.2,
        blur_sigma: Sequence[float] = (0.1, 2.0),
        blur_probability: float = 0.5,
        flip_probability: float = 0.5,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        antialias: bool = False,
        jit_compile: bool = True,
        **kwargs: Any,
    ):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.supports_jit = False  # cropping has no XLA kernel; what has one is compiled here
        self._random_generator = None  # the base's stateful generator would make results depend on call order
        self.image_size = whole_number("image_size", image_size, 1)
        self.crop_scale = None if crop_scale is None else check_range("crop_scale", crop_scale, high=1.0)
        self.crop_ratio = check_range("crop_ratio", crop_ratio)
        self.num_views = whole_number("num_views", num_views, 1)
        self.color_jitter = check_color_jitter(color_jitter)
        self.jitter_probability = check_probability("jitter_probability", jitter_probability)
        self.grayscale_probability = check_probability("grayscale_probability", grayscale_probability)
        self.blur_sigma = check_range("blur_sigma", blur_sigma)
        self.blur_probability = check_probability("blur_probability", blur_probability)
        self.flip_probability = check_probability("flip_probability", flip_probability)
        self.mean = check_three("mean", mean)
        self.std = check_std(std)
        if antialias and self.crop_scale is not None:
            raise ValueError(
                f"`antialias` is for whole images, crop_scale=None. Received: crop_scale={crop_scale}"
            )
        self.antialias = bool(antialias)
        # An XLA program reads and writes the pixels once where single operations would many times. The
        # blur's two directions are programs of their own: in one they would be fused and slower.
        self.jit_compile = bool(jit_compile)
        self._compiled = [tf.function(stage, jit_compile=True) for stage in self._stages()]
        self.built = True

    def call(self, images, seed):
        images = check_images(images)
        return self.views_of_batch(images, self.draw(tf.shape(images)[0] * self.num_views, seed))

    def views_of_batch(self, images, draws):
        """The views of images of one size.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
            draws: the rows of `draw` that belong to these images, num_views of each.

        Returns:
            (B, num_views, image_size, image_size, 3) float32.
        """
        shape = tf.shape(images)
        views = self.augment_images(images, self.parameters(draws, shape[1], shape[2]))
        return tf.reshape(views, [shape[0], self.num_views, self.image_size, self.image_size, 3])

    def views_of_one(self, image, draws):
        """The views of a single image of any size, for batches of images of many sizes.

        The numbers are those of `call`, but a crop that is enlarged ends at its own border, as
        torchvision's does.

        Args:
            image: (H, W, C), uint8 or float in [0, 255], C 1 or 3; H and W may be unknown.
            draws: the rows of `draw` that belong to this image, num_views of them.

        Returns:
            (num_views, image_size, image_size, 3) float32.
        """
        shape = tf.shape(image)
        transformations = self.parameters(draws, shape[0], shape[1])
        views = []
        for index in range(self.num_views):
            own = {name: value[index : index + 1] for name, value in transformations.items()}
            view = self._crop_and_flip_one(image, own)
            views.append(self._finish(view, own, blurred=own["sigma"][0] > 0))
        return tf.concat(views, axis=0)

    # === Sampling ===

    def get_random_transformation_batch(self, batch_size, images=None, seed=None, **kwargs):
        """Draws the parameters of `batch_size * num_views` views, image by image.

        Args:
            batch_size: B.
            images: (B, H, W, C); only its height and width are used.
            seed: int tensor (2,).
            **kwargs: what the base class passes to other layers; unused.

        Returns:
            Dictionary of tensors with B * num_views rows: `box` (top, left, height, width in pixels
            of the input), `flip`, `brightness`, `contrast`, `saturation` (factors), `hue` (share of
            the colour circle), `grayscale`, `sigma` (pixels of the output, 0 where not blurred).
        """
        shape = tf.shape(images)
        return self.parameters(self.draw(batch_size * self.num_views, seed), shape[1], shape[2])

    def draw(self, count, seed):
        """Uniform numbers in [0, 1) for `count` views: all the randomness that they have.

        Args:
            count: number of views.
            seed: int tensor (2,).

        Returns:
            Dictionary of tensors with `count` rows, for `parameters`.
        """
        seeds = tf.random.split(tf.cast(seed, tf.int32), 2)
        draws = {"photometric": tf.random.stateless_uniform([count, 9], seeds[0])}
        if self.crop_scale is not None:
            box = tf.random.stateless_uniform([4, count, CROP_TRIES], seeds[1])
            draws["box"] = tf.transpose(box, [1, 0, 2])
        return draws

    def parameters(self, draws, height, width):
        """Parameters of views from uniform numbers.

        Args:
            draws: of N views, see `draw`.
            height: of the images, scalar.
            width: of the images, scalar.

        Returns:
            See `get_random_transformation_batch`, N rows.
        """
        flip, jitter, gray, blur, sigma, *factors = tf.unstack(draws["photometric"], axis=1)
        jitter = jitter < self.jitter_probability

        def factor(uniform, strength):
            low = max(0.0, 1.0 - strength)
            return tf.where(jitter, low + uniform * (1.0 + strength - low), 1.0)

        low, high = self.blur_sigma
        hue = self.color_jitter[3]
        return {
            "box": self._boxes(draws, height, width),
            "flip": flip < self.flip_probability,
            "brightness": factor(factors[0], self.color_jitter[0]),
            "contrast": factor(factors[1], self.color_jitter[1]),
            "saturation": factor(factors[2], self.color_jitter[2]),
            "hue": tf.where(jitter, (2.0 * factors[3] - 1.0) * hue, 0.0),
            "grayscale": gray < self.grayscale_probability,
            "sigma": tf.where(blur < self.blur_probability, low + sigma * (high - low), 0.0),
        }

    def _boxes(self, draws, height, width):
        height, width = tf.cast(height, tf.float32), tf.cast(width, tf.float32)
        if self.crop_scale is None:
            return tf.tile(tf.stack([[0.0, 0.0, height, width]]), [tf.shape(draws["photometric"])[0], 1])
        uniform = tf.unstack(draws["box"], axis=1)
        low, high = self.crop_scale
        area = height * width * (low + uniform[0] * (high - low))
        log_low, log_high = np.log(self.crop_ratio)
        ratio = tf.exp(log_low + uniform[1] * (log_high - log_low))
        # Whole pixels, as torchvision; the first try that fits wins.
        w = tf.round(tf.sqrt(area * ratio))
        h = tf.round(tf.sqrt(area / ratio))
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        first = tf.argmax(fits, axis=1, output_type=tf.int32)
        top = tf.floor(uniform[2] * (height - h + 1.0))
        left = tf.floor(uniform[3] * (width - w + 1.0))
        drawn = tf.gather(tf.stack([top, left, h, w], axis=2), first, axis=1, batch_dims=1)
        # None fits: the largest centred crop with a ratio in the range.
        w = tf.minimum(width, tf.round(height * self.crop_ratio[1]))
        h = tf.minimum(height, tf.round(width / self.crop_ratio[0]))
        centred = tf.stack([(height - h) // 2.0, (width - w) // 2.0, h, w])
        return tf.where(tf.reduce_any(fits, axis=1)[:, None], drawn, centred)

    # === Applying ===

    def augment_images(self, images, transformations, **kwargs):
        """Applies given parameters, see `get_random_transformation_batch`, to `images`.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
            transformations: parameters of B * num_views views, the views of an image together.
            **kwargs: what the base class passes to other layers; unused.

        Returns:
            (B * num_views, image_size, image_size, 3) float32, normalised.
        """
        views = self._crop_and_flip(images, transformations)
        return self._finish(views, transformations, blurred=tf.reduce_any(transformations["sigma"] > 0))

    def _finish(self, views, transformations, blurred):
        """Colour, blur and normalisation, compiled where a graph is being built."""
        parameters = {name: transformations[name] for name in _PHOTOMETRIC_PARAMETERS}
        unblurred, *stages = self._compiled if self.jit_compile and tf.inside_function() else self._stages()

        def blur():
            made = views
            for stage in stages:
                made = stage(made, parameters)
            return made

        if self.blur_probability == 0:
            return unblurred(views, parameters)
        return tf.cond(blurred, blur, lambda: unblurred(views, parameters))

    def _stages(self):
        """What makes views without blur, and the three steps that make views with it."""
        radius = min(int(np.ceil(3.0 * self.blur_sigma[1])), self.image_size - 1)
        scale = 1.0 / (255.0 * np.asarray(self.std, np.float32))
        offset = -np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return (
            lambda views, parameters: _adjust_colour(views, parameters) * scale + offset,
            lambda views, parameters: _mirror(_adjust_colour(views, parameters), radius),
            lambda views, parameters: _blur_columns(views, parameters["sigma"], radius),
            lambda views, parameters: _normalised(
                _blur_rows(views, parameters["sigma"], radius), scale, offset
            ),
        )

    def _crop_and_flip(self, images, transformations):
        """All boxes of a batch of images of one size, in one operation."""
        size = self.image_size
        if self.crop_scale is None:
            views = tf.image.resize(tf.cast(images, tf.float32), (size, size), antialias=self.antialias)
            views = tf.repeat(views, self.num_views, axis=0)
            return tf.where(transformations["flip"][:, None, None, None], tf.reverse(views, [2]), views)
        shape = tf.shape(images)
        batch_size, height, width = shape[0], tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
        top, left, h, w = tf.unstack(transformations["box"], axis=1)
        # Centres of the first and last output pixel, in pixels of the input. They lie up to half a
        # pixel outside of the image where a box is enlarged: one pixel of border is repeated for them.
        images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], "SYMMETRIC")
        first_y, last_y = 0.5 * h / size + top + 0.5, (size - 0.5) * h / size + top + 0.5
        first_x, last_x = 0.5 * w / size + left + 0.5, (size - 0.5) * w / size + left + 0.5
        flip = transformations["flip"]
        first_x, last_x = tf.where(flip, last_x, first_x), tf.where(flip, first_x, last_x)
        boxes = tf.stack([first_y, first_x, last_y, last_x], axis=1)
        boxes /= tf.stack([height + 1.0, width + 1.0, height + 1.0, width + 1.0])
        image_of_view = tf.repeat(tf.range(batch_size), self.num_views)
        return tf.image.crop_and_resize(images, boxes, image_of_view, (size, size))

    def _crop_and_flip_one(self, image, transformations):
        """One box of an image: cut out, resized."""
        size = (self.image_size, self.image_size)
        top, left, height, width = tf.unstack(tf.cast(transformations["box"][0], tf.int32))
        box = image[top : top + height, left : left + width][None]
        view = tf.image.resize(tf.cast(box, tf.float32), size, antialias=self.antialias)
        return tf.cond(transformations["flip"][0], lambda: tf.reverse(view, [2]), lambda: view)

    # === Config ===

    def compute_output_shape(self, input_shape, *args, **kwargs):
        return (input_shape[0], self.num_views, self.image_size, self.image_size, 3)

    def get_config(self):
        config = super().get_config()
        config.pop("seed", None)
        names = (
            "image_size",
            "crop_scale",
            "crop_ratio",
            "num_views",
            "antialias",
            "jit_compile",
            *PHOTOMETRICS,
        )
        return {**config, **{name: getattr(self, name) for name in names}}


class _Views(keras.layers.Layer):
    """What the methods share: one query view and V key views of each image.

    Subclasses set `query_view` and `key_view`, two `RandomView` layers.
    """

    def __init__(self, query_view: RandomView, key_view: RandomView, options: dict, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.supports_jit = False
        self._convert_input_args = False  # runs in tf.data, on TensorFlow tensors, under every backend
        self._allow_non_tensor_positional_args = True
        self.query_view = query_view
        self.key_view = key_view
        self.options = options
        self.built = True

    @property
    def image_size(self) -> int:
        """Side of the views in pixels."""
        return self.key_view.image_size

    @property
    def num_key_views(self) -> int:
        """V, the number of key views of an image."""
        return self.key_view.num_views

    def call(self, images, seed):
        images = check_images(images)
        views = self.views_of_batch(images, self.draw(tf.shape(images)[0], seed))
        if tf.inside_function() or keras.backend.backend() == "tensorflow":
            return views
        return {name: keras.ops.convert_to_tensor(view.numpy()) for name, view in views.items()}

    def draw(self, count, seed):
        """All the randomness of the views of `count` images, for `views_of_batch` and `views_of_one`.

        Args:
            count: B.
            seed: int tensor (2,), as in `call`.

        Returns:
            Nested dictionary of tensors; the rows of an image are row i of each.
        """
        seeds = tf.random.split(tf.cast(seed, tf.int32), 2)

        def by_image(layer, seed):
            draws = layer.draw(count * layer.num_views, seed)
            return {
                name: tf.reshape(value, [count, layer.num_views, *value.shape[1:]])
                for name, value in draws.items()
            }

        return {"query": by_image(self.query_view, seeds[0]), "keys": by_image(self.key_view, seeds[1])}

    def views_of_batch(self, images, draws):
        """The views of images of one size; what `call` makes, or a part of a batch of it.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
            draws: the rows of `draw` that belong to these images.

        Returns:
            `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`.
        """

        def made(layer, rows):
            flat = {name: tf.reshape(v, [-1, *v.shape[2:]]) for name, v in rows.items()}
            return layer.views_of_batch(images, flat)

        return {
            "query": made(self.query_view, draws["query"])[:, 0],
            "keys": made(self.key_view, draws["keys"]),
        }

    def views_of_one(self, image, draws):
        """The views of a single image of any size.

        Args:
            image: (H, W, C), uint8 or float in [0, 255], C 1 or 3.
            draws: a row of `draw`.

        Returns:
            `{"query": (S, S, 3), "keys": (V, S, S, 3)}`: up to the border of enlarged crops what
            `call` makes of a batch that this image is part of.
        """
        return {
            "query": self.query_view.views_of_one(image, draws["query"])[0],
            "keys": self.key_view.views_of_one(image, draws["keys"]),
        }

    def boxes_of_one(self, image, draws):
        """Where the views of a single image lie in it.

        Args:
            image: (H, W, C).
            draws: a row of `draw`.

        Returns:
            `{"query": (4,), "keys": (V, 4)}`: top, left, height and width in pixels of the image.
        """
        height, width = image.shape[:2]
        boxes = {
            name: layer.parameters(draws[name], height, width)["box"]
            for name, layer in (("query", self.query_view), ("keys", self.key_view))
        }
        return {"query": boxes["query"][0], "keys": boxes["keys"]}

    def preprocess(self, images):
        """Images as evaluation sees them: resized and normalised, nothing random.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.

        Returns:
            (B, image_size, image_size, 3) float32 TensorFlow tensor.
        """
        return Preprocessing.of(self).preprocess(images)

    def compute_output_shape(self, input_shape, *args, **kwargs):
        batch_size = input_shape[0]
        size = self.image_size
        return {
            "query": (batch_size, size, size, 3),
            "keys": (batch_size, self.num_key_views, size, size, 3),
        }

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable("keras_leoclr")
class LeOCLRViews(_Views):
    """LeOCLR's views (arXiv 2403.06813): the original as query, random crops of it as keys.

    The original is resized to the square `image_size` and never cropped; it gets the same
    photometric augmentation as the crops unless `original_photometrics` is false, in which case it
    is only flipped and normalised.

    Args:
        image_size: side of the square views in pixels.
        crop_scale: two numbers, area of the crops as a share of the image, 0 < low <= high <= 1.
        num_crops: V, crops (key views) of an image.
        original_photometrics: whether colour jitter, greyscale and blur apply to the original too.
        antialias_original: whether the original is reduced with an antialiasing filter, as it should be
            where it is much larger than `image_size`; `benchmarks/views.py` prints what it costs.
        **photometrics: options of `RandomView`, MoCo v2's by default: `color_jitter`,
            `jitter_probability`, `grayscale_probability`, `blur_sigma`, `blur_probability`,
            `flip_probability`, `mean`, `std`, `crop_ratio`, `jit_compile`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
        seed: int tensor (2,). The views are a pure function of `(images, seed)`.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`, float32, with S = `image_size`.

    Example:
        ```python
        views = LeOCLRViews(image_size=32)
        batch = views(images, seed=[0, 1])
        ```
    """

    def __init__(
        self,
        image_size: int = 224,
        crop_scale: Sequence[float] = (0.2, 1.0),
        num_crops: int = 2,
        original_photometrics: bool = True,
        antialias_original: bool = False,
        **photometrics: Any,
    ):
        whole_number("num_crops", num_crops, 1)
        layer_options, photometrics = _split_options(photometrics)
        super().__init__(
            _original_view(image_size, original_photometrics, antialias_original, photometrics),
            RandomView(
                image_size, crop_scale=check_crop_scale(crop_scale), num_views=num_crops, **photometrics
            ),
            {
                "image_size": image_size,
                "crop_scale": crop_scale,
                "num_crops": num_crops,
                "original_photometrics": original_photometrics,
                "antialias_original": antialias_original,
                **photometrics,
            },
            **layer_options,
        )


@keras.saving.register_keras_serializable("keras_leoclr")
class CropToOriginalViews(_Views):
    """LeOCLR's pair the other way round: a random crop as query, the original as its key.

    This is no paper's method. The pair still shares its content, since the crop lies within the
    original, but the query encoder, the only one with gradients, sees crops: LeOCLR's never does, and its key
    encoder, which sees them, is only the average of what was learned from originals. A step costs
    what MoCo v2's does; `RESULTS.md` compares the three.

    Args:
        image_size: side of the square views in pixels.
        crop_scale: two numbers, area of the crop as a share of the image, 0 < low <= high <= 1.
        original_photometrics: see `LeOCLRViews`.
        antialias_original: see `LeOCLRViews`.
        **photometrics: options of `RandomView`, see `LeOCLRViews`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
        seed: int tensor (2,). The views are a pure function of `(images, seed)`.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, 1, S, S, 3)}`, float32, with S = `image_size`.
    """

    def __init__(
        self,
        image_size: int = 224,
        crop_scale: Sequence[float] = (0.2, 1.0),
        original_photometrics: bool = True,
        antialias_original: bool = False,
        **photometrics: Any,
    ):
        layer_options, photometrics = _split_options(photometrics)
        super().__init__(
            RandomView(image_size, crop_scale=check_crop_scale(crop_scale), **photometrics),
            _original_view(image_size, original_photometrics, antialias_original, photometrics),
            {
                "image_size": image_size,
                "crop_scale": crop_scale,
                "original_photometrics": original_photometrics,
                "antialias_original": antialias_original,
                **photometrics,
            },
            **layer_options,
        )


def _original_view(image_size, with_photometrics, antialias, photometrics):
    """The view of a whole image."""
    options = {k: v for k, v in photometrics.items() if k != "crop_ratio"}
    if not with_photometrics:
        options |= CLEAN
    return RandomView(image_size, crop_scale=None, antialias=antialias, **options)


@keras.saving.register_keras_serializable("keras_leoclr")
class MoCoV2Views(_Views):
    """MoCo v2's views (arXiv 2003.04297): one random crop as query, another as key.

    Args:
        image_size: side of the square views in pixels.
        crop_scale: two numbers, area of the crops as a share of the image, 0 < low <= high <= 1.
        **photometrics: options of `RandomView`, see `LeOCLRViews`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C 1 or 3.
        seed: int tensor (2,). The views are a pure function of `(images, seed)`.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, 1, S, S, 3)}`, float32, with S = `image_size`.
    """

    def __init__(self, image_size: int = 224, crop_scale: Sequence[float] = (0.2, 1.0), **photometrics: Any):
        layer_options, photometrics = _split_options(photometrics)
        query_view, key_view = (
            RandomView(image_size, crop_scale=check_crop_scale(crop_scale), **photometrics) for _ in range(2)
        )
        options = {"image_size": image_size, "crop_scale": crop_scale, **photometrics}
        super().__init__(query_view, key_view, options, **layer_options)


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


# === Pixel operations ===


def _adjust_colour(images, transformations):
    """Brightness b, contrast c, saturation s, hue angle a and greyscale, clipped to [0, 255].

    Grey images stay (N, S, S, 1).

    With Y the luma of a pixel, m the mean luma of the image and R(a) the rotation of the chroma:
    `x' = b * (c * (Y + s * R(a) (x - Y)) + (1 - c) * m)`, and s = 0 where greyscale is drawn.
    """
    channels = images.shape[-1]
    brightness, contrast = transformations["brightness"], transformations["contrast"]
    gain = brightness * contrast
    mean = tf.reduce_mean(images, axis=[1, 2])
    mean_luma = mean[:, 0] if channels == 1 else tf.linalg.matvec(mean, LUMA)
    bias = brightness * (1.0 - contrast) * mean_luma
    if channels == 1:  # no chroma: only gain and bias are left
        images = images * gain[:, None, None, None] + bias[:, None, None, None]
        return tf.clip_by_value(images, 0.0, 255.0)
    saturation = tf.where(transformations["grayscale"], 0.0, transformations["saturation"])
    angle = 2.0 * np.pi * transformations["hue"]
    matrix = gain[:, None, None] * (
        _TO_LUMA
        + (saturation * tf.cos(angle))[:, None, None] * _CHROMA
        + (saturation * tf.sin(angle))[:, None, None] * _QUARTER_TURN
    )
    shape = tf.shape(images)
    pixels = tf.matmul(tf.reshape(images, [shape[0], -1, 3]), matrix) + bias[:, None, None]
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), shape)


# A Gaussian blur is a sum of shifted rows, then of shifted columns, each weighted. An image is worked on
# with its pixels in one line per row, so that compiled loops run along the memory.


def _mirror(images, radius):
    return tf.pad(images, [[0, 0], [radius, radius], [radius, radius], [0, 0]], "REFLECT")


def _blur_columns(padded, sigma, radius):
    """(N, S + 2r, S + 2r, C) -> (N, S, S + 2r, C), blurred along the first axis of the image."""
    height, width, channels = padded.shape[1:]
    lines = tf.reshape(padded, [-1, height, width * channels])
    kernel = _gaussian_kernel(sigma, radius)
    size = height - 2 * radius
    blurred = sum(kernel[:, tap] * lines[:, tap : tap + size] for tap in range(2 * radius + 1))
    return tf.reshape(blurred, [-1, size, width, channels])


def _blur_rows(padded, sigma, radius):
    """(N, S, S + 2r, C) -> (N, S, S, C), blurred along the second axis."""
    size, width, channels = padded.shape[1:]
    lines = tf.reshape(padded, [-1, size, width * channels])
    kernel = _gaussian_kernel(sigma, radius)
    starts = [tap * channels for tap in range(2 * radius + 1)]
    blurred = sum(
        kernel[:, t] * lines[:, :, start : start + size * channels] for t, start in enumerate(starts)
    )
    return tf.reshape(blurred, [-1, size, size, channels])


def _gaussian_kernel(sigma, radius):
    """(N,) -> (N, 2r + 1, 1, 1); a single 1 where sigma is 0."""
    taps = tf.range(-radius, radius + 1, dtype=tf.float32)
    kernel = tf.exp(-0.5 * (taps / tf.maximum(sigma, 1e-6)[:, None]) ** 2)
    return (kernel / tf.reduce_sum(kernel, axis=1, keepdims=True))[:, :, None, None]


def _normalised(images, scale, offset):
    """`images * scale + offset` with three channels, scale and offset repeated along the line."""
    size, channels = images.shape[2:]
    if channels == 1:
        return images * scale + offset
    lines = tf.reshape(images, [-1, size, size * channels])
    lines = lines * np.tile(scale, size) + np.tile(offset, size)
    return tf.reshape(lines, [-1, size, size, channels])


# === Checks ===


def _split_options(options: dict) -> tuple[dict, dict]:
    """Options of keras.layers.Layer, and those of RandomView."""
    layer_options = {k: v for k, v in options.items() if k in ("name", "dtype", "trainable")}
    photometrics = {k: v for k, v in options.items() if k not in layer_options}
    known = ("crop_ratio", "jit_compile", *PHOTOMETRICS)
    for name in photometrics:
        if name not in known:
            raise TypeError(f"`{name}` is not an option of the views. Known options: {', '.join(known)}")
    return layer_options, photometrics
