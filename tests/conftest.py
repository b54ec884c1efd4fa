"""The suite runs once per backend: `KERAS_BACKEND=jax pytest`."""

import gc
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest
import tensorflow as tf

# two devices for the tests of replicas, before anything touches the one that there is
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(scope="session", autouse=True)
def cheap_collection():
    """`fresh_state` collects garbage before each test: it need not search what the imports made."""
    gc.freeze()


@pytest.fixture(autouse=True)
def fresh_state():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    yield
