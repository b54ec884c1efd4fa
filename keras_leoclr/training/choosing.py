"""Chooses settings by the number and size of the pictures, and by whether there is a GPU.

This module loads without TensorFlow, which reading pictures needs, because a recipe that chooses settings is
also imported to list its settings.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_leoclr import distribution, wording
from keras_leoclr.data.multi_hot import counts
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.splits import SET_ASIDE
from keras_leoclr.runs.folder import IN_PYTHON
from keras_leoclr.training.recipe import Recipe, knn_sizes
from keras_leoclr.training.sources import open_split

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

CHOSEN = (
    *("method", "image_size", "backbone", "stem", "batch_size", "epochs", "queue_size", "momentum"),
    *("knn_every", "knn_bank", "knn_queries", "evaluate", "test_split"),
)
LEAST = 16  # smallest number of pictures: two steps of the smallest batch
SEEN = {False: 1_000_000, True: 20_000_000}  # pictures in all epochs together, without and with a GPU
# Multiply-adds of a network for one picture, divided by those of resnet18 with the stem for ImageNet.
COST = {"resnet_small": 0.115, "resnet18": 1, "resnet34": 2, "resnet50": 2.25, "resnet101": 4.3}
COST |= {"vit_tiny": 0.7, "vit_small": 2.5, "vit_base": 9.7}
# The same with the stem for small pictures; about 15 for other networks. That of resnet_small was measured,
# 1,058 pictures a second at 32 pixels (benchmarks/NOTES.md); by its multiply-adds it would be 12.
SMALL_STEM = {"resnet_small": 4.3}
TWO_CORES = 58  # pictures per second of resnet18 at 96 pixels on two CPU cores (benchmarks/recipe_costs.py)


def choose(recipe: Recipe, given: dict[str, Any], source: Source) -> tuple[Recipe, list[str]]:
    """Chooses settings for the pictures of a source.

    Args:
        recipe: the settings that are not chosen.
        given: fields that the user gave, by name; they are kept, and the others are chosen to fit them.
        source: the training pictures, see `data.load`.

    Returns:
        The recipe, and a line for each choice, "NAME VALUE: why".

    Raises:
        ValueError: if there are too few pictures.
    """
    if source.count is None:  # The number of pictures of a stream is unknown; `pretrain` refuses streams.
        return recipe, []
    count = min(source.count, recipe.max_images or source.count)
    if count < LEAST:
        raise ValueError(
            f"`dataset` must hold {LEAST} pictures or more to train on. Received: {count} in "
            f"dataset={recipe.dataset!r}, split {recipe.train_split}"
        )
    values, lines = {}, []

    def take(name, value, why):
        values[name] = given.get(name, value)
        if name not in given:
            lines.append(f"{name} {value}: {why}")
        return values[name]

    why = (
        "the original shows what two crops may miss. Where every picture shows one centred thing on a plain "
    )
    why += "ground, `--method moco_v2` may be better; `leoclr views` shows what the crops hold"
    method = take("method", "leoclr", why)
    gpu = bool(distribution.gpus())
    place, most = ("with a GPU", 256) if gpu else ("without a GPU", 128)
    size = take("image_size", *_image_size(source, 224 if gpu else 96, place))
    if gpu and size >= 128:
        backbone = take("backbone", "resnet50", "there is a GPU, and views are 128 pixels or more")
    else:
        backbone = take("backbone", "resnet18", "views are below 128 pixels" if gpu else "there is no GPU")
    stem = ""
    if backbone.startswith("resnet"):
        large = size >= 64
        why = f"views are {'64 pixels or more' if large else 'below 64 pixels'}"
        stem = take("stem", "imagenet" if large else "cifar", why)
    why = f"an eighth of the pictures or less, {most} at most {place}"
    batch = take("batch_size", _power_of_two(count / 8, 8, most), why)
    least = 100 if gpu else 20
    epochs = min(800, max(least, round(SEEN[gpu] / count)))
    why = f"{epochs * count:,} pictures seen; {SEEN[gpu]:,} are aimed at {place}, in {least} to 800 epochs"
    if not gpu:
        shown = {"backbone": backbone, "image_size": size, "stem": stem}
        why += _long(epochs * count, epochs, **shown)
    take("epochs", epochs, why)
    if method != "end_to_end":
        why = f"half of the {count:,} pictures or less, two steps at least: no key is an epoch old"
        take("queue_size", _power_of_two(count / 2, 2 * batch, 65536), why)
        steps = count // batch
        momentum = 0.999 if steps >= 1000 else 0.99
        take("momentum", momentum, f"{steps:,} steps an epoch; 0.999 from 1,000 on")
    classes = _classes(source)
    if classes == 0 or classes == 1:
        take("knn_every", 0, "there is a single class" if classes else "there are no labels")
    else:
        asked = {name: given.get(name, 0) for name in ("knn_bank", "knn_queries")}
        labelled = _labelled(source, count)
        bank, queries = knn_sizes(Recipe(**asked), labelled)
        take("knn_bank", bank, f"four fifths of the {labelled:,} pictures with labels vote, 10,000 at most")
        take("knn_queries", queries, "of the others, 2,000 at most, each is classified")
    split, why = _test_split(recipe, given, source, classes)
    if split is not None:
        take("test_split", split, why)
    take("evaluate", split is not None, why)
    return dataclasses.replace(recipe, **values), lines


def _image_size(source: Source, most: int, place: str) -> tuple[int, str]:
    if _is_folder(source):
        side = int(np.median(source.images.sizes.min(axis=1)))
    else:
        side = min((side for side in source.image_shape[:2] if side), default=most)
    found = f"the median of the shorter sides is {side} pixels"
    if side >= most:
        return most, f"{found}, {most} are the most {place}"
    size = side // 32 * 32 if side >= 32 else max(16, side)
    return size, f"{found}; {most} would be the most {place}"


def _long(seen: int, epochs: int, backbone: str, image_size: int, stem: str) -> str:
    """About how long the training takes on two CPU cores, and how to shorten it; "" if that is not known."""
    if backbone not in COST:
        return ""
    cost = COST[backbone] * (SMALL_STEM.get(backbone, 15) if stem == "cifar" else 1)
    hours = seen * cost * (image_size / 96) ** 2 / TWO_CORES / 3600
    time = f"{hours:.0f} hours" if hours >= 1.5 else f"{max(1, round(hours * 60))} minutes"
    less = {"epochs": 20} if epochs > 20 else {"image_size": 32, "backbone": "resnet_small"}
    return f"; that is about {time} on two CPU cores, and less with {wording.settings(**less)}"


def _power_of_two(number: float, low: int, high: int) -> int:
    """The largest power of two that is at most `number`, limited to the range from `low` to `high`."""
    return min(high, max(low, 2 ** int(np.log2(max(number, 1)))))


def _is_folder(source: Source) -> bool:
    from keras_leoclr.data.readers.folder import FolderImages

    return isinstance(source.images, FolderImages)


def _classes(source: Source) -> int | None:
    """Number of classes with a picture; 0 without labels, None if all labels would have to be read."""
    if not source.labelled:
        return 0
    labels = source.labels
    if labels is None:
        return len(source.class_names) or None if source.several_labels else None
    return np.count_nonzero(counts(labels[has_label(labels)]))


def _labelled(source: Source, count: int) -> int:
    """How many of `count` pictures have a label; an estimate if they are a part of all pictures."""
    if source.labels is None:
        return count
    return max(2, int(has_label(source.labels).sum() * count / source.count))


def _test_split(recipe: Recipe, given: dict[str, Any], source: Source, classes: int | None):
    """A split for the evaluation, and the reason; None if there is none."""
    from keras_leoclr.data.readers.folder_splits import other_splits, split_folder
    from keras_leoclr.data.readers.voc_labels import is_voc

    path = os.path.expanduser(recipe.dataset)
    if classes is not None and classes < 2:
        return None, "there are no labels" if classes == 0 else "there is a single class"
    if "test_split" in given and given.get("evaluate", True) and recipe.dataset != IN_PYTHON:
        return _given_test_split(recipe, given["test_split"], source)
    if not _is_folder(source) or not os.path.isdir(path) or is_voc(path):
        flag = wording.named("`evaluate`")
        return None, f"asked for by {flag} alone, where the data are no folder of pictures"
    if split_folder(path, recipe.train_split) == path and not other_splits(path, path):
        why = "there is no sub-folder `train`, so that all pictures are trained on"
        return None, f"{why}; {wording.settings(**SET_ASIDE)} keeps a tenth to measure the features with"
    for name in ("test", "validation"):
        try:
            folder = split_folder(path, name)
        except ValueError:
            continue
        test = open_split(recipe, name)
        if lacking := _lacking(test, source):
            return None, f"{os.path.basename(folder)} has classes that are not trained on: {lacking}"
        return name, f"{os.path.basename(folder)} holds {test.count:,} pictures of the same classes"
    return None, "there is no sub-folder `test`, `val` or `validation`"


def _lacking(test: Source, source: Source) -> str:
    """The names of the classes of test pictures that the training pictures lack; "" if there are none."""
    return ", ".join(sorted({*test.class_names} - {*source.class_names}))


def _given_test_split(recipe: Recipe, split: str, source: Source):
    """The split that was given, and what it holds; None where it has other classes."""
    test = open_split(recipe, split)
    if lacking := _lacking(test, source):
        return None, f"{split} has classes that are not trained on: {lacking}"
    if _is_folder(source) and (both := len({*source.images.paths} & {*test.images.paths})):
        raise ValueError(
            f"`test_split` must hold no picture that is trained on: {wording.settings(**SET_ASIDE)} divides "
            f"the pictures of a folder. Received: test_split={split!r} and train_split="
            f"{recipe.train_split!r}, which have {both:,} pictures in common"
        )
    count = "" if test.count is None else f"{test.count:,} "
    return split, f"{split} holds {count}pictures of the same classes"
