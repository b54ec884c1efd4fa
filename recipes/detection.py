r"""Object detection: RetinaNet (keras-cv) on a pretrained backbone, judged by COCO's AP.

    leoclr detect --backbone runs/mine --dataset tfds:voc/2007 --train_split train+validation \
        --test_split test --workdir runs/detection
    leoclr detect --backbone random --architecture runs/mine --dataset DIR --workdir runs/detection_random

Claim: a backbone that was pretrained without labels detects better than new weights after the same steps.
Cost: minutes on two CPU cores with the small data set of docs/downstream.md.
Expected: docs/downstream.md has what was measured; Pascal VOC was not.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.evaluation.dense import Objects, average_precision
from keras_leoclr.recipes import main_of
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.training import downstream_runs
from keras_leoclr.training.downstream import Downstream, resize, silent, starting_pyramid, training_batches
from keras_leoclr.training.downstream_runs import Task
from keras_leoclr.training.fields import setting

BOXES = 9  # number of anchors per position: three sizes times three shapes
DETECTIONS = "detections.json"  # file of a list, see `_as_json`
LEVELS = 5  # number of feature maps for prediction: three of the backbone and two computed from them


@dataclasses.dataclass(frozen=True)
class Detection(Downstream):
    """The settings of a detector; learning rate and losses are those of RetinaNet (arXiv 1708.02002)."""

    image_size: int = setting(
        512, "height and width that pictures are resized to, in pixels", group="data", low=1
    )
    first_level: int = setting(3, "finest map that is predicted on: n of stride 2**n", group="model")
    max_objects: int = setting(
        100, "largest number of objects of a picture that are trained on", group="data", low=1
    )


RECIPE = Detection()


def detector(recipe: Detection, classes: int) -> Any:
    """Makes keras-cv's RetinaNet on the recipe's backbone.

    Feature pyramid and heads are those of keras-cv (arXiv 1708.02002), except for their width, which is 256
    there. The model takes raw images; it was trained and used for prediction on all three backends.
    """
    from keras_cv.layers import AnchorGenerator
    from keras_cv.models import RetinaNet

    levels = tuple(range(recipe.first_level, recipe.first_level + 3))
    base = starting_pyramid(recipe, levels, ("P3", "P4", "P5"))
    strides = [2 ** (recipe.first_level + n) for n in range(LEVELS)]
    rare = -float(np.log((1 - 0.01) / 0.01))  # The initial probability of an object is 0.01.
    with silent():
        return RetinaNet(
            base,
            num_classes=classes,
            bounding_box_format="xyxy",
            anchor_generator=AnchorGenerator(
                bounding_box_format="xyxy",
                sizes=[4.0 * stride for stride in strides],
                scales=[2**x for x in (0, 1 / 3, 2 / 3)],
                aspect_ratios=[0.5, 1.0, 2.0],
                strides=strides,
                clip_boxes=True,
            ),
            feature_pyramid=_feature_pyramid(base.output, recipe.width),
            classification_head=_head(recipe.width, BOXES * classes, rare, "classification_head"),
            box_head=_head(recipe.width, BOXES * 4, 0.0, "box_head"),
            prediction_decoder=_PerClass(),
        )


def batches(train: Any, recipe: Detection, first: int = 0) -> tf.data.Dataset:
    """Makes batches: images (B, S, S, 3) and {"boxes": (B, M, 4), "classes": (B, M)}; see `training_batches`.

    Boxes are left, top, right and bottom in pixels of the resized image, padded with -1. Difficult objects
    are left out, and so are those beyond `max_objects`.
    """
    size, most = recipe.image_size, recipe.max_objects

    def prepare(element, flip):
        keep = tf.logical_not(element["difficult"])
        boxes = tf.boolean_mask(element["boxes"], keep)[:most]
        classes = tf.cast(tf.boolean_mask(element["classes"], keep), tf.float32)[:most]
        image = resize(element["image"], size)
        image = tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
        top, left, bottom, right = tf.unstack(boxes, axis=1)
        left, right = tf.where(flip, 1 - right, left), tf.where(flip, 1 - left, right)
        boxes = size * tf.stack([left, top, right, bottom], axis=1)
        fill = [[0, most - tf.shape(classes)[0]]]
        boxes = tf.pad(boxes, [*fill, [0, 0]], constant_values=-1.0)
        classes = tf.pad(classes, fill, constant_values=-1.0)
        return image, {
            "boxes": tf.ensure_shape(boxes, (most, 4)),
            "classes": tf.ensure_shape(classes, (most,)),
        }

    return training_batches(train, recipe, prepare, first)


def judge(model: Any, test: Any, recipe: Detection, folder: pathlib.Path) -> dict[str, float]:
    """Returns COCO's scores on the test pictures, in [0, 1], and writes the detected objects to a file."""
    truth, found = zip(*detections(model, test, recipe), strict=True)
    (folder / DETECTIONS).write_text(json.dumps(_as_json(found, test.class_names)) + "\n", encoding="utf-8")
    return average_precision(truth, found, test.class_names)


