"""The suite runs once per backend: `KERAS_BACKEND=jax pytest`."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest


@pytest.fixture(autouse=True)
def fresh_state():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    yield
