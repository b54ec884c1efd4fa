"""Bytes that cross between devices in a training step under `MirroredStrategy`; needs no GPU.

    python tools/traffic.py                                   # ResNet-18, 64 px, 65,536 keys, two devices
    python tools/traffic.py --replicas 4 --network resnet50   # another step

Logical CPUs stand for the GPUs: the graph of the step is that of GPUs, collectives included. A copy is what
one device computed and an operation of another one reads. Where a variable is assigned on every device from
the first, this shows as copies.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections import Counter

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import tensorflow as tf

import keras_leoclr as kl

COLLECTIVES = {"CollectiveGatherV2": "gathered", "CollectiveReduceV2": "summed"}
# These operations only change the shape of their first input before a collective operation.
RESHAPING = {"Identity", "IdentityN", "Pad", "PadV2", "Reshape", "Slice", "Transpose", "ExpandDims"}


@dataclasses.dataclass(frozen=True)
class Crossing:
    """A tensor that is transferred between devices.

    Attributes:
        way: "copied" from one device to another, "gathered" from all, or "summed" over all.
        kind: the operation that computed it.
        shape: shape of the tensor on one device.
        number: number of bytes that a device sends.
        to: the receiving device; "all" for a collective operation.
    """

    way: str
    kind: str
    shape: tuple[int, ...]
    number: int
    to: str


def crossings(graph: tf.Graph) -> list[Crossing]:
    """Lists the transfers between devices in the graph of a step; collectives count once per sender."""
    found, copied = [], set()
    for operation in graph.get_operations():
        if operation.type in COLLECTIVES:
            tensor = operation.inputs[0]
            found.append(_crossing(COLLECTIVES[operation.type], _of_known_shape(tensor), "all"))
            continue
        for tensor in operation.inputs:
            here, there = tensor.op.device, operation.device
            key = tensor.ref(), there
            if here and there and here != there and tensor.dtype != tf.resource and key not in copied:
                copied.add(key)
                found.append(_crossing("copied", tensor, there.rpartition(":")[2]))
    return found


def _of_known_shape(tensor):
    while not tensor.shape.is_fully_defined() and tensor.op.type in RESHAPING:
        number = tensor.value_index if tensor.op.type == "IdentityN" else 0
        tensor = tensor.op.inputs[number]
    return tensor


def _crossing(way, tensor, to):
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"The shape of {tensor.name} is not known, nor are its bytes")
    number = tensor.shape.num_elements() * tensor.dtype.size
    return Crossing(way, tensor.op.type, tuple(tensor.shape.as_list()), number, to)


def graph_of_a_step(model: kl.LeOCLR, strategy: tf.distribute.Strategy, batch: dict) -> tf.Graph:
    """The graph of a training step of all replicas.

    Args:
        model: compiled model, made within the strategy.
        strategy: the distribution strategy of the model.
        batch: arrays as `LeOCLR.fit` takes them, for all replicas together.
    """
    size = len(next(iter(batch.values())))
    dataset = tf.data.Dataset.from_tensor_slices(batch).batch(size, drop_remainder=True)
    element = next(iter(strategy.experimental_distribute_dataset(dataset)))
    step = tf.function(lambda views: strategy.run(model.train_step, args=(views,)))
    return step.get_concrete_function(element).graph


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--network", default="resnet18", choices=("resnet_small", "resnet18", "resnet50"))
    parser.add_argument("--size", type=int, default=64, help="pixels, default 64")
    parser.add_argument("--batch", type=int, default=64, help="images of all replicas, default 64")
    parser.add_argument("--queue", type=int, default=65536, help="keys, default 65,536")
    options = parser.parse_args()
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * options.replicas
    )
    strategy = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(options.replicas)])
    shape = (options.size, options.size, 3)
    with strategy.scope():
        backbone = getattr(kl.backbones, options.network)(shape)
        optimizer = kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4)
    momentum = kl.schedules.CosineMomentum(0.99, 1000)
    model = kl.LeOCLR(backbone, queue_size=options.queue, momentum=momentum)
    model.compile(optimizer=optimizer)
    batch = {
        "query": keras.ops.zeros((options.batch, *shape)),
        "keys": keras.ops.zeros((options.batch, 2, *shape)),
        "permutation": keras.ops.arange(options.batch),
    }
    found = Counter()
    for each in crossings(graph_of_a_step(model, strategy, batch)):
        found[each.way, each.kind, each.shape, each.number] += 1
    print(
        f"{options.network}, {options.size} px, batch {options.batch}, a queue of {options.queue:,} keys, "
        f"{options.replicas} replicas: bytes per step of all replicas"
    )
    for way in ("gathered", "summed", "copied"):
        mine = {key: count for key, count in found.items() if key[0] == way}
        print(f"{way:9} {sum(key[3] * count for key, count in mine.items()):>12,}")
        for (_, kind, shape, number), count in sorted(mine.items(), key=lambda item: -item[0][3] * item[1])[
            :8
        ]:
            print(f"  {count:>3} x {number:>11,}  {kind} {list(shape)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
