"""Makes the views, the model and the optimizer of a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

import keras_leoclr as kl
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.initial import InitialWeights
from keras_leoclr.backbones.named import named_backbone
from keras_leoclr.backbones.names import library_of
from keras_leoclr.distribution.devices import Devices
from keras_leoclr.training.precision import decided
from keras_leoclr.training.recipe import INITIAL, Recipe


def make_views(recipe: Recipe) -> keras.layers.Layer:
    """Makes the views of the recipe's method."""
    photometrics = {name: getattr(recipe, name) for name in kl.views.PHOTOMETRICS}
    photometrics |= {"jit_compile": recipe.compile_views, "antialias_crops": recipe.antialias_crops}
    if recipe.method == "moco_v2":
        return kl.MoCoV2Views(recipe.image_size, recipe.crop_scale, **photometrics)
    original = {
        "antialias_original": recipe.antialias_original,
        "original_photometrics": recipe.original_photometrics,
        **photometrics,
    }
    if recipe.method == "crop_to_original":
        return kl.CropToOriginalViews(recipe.image_size, recipe.crop_scale, **original)
    return kl.LeOCLRViews(recipe.image_size, recipe.crop_scale, num_crops=recipe.num_crops, **original)


def make_backbone(recipe: Recipe) -> keras.Model:
    """Makes the backbone of the recipe, with random weights.

    Raises:
        ValueError: if the recipe takes its network from a file of initial weights.
    """
    if recipe.backbone == INITIAL:
        raise ValueError(
            "`backbone` must be made from the file of `initial_weights`. "
            f"Received: backbone={recipe.backbone!r}, initial_weights={recipe.initial_weights!r}"
        )
    channels = recipe.channels
    if library_of(recipe.backbone)[0]:
        if channels != 3:
            raise ValueError(
                "`backbone` of another library takes images of 3 channels; the networks of this package take "
                f"any number. Received: backbone={recipe.backbone!r}, channels={channels}"
            )
        return named_backbone(recipe.backbone, recipe.image_size).backbone
    build = kl.backbones.BUILDERS[recipe.backbone]
    if recipe.backbone.startswith("vit"):
        return build(recipe.patch_size, recipe.image_size, channels=channels)
    options = {"widths": recipe.widths} if recipe.widths else {}
    return build((recipe.image_size, recipe.image_size, channels), stem=recipe.stem, **options)


def make_model(
    recipe: Recipe,
    steps_per_epoch: int = 1,
    backbone: keras.Model | None = None,
    views: keras.layers.Layer | None = None,
) -> kl.LeOCLR:
    """Makes the model of the recipe, without compiling it.

    Args:
        recipe: the settings.
        steps_per_epoch: number of steps of an epoch, needed if the momentum follows a schedule; 1 by default.
        backbone: the backbone; by default the one that `make_backbone` makes.
        views: the views, as `make_views` makes them, if the model makes the views within its training step.
    """
    end_to_end = recipe.method == "end_to_end"
    momentum = 0.0 if end_to_end else recipe.momentum
    if recipe.momentum_schedule == "cosine" and not end_to_end:
        momentum = kl.schedules.CosineMomentum(momentum, _updates(recipe, steps_per_epoch))
    return kl.LeOCLR(
        backbone or make_backbone(recipe),
        projection_dim=recipe.projection_dim,
        hidden_dim=recipe.hidden_dim or None,
        queue_size=0 if end_to_end else recipe.queue_size,
        momentum=momentum,
        temperature=recipe.temperature,
        bn_groups=recipe.bn_groups,
        enqueue=recipe.enqueue,
        views=views,
    )


def peak_learning_rate(recipe: Recipe) -> float:
    """Learning rate after warm-up, which is proportional to the number of images of an update."""
    return recipe.learning_rate * recipe.batch_size * recipe.gradient_accumulation_steps / 256


def _updates(recipe: Recipe, steps_per_epoch: int) -> int:
    """Number of updates of the weights in the whole training.

    Raises:
        ValueError: if there are none, because the gradients of more batches are accumulated than there are.
    """
    batches, accumulated = recipe.epochs * steps_per_epoch, recipe.gradient_accumulation_steps
    if accumulated > batches:
        raise ValueError(
            "`gradient_accumulation_steps` must be at most the number of batches of the whole training, or "
            f"no weight is ever updated. Received: gradient_accumulation_steps={accumulated}, {batches:,} "
            f"batches, epochs={recipe.epochs} of {steps_per_epoch:,}"
        )
    return batches // accumulated


def make_optimizer(recipe: Recipe, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Makes SGD or LARS with linear warm-up and cosine decay to 0; the rate changes at every step.

    Raises:
        ValueError: if gradients of more batches are accumulated than there are in the whole training.
    """
    _updates(recipe, steps_per_epoch)
    peak, batches = peak_learning_rate(recipe), recipe.epochs * steps_per_epoch
    # At least one step is left for the decay where epochs are short and most of the last one is warm-up.
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), batches - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        decay_steps=batches - warmup,
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )
    make = {"sgd": kl.optimizers.SGD, "lars": kl.optimizers.LARS}[recipe.optimizer]
    accumulated = recipe.gradient_accumulation_steps
    optimizer = make(
        schedule,  # It counts batches, even if several batches make one update.
        momentum=recipe.sgd_momentum,
        weight_decay=recipe.weight_decay,
        gradient_accumulation_steps=accumulated if accumulated > 1 else None,
    )
    if not recipe.decay_all:
        optimizer.exclude_from_weight_decay(max_rank=1)
    return optimizer


def compiled_model(
    recipe: Recipe,
    devices: Devices,
    steps_per_epoch: int,
    initial: InitialWeights | None = None,
    views: keras.layers.Layer | None = None,
) -> kl.LeOCLR:
    """Makes the model of the recipe, compiled and ready for training.

    Args:
        recipe: the settings.
        devices: devices that the training is distributed over.
        steps_per_epoch: number of batches of an epoch, for the schedules.
        initial: weights that both encoders begin with; None (the default) for random weights.
        views: see `make_model`.
    """
    # With tf.distribute, the parts with variables are made inside the scope and LeOCLR outside; see its
    # class.
    recipe, _ = decided(recipe)
    with _precision(recipe.precision):
        with devices.scope():
            backbone = make_backbone(recipe) if initial is None else _copy_in(initial.backbone, recipe)
        model = make_model(recipe, steps_per_epoch, backbone, views)
    with devices.scope():
        optimizer = make_optimizer(recipe, steps_per_epoch)
    model.compile(
        optimizer=optimizer,
        jit_compile={"auto": "auto", "on": True, "off": False}[recipe.jit_compile],
        steps_per_execution=recipe.steps_per_execution,
    )
    return model


def _copy_in(backbone: keras.Model, recipe: Recipe) -> keras.Model:
    """Copies a backbone in the precision of the recipe, with variables of the current strategy."""
    known = {getattr(layer.dtype_policy, "name", None) for layer in backbone.layers}
    return copy_of(backbone, dtype=None if known <= {recipe.precision, None} else recipe.precision)


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Layers that are made within this context get this dtype policy and keep it."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
