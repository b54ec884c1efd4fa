"""Pictures on a canvas with the parameters of their views: what a model makes views of on its device."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.data import canvas as canvases
from keras_leoclr.data.canvas import Canvas, canvas_of
from keras_leoclr.views import sampling
from tests.case import random_images

pytestmark = pytest.mark.backend_free
LAYER = kl.LeOCLRViews(16, crop_scale=(0.3, 1.0), jit_compile=False)
PICTURES = [np.random.default_rng(n).integers(0, 256, (20 + 7 * n, 64 - 5 * n, 3), "uint8") for n in range(9)]


def stream(pictures):
    """A stream of pictures of many sizes."""
    spec = tf.TensorSpec((None, None, pictures[0].shape[-1]), pictures[0].dtype)
    return tf.data.Dataset.from_generator(lambda: iter(pictures), output_signature=spec)


def on_device(source, batch_size=3, **options):
    options = {"seed": 3, "shuffle_buffer": 9, "views_on": "device", **options}
    return kl.data.view_dataset(source, LAYER, batch_size, **options)


def collect(dataset) -> list[dict[str, np.ndarray]]:
    return list(dataset.as_numpy_iterator())


def assert_same(actual, expected):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            assert one[name].dtype == value.dtype, name
            np.testing.assert_array_equal(one[name], value, err_msg=name)


def test_a_batch_is_what_a_model_with_views_takes():
    (batch,) = collect(on_device(stream(PICTURES), 9))
    assert batch["image"].dtype == np.uint8 and batch["image"].shape[3] == 3
    assert batch["size"].dtype == np.int32 and batch["size"].shape == (9, 2)
    assert batch["query_parameters"].shape == (9, 11) and batch["key_parameters"].shape == (9, 2, 11)
    shown = sorted(
        image[:height, :width].tobytes()
        for image, (height, width) in zip(batch["image"], batch["size"], strict=True)
    )
    canvas = Canvas(*batch["image"].shape[1:3])
    assert shown == sorted(canvas.reduced(picture).tobytes() for picture in PICTURES)
    for image, (height, width) in zip(batch["image"], batch["size"], strict=True):
        assert not image[height:].any() and not image[:, width:].any()


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_parameters_are_those_of_the_draws_of_the_host(kind):
    images = random_images(9, 20, 20)
    source = kl.data.load({"image": images}) if kind == "array" else stream(PICTURES)
    for number, batch in enumerate(collect(on_device(source))):
        epoch_seed = tf.random.fold_in(tf.constant([3, 0], tf.int64), tf.constant(0, tf.int64))
        draws = LAYER.draw(3, tf.random.fold_in(epoch_seed, tf.constant(number, tf.int64)))
        for row in range(3):
            own = tf.nest.map_structure(lambda rows, row=row: rows[row], draws)
            height, width = batch["size"][row]
            for name, layer in (("query", LAYER.query_view), ("key", LAYER.key_view)):
                drawn = own["query" if name == "query" else "keys"]
                expected = sampling.packed(
                    {name: np.asarray(v) for name, v in layer.parameters(drawn, height, width).items()}
                )
                actual = batch[f"{name}_parameters"][row].reshape(expected.shape)
                np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_epochs_restarts_and_shards_are_as_on_the_host(kind):
    source = kl.data.load({"image": random_images(9, 20, 20)}) if kind == "array" else stream(PICTURES)
    options = {"batch_size": 4, "permute_keys": True}
    whole = on_device(source, **options)
    first, second = collect(whole), collect(whole)
    assert any((a["image"] != b["image"]).any() for a, b in zip(first, second, strict=True))
    assert_same(collect(on_device(source, **options, initial_epoch=1, initial_batch=1)), second[1:])
    host = kl.data.view_dataset(source, LAYER, 4, seed=3, shuffle_buffer=9, permute_keys=True)
    for one, other in zip(first, collect(host), strict=True):
        np.testing.assert_array_equal(one["permutation"], other["permutation"])
    parts = [collect(on_device(source, **options, shard=(index, 2))) for index in range(2)]
    for batch, *own in zip(first, *parts, strict=True):
        for name in batch.keys() - {"permutation"}:
            np.testing.assert_array_equal(np.concatenate([part[name] for part in own]), batch[name])
        assert sorted(np.concatenate([part["permutation"] for part in own])) == [0, 1, 2, 3]


def test_floats_are_rounded_and_grey_stays_one_channel():
    images = np.random.default_rng(0).uniform(-5, 260, (4, 6, 6, 1)).astype("float32")
    (batch,) = collect(on_device(kl.data.load({"image": images}), 4, shuffle_buffer=1))
    np.testing.assert_array_equal(batch["image"], np.rint(images.clip(0, 255)).astype("uint8"))


def test_a_picture_that_does_not_fit_is_reduced_with_the_ratio_of_its_sides(tmp_path):
    for number, (height, width) in enumerate([(400, 300), (30, 50), (1, 1), (700, 7)]):
        Image.fromarray(random_images(1, height, width)[0]).save(tmp_path / f"{number}.png")
    source = kl.data.load(tmp_path, progress=False)
    (batch,) = collect(on_device(source, 4, canvas=(40, 40)))
    assert batch["image"].shape == (4, 40, 40, 3)
    assert sorted(map(tuple, batch["size"])) == [(1, 1), (24, 40), (40, 1), (40, 30)]
    boxes = batch["key_parameters"][..., :4]
    assert (boxes[..., 2:] >= 1).all()
    ends = boxes[..., :2] + boxes[..., 2:]
    assert (ends <= batch["size"][:, None]).all()


def test_large_jpegs_are_decoded_no_larger_than_they_are_needed(tmp_path, monkeypatch):
    Image.fromarray(random_images(1, 640, 480)[0]).save(tmp_path / "one.jpg")
    source = kl.data.load(tmp_path, progress=False)
    seen = []
    monkeypatch.setattr(
        Canvas, "reduced", lambda self, picture: seen.append(picture.shape) or picture[:40, :30]
    )
    collect(on_device(source, 1, canvas=(40, 40)))
    assert seen == [(80, 60, 3)]  # an eighth, which is more than the canvas has


@pytest.mark.parametrize(
    "shape, sizes, least, expected",
    [
        ((28, 30, 1), None, 10**6, (28, 30)),  # an array has its own size
        ((900, 30, 3), None, 30000, (208, 30)),
        ((None, None, 3), [(20, 33), (17, 31)], 10**6, (32, 48)),  # multiples of 16 hold the largest sides
        ((None, None, 3), [(2000, 33), (17, 3100)], 30000, (208, 208)),
        ((None, None, 3), None, 30000, (208, 208)),  # of a stream nobody knows the sizes
        ((64, None, 3), None, 30000, (64, 208)),
    ],
)
def test_the_canvas_holds_the_pictures_up_to_what_crops_need(shape, sizes, least, expected):
    assert canvas_of(None, shape, None if sizes is None else np.array(sizes), least) == expected
    assert canvas_of((5, 6), shape, None, least) == (5, 6)


def test_pictures_of_4_to_3_keep_the_pixels_of_their_smallest_crop():
    least = kl.LeOCLRViews(224).settings.least_pixels
    canvas = canvas_of(None, (None, None, 3), None, least)
    height, width = canvas.fitting(3000, 4000)
    assert height * width >= least and canvas == (672, 672)
    assert kl.CropToOriginalViews(224).settings.least_pixels == least


def test_bad_canvases_are_refused_by_name(monkeypatch):
    source = kl.data.load({"image": random_images(9, 20, 20)})
    for canvas in [(0, 4), (4,), 7, (4.0, 5), "ab", (True, 3)]:
        with pytest.raises(ValueError, match="`canvas` must be two whole numbers >= 1.*Received: canvas="):
            on_device(source, canvas=canvas)
    with pytest.raises(ValueError, match=r"`canvas` must have 178,956,970 pixels or fewer.*\(20000, 20000\)"):
        on_device(source, canvas=(20000, 20000))
    with pytest.raises(
        ValueError, match='`canvas` may be given with `views_on="device"` alone.* Received: canvas=\\(4, 4\\)'
    ):
        on_device(source, canvas=(4, 4), views_on="host")
    with pytest.raises(ValueError, match="`canvas` must be given.*pictures of unknown sizes"):
        canvas_of(None, (None, None, 3), None, None)
    monkeypatch.setattr(canvases, "free_memory", lambda: 10**6)
    rule = (
        r"`canvas` must fit into memory: a batch of 3 pictures of 300 x 300 pixels has 810,000 bytes, and 6 "
    )
    with pytest.raises(
        ValueError, match=rule + r".*4,860,000 bytes of 1,000,000 that are free.*canvas=\(300"
    ):
        on_device(source, canvas=(300, 300))


def test_free_memory_is_a_number_of_bytes():
    assert canvases.free_memory() > 2**20


def test_functions_of_the_users_and_other_places_are_refused_by_name():
    source = kl.data.load({"image": random_images(9, 20, 20)})
    with pytest.raises(ValueError, match="`views` must be a layer such as LeOCLRViews.*views_on='device'"):
        kl.data.view_dataset(source, lambda images, seed: images, 3, views_on="device")
    with pytest.raises(ValueError, match='`views_on` must be "host" or "device". Received: views_on=\'gpu\''):
        on_device(source, views_on="gpu")
    spec = tf.TensorSpec((None, None, None), tf.uint8)
    unknown = tf.data.Dataset.from_generator(lambda: iter(PICTURES), output_signature=spec)
    with pytest.raises(ValueError, match="`source` must have images of 1 or 3 channels, last"):
        on_device(unknown)
