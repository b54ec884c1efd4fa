"""Training steps of this library in a process of its own: what `step.py` measures.

Reads one JSON request per line and answers with images/s; KERAS_BACKEND chooses the backend.
"""

import contextlib
import functools
import os
import time

import keras
import numpy as np
import tensorflow as tf
from turns import answer, peak_memory_of

import keras_leoclr as kl
from keras_leoclr.tensorflow_host import untuned

BACKEND = keras.backend.backend()


def backbone(network, size):
    if network == "small":
        return kl.backbones.resnet_small((size, size, 3), widths=(16, 32, 64), stem="cifar")
    return getattr(kl.backbones, network)((size, size, 3))


def batch_of(size, batch, views):
    rng = np.random.default_rng(0)
    return {
        "query": rng.standard_normal((batch, size, size, 3), dtype="float32"),
        "keys": rng.standard_normal((batch, views, size, size, 3), dtype="float32"),
    }


@functools.cache
def model_of(network, size, batch, queue, views, policy, jit_compile, replicas):
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(policy)
    strategy = None
    if replicas > 1 and BACKEND == "tensorflow":
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    if replicas > 1 and BACKEND == "jax":
        devices = keras.distribution.list_devices("cpu")[:replicas]
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    with strategy.scope() if strategy else contextlib.nullcontext():
        network = backbone(network, size)
        optimizer = kl.optimizers.SGD(0.03, momentum=0.9, weight_decay=1e-4)
    model = kl.LeOCLR(network, queue_size=queue)
    model.compile(optimizer=optimizer, jit_compile=jit_compile)
    keras.config.set_dtype_policy("float32")
    return model


def steps_per_second(steps, **setting):
    """Steps of `fit` on one batch that is in memory."""
    setting = {"views": 2, "policy": "float32", "jit_compile": "auto", "replicas": 1, **setting}
    model = model_of(**setting)
    data = tf.data.Dataset.from_tensors(batch_of(setting["size"], setting["batch"], setting["views"]))
    data = untuned(data)
    if not hasattr(model, "warm"):
        model.fit(data.repeat(2), verbose=0, shuffle=False)
        model.warm = True
    started = time.perf_counter()
    model.fit(data.repeat(steps), verbose=0, shuffle=False)
    return steps / (time.perf_counter() - started)


@functools.cache
def bare(**setting):
    """Forward and backward of the query encoder, and a forward in training mode for each key view."""
    model = model_of(**setting)
    query, keys = map(model._in_training, (model.query_encoder, model.key_encoder))
    views = setting["views"]

    if BACKEND == "tensorflow":

        @tf.function(jit_compile=model.jit_compile)
        def step(data):
            made = [keys(data["keys"][:, view], training=True) for view in range(views)]
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(query(data["query"], training=True))
            return tape.gradient(loss, query.trainable_variables), made

        return step

    if BACKEND == "jax":
        import jax

        def values(variables):
            return [v.value for v in variables]

        trained, state = values(query.trainable_variables), values(query.non_trainable_variables)
        key_trained, key_state = values(keys.trainable_variables), values(keys.non_trainable_variables)

        def loss(trained, state, images):
            outputs, state = query.stateless_call(trained, state, images, training=True)
            return outputs.sum(), state

        @jax.jit
        def jitted(trained, state, key_state, data):
            made = []
            for view in range(views):
                outputs, key_state = keys.stateless_call(
                    key_trained, key_state, data["keys"][:, view], training=True
                )
                made.append(outputs)
            (_, state), gradients = jax.value_and_grad(loss, has_aux=True)(trained, state, data["query"])
            return gradients, state, key_state, made

        return lambda data: jax.block_until_ready(jitted(trained, state, key_state, data))

    import torch

    def eager(data):
        with torch.no_grad():
            for view in range(views):
                keys(data["keys"][:, view], training=True)
        loss = query(data["query"], training=True).sum()
        loss.backward()
        query.zero_grad()

    return eager


def bare_per_second(steps, **setting):
    """Steps of `bare` on one batch."""
    setting = {"views": 2, "policy": "float32", "jit_compile": "auto", "replicas": 1, **setting}
    step = bare(**setting)
    data = batch_of(setting["size"], setting["batch"], setting["views"])
    data = {name: keras.ops.convert_to_tensor(value) for name, value in data.items()}
    step(data)
    started = time.perf_counter()
    for _ in range(steps):
        made = step(data)
    if BACKEND == "tensorflow":
        made[1][0].numpy()
    return steps / (time.perf_counter() - started)


def peak_memory(**setting):
    """Bytes that training needs beyond what the imports have taken."""
    return peak_memory_of(lambda: steps_per_second(4, **setting))


def main():
    if BACKEND == "tensorflow" and os.environ.get("REPLICAS"):
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * int(os.environ["REPLICAS"]),
        )
    kinds = {"step": steps_per_second, "parts": bare_per_second, "memory": peak_memory}
    answer(kinds)


if __name__ == "__main__":
    main()
