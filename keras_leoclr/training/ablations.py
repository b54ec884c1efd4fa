"""The variants of each ablation: those of the paper (arXiv 2403.06813) and others that explain it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_leoclr.report.studies.budgets import epochs_of_equal_compute
from keras_leoclr.training.recipe import Recipe

Variants = dict[str, dict[str, Any]]  # changes of the recipe by label; the first is the reference
NO_PHOTOMETRICS = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
METHODS = {
    "leoclr": "LeOCLR",
    "moco_v2": "MoCo v2",
    "end_to_end": "LeOCLR end-to-end",
    "crop_to_original": "crop to original",
}


@dataclasses.dataclass(frozen=True)
class Ablation:
    """One question and the variants of a recipe that answer it.

    Attributes:
        question: what the ablation answers.
        variants: function from a recipe to its variants; the others are compared with the first.
        recipe: name of the recipe that is varied unless another one is given.
    """

    question: str
    variants: Callable[[Recipe], Variants]
    recipe: str = "fashion_mnist"


def of(name: str, recipe: Recipe, methods: tuple[str, ...] = ()) -> Variants:
    """Returns the variants of an ablation, without those that have the same settings as one before.

    A recipe without blur, for instance, has no variant "no blur".

    Args:
        name: one of `ABLATIONS`.
        recipe: the recipe that is varied.
        methods: methods that each variant is run with; by default that of the recipe alone.

    Returns:
        Changes of the recipe by label; the first is the reference.

    Raises:
        ValueError: if `methods` cannot be combined with the ablation, or a variant has settings that are not
            allowed.
    """
    variants = ABLATIONS[name].variants(recipe)
    if not methods:
        return _apart(recipe, variants)
    if any("method" in changes for changes in variants.values()):
        raise ValueError(f"`methods` must be left out: {name} chooses them. Received: methods={methods}")
    with_methods = {
        f"{METHODS[method]}, {label}": {"method": method, **changes}
        for label, changes in variants.items()
        for method in methods
    }
    return _apart(recipe, with_methods)


def _apart(recipe, variants):
    """The variants whose settings differ from those of all before."""
    first: dict[Recipe, str] = {}
    for label, changes in variants.items():
        first.setdefault(dataclasses.replace(recipe, **changes), label)
    return {label: variants[label] for label in first.values()}


def equal_compute(recipe: Recipe) -> int:
    """Number of epochs in which LeOCLR computes as much as MoCo v2 does in the epochs of the recipe."""
    return epochs_of_equal_compute(recipe.epochs, recipe.num_crops)


def _methods(recipe):
    cheaper = equal_compute(recipe)
    epochs = f"{recipe.epochs} epochs"
    return {
        f"MoCo v2, {epochs}": {"method": "moco_v2"},
        f"LeOCLR, {epochs}": {"method": "leoclr"},
        f"LeOCLR, equal compute, {cheaper} epochs": {"method": "leoclr", "epochs": cheaper},
        f"crop to original (not the paper's), {epochs}": {"method": "crop_to_original"},
    }


def _augmentation(recipe):
    variants = {"all": {}, "no colour jitter": {"jitter_probability": 0.0}}
    if recipe.grayscale_probability:
        variants["no greyscale"] = {"grayscale_probability": 0.0}
    return variants | {"no blur": {"blur_probability": 0.0}, "crop and flip only": NO_PHOTOMETRICS}


def _numbers(name: str, values: tuple, show: Callable[[Any], str] = str, **also: Any) -> Callable:
    """Variants in which one field takes several values; the fields `also` are the same in all of them."""

    def variants(recipe):
        own = getattr(recipe, name)
        return {show(value): {name: value, **also} for value in (own, *(v for v in values if v != own))}

    return variants


def _scale(value):
    return f"{value[0]:g} to {value[1]:g}"


def _original(recipe):
    return {
        "with colour and blur": {"method": "leoclr", "original_photometrics": True},
        "clean": {"method": "leoclr", "original_photometrics": False},
    }


def _backbone(recipe):
    if recipe.backbone == "resnet_small":
        own = recipe.widths
        chosen = (own, *(tuple(int(w * f) for w in own) for f in (0.5, 2)))
        return {f"widths {', '.join(map(str, w))}": {"widths": w} for w in chosen}
    names = (recipe.backbone, *(n for n in ("resnet18", "resnet34", "resnet50") if n != recipe.backbone))
    return {name: {"backbone": name} for name in names}


def _framework(recipe):
    return {
        "momentum encoder and queue": {"method": "leoclr"},
        "end-to-end, negatives of the batch": {"method": "end_to_end"},
    }


def _length(recipe):
    chosen = (recipe.epochs, *(max(1, round(recipe.epochs * f)) for f in (0.25, 0.5, 2)))
    return {f"{n} epochs": {"epochs": n} for n in chosen}


def _learning_rate(recipe):
    own = recipe.learning_rate
    return {
        f"{rate:.3g} per 256 images": {"learning_rate": rate} for rate in (own, own / 4, own / 2, own * 2)
    }


def _share(recipe, share):
    """Reduces the images to pretrain on to a share; the images of the evaluation stay the same."""
    if "[" in recipe.train_split:
        raise ValueError(
            f"`train_split` must be a whole split, of which shares are taken. Received: {recipe.train_split}"
        )
    part = f"{recipe.train_split}[:{share}%]"
    return {"train_split": part, "probe_split": recipe.labelled_split}


def _data_size(recipe):
    return {"all images": {}} | {
        f"first {share} % of the images": _share(recipe, share) for share in (10, 25, 50)
    }


def _factors(recipe):
    """One change at a time, for both methods if it concerns both."""
    both = {
        "as the recipe": {},
        "first quarter of the images, as many steps": {**_share(recipe, 25), "epochs": 4 * recipe.epochs},
        "twice the epochs": {"epochs": 2 * recipe.epochs},
        "momentum 0.9": {"momentum": 0.9},
        "momentum 0.999": {"momentum": 0.999},
        "half the colour jitter": {"color_jitter": tuple(strength / 2 for strength in recipe.color_jitter)},
        "crop and flip only": NO_PHOTOMETRICS,
        "crops 0.08 to 1": {"crop_scale": (0.08, 1.0)},
        "crops 0.5 to 1": {"crop_scale": (0.5, 1.0)},
        "a quarter of the queue": {"queue_size": max(1, recipe.queue_size // 4)},
    }
    variants = {
        f"{METHODS[method]}, {label}": {"method": method, **changes}
        for label, changes in both.items()
        if not changes or dataclasses.replace(recipe, **changes) != recipe
        for method in ("moco_v2", "leoclr")
    }
    return variants | {
        "LeOCLR, clean original": {"method": "leoclr", "original_photometrics": False},
        "LeOCLR, antialiased original": {"method": "leoclr", "antialias_original": True},
        "LeOCLR, one crop": {"method": "leoclr", "num_crops": 1},
        "LeOCLR, keys of the first crop enqueued": {"method": "leoclr", "enqueue": "first"},
        "LeOCLR, end-to-end": {"method": "end_to_end"},
    }


# The cells of the map of scenes: each is a set of changes of the recipe, within which the method is varied.
# The main cells differ in the number of things alone.
MAIN_SCENES = {
    f"{things} of 8 px": {"dataset": f"fashion_scenes:things={things},size=8"} for things in (1, 2, 4, 8)
}
SCENES = {
    **MAIN_SCENES,
    **{f"2 of {size} px": {"dataset": f"fashion_scenes:things=2,size={size}"} for size in (12, 16)},
    **{f"crops {_scale(scale)}": {"crop_scale": scale} for scale in ((0.08, 1.0), (0.5, 1.0))},
}


def _scenes(recipe):
    """Both methods on scenes with other numbers and sizes of things, and with other crops.

    Crop to original is trained in the main cells as well.
    """
    methods = {
        "MoCo v2": {"method": "moco_v2"},
        "LeOCLR": {"method": "leoclr"},
        "LeOCLR at equal compute": {"method": "leoclr", "epochs": equal_compute(recipe)},
        "crop to original": {"method": "crop_to_original"},
    }
    return {
        f"{label}, {cell}": {**method, **changes}
        for cell, changes in SCENES.items()
        for label, method in methods.items()
        if label != "crop to original" or cell in MAIN_SCENES
    }


ABLATIONS = {
    "method": Ablation("LeOCLR against MoCo v2, at equal epochs and at equal compute.", _methods),
    "scenes": Ablation(
        "For which pictures is LeOCLR ahead of MoCo v2? By number and size of things, and by crops.",
        _scenes,
        recipe="fashion_scenes",
    ),
    "factors": Ablation("What decides between LeOCLR and MoCo v2? One change at a time.", _factors),
    "augmentation": Ablation("How much does each photometric augmentation matter?", _augmentation),
    "crop_scale": Ablation(
        "Which area may the crops have, as a share of the image?",
        _numbers("crop_scale", ((0.05, 0.3), (0.08, 1.0), (0.2, 1.0), (0.5, 1.0)), _scale),
    ),
    "original": Ablation("What does the query encoder see of the original?", _original),
    "crops": Ablation(
        "How many crops of an image are keys?", _numbers("num_crops", (1, 2, 4), method="leoclr")
    ),
    "enqueue": Ablation(
        "Which keys enter the queue, those of both crops or of the first?",
        _numbers("enqueue", ("both", "first"), method="leoclr"),
    ),
    "momentum": Ablation(
        "How slowly does the key encoder follow?", _numbers("momentum", (0.9, 0.99, 0.996, 0.999))
    ),
    "queue_size": Ablation(
        "How many negatives are needed?", _numbers("queue_size", (256, 1024, 4096, 16384))
    ),
    "temperature": Ablation("How sharp is the loss?", _numbers("temperature", (0.07, 0.1, 0.2, 0.5))),
    "backbone": Ablation("How does it scale with the network?", _backbone),
    "framework": Ablation("Momentum encoder and queue, or end-to-end?", _framework),
    "learning_rate": Ablation("Which learning rate?", _learning_rate),
    "length": Ablation("How long is training worth it?", _length),
    "data_size": Ablation("What do more images bring, epoch for epoch?", _data_size),
}
