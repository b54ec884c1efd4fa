"""Names, splits and options that `load` takes and refuses."""

import tarfile
import zipfile

import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import random_images
from tests.sources import flat, values, write

pytestmark = pytest.mark.backend_free


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`name_or_path` must be one of.*Received: 'imagenot'"):
        kl.data.load("imagenot")
    with pytest.raises(FileNotFoundError, match=r"no such file. Received: .*none\.npz"):
        kl.data.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        kl.data.load(tmp_path / "none")
    with pytest.raises(ValueError, match=r'`split` of "fashion_mnist" must be .*split=.val'):
        kl.data.load("fashion_mnist", "val")
    with pytest.raises(ValueError, match=r"a dictionary of arrays. Arrays are taken as `\{.*: ndarray"):
        kl.data.load(random_images())
    with pytest.raises(
        ValueError, match="must be a name, a path, a list of paths or a dictionary of arrays. Received: list"
    ):
        kl.data.load([1, 2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_error": "ignore"}, '`on_error` must be "raise" or "skip". Received: on_error=.ignore'),
        ({"max_failures": 2}, r"`max_failures` must lie in \[0, 1\]. Received: max_failures=2"),
        ({"max_pixels": 0}, r"`max_pixels` must be a whole number in \[1, 178956970\]"),
        ({"background": (0, 0, 256)}, "`background` must be three whole numbers"),
        ({"least_pixels": 0}, "`least_pixels` must be a whole number >= 1. Received: least_pixels=0"),
        ({"parallel": None}, "`parallel` must be a whole number >= 1. Received: parallel=None"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load({"image": random_images()}, **options)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", range(20)),
        ("train[:25%]", range(5)),
        ("train[25%:]", range(5, 20)),
        ("train[3:7]", range(3, 7)),
        ("train[-2:]", range(18, 20)),
        ("train[:2]+train[15:]", [0, 1, *range(15, 20)]),
    ],
)
def test_slices_of_a_split(split, expected):
    images = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 2, 2, 3))
    dataset = kl.data.load({"image": images}, split)
    assert values(dataset) == list(expected) and int(dataset.cardinality()) == len(expected)
    assert dataset.images.count == len(expected)


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("train[3", "`split` must be a split string.*Received: split='train.3'"),
        ("train[1shard:]", "must be in images or percent, such as .* this source has no shards"),
        ("train+test", "must name one split.*names several"),
        ("all", "must name one split"),
        ("train[:30]", "`split` must lie within the 20 images. Received"),
        ("train[5:5]", "`split` must leave an image"),
    ],
)
def test_splits_that_cannot_be_meant_are_refused(split, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load({"image": random_images(20)}, split)


def test_a_single_picture_and_an_archive_are_refused_by_name(tmp_path):
    write(tmp_path, a=flat(0))
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as file:
        file.write(tmp_path / "a.png")
    with tarfile.open(tmp_path / "packed.tgz", "w:gz") as file:
        file.add(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match="must be the folder of the pictures, such as .*a.png, a single picture"
    ):
        kl.data.load(tmp_path / "a.png")
    with pytest.raises(ValueError, match="TFRecord files; unpack the archive .* Received: .*packed.tgz"):
        kl.data.load(tmp_path / "packed.tgz")
    (tmp_path / "table.tsv").write_text("a,b\n1,2\n" * 99)
    with pytest.raises(
        ValueError, match="no TFRecord file .*; a folder of pictures, a .npz file and TFRecord"
    ):
        kl.data.load(tmp_path / "table.tsv")