def detections(model: Any, test: Any, recipe: Detection) -> Iterator[tuple[Objects, Objects]]:
    """Yields the true and the detected objects of each test picture, in pixels of the original picture."""
    size = recipe.image_size
    network = keras.Model(model.input, model.output)  # RetinaNet's own `predict` does not run on torch.

    @tf.autograph.experimental.do_not_convert
    def prepare(element):
        sides = tf.cast(tf.shape(element["image"])[:2], tf.float32)
        image = resize(element["image"], size)
        return image, (element["boxes"], element["classes"], element["difficult"], sides)

    dataset = test.elements(None).map(prepare, num_parallel_calls=2, deterministic=True)
    held: list[tuple] = []
    for element in dataset.as_numpy_iterator():
        held.append(element)
        if len(held) == recipe.batch_size:
            yield from _detected(model, network, held, size)
            held = []
    if held:
        yield from _detected(model, network, held, size)


def _detected(model, network, held, size):
    images = np.stack([image for image, _ in held])
    with silent():
        raw = network.predict_on_batch(images)
    raw = {name: keras.ops.convert_to_tensor(values) for name, values in raw.items()}
    found = model.decode_predictions(raw, images)
    found = {name: keras.ops.convert_to_numpy(values) for name, values in found.items()}
    for row, (_, (boxes, classes, difficult, sides)) in enumerate(held):
        scale = np.concatenate([sides, sides])
        count = int(found["num_detections"][row])
        left, top, right, bottom = found["boxes"][row, :count].T / size
        shares = np.clip(np.stack([top, left, bottom, right], axis=1), 0, 1)
        yield (
            Objects(boxes * scale, classes, difficult=difficult),
            Objects(
                shares * scale, found["classes"][row, :count].astype(int), found["confidence"][row, :count]
            ),
        )


class _PerClass:
    """Non-maximum suppression by TensorFlow under every backend.

    keras-cv's own layers suppress across classes, or run under TensorFlow alone, or need torchvision.
    """

    bounding_box_format = "yxyx"

    def __call__(self, boxes, logits, image_shape=None):
        boxes = keras.ops.convert_to_numpy(boxes)
        scores = 1 / (1 + np.exp(-keras.ops.convert_to_numpy(logits).astype("float32")))
        kept = tf.image.combined_non_max_suppression(
            boxes[:, :, None], scores, 100, 100, iou_threshold=0.5, score_threshold=0.01, clip_boxes=False
        )
        names = ("boxes", "confidence", "classes", "num_detections")
        return {name: keras.ops.convert_to_tensor(v.numpy()) for name, v in zip(names, kept, strict=True)}


def _feature_pyramid(maps: dict[str, Any], width: int) -> keras.Model:
    """Makes five maps of one width from three: a top-down pyramid, and two more by strided convolutions."""
    inputs = {name: keras.Input(tensor.shape[1:], name=name) for name, tensor in _plain(maps).items()}
    lateral = {n: keras.layers.Conv2D(width, 1, name=f"lateral_{n}")(x) for n, x in inputs.items()}
    p5 = lateral["P5"]
    p4 = keras.layers.Add()([lateral["P4"], keras.layers.UpSampling2D(2)(p5)])
    p3 = keras.layers.Add()([lateral["P3"], keras.layers.UpSampling2D(2)(p4)])
    smooth = [
        keras.layers.Conv2D(width, 3, padding="same", name=f"smooth_P{n}")(x)
        for n, x in ((3, p3), (4, p4), (5, p5))
    ]
    p6 = keras.layers.Conv2D(width, 3, 2, "same", name="P6")(inputs["P5"])
    p7 = keras.layers.Conv2D(width, 3, 2, "same", name="P7")(keras.layers.ReLU()(p6))
    return keras.Model(inputs, [*smooth, p6, p7], name="feature_pyramid")


def _plain(maps: dict[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("level_"): tensor for name, tensor in maps.items()}


def _head(width: int, outputs: int, bias: float, name: str) -> keras.Model:
    hidden = [
        keras.layers.Conv2D(width, 3, padding="same", activation="relu", kernel_initializer="he_normal")
        for _ in range(3)
    ]
    last = keras.layers.Conv2D(
        outputs,
        3,
        padding="same",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(bias),
    )
    return keras.Sequential([keras.Input((None, None, width)), *hidden, last], name=name)


def _as_json(found: Sequence[Objects], class_names: tuple[str, ...]) -> list[dict]:
    """The detected objects as `run` describes them."""
    return [
        {
            "image": picture,
            "class": class_names[number],
            "score": round(float(score), 4),
            "box": [round(float(side), 1) for side in box],
        }
        for picture, objects in enumerate(found)
        for box, number, score in zip(objects.boxes, objects.classes, objects.scores, strict=True)
    ]


TASK = Task(
    name="detection",
    annotations="boxes",
    model=detector,
    losses={"box_loss": "smoothl1", "classification_loss": "focal"},
    batches=batches,
    judge=judge,
    model_file="detector.keras",
    files=(DETECTIONS,),
)


def run(recipe: Detection, workdir: str | os.PathLike, overwrite: bool = False, verbose: int = 1) -> dict:
    """Trains a detector and evaluates it, in a folder that gets `detector.keras` (stock Keras layers) and
    `detections.json`, a list of {"image", "class", "score", "box"}; see `downstream_runs.run`.

    `image` is the number of the picture in the test split, from 0, `class` a name, `score` in [0, 1], and
    `box` the top, left, bottom and right side in pixels of the picture.

    Returns:
        `{"AP", "AP50", "AP75", "AP NAME", ...}` on the test pictures, in [0, 1].
    """
    return downstream_runs.run(TASK, recipe, workdir, overwrite, verbose)


main_of(__name__, "detect")
