"""What a training step on torch asks of the device: operators, copies, and stops of the host.

    python benchmarks/launches.py
    python benchmarks/launches.py --network resnet50 --size 64 --batch 4

torch's profiler counts on the CPU what a GPU would be given. `launches` are operators that compute something,
each about one kernel of a GPU; an operator on a list of tensors (`_foreach_...`) is one here and a few there.
`copies` are those of them that only move numbers. `stops` are numbers that Python waits for (`item`): a GPU
has to finish what it was given. Views of tensors and new memory are not counted.
"""

import argparse
import collections
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from torch.profiler import ProfilerActivity, profile

import keras_leoclr as kl

FREE = (
    "view _unsafe_view reshape permute transpose t numpy_T select slice narrow expand expand_as unsqueeze "
    "squeeze detach detach_ alias as_strided unbind split split_with_sizes chunk unfold movedim result_type "
    "empty empty_like empty_strided new_empty resize_ set_ is_nonzero lift_fresh resolve_conj resolve_neg to "
    "_reshape_alias contiguous item _local_scalar_dense requires_grad_ view_as real broadcast_tensors "
    "broadcast_to can_cast promote_types"
).split()
# One kernel of a GPU, whatever they are made of on a CPU.
WHOLE = (
    "mul mul_ add add_ sub sub_ div div_ eq mean sum std native_batch_norm native_batch_norm_backward "
    "mkldnn_convolution cudnn_convolution max_pool2d_with_indices max_pool2d_with_indices_backward"
).split()
COPIES = ("copy_", "_to_copy", "clone", "cat", "stack", "repeat", "_foreach_copy_")


def model_of(network, size, queue):
    """A compiled model with schedules of learning rate and momentum, as a recipe has."""
    keras.utils.set_random_seed(0)
    if network == "small":
        backbone = kl.backbones.resnet_small((size, size, 3), widths=(16, 32, 64), stem="cifar")
    else:
        backbone = getattr(kl.backbones, network)((size, size, 3))
    model = kl.LeOCLR(backbone, queue_size=queue)
    rate = keras.optimizers.schedules.CosineDecay(0.0, 1000, warmup_target=0.03, warmup_steps=10)
    model.compile(kl.optimizers.SGD(rate, momentum=0.9, weight_decay=1e-4))
    return model


def batch_of(size, batch, views=2):
    rng = np.random.default_rng(0)
    query = rng.standard_normal((batch, size, size, 3), dtype="float32")
    keys = rng.standard_normal((batch, views, size, size, 3), dtype="float32")
    return {"query": keras.ops.convert_to_tensor(query), "keys": keras.ops.convert_to_tensor(keys)}


def is_whole(event):
    name = event.name.removeprefix("aten::")
    return name in WHOLE or name.startswith("_foreach_")


def parents_of(event):
    while event.cpu_parent is not None:
        event = event.cpu_parent
        yield event


def counts_of(function):
    """Launches, copies and stops of a call, and how often each operator is launched."""
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        function()
    launched, stops = collections.Counter(), 0
    for event in recorded.events():
        if not event.name.startswith("aten::"):
            continue
        name = event.name.removeprefix("aten::")
        stops += name == "_local_scalar_dense"
        if name in FREE or any(map(is_whole, parents_of(event))):
            continue
        parts = [child.name.removeprefix("aten::") for child in event.cpu_children]
        if is_whole(event) or all(part in FREE for part in parts):
            launched[name] += 1
    copies = sum(count for name, count in launched.items() if name in COPIES)
    return {"launches": launched.total(), "copies": copies, "stops": stops}, launched


def counts_of_a_step(network="resnet18", size=64, batch=8, queue=4096):
    """The counts of one step, after two that warm up."""
    model, data = model_of(network, size, queue), batch_of(size, batch)
    model.train()
    for _ in range(2):
        model.train_step((data,))
    return counts_of(lambda: model.train_step((data,)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--size", type=int, default=64, help="side of the views, pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--queue", type=int, default=4096)
    parser.add_argument("--most", type=int, default=12, help="operators that are listed")
    options = parser.parse_args()
    counts, launched = counts_of_a_step(options.network, options.size, options.batch, options.queue)
    print(f"{options.network}, {options.size} px, batch {options.batch}, 2 key views: one training step")
    print("  " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    for name, count in launched.most_common(options.most):
        print(f"  {count:6} {name}")


if __name__ == "__main__":
    main()
