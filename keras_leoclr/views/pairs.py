"""The layers of each method's views: one query view and one or more key views of each image.

Constructing these layers needs neither TensorFlow nor keras-cv; making views with them does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.views import sampling, settings
from keras_leoclr.views.preprocessing import Preprocessing, check_images
from keras_leoclr.views.settings import LAYER_OPTIONS, PairSettings, ViewSettings


class _Views(keras.layers.Layer):
    """The base of all methods: it makes one query view and V key views of each image.

    Attributes:
        settings: the `PairSettings` that describe the views.
        options: the arguments that the layer was constructed with.
    """

    def __init__(self, method: Callable[..., PairSettings], arguments: dict, options: dict):
        layer_options = {name: value for name, value in options.items() if name in LAYER_OPTIONS}
        photometrics = {name: value for name, value in options.items() if name not in LAYER_OPTIONS}
        super().__init__(**{"dtype": "float32", **layer_options})
        self._convert_input_args = False  # The layer runs on TensorFlow tensors under every Keras backend.
        self._allow_non_tensor_positional_args = True
        self.settings = method(**arguments, photometrics=photometrics)
        self.options = {**arguments, **photometrics}
        self.built = True

    @property
    def image_size(self) -> int:
        """Side of the views in pixels."""
        return self.settings.keys.image_size

    @property
    def num_key_views(self) -> int:
        """V, the number of key views of an image."""
        return self.settings.keys.num_views

    @property
    def channels(self) -> int:
        """C of the views."""
        return len(self.settings.keys.mean)

    @property
    def query_view(self) -> Any:
        """The `RandomView` that makes the query views."""
        return self._host_layers["query"]

    @property
    def key_view(self) -> Any:
        """The `RandomView` that makes the key views."""
        return self._host_layers["keys"]

    @functools.cached_property
    def _host_layers(self):
        from keras_leoclr.views.host import RandomView

        pair = {"query": self.settings.query, "keys": self.settings.keys}
        return {name: RandomView(**dataclasses.asdict(settings)) for name, settings in pair.items()}

    def call(self, images, seed):
        from keras_leoclr.tensorflow_host import tf

        images = check_images(images, self.channels)
        views = self.views_of_batch(images, self.draw(tf.shape(images)[0], seed))
        if tf.inside_function() or keras.backend.backend() == "tensorflow":
            return views
        return {name: keras.ops.convert_to_tensor(view.numpy()) for name, view in views.items()}

    def draw(self, count, seed):
        """Draws all random numbers of the views of images, for `views_of_batch` and `views_of_one`.

        Args:
            count: B, number of images.
            seed: integer tensor (2,), as in `call`.

        Returns:
            Nested dictionary of tensors; row i of each tensor belongs to image i.
        """
        from keras_leoclr.views.tensorflow_functions import TensorFlowFunctions

        return sampling.draw_pair(self.settings, count, seed, TensorFlowFunctions)

    def draw_arrays(self, count: int, seed: Any) -> dict[str, dict[str, np.ndarray]]:
        """Draws the same numbers as `draw`, bit by bit, as NumPy arrays and without TensorFlow.

        Args:
            count: B, number of images.
            seed: (2,) int32 or int64 array.
        """
        return sampling.draw_pair(self.settings, count, seed)

    def packed(self, draws, height, width):
        """Computes the parameters that a batch carries to `LeOCLR(views=...)`; see `views.device`.

        Args:
            draws: random numbers of B images, taken from the result of `draw` or `draw_arrays`.
            height: (B,) heights of the images in pixels, or one number if all images have the same size.
            width: (B,) widths of the images in pixels, or one number.

        Returns:
            The dictionary of `sampling.packed_pair`, of TensorFlow tensors or of NumPy arrays as in `draws`.
        """
        if isinstance(draws["query"]["photometric"], np.ndarray):
            return sampling.packed_pair(self.settings, draws, height, width)
        from keras_leoclr.views.tensorflow_functions import TensorFlowFunctions

        return sampling.packed_pair(self.settings, draws, height, width, TensorFlowFunctions)

    def views_of_batch(self, images, draws):
        """Makes the views of images of one size, which may be a part of the batch of a `call`.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
            draws: random numbers of these images, taken from the result of `draw`.

        Returns:
            `{"query": (B, S, S, 3), "keys": (B, V, S, S, 3)}`.
        """
        from keras_leoclr.tensorflow_host import tf

        def made(layer, rows):
            flat = {name: tf.reshape(v, [-1, *v.shape[2:]]) for name, v in rows.items()}
            return layer.views_of_batch(images, flat)

        return {
            "query": made(self.query_view, draws["query"])[:, 0],
            "keys": made(self.key_view, draws["keys"]),
        }

    def views_of_one(self, image, draws):
        """Makes the views of a single image of any size.

        Args:
            image: (H, W, C), uint8 or float in [0, 255], C is 1 or 3.
            draws: random numbers of this image: the result of `draw`, each tensor reduced to one row.

        Returns:
            `{"query": (S, S, 3), "keys": (V, S, S, 3)}`. The pixels are those that `call` makes of a batch
            with this image, except at the borders of crops that are enlarged.
        """
        return {
            "query": self.query_view.views_of_one(image, draws["query"])[0],
            "keys": self.key_view.views_of_one(image, draws["keys"]),
        }

    def boxes_of_one(self, image, draws):
        """Computes where the views of a single image lie in it.

        Args:
            image: (H, W, C).
            draws: random numbers of this image, as in `views_of_one`.

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
        """Prepares images for evaluation: they are resized and normalised, and nothing is random.

        Args:
            images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.

        Returns:
            (B, image_size, image_size, 3) float32 TensorFlow tensor.
        """
        return Preprocessing.of(self).preprocess(images)

    def compute_output_shape(self, input_shape, *args, **kwargs):
        batch_size = input_shape[0]
        size = self.image_size
        return {
            "query": (batch_size, size, size, self.channels),
            "keys": (batch_size, self.num_key_views, size, size, self.channels),
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
        image_size: side of the square views in pixels; 224 by default.
        crop_scale: two numbers, the range of the crops' area as a share of the image, with
            0 < low <= high <= 1; (0.2, 1.0) by default.
        num_crops: V, number of crops (key views) of an image; 2 by default.
        original_photometrics: whether colour jitter, greyscale and blur apply to the original too; true by
            default.
        antialias_original: whether the original is reduced with an antialiasing filter, as it should be
            where it is much larger than `image_size`; false by default. `benchmarks/views.py` prints what it
            costs.
        antialias_crops: whether crops that are larger than `image_size` are reduced with an antialiasing
            filter; false by default. The host then makes each crop by itself, see `benchmarks/views.py`.
        **photometrics: settings of all views, MoCo v2's by default, see `settings.ViewSettings`:
            `color_jitter`, `jitter_probability`, `grayscale_probability`, `blur_sigma`, `blur_probability`,
            `flip_probability`, `mean`, `std`, `crop_ratio`, `jit_compile`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
        seed: integer tensor (2,). The views are a pure function of `(images, seed)`.

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
        image_size: int = ViewSettings.image_size,
        crop_scale: Sequence[float] = ViewSettings.crop_scale,
        num_crops: int = 2,
        original_photometrics: bool = True,
        antialias_original: bool = False,
        antialias_crops: bool = False,
        **photometrics: Any,
    ):
        arguments = {
            "image_size": image_size,
            "crop_scale": crop_scale,
            "num_crops": num_crops,
            "original_photometrics": original_photometrics,
            "antialias_original": antialias_original,
            "antialias_crops": antialias_crops,
        }
        super().__init__(settings.leoclr, arguments, photometrics)


