"""Which operations of a training step TensorFlow cannot compute on a GPU; works on a machine without one.

    python tools/kernel_audit.py                                    # every network, precision and optimizer
    python tools/kernel_audit.py --networks resnet50 --size 224     # one of them
    python tools/kernel_audit.py --all                              # also what has a GPU kernel

What has no GPU kernel, TensorFlow moves to the CPU and says nothing: its tensors go there and back in every
step. The packages for Linux list the kernels of GPUs whether there is a GPU or not, and the graph of a step
says which operation is applied to which types. Tensors up to 1,024 numbers (shapes, counters, permutations)
may lie on the host.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import os
import sys
from collections import Counter
from collections.abc import Iterator

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework import kernels
from tensorflow.python.ops import handle_data_util

import keras_leoclr as kl
from keras_leoclr.backbones.vit import build_vit

SMALL = 1024  # number of elements up to which tensors may be on the host
# These operations pass values into and out of a function, and no device computes them.
NOT_COMPUTED = {"Placeholder", "_Arg", "_Retval", "NoOp"}
# Operations without a GPU kernel that are accepted, each with its reason; there are none at present.
EXCEPTIONS: dict[str, str] = {}
NETWORKS = {
    "resnet_small": lambda size: kl.backbones.resnet_small((size, size, 3)),
    "resnet18": lambda size: kl.backbones.resnet18((size, size, 3)),
    "resnet50": lambda size: kl.backbones.resnet50((size, size, 3)),
    # Two blocks of a ViT-Ti are enough, since the other ten are equal.
    "vit": lambda size: build_vit(size // 4, size, 192, 2, 3, "token", 3, "vit"),
}
OPTIMIZERS = {
    "SGD": lambda **options: kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4, **options),
    "LARS": lambda **options: kl.optimizers.LARS(0.3, momentum=0.9, weight_decay=1e-4, **options),
}


@dataclasses.dataclass(frozen=True)
class Found:
    """An operation on large tensors.

    Attributes:
        kind: name of the operation, such as "Conv2D".
        types: types of its inputs and outputs, without resources.
        shapes: shapes of its inputs and outputs, without resources.
        name: name of the node, preceded by the functions that contain it.
        wrong: the reason why no GPU computes it; "" if one does.
    """

    kind: str
    types: tuple[str, ...]
    shapes: tuple[str, ...]
    name: str
    wrong: str


def audit(graph: tf.Graph, small: int = SMALL) -> list[Found]:
    """Lists the operations of a graph, and of the functions it calls, on more than `small` elements."""

    def is_large(operation):
        return any(_numbers(tensor) > small for tensor in (*operation.inputs, *operation.outputs))

    found = [(each, place) for each, place in _operations(graph) if is_large(each)]
    return [_found(operation, place, small) for operation, place in found]


def without_kernel(graph: tf.Graph, small: int = SMALL) -> list[Found]:
    """Lists the operations of `audit` that no GPU computes and that are not in `EXCEPTIONS`."""
    return [each for each in audit(graph, small) if each.wrong and each.kind not in EXCEPTIONS]


def _operations(graph: tf.Graph, place: str = "") -> Iterator[tuple[tf.Operation, str]]:
    for operation in graph.get_operations():
        called = []
        for name in operation.node_def.attr:
            value = operation.get_attr(name)
            called += [each.name for each in value if hasattr(each, "name")] if name == "branches" else []
            called += [value.name] if operation.node_def.attr[name].HasField("func") else []
        if not called:
            if operation.type not in NOT_COMPUTED:
                yield operation, f"{place}{operation.name}"
            continue
        for name in called:
            yield from _operations(graph._get_function(name).graph, f"{place}{operation.name}/")


def _numbers(tensor: tf.Tensor) -> float:
    """Number of elements of a tensor, or of the variable that it is a handle of; infinite if not known.

    Integer tensors of unknown length count as 0: in a step for batches of a known size, these are only axes,
    shapes and the list of the replicas' shapes.
    """
    shape = tensor.shape
    if tensor.dtype == tf.resource:
        data = handle_data_util.get_resource_handle_data(tensor)
        if not data.is_set:
            return 0
        shape = tf.TensorShape(data.shape_and_type[0].shape)
    count = shape.num_elements()
    if count is None:
        return 0 if tensor.dtype in (tf.int32, tf.int64) and shape.rank in (1, 2) else float("inf")
    return count


def _found(operation: tf.Operation, place: str, small: int) -> Found:
    plain = [t for t in (*operation.inputs, *operation.outputs) if t.dtype != tf.resource]
    return Found(
        operation.type,
        tuple(t.dtype.base_dtype.name for t in plain),
        tuple(str(t.shape) for t in plain),
        place,
        _what_is_wrong(operation, small),
    )


def _what_is_wrong(operation: tf.Operation, small: int) -> str:
    on_gpus = {"GPU": [], "DEFAULT": []}
    for kernel in kernels.get_registered_kernels_for_op(operation.type).kernel:
        if kernel.device_type in on_gpus and not kernel.label and _takes(kernel, operation):
            on_gpus[kernel.device_type].append(kernel)
    if not any(on_gpus.values()):
        return "no GPU kernel for these types"
    # A kernel for GPUs is preferred to a kernel for any device.
    kernel = (on_gpus["GPU"] or on_gpus["DEFAULT"])[0]
    on_host = set(kernel.host_memory_arg)
    definition = operation.op_def
    named = [*_named(definition.input_arg, operation.inputs, operation)]
    named += _named(definition.output_arg, operation.outputs, operation)
    moved = [name for name, tensor in named if name in on_host and tensor.dtype != tf.resource]
    large = [name for name, tensor in named if name in moved and _numbers(tensor) > small]
    return f"its kernel has {', '.join(large)} in the memory of the host" if large else ""


def _takes(kernel, operation: tf.Operation) -> bool:
    for constraint in kernel.constraint:
        value = operation.get_attr(constraint.name)
        asked = value if isinstance(value, (list, tuple)) else [value]
        allowed = set(constraint.allowed_values.list.type)
        if not all(tf.as_dtype(each).base_dtype.as_datatype_enum in allowed for each in asked):
            return False
    return True


def _named(arguments, tensors, operation: tf.Operation) -> Iterator[tuple[str, tf.Tensor]]:
    """Yields each tensor with the name of its argument; an argument may have several tensors."""
    left = iter(tensors)
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = operation.get_attr(argument.number_attr)
        elif argument.type_list_attr:
            count = len(operation.get_attr(argument.type_list_attr))
        for _ in range(count):
            yield argument.name, next(left)


# === Training steps ===


def graph_of_a_step(
    network: str,
    policy: str = "float32",
    optimizer: str = "SGD",
    size: int = 32,
    batch_size: int = 16,
    accumulated: int | None = None,
    views_on: str = "host",
    **options,
) -> tf.Graph:
    """The graph of a training step on one device.

    Args:
        network: one of `NETWORKS`.
        policy: dtype policy of Keras, such as "mixed_bfloat16"; "float32" by default.
        optimizer: one of `OPTIMIZERS`; "SGD" by default.
        size: side of the views in pixels; 32 by default.
        batch_size: number of images of a batch; 16 by default.
        accumulated: number of batches per update of the weights; None (the default) for one.
        views_on: "host" (the default), or "device" if the step makes the views of pictures on a canvas.
        **options: options of `LeOCLR`.
    """
    pictures = kl.data.load({"image": np.zeros((batch_size, size + 8, size + 8, 3), "uint8")})
    views = kl.LeOCLRViews(image_size=size)
    batches = kl.data.view_dataset(pictures, views, batch_size, permute_keys=True, views_on=views_on)
    if views_on == "device":
        options["views"] = views
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = kl.LeOCLR(NETWORKS[network](size), **{"queue_size": 4096, **options})
        model.compile(optimizer=OPTIMIZERS[optimizer](gradient_accumulation_steps=accumulated))
    finally:
        keras.config.set_dtype_policy(before)
    # The graph is made for the sizes of the first batch.
    batch = tf.nest.map_structure(lambda each: tf.TensorSpec(each.shape, each.dtype), next(iter(batches)))
    # The function is called as `fit` calls it, except for the loop over a data set.
    return tf.function(model.train_step, jit_compile=False).get_concrete_function(batch).graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=[*NETWORKS])
    parser.add_argument("--policies", nargs="+", default=["float32", "mixed_bfloat16"])
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=[*OPTIMIZERS])
    parser.add_argument("--views_on", nargs="+", choices=("host", "device"), default=["host", "device"])
    parser.add_argument("--size", type=int, default=32, help="pixels, default 32")
    parser.add_argument("--all", action="store_true", help="also list what has a GPU kernel")
    options = parser.parse_args()
    failed = 0
    asked = options.networks, options.policies, options.optimizers, options.views_on
    for network, policy, optimizer, views_on in itertools.product(*asked):
        found = audit(graph_of_a_step(network, policy, optimizer, options.size, views_on=views_on))
        wrong = [each for each in found if each.wrong]
        failed += sum(each.kind not in EXCEPTIONS for each in wrong)
        kinds = Counter((each.kind, "/".join(sorted(set(each.types)))) for each in found)
        print(
            f"{network}, {policy}, {optimizer}, views on the {views_on}: {len(found)} operations of "
            f"{len(kinds)} kinds on more than {SMALL:,} numbers, {len(wrong)} without a GPU kernel",
            flush=True,
        )
        for (kind, types), count in sorted(kinds.items()) if options.all else ():
            print(f"  {count:5} {kind:32} {types}")
        for each in wrong:
            reason = EXCEPTIONS.get(each.kind, "it has to be replaced")
            print(f"  {each.kind} {each.types} {each.shapes}: {each.wrong}; {reason}\n    {each.name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
