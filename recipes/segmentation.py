"""Semantic segmentation: DeepLab v3+ (keras-cv) on a pretrained backbone, judged by mIoU.

    leoclr segment --backbone runs/mine --dataset VOCdevkit/VOC2012 --workdir runs/segmentation
    leoclr segment --backbone random --architecture runs/mine --dataset DIR --workdir runs/segmentation_random

Claim: a backbone that was pretrained without labels segments better than new weights after the same steps.
Cost: minutes on two CPU cores with the small data set of docs/downstream.md.
Expected: docs/downstream.md has what was measured; Pascal VOC was not.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_leoclr.data.readers.voc_annotations import VOID
from keras_leoclr.evaluation.dense import MeanIoU
from keras_leoclr.recipes import main_of
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.training import downstream_runs
from keras_leoclr.training.downstream import Downstream, resize, starting_pyramid, training_batches
from keras_leoclr.training.downstream_runs import Task
from keras_leoclr.training.fields import setting


@dataclasses.dataclass(frozen=True)
class Segmentation(Downstream):
    """The settings of a segmentation model, DeepLab v3+ (arXiv 1802.02611) with keras-cv's dilation rates."""

    image_size: int = setting(
        512, "height and width that pictures are resized to, in pixels", group="data", low=1
    )
    steps: int = setting(20000, "number of batches that are trained on", group="training", low=1)
    first_level: int = setting(
        2, "fine map, n of stride 2**n; the coarse one has 8 times its stride", group="model"
    )
    dilation_rates: tuple[int, ...] = setting(
        (6, 12, 18),
        "dilation rates of the spatial pyramid pooling, in pixels of the coarse map",
        group="model",
        low=1,
    )


RECIPE = Segmentation()


def segmenter(recipe: Segmentation, classes: int) -> keras.Model:
    """Makes keras-cv's DeepLabV3Plus on the recipe's backbone: raw images (B, S, S, 3) to (B, S, S, classes).

    keras-cv uses the maps of stride 4 and 32 without dilation, whereas the paper's encoder ends at stride 16.
    Here the maps are those of `first_level` and of 8 times its stride.
    """
    from keras_cv.layers import SpatialPyramidPooling
    from keras_cv.models import DeepLabV3Plus

    fine = recipe.first_level
    base = starting_pyramid(recipe, (fine, fine + 3), ("P2", "P5"))
    width = recipe.width
    head = keras.Sequential(
        [
            keras.layers.Conv2D(width, 1, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(classes, 1),
            keras.layers.UpSampling2D(2**fine, interpolation="bilinear"),
            keras.layers.Softmax(dtype="float32"),
        ],
        name="segmentation_head",
    )
    model = DeepLabV3Plus(
        base,
        num_classes=classes,
        projection_filters=max(1, 48 * width // 256),
        spatial_pyramid_pooling=SpatialPyramidPooling(list(recipe.dilation_rates), num_channels=width),
        segmentation_head=head,
    )
    return keras.Model(model.inputs[0], model.outputs[0], name="segmenter")


def pixel_loss(masks: Any, classes: Any) -> Any:
    """Cross-entropy, averaged over the pixels of a batch that are not void.

    The pixels are a flat list, because Keras' loss of maps fails on torch 2.13 ("grad_input must be
    contiguous").

    Args:
        masks: (B, H, W) class numbers; `VOID` marks pixels without a class.
        classes: (B, H, W, C) probabilities.
    """
    masks = ops.cast(ops.reshape(masks, (-1,)), "int32")
    judged = masks != VOID
    losses = ops.sparse_categorical_crossentropy(
        ops.where(judged, masks, 0), ops.reshape(classes, (-1, classes.shape[-1]))
    )
    judged = ops.cast(judged, losses.dtype)
    return ops.sum(losses * judged) / ops.maximum(ops.sum(judged), 1)


def batches(train: Any, recipe: Segmentation, first: int = 0) -> tf.data.Dataset:
    """Makes batches of images (B, S, S, 3) and masks (B, S, S) uint8; see `training_batches`."""

    def prepare(element, flip):
        image, mask = _sized(element, recipe.image_size)
        return tf.cond(flip, lambda: (tf.reverse(image, [1]), tf.reverse(mask, [1])), lambda: (image, mask))

    return training_batches(train, recipe, prepare, first)


def judge(model: keras.Model, test: Any, recipe: Segmentation, folder: pathlib.Path) -> dict[str, float]:
    """Scores on the test pictures; classes are predicted at the resized size and enlarged by repetition."""
    score = MeanIoU(test.class_names, VOID)
    size = recipe.image_size

    @tf.autograph.experimental.do_not_convert
    def prepare(element):
        return resize(element["image"], size), element["mask"]

    for image, mask in test.elements(None).map(prepare, num_parallel_calls=2).as_numpy_iterator():
        predicted = np.asarray(model.predict_on_batch(image[None])[0].argmax(-1))
        score.add(mask, enlarged(predicted, mask.shape))
    return score.result()


def enlarged(classes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Class numbers (S, S) at another size (H, W): each pixel has the class of what lies at its centre.

    The masks of the training are reduced by the same rule. Corners instead of centres would move all objects
    by half a pixel.
    """
    size = len(classes)
    rows, columns = ((2 * np.arange(side) + 1) * size // (2 * side) for side in shape)
    return classes[rows][:, columns]


def _sized(element: dict, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    mask = tf.image.resize(element["mask"][..., None], (size, size), "nearest")[..., 0]
    return resize(element["image"], size), tf.ensure_shape(mask, (size, size))


TASK = Task(
    name="segmentation",
    annotations="masks",
    model=segmenter,
    losses={"loss": pixel_loss},
    batches=batches,
    judge=judge,
    model_file="segmenter.keras",
)


def run(recipe: Segmentation, workdir: str | os.PathLike, overwrite: bool = False, verbose: int = 1) -> dict:
    """Trains and evaluates a segmentation model, in a folder with `segmenter.keras`; see
    `downstream_runs.run`.

    Returns:
        `{"mIoU", "pixel accuracy", "IoU NAME", ...}` on the test pictures at their own size, in [0, 1].
    """
    return downstream_runs.run(TASK, recipe, workdir, overwrite, verbose)


main_of(__name__, "segment")
