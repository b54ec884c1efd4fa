"""What detection and segmentation share: settings, the start, the steps of training, the results."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import checkpoints
from keras_leoclr.backbones.starting import NETWORKS, starting_backbone
from keras_leoclr.recipes.recipe import setting
from keras_leoclr.results import Results

# what the recipes leave in their folder; nothing else is ever overwritten
WRITTEN = {"results.jsonl", "recipe.json", "detector.keras", "detections.json", "segmenter.keras"}


@dataclasses.dataclass(frozen=True)
class Downstream:
    """The settings of a training on pictures with boxes or masks."""

    backbone: str = setting(
        "random", "what to start from: a .keras file, the folder of a run, torch weights, random"
    )
    architecture: str = setting(
        "resnet18",
        f"with --backbone random: {', '.join(NETWORKS)}, or a file or run whose weights are drawn anew",
    )
    dataset: str = setting("", "a folder in VOC's format, or tfds:NAME")
    data_dir: str | None = setting(None, "where TensorFlow Datasets keeps its files")
    train_split: str = setting("train", "split to train on")
    test_split: str = setting("val", "split to judge on")
    class_names: str = setting("", "names of the classes, comma-separated; by default those of the data")

    image_size: int = setting(256, "side that pictures are resized to, pixels")
    width: int = setting(256, "channels of the layers behind the backbone")
    freeze: bool = setting(False, "train what lies behind the backbone alone")

    steps: int = setting(10000, "batches to train on")
    batch_size: int = setting(16, "pictures per step")
    learning_rate: float = setting(0.01, "after warm-up; it falls to 0 along a cosine")
    warmup_steps: int = setting(500, "steps of linear warm-up")
    weight_decay: float = setting(1e-4, "coupled weight decay")
    flip_probability: float = setting(0.5, "share of mirrored pictures")
    seed: int = setting(0, "of new weights, order and mirrored pictures")

    def __post_init__(self):
        for name in ("image_size", "width", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be >= 1. Received: {name}={getattr(self, name)}")
        if not 0 <= self.warmup_steps < self.steps:
            raise ValueError(
                "`warmup_steps` must lie in [0, steps). "
                f"Received: warmup_steps={self.warmup_steps}, steps={self.steps}"
            )
        if self.learning_rate <= 0 or not 0 <= self.flip_probability <= 1:
            raise ValueError(
                "`learning_rate` must be > 0 and `flip_probability` in [0, 1]. Received: "
                f"learning_rate={self.learning_rate}, flip_probability={self.flip_probability}"
            )

    @property
    def known_classes(self) -> tuple[str, ...]:
        """`class_names` as a tuple."""
        return tuple(name.strip() for name in self.class_names.split(",") if name.strip())


def load_splits(recipe: Downstream, kind: str) -> tuple[Any, Any]:
    """Training and test pictures; the test set may hold the classes of the training set alone."""
    from keras_leoclr.data.voc import load_annotated

    if not recipe.dataset:
        raise ValueError("`dataset` must name a folder in VOC's format or tfds:NAME. Received: dataset=''")
    train = load_annotated(recipe.dataset, recipe.train_split, kind, recipe.known_classes, recipe.data_dir)
    test = load_annotated(recipe.dataset, recipe.test_split, kind, train.class_names, recipe.data_dir)
    return train, test


def starting_pyramid(recipe: Downstream, wanted: tuple[int, ...], names: tuple[str, ...]) -> keras.Model:
    """The pyramid of the recipe's backbone with the levels that a model of keras-cv asks for.

    Levels above the backbone's last are made of it by max-pooling: they have no weights, so that a start from
    pretrained weights and one from new weights differ in the backbone alone.

    Args:
        recipe: the settings.
        wanted: levels, ascending; level n has stride 2**n.
        names: what keras-cv calls them.
    """
    size = recipe.image_size
    whole = kl.backbones.pyramid(starting_backbone(recipe.backbone, recipe.architecture), (size, size, 3))
    whole.trainable = not recipe.freeze
    levels = {int(name[1:]): tensor for name, tensor in whole.output.items()}
    top = max(levels)
    for level in range(top + 1, max(wanted) + 1):
        levels[level] = keras.layers.MaxPooling2D(1, 2, name=f"pooled_P{level}")(levels[level - 1])
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
    """SGD with momentum, warm-up and cosine; gradients are clipped, since heads begin with large ones."""
    warm = recipe.warmup_steps
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm else recipe.learning_rate,
        recipe.steps - warm,
        warmup_target=recipe.learning_rate if warm else None,
        warmup_steps=warm,
    )
    return kl.optimizers.SGD(schedule, momentum=0.9, weight_decay=recipe.weight_decay, global_clipnorm=10.0)


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """(H, W, 3) to (size, size, 3) float32 in [0, 255]; the sides are scaled independently."""
    return tf.ensure_shape(tf.image.resize(image, (size, size), antialias=True), (size, size, 3))


def run_in(
    name: str,
    recipe: Downstream,
    workdir: str | os.PathLike,
    overwrite: bool,
    work: Callable[[pathlib.Path], dict],
) -> dict[str, float]:
    """Does the work in a folder, writes settings and results there, and prints the results.

    Args:
        name: of the task.
        recipe: the settings.
        workdir: the folder; made when the work has begun to give results.
        overwrite: whether an earlier result may be replaced.
        work: called with a folder to write to; returns scores by name.

    Returns:
        What `work` returned.

    Raises:
        ValueError: if there are results already.
    """
    workdir = pathlib.Path(workdir)
    there = {path.name for path in workdir.iterdir()} if workdir.exists() else set()
    others = there - WRITTEN
    if others or (there and not overwrite):
        what = f"with {sorted(others)[0]}, which `overwrite` does not delete" if others else "with results"
        raise ValueError(
            "`workdir` must be a new folder, or one with results of this command and `overwrite` be given. "
            f"Received: workdir={workdir}, {what}"
        )
    partial = workdir.with_name(workdir.name + checkpoints.PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        started = time.monotonic()
        scores = work(partial)
        seconds = time.monotonic() - started
        settings = dataclasses.asdict(recipe)
        protocol = {
            key: settings[key]
            for key in ("backbone", "dataset", "train_split", "test_split", "steps", "seed")
        }
        protocol |= {"backend": keras.backend.backend(), "seconds": round(seconds, 1)}
        for score, value in scores.items():
            Results(partial / "results.jsonl").write(f"{name}/{score}", value, **protocol)
        (partial / "recipe.json").write_text(json.dumps(settings, indent=2) + "\n")
        shutil.rmtree(workdir, ignore_errors=True)
        os.replace(partial, workdir)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return scores
