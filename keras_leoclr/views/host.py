"""The keras-cv layer that makes views in a tf.data pipeline from the parameters that `sampling` draws."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras_cv.layers import VectorizedBaseImageAugmentationLayer

from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views import pixels, sampling
from keras_leoclr.views.preprocessing import check_images, scale_and_offset
from keras_leoclr.views.settings import LAYER_OPTIONS, ViewSettings
from keras_leoclr.views.tensorflow_functions import TensorFlowFunctions

PHOTOMETRIC_PARAMETERS = ("brightness", "contrast", "saturation", "hue", "grayscale", "sigma")


@keras.saving.register_keras_serializable("keras_leoclr")
class RandomView(VectorizedBaseImageAugmentationLayer):
    """Random views of images: crop, flip, colour jitter, greyscale, blur and normalisation.

    The defaults are MoCo v2's augmentation (arXiv 2003.04297, section 3; SimCLR's appendix A).
    All randomness comes from the seed of the call, so a view is a pure function of `(images, seed)`:
    parallel maps and restarted runs give the same pixels. Views that are computed eagerly and views
    that are computed in a compiled pipeline differ by rounding (about 1e-6).

    The parameters are drawn for every image of the batch separately:

    - **crop**: torchvision's `RandomResizedCrop`. The area is drawn from U(`crop_scale`) and the aspect
      ratio log-uniformly from `crop_ratio`, in up to ten tries; if none fits, the largest centred crop
      is taken. The crop is resized bilinearly with half-pixel centres. With `crop_scale=None` the
      whole image is resized and nothing is cropped.
    - **flip**: a horizontal flip with the probability `flip_probability`.
    - **colour**: with the probability `jitter_probability`, the factors of brightness, contrast and
      saturation are drawn from U(max(0, 1-s), 1+s) and a hue shift from U(-h, h), as a share of the
      colour circle. With the probability `grayscale_probability`, all channels are then replaced by the
      luma. Together this is one 3 x 3 matrix and one bias per image. Images that are not RGB have no
      saturation, hue or greyscale; brightness and contrast change each channel by itself, by the same
      factors: `x' = b (c x + (1 - c) m)`, with m the mean of the channel.
    - **blur**: with the probability `blur_probability`, a Gaussian blur with sigma from U(`blur_sigma`)
      in pixels of the output, truncated at three times the largest sigma and reflected at the border.
    - **normalisation**: `(x / 255 - mean) / std`.

    Differences from torchvision's sequence of operations:

    - The hue is shifted by rotating the chroma in YIQ by the same share of a turn, which leaves the luma
      unchanged, and not in HSV. The four colour operations then commute, so their random order has
      no effect. The direction of the shift agrees, the pixels do not: at the largest shift of 0.1,
      smooth random colours differ by 17 of 255 on average, where the HSV shift itself moves them by 19.
      Over MoCo v2's draws they differ by 6.9, while mean, contrast and chroma of a thousand views agree
      to 2 %.
    - Values are clipped once, after all colour operations, instead of after each of them. The mean
      difference is 0.5 of 255.
    - In batches of images of one size, a crop that is enlarged is interpolated over up to half a pixel
      beyond its own border where the image goes on. The mean difference is 0.25 of 255 for crops of images
      of 32 pixels.
    - Reducing an image or a crop does not antialias unless `antialias` is set: photographs of 500 x 375
      pixels differ by 1.6 of 255 at 224 pixels and by 3.2 at 96 (`benchmarks/approximations.py`).

    Args:
        image_size: side of the square output in pixels; 224 by default.
        crop_scale: two numbers, the range of the crop's area as a share of the image's; (0.2, 1.0) by
            default. `None` takes the whole image.
        **options: the other settings of a view, see `settings.ViewSettings`: `crop_ratio`, `num_views`,
            `color_jitter`, `jitter_probability`, `grayscale_probability`, `blur_sigma`, `blur_probability`,
            `flip_probability`, `mean`, `std`, `antialias`, `jit_compile`; and the options `name` and
            `dtype` of a Keras layer. Each setting is an attribute of the layer. With `jit_compile=False` a
            data set starts some seconds sooner but is slower.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
        seed: integer tensor of shape (2,).

    Returns:
        (B, num_views, image_size, image_size, 3) float32. Grey input stays grey.
    """

    def __init__(
        self,
        image_size: int = ViewSettings.image_size,
        crop_scale: Sequence[float] | None = ViewSettings.crop_scale,
        **options: Any,
    ):
        layer_options = {name: options.pop(name) for name in LAYER_OPTIONS if name in options}
        # The initialiser of the base class is skipped because it would use TensorFlow's global generator,
        # which nothing here needs: its numbers depend on the order of calls, and TensorFlow refuses to create
        # it when deterministic operations are enabled.
        super(VectorizedBaseImageAugmentationLayer, self).__init__(**{"dtype": "float32", **layer_options})
        self._convert_input_args = False  # The layer runs on TensorFlow tensors under every Keras backend.
        self._allow_non_tensor_positional_args = True
        self.settings = ViewSettings(image_size, crop_scale, **options)
        for name, value in dataclasses.asdict(self.settings).items():
            setattr(self, name, value)
        self.supports_jit = False  # Cropping has no XLA kernel; the steps that have one are compiled below.
        # A compiled XLA program reads and writes the pixels once, where separate operations would do so many
        # times. The two directions of the blur are separate programs because XLA would fuse them in one
        # program, which is slower.
        self._plain = self._stages()
        self._compiled = [tf.function(stage, jit_compile=True) for stage in self._plain]
        self.built = True

    def call(self, images, seed):
        images = check_images(images, len(self.mean))
        return self.views_of_batch(images, self.draw(tf.shape(images)[0] * self.num_views, seed))

    def views_of_batch(self, images, draws):
        """Makes the views of images of one size.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
            draws: random numbers of these images, taken from the result of `draw`; num_views rows per image.

        Returns:
            (B, num_views, image_size, image_size, 3) float32.
        """
        shape = tf.shape(images)
        views = self.augment_images(images, self.parameters(draws, shape[1], shape[2]))
        return tf.reshape(views, [shape[0], self.num_views, *views.shape[1:]])

    def views_of_one(self, image, draws):
        """Makes the views of a single image of any size, for batches whose images differ in size.

        The pixels are those of `call`, except that a crop that is enlarged ends at its own border, as
        torchvision's does.

        Args:
            image: (H, W, C), uint8 or float in [0, 255], C is 1 or 3; H and W may be unknown.
            draws: random numbers of this image, taken from the result of `draw`; num_views rows.

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
            images: (B, H, W, C); only the height and the width are used.
            seed: integer tensor of shape (2,).
            **kwargs: arguments that the base class passes to all layers; they are ignored.

        Returns:
            A dictionary of arrays with B * num_views rows; see `sampling.parameters`.
        """
        shape = tf.shape(images)
        return self.parameters(self.draw(batch_size * self.num_views, seed), shape[1], shape[2])

    def draw(self, count, seed):
        """Draws uniform numbers in [0, 1) for `count` views, as tensors; see `sampling.draw`."""
        return sampling.draw(self.settings, count, seed, TensorFlowFunctions)

    def parameters(self, draws, height, width):
        """Computes the parameters of views from uniform numbers, as tensors; see `sampling.parameters`."""
        return sampling.parameters(self.settings, draws, height, width, TensorFlowFunctions)

    # === Applying ===

    def augment_images(self, images, transformations, **kwargs):
        """Applies given parameters to images.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
            transformations: parameters of B * num_views views, as `get_random_transformation_batch` returns
                them; the views of an image follow each other.
            **kwargs: arguments that the base class passes to all layers; they are ignored.

        Returns:
            (B * num_views, image_size, image_size, 3) float32, normalised.
        """
        views = self._crop_and_flip(images, transformations)
        return self._finish(views, transformations, blurred=tf.reduce_any(transformations["sigma"] > 0))

    def _finish(self, views, transformations, blurred):
        """Applies colour, blur and normalisation, compiled if a graph is being built."""
        parameters = {name: transformations[name] for name in PHOTOMETRIC_PARAMETERS}
        unblurred, *stages = self._compiled if self.jit_compile and tf.inside_function() else self._plain

        def blur():
            made = views
            for stage in stages:
                made = stage(made, parameters)
            return made

        if self.blur_probability == 0:
            return unblurred(views, parameters)
        return tf.cond(blurred, blur, lambda: unblurred(views, parameters))

    def _stages(self):
        """Returns the function that makes views without blur, and the three steps for views with blur."""
        radius = min(int(np.ceil(3.0 * self.blur_sigma[1])), self.image_size - 1)
        scale, offset = scale_and_offset(self.mean, self.std)
        adjust_colour = pixels.adjust_colour
        return (
            lambda views, parameters: adjust_colour(views, parameters) * scale + offset,
            lambda views, parameters: pixels.mirror(adjust_colour(views, parameters), radius),
            lambda views, parameters: pixels.blur_columns(views, parameters["sigma"], radius),
            lambda views, parameters: pixels.normalised(
                pixels.blur_rows(views, parameters["sigma"], radius), scale, offset
            ),
        )

    def _crop_and_flip(self, images, transformations):
        """Cuts out and resizes all boxes of a batch of images of one size in one operation."""
        size = self.image_size
        if self.crop_scale is None:
            views = tf.image.resize(tf.cast(images, tf.float32), (size, size), antialias=self.antialias)
            views = tf.repeat(views, self.num_views, axis=0)
            return tf.where(transformations["flip"][:, None, None, None], tf.reverse(views, [2]), views)
        if self.antialias:
            return self._antialiased_crops(images, transformations)
        shape = tf.shape(images)
        batch_size, height, width = shape[0], tf.cast(shape[1], tf.float32), tf.cast(shape[2], tf.float32)
        top, left, h, w = tf.unstack(transformations["box"], axis=1)
        # These are the centres of the first and the last output pixel, in pixels of the input. Where a box is
        # enlarged they lie up to half a pixel outside of the image, so one pixel of the border is repeated.
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
        """Cuts one box out of one image and resizes it."""
        if self.antialias and self.crop_scale is not None:
            return self._antialiased_crops(image[None], transformations)
        size = (self.image_size, self.image_size)
        top, left, height, width = tf.unstack(tf.cast(transformations["box"][0], tf.int32))
        box = image[top : top + height, left : left + width][None]
        view = tf.image.resize(tf.cast(box, tf.float32), size, antialias=self.antialias)
        return tf.cond(transformations["flip"][0], lambda: tf.reverse(view, [2]), lambda: view)

    def _antialiased_crops(self, images, transformations):
        """Resizes boxes one by one; the filter reaches beyond the border of a box where the image goes on."""
        size = self.image_size
        boxes, flips = transformations["box"], transformations["flip"]

        def crop(number):
            box = boxes[number]
            scale = size / box[2:]
            image = images[number // (tf.shape(boxes)[0] // tf.shape(images)[0])][None]
            view = tf.raw_ops.ScaleAndTranslate(
                images=image,
                size=[size, size],
                scale=scale,
                translation=-box[:2] * scale,
                kernel_type="triangle",
                antialias=True,
            )[0]
            return tf.cond(flips[number], lambda: tf.reverse(view, [1]), lambda: view)

        shape = tf.TensorSpec((size, size, images.shape[-1]), tf.float32)
        return tf.map_fn(crop, tf.range(tf.shape(boxes)[0]), fn_output_signature=shape)

    # === Config ===

    def compute_output_shape(self, input_shape, *args, **kwargs):
        return (input_shape[0], self.num_views, self.image_size, self.image_size, len(self.mean))

    def get_config(self):
        return {**super().get_config(), **dataclasses.asdict(self.settings)}
