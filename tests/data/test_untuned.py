"""No data set of the library is tuned by tf.data, whose thread can hold up the end of a pass."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.data.waiting import Waiting
from keras_leoclr.evaluation.batches import labelled_batches
from keras_leoclr.tensorflow_host import untuned
from tests.case import random_images

pytestmark = pytest.mark.backend_free
SPEC = {"image": random_images(8, 20, 20), "label": np.arange(8) % 2}


def tuned(dataset) -> bool:
    return dataset.options().autotune.enabled is not False


def stream():
    return tf.data.Dataset.from_tensor_slices(SPEC)


def of_many_sizes():
    signature = {"image": tf.TensorSpec((None, 20, 3), tf.uint8), "label": tf.TensorSpec((), tf.int64)}
    return tf.data.Dataset.from_generator(
        lambda: ({"image": image[: 20 - number], "label": 0} for number, image in enumerate(SPEC["image"])),
        output_signature=signature,
    )


@pytest.fixture
def folder(tmp_path):
    for number, image in enumerate(SPEC["image"]):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / str(number % 2) / f"{number}.png")
    return tmp_path


def test_a_data_set_of_others_is_tuned_until_it_is_untuned():
    assert tuned(stream())
    assert not tuned(untuned(stream()).map(lambda element: element).batch(2).prefetch(1))


@pytest.mark.parametrize("of", ["arrays", "a folder", "a stream", "many sizes"])
def test_what_is_made_of_a_source_is_not_tuned(of, folder):
    made = {
        "arrays": lambda: kl.data.load(SPEC),
        "a folder": lambda: kl.data.load(folder, progress=False),
        "a stream": stream,
        "many sizes": of_many_sizes,
    }
    views = kl.LeOCLRViews(16, jit_compile=False)
    buffer = 8 if of == "many sizes" else None
    batches = {
        "view_dataset": kl.data.view_dataset(made[of](), views, 4, shuffle_buffer=buffer),
        "image_batches": kl.data.image_batches(made[of](), views, 4),
        "one pass": labelled_batches(made[of](), lambda images, seed: images, 4),
        "passes": labelled_batches(made[of](), lambda images, seed: images, 4, epochs=2),
    }
    if of in ("arrays", "a folder"):
        source = made[of]()
        batches["source"] = source.dataset
        batches["a part"] = source.take(3).dataset
    assert [name for name, each in batches.items() if tuned(each)] == []
    assert not tuned(Waiting().watch(batches["view_dataset"]))


def test_batches_of_arrays_are_not_tuned():
    made = kl.data.array_batches(SPEC["image"], kl.LeOCLRViews(16, jit_compile=False), 4)
    if keras.backend.backend() == "tensorflow":
        assert not tuned(made)
    else:
        assert not isinstance(made, tf.data.Dataset)
