"""Arrays, .npz files and the data set that comes with the package."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.data.given import GivenImages
from keras_leoclr.data.splits import SplitError
from keras_leoclr.evaluation import labels
from tests.case import random_images
from tests.sources import as_numpy, numbers

pytestmark = pytest.mark.backend_free

BUNDLED = pathlib.Path(kl.data.__file__).parent / "fashion_mnist"


@pytest.mark.parametrize(("split", "per_class"), [("train", 1000), ("test", 200)])
def test_bundled_set_is_whole_and_balanced(split, per_class):
    elements = as_numpy(kl.data.load("fashion_mnist", split).batch(100_000))[0]
    assert elements["image"].shape == (10 * per_class, 28, 28, 1)
    assert elements["image"].dtype == np.uint8
    assert np.bincount(elements["label"]).tolist() == [per_class] * 10


def test_bundled_set_is_small_licensed_and_documented():
    assert sum(path.stat().st_size for path in BUNDLED.glob("*.npz")) <= 6e6
    assert "MIT" in (BUNDLED / "LICENSE").read_text()
    assert "github.com/zalandoresearch/fashion-mnist" in (BUNDLED / "README.md").read_text()
    assert (BUNDLED / "pack.py").is_file()


def test_packing_script_keeps_the_first_images_of_each_class():
    from keras_leoclr.data.fashion_mnist import pack

    labels = np.array([1, 0, 1, 1, 0, 0], np.uint8)
    np.testing.assert_array_equal(pack.first_of_each_class(labels, 2), [0, 1, 2, 4])


def test_npz_with_splits(tmp_path):
    np.savez(
        tmp_path / "own.npz",
        train_image=random_images(5),
        train_label=np.arange(5),
        test_image=random_images(3, channels=1),
    )
    train = as_numpy(kl.data.load(tmp_path / "own.npz", "train"))
    assert [int(e["label"]) for e in train] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(train[2]["image"], random_images(5)[2])
    test = as_numpy(kl.data.load(tmp_path / "own.npz", "test"))
    assert len(test) == 3 and set(test[0]) == {"image"}


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"pictures": random_images()},
            r"must hold an array `image` or `train_image`. Received: split='train', arrays pict",
        ),
        ({"image": random_images()[0]}, r"must be \(N, H, W, C\) with C 1 or 3; `channels` takes other"),
        ({"image": random_images(channels=2)}, r"must be \(N, H, W, C\) with C 1 or 3"),
        (
            {"image": random_images().astype("int32")},
            "must be uint8 or float; `value_range` brings .*Received: image.dtype=int32",
        ),
        ({"image": random_images(), "label": np.arange(3)}, r"must be \(4,\), as many as images"),
    ],
)
def test_arrays_that_are_no_images_are_refused(arrays, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load(arrays)


@pytest.mark.parametrize("kind", ["dictionary", "npz"])
def test_arrays_that_are_not_divided_are_the_split_train_alone(kind, tmp_path):
    arrays = {"image": random_images(20), "label": np.arange(20) % 2}
    place = arrays if kind == "dictionary" else tmp_path / "whole.npz"
    np.savez(tmp_path / "whole.npz", **arrays)
    assert kl.data.load(place).count == 20 and kl.data.load(place, "train[90%:]").count == 2
    for split in ("test", "test[:50%]", "validation"):
        with pytest.raises(
            SplitError, match='must be "train", which is all of the array `image`, or a slice'
        ):
            kl.data.load(place, split)
    arrays["test_image"] = arrays["image"][:5]
    assert GivenImages(arrays).splits == ["train", "test"]
    assert kl.data.load(arrays, "test").count == 5 and kl.data.load(arrays).count == 20
    with pytest.raises(SplitError, match="must hold an array `val_image`. Received: split='val', arrays"):
        kl.data.load({"test_image": arrays["image"]}, "val")


def test_npz_with_a_pickle_is_not_run(tmp_path):
    np.savez(tmp_path / "bad.npz", image=np.array([{"code": 1}], dtype=object))
    with pytest.raises(ValueError, match="holds Python objects, which are not loaded"):
        kl.data.load(tmp_path / "bad.npz")


def test_arrays_are_read_in_any_order():
    images = kl.data.load({"image": random_images(6), "label": np.arange(6)}).images
    assert (images.count, images.labelled, images.image_shape) == (6, True, (12, 12, 3))
    got = as_numpy(images.fetch(numbers(4, 0, 4, 5)))
    assert [int(e["label"]) for e in got] == [4, 0, 4, 5]
    np.testing.assert_array_equal(got[2]["image"], random_images(6)[4])


def test_arrays_whose_labels_are_all_minus_one_have_none():
    arrays = {"image": random_images(4), "label": np.array([-1, -1, -1, 2])}
    assert [int(e["label"]) for e in as_numpy(kl.data.load(arrays))] == [-1, -1, -1, 2]
    arrays["label"] = np.full(4, -1)
    assert set(kl.data.load(arrays).element_spec) == {"image"}


@pytest.mark.parametrize(
    ("label", "first"),
    [
        ([0, 0.9, 1.9], "2 other values, the first 0.9 for image 1"),
        ([np.nan, 1, 2], "1 other .* nan for image 0"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_refused(label, first):
    with pytest.raises(ValueError, match=f"`label` in .* must be whole numbers, -1 for .*Received: {first}"):
        kl.data.load({"image": random_images(3), "label": np.array(label)})
    with pytest.raises(ValueError, match=f"`labels` must be whole numbers, -1 for .*Received: {first}"):
        labels.as_labels(np.array(label))
    stream = tf.data.Dataset.from_tensor_slices({"image": random_images(3), "label": np.array(label)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="`source` must have whole numbers as `label`"):
        kl.data.as_source(stream).read_labels()


def test_whole_numbers_of_any_type_are_labels():
    for kind in ("float32", "int8", "uint64", "bool"):
        given = np.array([1, 0, 1], kind)
        assert kl.data.load({"image": random_images(3), "label": given}).labels.tolist() == [1, 0, 1]
        stream = tf.data.Dataset.from_tensor_slices({"image": random_images(3), "label": given})
        assert kl.data.as_source(stream).read_labels().tolist() == [1, 0, 1]


def test_streams_with_names_as_labels_are_refused():
    stream = tf.data.Dataset.from_tensor_slices({"image": random_images(2), "label": np.array(["a", "b"])})
    words = "`source` must have whole numbers as `label`.*Received: `label` of type string"
    with pytest.raises(ValueError, match=words):
        kl.data.as_source(stream)


def test_damaged_npz_files_are_named(tmp_path):
    whole = tmp_path / "whole.npz"
    np.savez(whole, image=random_images(3))
    content = whole.read_bytes()
    np.save(tmp_path / "one.npy", random_images(3))
    np.savez(tmp_path / "objects.npz", image=np.array([{}, {}], object))
    cases = {
        "empty": (b"", "must be a .npz file of arrays.*which is empty"),
        "cut": (content[: len(content) // 2], "must be a whole .npz file.*which is damaged"),
        "changed": (content[:200] + b"xxxx" + content[204:], "must be a whole .npz file.*which is damaged"),
        "text": (b"image,label", "must be a .npz file of numbers.*which is none, or holds Python objects"),
        "array": (
            (tmp_path / "one.npy").read_bytes(),
            "must be a .npz file, as `np.savez` writes it.*which is one array of shape",
        ),
        "objects": (
            (tmp_path / "objects.npz").read_bytes(),
            "must be a .npz file of numbers.*which is none, or holds Python objects",
        ),
    }
    for name, (damaged, words) in cases.items():
        path = tmp_path / f"{name}.npz"
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"`name_or_path` {words}") as caught:
            kl.data.load(path)
        assert path.name in str(caught.value)
