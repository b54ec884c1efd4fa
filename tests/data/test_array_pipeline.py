"""Pictures in memory without tf.data: the batches of `view_dataset`, in order and resumable."""

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import random_images
from tests.data.test_canvas import LAYER, PICTURES, assert_same, collect, on_device, stream

backend_free = pytest.mark.backend_free


def in_memory(images, batch_size=3, **options):
    made = kl.data.array_batches(images, LAYER, batch_size, **{"seed": 3, **options})
    return getattr(made, "batches", made)  # where TensorFlow is the backend, they come through tf.data


@backend_free
@pytest.mark.parametrize("options", [{}, {"shuffle_buffer": 4, "permute_keys": True, "seed": -7}])
@pytest.mark.parametrize("kind", ["array", "floats", "many sizes"])
def test_batches_are_those_of_tf_data_to_the_bit(kind, options):
    images = random_images(9, 20, 20)
    images = {"array": images, "floats": images.astype("float32") - 0.3, "many sizes": PICTURES}[kind]
    source = stream(PICTURES) if kind == "many sizes" else kl.data.load({"image": images})
    given = {} if kind == "many sizes" else options
    given = {"canvas": (48, 40), **given} if kind == "many sizes" else given
    expected, actual = on_device(source, **{"shuffle_buffer": 9, **given}), in_memory(images, **given)
    for _ in range(2):
        assert_same(list(actual), collect(expected))


@backend_free
def test_a_pass_starts_at_any_batch_of_any_epoch_and_shards_make_it_together():
    images, options = random_images(9, 20, 20), {"batch_size": 2, "permute_keys": True}
    whole = in_memory(images, **options)
    first, second, third = list(whole), list(whole), list(whole)
    restarted = in_memory(images, **options, initial_epoch=1, initial_batch=3, prefetch=0)
    assert len(restarted) == 1
    assert_same(list(restarted), second[3:])
    assert_same(list(restarted), third)
    for index in range(2):
        own = collect(on_device(kl.data.load({"image": images}), **options, shard=(index, 2)))
        assert_same(list(in_memory(images, **options, shard=(index, 2))), own)
    assert any((a["image"] != b["image"]).any() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("shuffle", [True, False])
def test_fit_takes_the_batches_in_their_order_and_epoch_after_epoch(shuffle):
    class Seen(keras.Model):
        def __init__(self):
            super().__init__()
            self.built = True
            self.rows = []

        def train_step(self, *args):
            *state, data = args
            batch = keras.utils.unpack_x_y_sample_weight(data)[0]
            self.rows.append(keras.ops.convert_to_numpy(batch["query_parameters"]))
            logs = {"loss": keras.ops.zeros(())}
            return (logs, *state) if state else logs

    images = random_images(9, 20, 20)
    model = Seen()
    model.compile(run_eagerly=True, jit_compile=False)
    model.fit(kl.data.array_batches(images, LAYER, 3, seed=3), epochs=3, shuffle=shuffle, verbose=0)
    expected = in_memory(images)
    rows = [batch["query_parameters"] for _ in range(3) for batch in expected]
    np.testing.assert_array_equal(model.rows, rows)


@backend_free
def test_a_pass_that_starts_within_an_epoch_needs_a_fit_of_its_own():
    # Keras counts the batches once for all epochs: it would take one of the next, and then the same again.
    batches = in_memory(random_images(9, 20, 20), initial_epoch=4, initial_batch=2)
    batches.on_epoch_begin()
    assert_same([batches[0]], [batches.batch(4, 2)])
    refused = r"`initial_batch` must be 0 in .*last 1 batches .*initial_epoch=5.*Received: initial_batch=2"
    with pytest.raises(ValueError, match=refused):
        batches.on_epoch_begin()


@backend_free
def test_bad_pictures_are_refused_by_name():
    def refused(rule, images, **options):
        with pytest.raises(ValueError, match=rule):
            in_memory(images, **options)

    good = random_images(9, 20, 20)
    refused(r"`images` must be an array \(N, H, W, C\).*Received: an array of shape \(20, 20, 3\)", good[0])
    refused("`images` must be an array .*Received: str", "pictures")
    refused(
        r"`images` must have 1 or 3 channels.*picture 1 of shape \(9, 9, 1\)", [good[0], good[0, :9, :9, :1]]
    )
    refused("`images` must be uint8 or float.*images.dtype=int64", good.astype("int64"))
    refused(r"`images` must have pixels in \[0, 255\]; multiply", good.astype("float32") / 255)
    refused("`images` must have pictures of 1 to 399 pixels.*20 x 20 pixels$", good, max_pixels=399)
    refused("`images` must have pictures of .*0 x 5 pixels in picture 1", [good[0], good[0, :0, :5]])
    refused(
        "`batch_size` must not be larger than the number of images.*batch_size=10, 9 images",
        good,
        batch_size=10,
    )
    refused(r"`shard` must be \(index, count\).*shard=\(2, 2\)", good, batch_size=4, shard=(2, 2))
    refused("`seed` must be a whole number of 64 bits. Received: seed=1.5", good, seed=1.5)
    refused("`initial_batch` must be smaller than.*initial_batch=4, 3 batches", good, initial_batch=4)
    with pytest.raises(ValueError, match="`views` must be a layer such as LeOCLRViews"):
        kl.data.array_batches(good, lambda images, seed: images, 3)
    with pytest.raises(IndexError, match=r"`index` must be in \[0, 3\). Received: index=3"):
        in_memory(good)[3]
