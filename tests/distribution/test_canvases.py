"""Models that make the views of their batches themselves, from images and parameters."""

import contextlib
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.distribution import canvases
from keras_leoclr.views import device, sampling
from tests.case import batched, random_images, small_model, to_numpy

BACKEND = keras.backend.backend()
REPLICAS = 2
on_tensorflow = pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")


def views_layer(size=8, **options):
    return kl.LeOCLRViews(size, **{"crop_scale": (0.3, 1.0), **options})


def images_and_parameters(views, batches=2, batch_size=8, permuted=False):
    """Batches one after the other, as arrays: pictures of many sizes on a canvas and their parameters."""
    count, rng = batches * batch_size, np.random.default_rng(0)
    sizes = rng.integers(4, 13, (count, 2)).astype("int32")
    draws = sampling.draw_pair(views.settings, count, [0, 1])
    batch = {
        "image": random_images(count, 12, 13),
        "size": sizes,
        **sampling.packed_pair(views.settings, draws, sizes[:, 0], sizes[:, 1]),
    }
    if permuted:
        order = [rng.permutation(batch_size) for _ in range(batches)]
        batch["permutation"] = np.concatenate(order).astype("int32")
    return batch


def made_beforehand(views, batch, batch_size=8):
    """The views of such batches as a host would hand them over, key views in the order of a permutation."""
    tensors = {name: keras.ops.convert_to_tensor(batch[name]) for name in canvases.ENTRIES}
    made = {k: to_numpy(v) for k, v in device.views_of_batch(views.settings, tensors).items()}
    if "permutation" in batch:
        first = np.arange(len(batch["permutation"])) // batch_size * batch_size
        made["keys"] = made["keys"][first + batch["permutation"]]
        made["permutation"] = batch["permutation"]
    return made


@functools.cache
def one_device_data(permuted):
    views = views_layer()
    batch = images_and_parameters(views, permuted=permuted)
    return batch, made_beforehand(views, batch)


@contextlib.contextmanager
def replicas():
    """A scope for a model of two logical devices."""
    if BACKEND == "tensorflow":
        from tests.distribution.replicas import mirrored

        yield mirrored().scope()
        return
    engine = keras.distribution.DataParallel(devices=keras.distribution.list_devices("cpu")[:REPLICAS])
    keras.distribution.set_distribution(engine)
    try:
        yield contextlib.nullcontext()
    finally:
        keras.distribution.set_distribution(None)


def trained(data, scope=None, views=None, jit_compile="auto", bn_groups=1):
    """Losses of an epoch of batches of 8, and the weights at its end."""
    keras.utils.set_random_seed(1)
    with scope or contextlib.nullcontext():
        backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        optimizer = kl.optimizers.SGD(0.05, momentum=0.9)
    model = kl.LeOCLR(backbone, 8, queue_size=24, temperature=0.5, views=views, bn_groups=bn_groups)
    model.compile(optimizer=optimizer, jit_compile=jit_compile)
    record = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda _, logs: record.append(logs["loss"]))
    model.fit(data, batch_size=8, verbose=0, shuffle=False, callbacks=[callback])
    return np.array(record), [to_numpy(v) for v in model.query_encoder.trainable_variables]


