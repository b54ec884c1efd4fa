"""Data sets of TensorFlow Datasets."""

import socket
import urllib.request

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

import keras_leoclr as kl
from tests import several_labels
from tests.sources import as_numpy, numbers, value_of, values

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_builder_is_read_from_its_files(own_data_set, file_format):
    where = {"data_dir": own_data_set(file_format)}
    dataset = kl.data.load("tfds:own", "train", **where)
    assert set(dataset.element_spec) == {"image", "label"} and int(dataset.cardinality()) == 20
    assert sorted(values(dataset)) == list(range(20))
    assert all(int(e["label"]) == value_of(e) % 2 for e in as_numpy(dataset))
    head, tail = (values(kl.data.load("tfds:own", f"test[{part}]", **where)) for part in (":25%", "25%:"))
    assert len(head) == 5 and sorted(head + tail) == list(range(20, 40))
    with pytest.raises(
        ValueError, match="`split` must be one of test, train, unlabelled of tfds:own.*split='val'"
    ):
        kl.data.load("tfds:own", "val", **where)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_a_split_whose_labels_are_all_minus_one_has_none(own_data_set, file_format):
    where = {"data_dir": own_data_set(file_format)}
    dataset = kl.data.load("tfds:own", "unlabelled", **where)
    assert set(dataset.element_spec) == {"image"} and sorted(values(dataset)) == list(range(40, 60))
    assert file_format == "tfrecord" or (dataset.images.labelled, dataset.images.class_names) == (False, ())
    if file_format == "tfrecord":  # of several splits at once
        mixed = kl.data.load("tfds:own", "unlabelled[:5]+train[:5]", **where)
        assert sorted({int(e["label"]) for e in as_numpy(mixed)}) == [-1, 0, 1]


def test_array_record_is_read_in_any_order(own_data_set):
    images = kl.data.load("tfds:own", "train[5:]", data_dir=own_data_set("array_record")).images
    assert (images.count, images.labelled, images.image_shape) == (15, True, (None, None, 3))
    assert images.class_names == ("even", "odd")
    in_order = values(images.fetch(tf.data.Dataset.range(15)))
    assert values(images.fetch(numbers(7, 0, 7))) == [in_order[7], in_order[0], in_order[7]]


def test_tfrecords_of_a_builder_are_streamed_as_bytes(own_data_set):
    dataset = kl.data.load("tfds:own", "train", data_dir=own_data_set("tfrecord"))
    assert dataset.images is None
    element = next(iter(dataset.encoded))
    assert element["image"].dtype == tf.string and b"own-train" in element["name"].numpy()


@pytest.mark.parametrize(
    ("name", "shape"), [("cifar10", (32, 32, 3)), ("mnist", (28, 28, 1)), ("imagenette", (None, None, 3))]
)
def test_builders_of_tfds_are_read(name, shape, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    with tfds.testing.mock_data(num_examples=6):
        dataset = kl.data.load(f"tfds:{name}", "train")
        elements = as_numpy(dataset)
    assert len(elements) == 6 and set(elements[0]) == {"image", "label"}
    assert tuple(dataset.element_spec["image"].shape) == shape
    assert (dataset.encoded is not None) == (shape[0] is None)


def test_unknown_data_sets_are_refused_with_near_names(tmp_path):
    with pytest.raises(ValueError, match=r"such as .*cifar10.* Received: tfds:cifar11"):
        kl.data.load("tfds:cifar11", data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"must name a data set of TensorFlow Datasets, or one.*tfds:zzzzzz"):
        kl.data.load("tfds:zzzzzz", data_dir=tmp_path)


def test_data_that_are_not_there_without_a_network(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with pytest.raises(OSError, match=r"tfds:cifar10 does not lie in .* is not reachable. Check the network"):
        kl.data.load("tfds:cifar10", data_dir=tmp_path)


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("kind", ["voc", "coco", "rows"])
def test_several_labels_become_rows_of_zeros_and_ones(kind, file_format, tmp_path):
    where = {"data_dir": several_labels.prepare(tmp_path, kind, file_format)}
    source = kl.data.load(f"tfds:scenes/{kind}", "train", **where)
    assert source.several_labels and (source.images is None) == (file_format == "tfrecord")
    assert source.class_names == (() if kind == "rows" else several_labels.NAMES)
    assert (tuple(source.element_spec["label"].shape), source.element_spec["label"].dtype) == ((3,), tf.uint8)
    for element in as_numpy(source):
        np.testing.assert_array_equal(element["label"], several_labels.rows()[value_of(element)])
    order = values(source)
    np.testing.assert_array_equal(source.read_labels(), several_labels.rows()[order])
    part = source.subset([1, 6])
    np.testing.assert_array_equal(part.read_labels(), several_labels.rows()[[order[1], order[6]]])
    assert part.class_names == source.class_names
    # the pictures of "test" hold nothing: nobody has said what is on them
    assert not kl.data.load(f"tfds:scenes/{kind}", "test", **where).labelled


def test_numbers_of_unknown_classes_are_no_labels(tmp_path):
    where = {"data_dir": several_labels.prepare(tmp_path, "numbers", "tfrecord")}
    with pytest.warns(
        UserWarning, match="tfds:scenes/numbers: labels are numbers whose classes are not known"
    ):
        assert not kl.data.load("tfds:scenes/numbers", "train", **where).labelled


@pytest.mark.parametrize(("name", "classes"), [("voc/2007", 20), ("coco/2017", 80)])
def test_voc_and_coco_have_several_labels(name, classes, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    with tfds.testing.mock_data(num_examples=4):
        source = kl.data.load(f"tfds:{name}", "train")
        labels = source.read_labels()
    assert labels.shape == (4, classes) and labels.any() and len(source.class_names) == classes
