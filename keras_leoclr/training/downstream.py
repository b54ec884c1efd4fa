"""The parts that detection and segmentation share: settings, backbone, optimizer and batches.

Both train on square pictures that are mirrored at random and otherwise unchanged.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

import keras_leoclr as kl
from keras_leoclr.backbones.builders import CNNS
from keras_leoclr.backbones.names import LAST
from keras_leoclr.backbones.starting import RANDOM, starting_backbone
from keras_leoclr.data.split_overlap import overlap
from keras_leoclr.evaluation.features import checksum
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.training import fields
from keras_leoclr.training.fields import MOST_SEED, setting

# How many classes a split needs at least, and the rule in words. Without them a training teaches nothing, or
# scores cannot be computed, which would be found after the last step.
OBJECTS = (1, "have objects that are not difficult")
NEEDED = {
    ("boxes", "train_split"): OBJECTS,
    ("boxes", "test_split"): OBJECTS,
    ("masks", "train_split"): (2, "have pixels of two classes; 255 marks pixels without a class"),
    ("masks", "test_split"): (1, "have pixels of a class; 255 marks pixels without a class"),
}


@dataclasses.dataclass(frozen=True)
class Downstream:
    """The settings of training on pictures with boxes or masks."""

    # === Model ===
    backbone: str = setting(
        "random",
        "backbone that the training begins with: a .keras file, the folder of a run, torch weights, or "
        "random",
        group="model",
    )
    architecture: str = setting(
        "resnet18",
        f"with --backbone random: {', '.join(CNNS)}, or a file or run whose weights are drawn anew",
        group="model",
    )

    # === Data ===
    dataset: str = setting("", "data set: a folder in the format of Pascal VOC, or tfds:NAME", group="data")
    data_dir: str | None = setting(None, "folder in which TensorFlow Datasets keeps its files", group="data")
    train_split: str = setting("train", "split to train on", group="data")
    test_split: str = setting("val", "split to judge on", group="data")
    class_names: str = setting(
        "", "names of the classes of a folder, comma-separated; by default those of the data", group="data"
    )
    image_size: int = setting(
        256, "height and width that pictures are resized to, in pixels", group="data", low=1
    )

    width: int = setting(256, "number of channels of the layers behind the backbone", group="model", low=1)
    freeze: bool = setting(
        False, "keep the backbone as it is and train the layers behind it alone", group="model"
    )

    # === Training ===
    steps: int = setting(10000, "number of batches that are trained on", group="training", low=1)
    batch_size: int = setting(16, "number of pictures per step", group="training", low=1)
    learning_rate: float = setting(
        0.01, "learning rate after the warm-up; it falls to 0 along a cosine", group="training", above=0
    )
    warmup_steps: int = setting(
        500, "number of steps in which the learning rate rises from 0", group="training", low=0
    )
    weight_decay: float = setting(1e-4, "weight decay, as a part of the gradient", group="training", low=0)
    flip_probability: float = setting(
        0.5, "probability that a picture is mirrored", group="training", low=0, high=1
    )
    seed: int = setting(
        0,
        "seed of new weights, of the order and of mirrored pictures",
        group="training",
        low=0,
        high=MOST_SEED,
    )

    def __post_init__(self):
        fields.check(self)
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                "`warmup_steps` must lie in [0, steps). "
                f"Received: warmup_steps={self.warmup_steps}, steps={self.steps}"
            )

    @property
    def known_classes(self) -> tuple[str, ...]:
        """The field `class_names` as a tuple."""
        return tuple(name.strip() for name in self.class_names.split(",") if name.strip())


def load_splits(recipe: Downstream, kind: str) -> tuple[Any, Any]:
    """Loads the training and test pictures; the test set may only have classes of the training set.

    It warns if pictures are known to be in both.

    Raises:
        ValueError: if there is nothing to train on or to judge; or another one of `load_annotated`.
    """
    from keras_leoclr.data.readers.voc import load_annotated

    if not recipe.dataset:
        raise ValueError("`dataset` must name a folder in VOC's format or tfds:NAME. Received: dataset=''")
    train = load_annotated(recipe.dataset, recipe.train_split, kind, recipe.known_classes, recipe.data_dir)
    test = load_annotated(recipe.dataset, recipe.test_split, kind, train.class_names, recipe.data_dir)
    for name, split in (("train_split", train), ("test_split", test)):
        least, rule = NEEDED[kind, name]
        if split.present is not None and len(split.present) < least:
            classes = ", ".join(split.class_names[number] for number in split.present) or "none"
            given = f"{name}={getattr(recipe, name)!r}, with {classes}"
            raise ValueError(f"`{name}` must {rule}. Received: {given}")
    if overlap(recipe.train_split, recipe.test_split):
        warnings.warn(
            f"The test pictures ({recipe.test_split}) are among those that are trained on "
            f"({recipe.train_split}): new pictures may be judged less well.",
            stacklevel=2,
        )
    return train, test


def contents(recipe: Downstream, train: Any) -> dict[str, str]:
    """What the weights of a training depend on besides its settings: the contents of files that these name.

    The test pictures are not among them: those are judged that are there after the training.

    Args:
        recipe: the settings.
        train: the training pictures, see `load_splits`.

    Returns:
        Checksums by the name of the setting.
    """
    found = {"dataset": train.content}
    if recipe.backbone != RANDOM:
        found["backbone"] = checksum(starting_backbone(recipe.backbone))
    elif recipe.architecture not in CNNS and os.path.exists(recipe.architecture):
        found["architecture"] = checksum(starting_backbone(recipe.architecture), weights=False)
    return found


def starting_pyramid(recipe: Downstream, wanted: tuple[int, ...], names: tuple[str, ...]) -> keras.Model:
    """The feature pyramid of the recipe's backbone, with the levels that a model of keras-cv needs.

    Levels above the last level of the backbone are max-pooled from it. They have no weights, so that training
    from pretrained weights and training from new weights differ only in the backbone.

    Args:
        recipe: the settings.
        wanted: the levels, ascending; level n has stride 2**n.
        names: names of the levels in keras-cv.
    """
    if keras.config.image_data_format() != LAST:
        raise ValueError(
            '`image_data_format` of keras.json must be "channels_last" for detection and segmentation: '
            f"layers of keras-cv follow it. Received: image_data_format={keras.config.image_data_format()!r}"
        )
    size = recipe.image_size
    whole = kl.backbones.pyramid(starting_backbone(recipe.backbone, recipe.architecture), (size, size, 3))
    whole.trainable = not recipe.freeze
    levels = {int(name[1:]): tensor for name, tensor in whole.output.items()}
    top = max(levels)
    for level in range(top + 1, max(wanted) + 1):
        levels[level] = keras.layers.MaxPooling2D(1, 2, data_format=LAST, name=f"pooled_P{level}")(
            levels[level - 1]
        )
    missing = [f"P{level}" for level in wanted if level not in levels]
    fits = all(levels[n].shape[1] * 2**n == size for n in wanted if n in levels)
    if missing or not fits:
        sizes = ", ".join(f"P{n} {tensor.shape[1]} x {tensor.shape[2]}" for n, tensor in levels.items())
        raise ValueError(
            f"`image_size` must be a multiple of {2 ** max(wanted)} and `backbone` must have maps of the "
            f"strides {', '.join(str(2**n) for n in wanted)}; --first_level chooses others. "
            f"Received: image_size={size} and {sizes}"
        )
    outputs = {
        name: keras.layers.Identity(name=name)(levels[level])
        for name, level in zip((f"level_{name}" for name in names), wanted, strict=True)
    }
    model = keras.Model(whole.inputs[0], outputs)
    model.pyramid_level_inputs = {name: f"level_{name}" for name in names}
    return model


def optimizer(recipe: Downstream) -> keras.optimizers.Optimizer:
    """SGD with momentum, warm-up and cosine decay; gradients are clipped, since new heads have large ones."""
    warm = recipe.warmup_steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm else recipe.learning_rate,
        recipe.steps - warm,
        warmup_target=recipe.learning_rate if warm else None,
        warmup_steps=warm,
    )
    return kl.optimizers.SGD(schedule, momentum=0.9, weight_decay=recipe.weight_decay, global_clipnorm=10.0)


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes (H, W, 3) to (size, size, 3) float32 in [0, 255]; the sides are scaled independently."""
    return tf.ensure_shape(tf.image.resize(image, (size, size), antialias=True), (size, size, 3))


def training_batches(
    train: Any, recipe: Downstream, prepare: Callable[[dict, tf.Tensor], Any], first: int = 0
) -> tf.data.Dataset:
    """An endless data set of training batches, determined by the seed.

    Args:
        train: the training pictures, see `load_splits`.
        recipe: the settings.
        prepare: function `(element, flip)` of a picture; `flip` is a bool tensor () that says whether it is
            mirrored.
        first: number of batches that are skipped at the beginning; 0 by default.
    """

    @tf.autograph.experimental.do_not_convert
    def numbered(number, element):
        draw = tf.random.stateless_uniform([], tf.stack([tf.constant(recipe.seed, tf.int64), number]))
        return prepare(element, draw < recipe.flip_probability)

    start = first * recipe.batch_size
    elements = train.elements(recipe.seed, start).enumerate(start)
    made = elements.map(numbered, num_parallel_calls=2, deterministic=True)
    return made.batch(recipe.batch_size, drop_remainder=True).prefetch(2)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Silences a warning of Keras at each step: keras-cv passes a tensor where the input is a dictionary."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The structure of `inputs`", UserWarning)
        yield
