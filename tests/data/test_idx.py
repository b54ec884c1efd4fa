"""IDX files, MNIST's format."""

import gzip

import numpy as np
import pytest

import keras_leoclr as kl
from tests.case import random_images
from tests.sources import as_numpy

pytestmark = pytest.mark.backend_free


def write_idx(path, array):
    data = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def test_idx_files_are_splits_with_slices(tmp_path):
    images, labels = random_images(6, channels=1)[..., 0], np.arange(6, dtype=np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "train-labels-idx1-ubyte.gz", labels)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[:2])
    train, test = (as_numpy(kl.data.load(tmp_path, split)) for split in ("train[:50%]", "test"))
    assert [int(e["label"]) for e in train] == [0, 1, 2]
    np.testing.assert_array_equal([e["image"] for e in train], images[:3, :, :, None])
    assert len(test) == 2 and set(test[0]) == {"image"}


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda data: gzip.compress(data[:-1]), "must hold"),
        (lambda data: gzip.compress(data)[:40], "cannot be read"),
        (lambda data: gzip.compress(b"\x89PNG" + data), "must be an IDX file of bytes of rank 3"),
        (lambda data: gzip.compress(b""), "must be an IDX file of bytes of rank 3"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, damage, words):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    write_idx(path, random_images(3, channels=1)[..., 0])
    path.write_bytes(damage(gzip.decompress(path.read_bytes())))
    with pytest.raises(ValueError, match=words) as caught:
        kl.data.load(tmp_path)
    assert str(path) in str(caught.value)


def test_a_split_without_idx_files_is_refused(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", random_images(3, channels=1)[..., 0])
    with pytest.raises(ValueError, match="which begin with train .*split='test'"):
        kl.data.load(tmp_path, "test")
