"""Views from memory: the fused layer against the same views from stock keras-cv layers.

    python benchmarks/views.py

One MoCo v2 key view per image, made in `tf.data` from one batch in memory. The two take turns in one
run; printed are the median images/s of each and the median of the ratios.
"""

import argparse
import statistics
import time

import numpy as np
import tensorflow as tf

import keras_leoclr as kl


def images_per_second(make, images, batches):
    """Speed of `make(images, seed)` over some batches, after two that warm it up."""
    dataset = tf.data.Dataset.range(batches + 2).map(
        lambda i: make(tf.constant(images), tf.stack([i, 0])), num_parallel_calls=2, deterministic=True
    )
    iterator = iter(dataset.prefetch(2))
    next(iterator), next(iterator)
    started = time.perf_counter()
    for _ in iterator:
        pass
    return batches * len(images) / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="turns of each, default 5")
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    print(f"{'size, batch':>14}{'fused, images/s':>18}{'keras-cv, images/s':>20}{'ratio':>8}")
    for size, batch_size, batches in ((32, 256, 20), (96, 128, 10), (224, 32, 10)):
        images = rng.integers(0, 256, (batch_size, size, size, 3), dtype=np.uint8)
        fused_layer = kl.RandomView(size)
        stock = kl.keras_cv_views(size, num_crops=1)

        def fused(images, seed, layer=fused_layer):
            return layer(images, seed)

        def keras_cv(images, seed, make=stock):
            return make(images, seed)["keys"]  # the query is not computed: the graph is pruned

        pairs = [
            (
                images_per_second(fused, images, batches),
                images_per_second(keras_cv, images, max(2, batches // 5)),
            )
            for _ in range(runs)
        ]
        ratio = statistics.median(a / b for a, b in pairs)
        ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{f'{size} px, {batch_size}':>14}{ours:18.0f}{theirs:20.0f}{ratio:8.1f}", flush=True)


if __name__ == "__main__":
    main()
