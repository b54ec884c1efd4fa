"""A worker of a distributed training, started by test_distribution.py: prints its losses and weights."""

import hashlib
import json
import os
import pathlib
import sys

import keras
import numpy as np

import keras_leoclr as kl

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
from tests.case import batched, random_views, to_numpy


def train(strategy="auto", steps=5, batch_size=8, bn_groups=1, crash_after=None):
    """Trains a small model; returns its losses, queue, and a digest of queue and weights."""
    devices = kl.distribution.connect(strategy, timeout=60)
    keras.utils.set_random_seed(0)
    with devices.scope():
        backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        optimizer = kl.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4)
    model = kl.LeOCLR(
        backbone, projection_dim=8, queue_size=24, temperature=0.5, momentum=0.9, bn_groups=bn_groups
    )
    model.compile(optimizer=optimizer)
    views = random_views(steps, batch_size)
    per_worker = batch_size // devices.workers
    mine = (
        np.arange(steps * batch_size).reshape(steps, devices.workers, per_worker)[:, devices.worker].ravel()
    )
    data = batched({name: value[mine] for name, value in views.items()}, per_worker)
    losses = []

    def record(step, logs):
        losses.append(float(logs["loss"]))
        if step == crash_after:
            os._exit(9)

    with devices.together():
        model.fit(
            devices.distribute(data, batch_size),
            verbose=0,
            shuffle=False,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=record)],
        )
    shared = [model.key_queue.keys, *(v for pair in model._pairs for v in pair)]
    return {
        "replicas": devices.replicas,
        "losses": losses,
        "pointer": int(to_numpy(model.key_queue.pointer)),
        "queue": to_numpy(model.key_queue.keys).tolist(),
        "weights": hashlib.sha256(b"".join(to_numpy(v).tobytes() for v in shared)).hexdigest(),
    }


if __name__ == "__main__":
    print(json.dumps(train(**json.loads(sys.argv[1]))), flush=True)
