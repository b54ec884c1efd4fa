"""Several labels per picture: rows of zeros and ones, from every kind of source."""

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.data import parts
from keras_leoclr.views.preprocessing import Preprocessing
from tests.case import random_images
from tests.sources import as_numpy, numbers

pytestmark = pytest.mark.backend_free

LABELS = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0]], np.uint8)


def from_arrays(labels=LABELS, **more):
    return kl.data.load({"image": random_images(len(labels)), "label": labels, **more})


def from_dataset():
    """The same as a tf.data.Dataset of a user's, with labels of another type."""
    arrays = {"image": random_images(len(LABELS)), "label": LABELS.astype("float32")}
    return kl.data.as_source(tf.data.Dataset.from_tensor_slices(arrays))


@pytest.mark.parametrize("source", [from_arrays(), from_dataset()], ids=["arrays", "stream"])
def test_a_source_hands_rows_of_zeros_and_ones_on(source):
    assert source.several_labels and source.labelled
    spec = source.element_spec["label"]
    assert (tuple(spec.shape), spec.dtype) == ((3,), tf.uint8)
    assert source.read_labels().dtype == np.uint8
    chosen = {
        "all": (source, range(6)),
        "take": (source.take(2), [0, 1]),
        "skip": (source.skip(4), [4, 5]),
        "subset": (source.subset([5, 2, 3]), [2, 3, 5]),
        "none": (source.subset([]), []),
    }
    for name, (part, rows) in chosen.items():
        assert part.several_labels, name
        np.testing.assert_array_equal(part.read_labels(), LABELS[list(rows)], name)
        found = [element["label"] for element in as_numpy(part.dataset)]
        np.testing.assert_array_equal(np.reshape(found, (-1, 3)), LABELS[list(rows)], name)


def test_labels_of_another_kind_are_no_hindrance_to_views():
    arrays = {"image": random_images(4), "label": np.random.default_rng(0).random((4, 2, 3))}
    dataset = tf.data.Dataset.from_tensor_slices(arrays)
    batch = next(iter(kl.data.view_dataset(dataset, kl.LeOCLRViews(image_size=8), batch_size=4)))
    assert set(batch) == {"query", "keys"}
    with pytest.raises(ValueError, match="must have a `label`"):
        kl.data.image_batches(dataset, Preprocessing(image_size=8))


def test_a_source_says_that_it_has_several_labels():
    assert repr(from_arrays()) == "<Source: 6 images 12 x 12 x 3, several labels each, by number>"


def test_a_slice_of_sorted_arrays_says_that_classes_are_missing():
    labels = np.repeat(np.eye(4, dtype=np.uint8), 50, axis=0)
    labels[0] = 0
    with pytest.warns(
        UserWarning, match="`split` takes images of 1 of the 4 classes in a dictionary of arrays"
    ):
        part = kl.data.load({"image": np.zeros((200, 4, 4, 1), np.uint8), "label": labels}, "train[:20%]")
    assert part.count == 40 and part.several_labels


@pytest.mark.parametrize("source", [from_arrays(), from_dataset()], ids=["arrays", "stream"])
def test_batches_for_evaluation_have_rows_of_labels(source):
    batches = as_numpy(kl.data.image_batches(source, Preprocessing(image_size=8), batch_size=4))
    assert [labels.shape for _, labels in batches] == [(4, 3), (2, 3)]
    assert all(labels.dtype == np.uint8 for _, labels in batches)
    np.testing.assert_array_equal(np.concatenate([labels for _, labels in batches]), LABELS)


def test_several_labels_are_no_hindrance_to_views():
    views = kl.LeOCLRViews(image_size=8)
    batch = next(iter(kl.data.view_dataset(from_arrays(), views, batch_size=4)))
    assert set(batch) == {"query", "keys"} and batch["query"].shape == (4, 8, 8, 3)


def test_arrays_are_read_by_number_drawn_and_put_into_another_order():
    source = from_arrays()
    found = as_numpy(source.images.fetch(numbers(3, 0, 3)))
    np.testing.assert_array_equal([element["label"] for element in found], LABELS[[3, 0, 3]])
    order = np.random.default_rng(7).permutation(6)
    np.testing.assert_array_equal(source.permuted(7).labels, LABELS[order])
    np.testing.assert_array_equal(source.sample(4, 7).labels, LABELS[np.sort(order[:4])])
    first, second = parts.two_parts(source, 4, 2, seed=1)
    assert sorted(map(tuple, [*first.labels, *second.labels])) == sorted(map(tuple, LABELS))