@keras.saving.register_keras_serializable("keras_leoclr")
class CropToOriginalViews(_Views):
    """LeOCLR's pair with exchanged parts: a random crop as query, the original as its key.

    No paper describes this method. The two views still share content, since the crop lies within the
    original. The difference lies in what each encoder sees. Only the query encoder gets gradients, and here
    it sees crops. LeOCLR's query encoder never sees a crop, and its key encoder, which does, is only a
    moving average of a query encoder that was trained on originals. A step costs what a step of MoCo v2
    costs; `RESULTS.md` compares the three methods.

    Args:
        image_size: side of the square views in pixels; 224 by default.
        crop_scale: two numbers, the range of the crop's area as a share of the image, with
            0 < low <= high <= 1; (0.2, 1.0) by default.
        original_photometrics: see `LeOCLRViews`.
        antialias_original: see `LeOCLRViews`.
        antialias_crops: see `LeOCLRViews`.
        **photometrics: options of `RandomView`, see `LeOCLRViews`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
        seed: integer tensor (2,). The views are a pure function of `(images, seed)`.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, 1, S, S, 3)}`, float32, with S = `image_size`.
    """

    def __init__(
        self,
        image_size: int = ViewSettings.image_size,
        crop_scale: Sequence[float] = ViewSettings.crop_scale,
        original_photometrics: bool = True,
        antialias_original: bool = False,
        antialias_crops: bool = False,
        **photometrics: Any,
    ):
        arguments = {
            "image_size": image_size,
            "crop_scale": crop_scale,
            "original_photometrics": original_photometrics,
            "antialias_original": antialias_original,
            "antialias_crops": antialias_crops,
        }
        super().__init__(settings.crop_to_original, arguments, photometrics)


@keras.saving.register_keras_serializable("keras_leoclr")
class MoCoV2Views(_Views):
    """MoCo v2's views (arXiv 2003.04297): one random crop as query, another as key.

    Args:
        image_size: side of the square views in pixels; 224 by default.
        crop_scale: two numbers, the range of the crops' area as a share of the image, with
            0 < low <= high <= 1; (0.2, 1.0) by default.
        antialias_crops: see `LeOCLRViews`.
        **photometrics: options of `RandomView`, see `LeOCLRViews`.

    Call arguments:
        images: (B, H, W, C), uint8 or float in [0, 255], C is 1 or 3.
        seed: integer tensor (2,). The views are a pure function of `(images, seed)`.

    Returns:
        `{"query": (B, S, S, 3), "keys": (B, 1, S, S, 3)}`, float32, with S = `image_size`.
    """

    def __init__(
        self,
        image_size: int = ViewSettings.image_size,
        crop_scale: Sequence[float] = ViewSettings.crop_scale,
        antialias_crops: bool = False,
        **photometrics: Any,
    ):
        arguments = {"image_size": image_size, "crop_scale": crop_scale, "antialias_crops": antialias_crops}
        super().__init__(settings.moco_v2, arguments, photometrics)
