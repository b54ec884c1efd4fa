"""BatchNorm with statistics over groups of a batch instead of the whole batch, on one or several devices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_leoclr.backbones.kernels import takes_groups
from keras_leoclr.backbones.moving_statistics import statistics_at_once
from keras_leoclr.backbones.norm_kernels import groups_of_images


def outputs_in_training(model: keras.Model, images: Any, groups: int) -> Any:
    """Computes a model's outputs in training mode, with BatchNorm's statistics over groups of the batch.

    Args:
        model: a built model; its moving statistics change once per group.
        images: (B, H, W, C) tensor. Where JAX divides the batch among devices, every device divides its own
            part into groups.
        groups: >= 1, number of groups; all have the same size.

    Returns:
        (B, ...) tensor of outputs, in the order of the images.

    Raises:
        ValueError: if `groups` does not divide the batch size.
        InvalidArgumentError: the same, where TensorFlow knows the batch size only when the step runs.
    """
    whole = groups > 1 and in_one_pass() and takes_groups(model)

    def stateless(trainable, non_trainable, images):
        if whole:
            images = _divisible(images, groups)
            with groups_of_images(groups):
                return model.stateless_call(trainable, non_trainable, images, training=True)
        outputs = []
        for part in _parts(images, groups):
            made, non_trainable = model.stateless_call(trainable, non_trainable, part, training=True)
            outputs.append(made)
        return ops.concatenate(outputs), non_trainable

    if data_axis() is not None:
        return per_device(stateless, model, images)
    if whole:
        images = _divisible(images, groups)
        with groups_of_images(groups), statistics_at_once():
            return model(images, training=True)
    outputs = []
    for part in _parts(images, groups):
        with statistics_at_once():
            outputs.append(model(part, training=True))
    return ops.concatenate(outputs) if groups > 1 else outputs[0]


def in_one_pass() -> bool:
    """Whether all groups are encoded in one pass over the whole batch, in which only BatchNorm knows groups.

    One pass is faster on GPUs, because it has fewer and larger operations. On CPUs each group gets a pass of
    its own, which avoids copying the activations into groups and back.
    """
    if ONE_PASS is not None:
        return ONE_PASS
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_logical_devices("GPU"))
    if backend == "torch":
        import torch

        return torch.cuda.is_available()
    import jax

    return jax.devices()[0].platform != "cpu"


ONE_PASS: bool | None = None  # tests and benchmarks set it to choose the way for any device


def keys_of_views(
    encode: Callable[..., Any], encoder: keras.Model, faster: keras.Model, keys: Any, training: bool
) -> list[Any]:
    """Encodes each key view, with one pass for all views where that is faster.

    In one pass, the views are groups of a batch, so that BatchNorm has the same statistics for each view as
    in separate passes. Keys need no gradient, so no activations are kept. One pass over V views therefore
    needs less memory than the pass of the queries, which keeps them and runs when this memory is free again.

    Args:
        encode: function `(encoder, images, training, views) -> outputs`; `images` holds the images of `views`
            views, one view after the other.
        encoder: the key encoder.
        faster: the same encoder in the form with fast kernels, which is trained.
        keys: (B, V, H, W, C) tensor.
        training: whether BatchNorm uses the statistics of the batch.

    Returns:
        A list of V outputs with B rows each.
    """
    views = [keys[:, number] for number in range(keys.shape[1])]
    together = len(views) > 1 and training and data_axis() is None and in_one_pass()
    if not (together and takes_groups(faster)):
        return [encode(encoder, view, training, 1) for view in views]
    return ops.split(encode(encoder, ops.concatenate(views), training, len(views)), len(views))


def _parts(images, groups):
    return ops.split(_divisible(images, groups), groups) if groups > 1 else [images]


def _divisible(images, groups):
    """Returns the images after a check that there are groups of one size of them."""
    size = images.shape[0]
    rule = f"`bn_groups` must divide the batch size. Received: bn_groups={groups}, a batch of"
    if size is not None and size % groups:
        raise ValueError(f"{rule} {size} images")
    if size is not None or keras.backend.backend() != "tensorflow":
        return images
    import tensorflow as tf

    size = tf.shape(images)[0]
    with tf.control_dependencies([tf.debugging.Assert(size % groups == 0, [rule, size, "images"])]):
        return tf.identity(images)


class KeyStatistics:
    """Warns once where the statistics of BatchNorm tell queries and keys too much about each other.

    A query whose statistics are of the same images as those of its key can be matched with it by them alone,
    and the features then learn less (arXiv 1911.05722, section 3.3). Two things hide them: keys in another
    order than the queries (ShuffleBN), where each part of a batch has statistics of its own, or statistics
    over all devices. One of them makes the other useless.

    Args:
        model: the model whose BatchNorm layers are checked.
        bn_groups: number of parts of each device's images that have their own statistics.
        strategy: the `tf.distribute` strategy of the model, or None.
    """

    def __init__(self, model: keras.Model, bn_groups: int, strategy: Any):
        norms = [n for n in model._flatten_layers() if isinstance(n, keras.layers.BatchNormalization)]
        self._synchronized = any(layer.synchronized for layer in norms)
        self._groups, self._strategy, self._silent = bn_groups if norms else 0, strategy, False
        if self._synchronized and bn_groups > 1:
            self._warn(_SYNCHRONIZED.format("bn_groups > 1"))

    def check(self, shuffled: bool) -> None:
        """Warns if the keys of a training step are shuffled in vain, or not shuffled where they should be."""
        if self._synchronized:
            if shuffled:
                self._warn(_SYNCHRONIZED.format('A "permutation" of the keys'))
        elif not shuffled and (parts := self._groups * _devices_of_this_process(self._strategy)) > 1:
            self._warn(
                f"BatchNorm takes its statistics over {parts} parts of the batch, and the keys are in "
                "the order of the queries: a query and its key then have statistics of the same images, "
                "which tell them from the negatives. `view_dataset(..., permute_keys=True)` shuffles the "
                'keys; batches of your own need a "permutation".'
            )

    def _warn(self, text):
        if not self._silent:
            self._silent = True
            warnings.warn(text, stacklevel=5)


_SYNCHRONIZED = (
    "{} does not hide the statistics of BatchNormalization(synchronized=True): they are taken over all "
    "devices, the same for queries and keys in whatever order these come. Use one of the two: statistics per "
    "device with shuffled keys, or synchronized ones without."
)


def _devices_of_this_process(strategy):
    if strategy is not None:
        return len(strategy.extended.worker_devices)
    if (axis := data_axis()) is None:
        return 1
    import jax

    return sum(device.process_index == jax.process_index() for device in axis[0].devices.flat)


def data_axis() -> tuple[Any, str] | None:
    """Returns JAX' device mesh and its batch axis' name if batches are divided among devices, else None."""
    if keras.backend.backend() != "jax":
        return None
    current = keras.distribution.distribution()
    if current is None or current.num_model_replicas == 1:
        return None
    return current.device_mesh.backend_mesh, current.batch_dim_name


def per_device(function: Callable, model: keras.Model, images: Any) -> Any:
    """Runs `function(trainable, non_trainable, images)` on every device's part of the images (JAX).

    Layers such as BatchNorm then take their statistics over the images of one device, as they do under
    tf.distribute. Each non-trainable value that the function changes, such as the moving statistics of
    BatchNorm, becomes the mean over the devices.

    Args:
        function: function that returns the outputs, one row per image, and the new non-trainable values.
        model: the model whose variables are passed to the function.
        images: (B, ...) tensor, divided among the devices.

    Returns:
        (B, ...) tensor of outputs.
    """
    import jax
    from jax.sharding import PartitionSpec

    mesh, axis = data_axis()
    trainable = [ops.convert_to_tensor(v) for v in model.trainable_variables]
    before = [ops.convert_to_tensor(v) for v in model.non_trainable_variables]
    changed = []

    def part(trainable, non_trainable, images):
        outputs, after = function(trainable, non_trainable, images)
        pairs = zip(non_trainable, after, strict=True)
        changed[:] = [number for number, (old, new) in enumerate(pairs) if new is not old]
        return outputs, [jax.lax.pmean(after[number], axis) for number in changed]

    shared, divided = PartitionSpec(), PartitionSpec(axis)
    mapped = jax.shard_map(
        part,
        mesh=mesh,
        in_specs=(shared, shared, divided),
        out_specs=(divided, shared),
        check_vma=False,
    )
    outputs, means = mapped(trainable, before, images)
    for number, value in zip(changed, means, strict=True):
        model.non_trainable_variables[number].assign(value)
    return outputs
