"""Images of floats must be pixels in [0, 255]; what is not is refused with the range that was seen."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.views.preprocessing import Preprocessing

pytestmark = pytest.mark.backend_free

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype("float32")
WITH_NAN = PIXELS.copy()
WITH_NAN[33, 2, 2, 1] = np.nan
WITH_INFINITY = PIXELS.copy()
WITH_INFINITY[0, 0, 0, 0] = -np.inf

VIEWS = kl.LeOCLRViews(image_size=8)
WRONG = [
    (
        PIXELS / 255,
        r"pixels in \[0, 255\]; multiply images in \[0, 1\] by 255. Received: values from 0 to 1 in",
    ),
    (PIXELS / 127.5 - 1, r"pixels in \[0, 255\]. Received: values from -1 to 1 in \d+ images"),
    (PIXELS / 64 - 2, r"pixels in \[0, 255\]. Received: values from -2 to 1.98\d* in \d+ images"),
    (PIXELS * 257, r"pixels in \[0, 255\]. Received: values from 0 to 6.5\d+e\+04 in"),
    (PIXELS - 127, r"pixels in \[0, 255\]. Received: values from -127 to 128 in"),
    (WITH_NAN, "finite pixels. Received: NaN or infinity in image 33"),
    (WITH_INFINITY, "finite pixels. Received: NaN or infinity in image 0"),
]


def stream(images):
    return tf.data.Dataset.from_tensor_slices({"image": images, "label": np.zeros(len(images), "int64")})


@pytest.mark.parametrize(("images", "words"), WRONG)
def test_arrays_are_refused_by_load(images, words):
    with pytest.raises(ValueError, match=f"`image` must have {words}"):
        kl.data.load({"image": images})
    with pytest.raises(ValueError, match=f"`train_image` must have {words}"):
        kl.data.load({"train_image": images})


@pytest.mark.parametrize(("images", "words"), [each for each in WRONG if each[0] is not WITH_NAN])
@pytest.mark.parametrize("read", [kl.data.view_dataset, kl.data.image_batches])
def test_streams_are_refused_by_a_look_at_the_first(read, images, words):
    with pytest.raises(ValueError, match=f"`source` must have {words}"):
        read(stream(images), VIEWS, 8)


def test_a_later_image_of_a_stream_that_is_not_finite_stops_the_batches():
    batches = kl.data.view_dataset(stream(WITH_NAN), VIEWS, 8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`source` must have finite pixels"):
        list(batches)


def test_pixels_pass_and_so_do_overshoots_black_images_and_bytes():
    resized = PIXELS.copy()
    resized[0, 0, 0], resized[1, 0, 0] = -20, 270
    for images in (
        PIXELS,
        resized,
        np.zeros_like(PIXELS),
        PIXELS.astype("uint8"),
        PIXELS.astype("uint8") // 255,
        PIXELS // 64,  # nearly black, 0 to 3
    ):
        assert kl.data.load({"image": images}).count == 40
        kl.data.view_dataset(stream(images), VIEWS, 8)
    # dark ones that come first do not matter in an array, all of which is looked at
    assert kl.data.load({"image": np.concatenate([PIXELS[:35] / 255, PIXELS])}).count == 75


def test_a_layer_of_the_users_may_take_any_values():
    layer = type("Layer", (), {"preprocess": staticmethod(lambda images: images)})()
    images, _ = next(iter(kl.data.image_batches(stream(PIXELS / 255), layer, 8)))
    np.testing.assert_array_equal(images, (PIXELS / 255)[:8])
    with pytest.raises(ValueError, match="`source` must have pixels"):
        kl.data.image_batches(stream(PIXELS / 255), Preprocessing(8), 8)


def test_the_command_names_the_range_and_pretraining_refuses_it(tmp_path, capsys):
    np.savez(tmp_path / "right.npz", image=PIXELS)
    np.savez(tmp_path / "wrong.npz", image=PIXELS / 255)
    assert cli.main(["leoclr", "data", str(tmp_path / "right.npz")]) == 0
    assert "values      0 to 255 in the first 40" in capsys.readouterr().out
    wrong = str(tmp_path / "wrong.npz")
    for command in (
        ["data", wrong],
        [
            "pretrain",
            "image_folder",
            "--dataset",
            wrong,
            "--workdir",
            str(tmp_path / "run"),
            "--preset",
            "smoke",
        ],
    ):
        assert cli.main(["leoclr", *command]) != 0
        printed = capsys.readouterr()
        assert "Received: values from 0 to 1 in 40 images" in printed.err + printed.out
    assert not (tmp_path / "run" / "results.jsonl").exists()