def test_npz_of_several_labels_with_splits_and_names(tmp_path):
    path = tmp_path / "own.npz"
    names = np.array(["cat", "dog", "bird"])
    test = {"test_image": random_images(2), "test_label": LABELS[:2] == 1, "class_names": names}
    np.savez(path, train_image=random_images(6), train_label=LABELS, **test)
    train, test = (kl.data.load(path, split) for split in ("train[50%:]", "test"))
    np.testing.assert_array_equal(train.labels, LABELS[3:])
    assert test.labels.dtype == np.uint8 and test.class_names == ("cat", "dog", "bird")


def test_a_pair_of_arrays_is_a_source():
    for labels, several in ((LABELS, True), (np.arange(6), False), (LABELS.tolist(), True)):
        source = kl.data.load((random_images(6), labels))
        assert source.several_labels is several
        np.testing.assert_array_equal(source.labels, labels)


def test_a_single_label_stays_a_number():
    source = kl.data.load((random_images(4), np.arange(4)))
    assert not source.several_labels and source.labels.dtype == np.int64
    assert not kl.data.load({"image": random_images(4)}).several_labels


def test_a_row_of_zeros_is_a_label():
    assert parts.has_label(LABELS).all() and not parts.without_labels("train", LABELS)
    source, labels = parts.with_labels(from_arrays(), "train")
    assert source.count == len(labels) == 6
    with pytest.raises(
        ValueError, match="`test` must have images with a label. Received: 6 images with zeros"
    ):
        parts.with_labels(from_arrays(0 * LABELS), "test")


def changed(value):
    labels = LABELS.astype("int64")
    labels[4, 1] = value
    return labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (
            [[1, 0], [1, 0], [0, 1, 1], [0, 1]],
            r"rows of one length. Received: shape \(2,\) for image 0, \(3,\) ",
        ),
        ([1, 0, [1, 0], 1], "one label for each image or several for each. .* for image 2"),
        (changed(-1)[2:], "zeros and ones .* Received: 1 other values, the first -1 for image 2, class 1"),
        (changed(3)[2:], "the first 3 for image 2, class 1"),
        (LABELS[:3], r"must be \(4,\), as many as images, or \(4, C\) zeros and ones .*shape=\(3, 3\)"),
        (LABELS[:4, :1], r"`label\[:, 0\]` is the list of a column. Received: label.shape=\(4, 1\)"),
        (LABELS[:4, None], r"Received: label.shape=\(4, 1, 3\)"),
        (np.array(["a", "b", "c", "d"]), "must be numbers. Received: label.dtype=<U1"),
    ],
)
def test_labels_that_do_not_go_together_are_refused(labels, words):
    with pytest.raises(ValueError, match=words):
        kl.data.load({"image": random_images(4), "label": labels})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("cat", "dog"),
            "`class_names` in a dictionary of arrays must have 3 names, one per class. Received: 2",
        ),
        (("cat", "dog", "cat"), "must be different from each other. Received twice: cat"),
    ],
)
def test_names_that_do_not_fit_the_labels_are_refused(names, words):
    with pytest.raises(ValueError, match=words):
        from_arrays(class_names=names)


def test_splits_of_other_classes_are_refused(tmp_path):
    path = tmp_path / "own.npz"
    np.savez(
        path,
        train_image=random_images(6),
        train_label=LABELS,
        test_image=random_images(6),
        test_label=range(6),
    )
    with pytest.raises(ValueError, match=r"of the same classes, .*train_label \(N, 3\), test_label \(N,\)"):
        kl.data.load(path, "train")


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (tf.TensorSpec((None,), tf.uint8), r"Received: `label` of shape \(None,\)"),
        (
            tf.TensorSpec((3, 2), tf.uint8),
            r"`label` \(\) or, with several labels per image, \(C,\) zeros and ones",
        ),
    ],
)
def test_streams_of_labels_without_a_length_are_refused(label, words):
    spec = {"image": tf.TensorSpec((4, 4, 3), tf.uint8), "label": label}
    dataset = tf.data.Dataset.from_generator(lambda: iter(()), output_signature=spec)
    with pytest.raises(ValueError, match=words):
        kl.data.as_source(dataset, "train")


def test_other_values_in_a_stream_are_an_error():
    arrays = {"image": random_images(2), "label": np.array([[0, 1], [0, 2]])}
    source = kl.data.as_source(tf.data.Dataset.from_tensor_slices(arrays), "train")
    with pytest.raises(tf.errors.InvalidArgumentError, match="`train` must have a `label` of zeros and ones"):
        source.read_labels()


def test_the_page_on_several_labels_prints_what_it_shows(capsys):
    page = (pathlib.Path(__file__).parents[2] / "docs" / "several_labels.md").read_text()
    snippet, shown = re.search(r"```python\n(.*?)```\n\n```text\n(.*?)```", page, re.S).groups()
    exec(compile(snippet, "docs/several_labels.md", "exec"), {})
    assert capsys.readouterr().out == shown
