"""Views from memory, beside stock keras-cv layers, torchvision's v2 transforms and lightly.

    make .venv-interop/.done      # once, for torchvision and lightly; or --without-peers
    python benchmarks/views.py
    python benchmarks/views.py --on_device      # the views that a model makes within its step, three backends

Everything makes batches from one array in memory on the same cores, two parallel calls or workers.
Candidates take turns; printed are medians, and medians of the ratios within a round.
"""

import argparse
import sys
import time

import numpy as np
import tensorflow as tf
from turns import Server, rounds, table
from turns import peers as start_peers

import keras_leoclr as kl

# side, batch size, batches timed for a fast candidate and for a slow one
SIZES = ((32, 256, 24, 4), (96, 128, 10, 3), (224, 32, 12, 4))


def images_per_second(make, images, batches):
    """Speed of `make(images, seed)` over some batches, after two that compile it."""
    dataset = tf.data.Dataset.range(batches + 2).map(
        lambda i: make(tf.constant(images), tf.stack([i, 0])), num_parallel_calls=2, deterministic=True
    )
    iterator = iter(dataset.prefetch(2))
    next(iterator), next(iterator)
    started = time.perf_counter()
    for _ in iterator:
        pass
    return batches * len(images) / (time.perf_counter() - started)


def pipeline_per_second(views, images, batch_size, batches):
    """Speed of `view_dataset` from an array, shuffling included."""
    array = np.concatenate([images] * -(-batch_size * (batches + 2) // len(images)))
    dataset = kl.data.view_dataset(kl.data.load({"image": array}), views, batch_size, parallel_images=2)
    iterator = iter(dataset)
    next(iterator), next(iterator)
    started = time.perf_counter()
    done = 0
    for _ in iterator:
        done += batch_size
    return done / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, default 5")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 96, 224])
    parser.add_argument("--on_device", action="store_true", help="only the views that a model makes itself")
    backends = ["tensorflow", "jax", "torch"]
    parser.add_argument("--backends", nargs="+", default=backends, choices=backends, help="of --on_device")
    parser.add_argument("--without-peers", action="store_true", help="leave out torchvision and lightly")
    options = parser.parse_args()
    if options.on_device:
        for size, batch_size, _, few in SIZES:
            if size in options.sizes:
                on_device(size, batch_size, few, options.rounds, options.backends)
        return
    peers = None if options.without_peers else start_peers()
    for size, batch_size, batches, few in SIZES:
        if size in options.sizes:
            compare(size, batch_size, batches, few, peers, options.rounds)
    cost_of_antialiasing(options.rounds)


def compare(size, batch_size, batches, few, peers, count):
    images = np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
    layer = kl.RandomView(size)
    loose = kl.RandomView(size, jit_compile=False)
    stock = kl.keras_cv_views(size, num_crops=1)
    moco, leoclr = kl.MoCoV2Views(size), kl.LeOCLRViews(size)

    def keras_cv(images, seed):
        return stock(images, seed)["keys"]  # the query is not computed: the graph is pruned

    def peer(kind):
        return lambda: peers(kind=kind, size=size, batch_size=batch_size, batches=few)

    def pipeline(views):
        return lambda: pipeline_per_second(views, images, batch_size, batches)

    one = {
        "one view, fused": lambda: images_per_second(lambda i, seed: layer(i, seed), images, batches),
        "one view, not compiled": lambda: images_per_second(lambda i, seed: loose(i, seed), images, few),
        "one view, stock keras-cv": lambda: images_per_second(keras_cv, images, few),
    }
    pairs = {"MoCoV2Views through view_dataset": pipeline(moco)}
    triples = {"LeOCLRViews through view_dataset": pipeline(leoclr)}
    if peers:
        one["one view, torchvision v2, DataLoader"] = peer("torchvision one view")
        pairs["two views, lightly, DataLoader"] = peer("lightly two views")
        triples["three views by hand, lightly, DataLoader"] = peer("lightly three views")
    for title, candidates in (("one MoCo v2 view", one), ("MoCo v2", pairs), ("LeOCLR", triples)):
        speeds = rounds(candidates, count)
        print(table(f"{title}, {size} px, batch {batch_size}", speeds, next(iter(candidates))), flush=True)


def on_device(size, batch_size, batches, count, backends):
    """LeOCLR's views by each backend beside the layers of Keras, and beside the host's."""
    setting = {"size": size, "batch_size": batch_size, "batches": batches}
    for backend in backends:
        server = Server("views_on_device.py", sys.executable, {"KERAS_BACKEND": backend})

        def speed(what, compile=True, server=server):
            return lambda: server(kind="images_per_second", what=what, compile=compile, **setting)

        # torch is compiled only on request; its compiler took longer than 15 minutes for the layers of Keras.
        first = backend != "torch"
        candidates = {
            f"{backend}, within the step": speed("ours", first),
            "layers of Keras": speed("keras.layers", first),
        }
        if backend == "torch":
            candidates["within the step, torch.compile"] = speed("ours")
        if backend == "tensorflow":
            candidates["within the step, not compiled"] = speed("ours", compile=False)
            candidates["layers of Keras, not compiled"] = speed("keras.layers", compile=False)
            candidates["on the host"] = speed("host")
            candidates["on the host, stock keras-cv"] = speed("stock")
        title = (
            f"LeOCLR's three views on {backend}, {size} px, batch {batch_size}; per second of processor time"
        )
        print(table(title, rounds(candidates, count), next(iter(candidates))), flush=True)
    views = kl.LeOCLRViews(size)
    image, parameters = size * size * 3, 11 * 4 * (1 + views.num_key_views) + 8
    within, before = 256 * (image + parameters), 256 * (1 + views.num_key_views) * image * 4
    print(
        f"bytes to the device, batch 256: {within / 1e6:.1f} MB, as views {before / 1e6:.1f} MB, "
        f"{before / within:.1f} times as many"
    )


def cost_of_antialiasing(count):
    images = np.random.default_rng(0).integers(0, 256, (32, 512, 512, 3), dtype=np.uint8)
    plain, smooth = (
        kl.RandomView(224, crop_scale=None, antialias=antialias, jitter_probability=0.0, blur_probability=0.0)
        for antialias in (False, True)
    )
    candidates = {
        "original, 512 to 224 px": lambda: images_per_second(plain, images, 6),
        "original, 512 to 224 px, antialiased": lambda: images_per_second(smooth, images, 6),
    }
    print(table("resizing the original", rounds(candidates, count), "original, 512 to 224 px"))
    views = {
        "crops of 512, to 224 px": kl.RandomView(224, jitter_probability=0.0, blur_probability=0.0),
        "crops of 512, to 224 px, antialiased": kl.RandomView(
            224, antialias=True, jitter_probability=0.0, blur_probability=0.0
        ),
    }
    candidates = {
        name: (lambda view=view: images_per_second(view, images, 6)) for name, view in views.items()
    }
    print(table("resizing crops", rounds(candidates, count), "crops of 512, to 224 px"))


if __name__ == "__main__":
    main()