def assert_same_training(one, other):
    np.testing.assert_allclose(one[0], other[0], rtol=1e-4)
    for ours, theirs in zip(one[1], other[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


@functools.cache
def trained_on_one_device():
    """With views made beforehand, key views permuted between two groups."""
    return trained(one_device_data(True)[1], bn_groups=2)


def test_views_made_within_the_step_train_as_those_made_beforehand():
    batch, _ = one_device_data(True)
    assert_same_training(trained(batch, views=views_layer(), bn_groups=2), trained_on_one_device())


def test_a_model_takes_canvases_of_several_sizes():
    batch = {name: rows[:8] for name, rows in one_device_data(True)[0].items()}
    keras.utils.set_random_seed(1)
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(4, 8))
    model = kl.LeOCLR(backbone, 8, queue_size=24, views=views_layer())
    model.compile(kl.optimizers.SGD(0.05))

    def loss(*more):
        image = np.pad(batch["image"], [(0, 0), *((0, side) for side in more), (0, 0)])
        return float(model.test_on_batch({**batch, "image": image}, return_dict=True)["loss"])

    np.testing.assert_allclose([loss(0, 0), loss(3, 2), loss(1, 7)], loss(0, 0), rtol=1e-5)


@on_tensorflow
def test_the_step_that_makes_views_compiles_with_xla():
    batch, _ = one_device_data(True)
    within = trained(batch, views=views_layer(), jit_compile=True, bn_groups=2)
    assert_same_training(within, trained_on_one_device())


@pytest.mark.skipif(BACKEND == "torch", reason="the torch backend trains on one device")
def test_replicas_make_the_views_that_one_device_makes():
    batch, _ = one_device_data(True)
    with replicas() as scope:
        many = trained(batched(batch), scope, views_layer())
    assert_same_training(many, trained_on_one_device())


def test_evaluate_and_predict_make_views_too():
    batch, made = one_device_data(False)
    model, plain = small_model(views=views_layer()), small_model()
    plain.set_weights(model.get_weights())
    ours = model.evaluate(batched(batch), verbose=0, return_dict=True)
    theirs = plain.evaluate(batched(made), verbose=0, return_dict=True)
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(
        model.predict(batched(batch), verbose=0),
        model.predict(made["query"], batch_size=8, verbose=0),
        atol=1e-5,
    )


def test_views_are_handed_over_in_the_models_compute_type():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small_model(views=views_layer())
        batch, _ = one_device_data(False)
        first = {name: keras.ops.convert_to_tensor(value[:8]) for name, value in batch.items()}
        made = model._views_of(first)
        assert {keras.backend.standardize_dtype(v.dtype) for v in made.values()} == {"bfloat16"}
    finally:
        keras.config.set_dtype_policy(policy)


def test_a_saved_model_keeps_its_views(tmp_path):
    model = small_model(views=views_layer(blur_probability=0.3))
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.views.settings == model.views.settings
    batch = {name: value for name, value in one_device_data(False)[0].items() if name != "made_for"}
    one, other = (m.predict(batched(batch), verbose=0) for m in (model, copy))
    np.testing.assert_allclose(one, other, atol=1e-6)


# === Batches that are none ===


def refused(batch, match, **options):
    model = small_model(**{"views": views_layer(), **options})
    with pytest.raises(ValueError, match=match):
        model._views_of({name: keras.ops.convert_to_tensor(value) for name, value in batch.items()})


def test_a_batch_without_parameters_is_refused():
    batch, _ = one_device_data(False)
    refused(
        {"image": batch["image"], "size": batch["size"]},
        'must be a dictionary with "image", "size", "query_parameters", "key_parameters", as `data'
        r".*Received: \['image', 'size'\]",
    )
    with pytest.raises(ValueError, match="Received: tuple|list"):
        small_model(views=views_layer())._views_of(([1], [2]))


def test_parameters_for_another_number_of_key_views_are_refused():
    batch, _ = one_device_data(False)
    refused(
        batch,
        r"which make 3 key views of an image. Received: .*key_parameters \(16, 2, 11\)",
        views=views_layer(num_crops=3),
    )


def test_parameters_of_other_settings_are_refused():
    batch, _ = one_device_data(False)
    refused(
        batch,
        "make the data set with model.views. Received: parameters of other settings than .*image_size=16",
        views=views_layer(16),
    )


def test_images_without_a_model_that_makes_views_are_refused():
    batch, _ = one_device_data(False)
    refused(batch, r"needs a model that makes the views, LeOCLR\(views=...\)", views=None)


def test_images_of_another_rank_are_refused():
    batch, _ = one_device_data(False)
    refused({**batch, "image": batch["image"][..., 0]}, r'"image" must be \(B, H, W, C\).*Received: image')


def test_images_with_other_channels_than_the_views_are_refused():
    batch, _ = one_device_data(False)
    wrong = {**batch, "image": batch["image"][..., :2]}
    refused(wrong, r"with C 1 or 3, as the `mean` of the views has, .*Received: image \(\d+, 12, 13, 2\)")


def test_views_of_five_channels_are_those_of_each_channel_by_itself():
    options = {"color_jitter": (0.4, 0.4, 0.0, 0.0), "grayscale_probability": 0.0}
    many, one = (views_layer(mean=(0.5,) * c, std=(0.25,) * c, **options) for c in (5, 1))
    batch = images_and_parameters(many, batches=1)
    images = random_images(8, 12, 13, channels=5)

    def made(views, image):
        parts = {name: image if name == "image" else batch[name] for name in canvases.ENTRIES}
        tensors = {name: keras.ops.convert_to_tensor(part) for name, part in parts.items()}
        return {name: to_numpy(each) for name, each in canvases.views_of(views, tensors, "float32").items()}

    found = made(many, images)
    for channel in range(5):
        alone = made(one, images[..., channel : channel + 1])
        for name in ("query", "keys"):
            np.testing.assert_allclose(found[name][..., [channel]], alone[name], atol=2e-5)


def test_views_without_settings_are_refused():
    with pytest.raises(ValueError, match="a function of your own belongs into `data.view_dataset`"):
        small_model(views=lambda images, seed: images)


# === What is exchanged ===


@on_tensorflow
@pytest.mark.parametrize("width", [4, 5])
def test_bytes_are_exchanged_between_replicas_as_they_are(width):
    from tests.distribution.replicas import mirrored
    from tools.kernel_audit import audit, without_kernel

    images = random_images(4, 3, width)
    images[0, :, :4, 0] = 255  # as numbers, their bits would be no numbers
    strategy = mirrored()
    dataset = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(images).batch(4))

    @tf.function
    def gathered(part):
        return strategy.run(lambda own: canvases._permuted(own, tf.constant([2, 0, 3, 1])), (part,))

    part = next(iter(dataset))
    for copy in strategy.experimental_local_results(gathered(part)):
        np.testing.assert_array_equal(copy, images[[2, 0, 3, 1]])
    graph = gathered.get_concrete_function(part).graph
    kinds = {each.kind for each in audit(graph, small=10)}
    assert {"CollectiveGatherV2", "GatherV2", "Bitcast"} <= kinds
    assert without_kernel(graph, small=10) == []
