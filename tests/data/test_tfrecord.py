"""TFRecord files of encoded pictures."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from tests import several_labels
from tests.sources import as_numpy, example, flat, value_of, values, write_records

pytestmark = pytest.mark.backend_free


def test_shards_are_read_in_order(tmp_path):
    for shard in range(3):
        records = [example(flat(10 * shard + n), n) for n in range(10)]
        write_records(tmp_path / f"a.tfrecord-0000{shard}-of-00003", records)
    dataset = kl.data.load(tmp_path / "a.tfrecord*")
    assert dataset.images is None and int(dataset.cardinality()) == 30
    assert values(dataset) == list(range(30))
    assert [int(e["label"]) for e in as_numpy(dataset)] == [*range(10)] * 3
    one = kl.data.load(tmp_path / "a.tfrecord-00001-of-00003")
    assert values(one) == list(range(10, 20))


def test_bytes_can_be_shuffled_before_they_are_decoded(tmp_path):
    write_records(tmp_path / "a.tfrecord", [example(flat(n), n) for n in range(30)])
    dataset = kl.data.load(tmp_path / "a.tfrecord")
    assert dataset.encoded.element_spec["image"] == tf.TensorSpec((), tf.string)
    shuffled = kl.data.decode_dataset(dataset.encoded.shuffle(30, seed=0))
    elements = as_numpy(shuffled)
    assert [value_of(e) for e in elements] == [int(e["label"]) for e in elements] != list(range(30))
    assert sorted(value_of(e) for e in elements) == list(range(30))


def test_other_feature_names_no_labels_and_compression(tmp_path):
    write_records(tmp_path / "a.tfrecord", [example(flat(3), 4, "image", "label")])
    (element,) = as_numpy(kl.data.load(tmp_path / "a.tfrecord"))
    assert value_of(element) == 3 and int(element["label"]) == 4
    write_records(tmp_path / "b.tfrecord", [example(flat(3))])
    assert set(kl.data.load(tmp_path / "b.tfrecord").element_spec) == {"image"}
    write_records(tmp_path / "c.tfrecord.gz", [example(flat(n)) for n in range(3)], options="GZIP")
    assert values(kl.data.load(tmp_path / "c.tfrecord.gz")) == [0, 1, 2]


def test_records_that_are_no_pictures_are_refused(tmp_path):
    (tmp_path / "text.tfrecord").write_text("nothing of the kind")
    (tmp_path / "empty.tfrecord").write_bytes(b"")
    write_records(tmp_path / "other.tfrecord", [example(flat(0), image="pixels")])
    data = write_records(tmp_path / "whole.tfrecord", [example(flat(n)) for n in range(9)]).read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(data[:-5])
    for name, words in {
        "text": "no TFRecord file of tf.train.Example, or a damaged one",
        "empty": "must hold a record",
        "other": r"must hold an encoded picture as image/encoded or image. Received: \['pixels'\]",
        "cut": "cut off within record 8",
    }.items():
        with pytest.raises(ValueError, match=rf"{name}\.tfrecord: .*{words}"):
            kl.data.load(tmp_path / f"{name}.tfrecord")
    with pytest.raises(ValueError, match='`split` of TFRecord files must be "train"'):
        kl.data.load(tmp_path / "whole.tfrecord", "test")


def test_bad_records_are_replaced(tmp_path):
    bad = (0, 5, 6, 19)
    records = [example(b"bad" if n in bad else flat(n), n) for n in range(20)]
    write_records(tmp_path / "a.tfrecord", records)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"a\.tfrecord record 0: no JPEG"):
        as_numpy(kl.data.load(tmp_path / "a.tfrecord"))
    with pytest.warns(UserWarning, match="1 file cannot be read"):
        dataset = kl.data.load(tmp_path / "a.tfrecord", on_error="skip", max_failures=0.2)
        found = values(dataset)
    assert found == [1, 1, 2, 3, 4, 7, 7, 7, *range(8, 19), 18]
    assert dataset.failures.count == 4 and int(dataset.cardinality()) == 20


@pytest.mark.parametrize("kind", ["", "GZIP"])
def test_zeros_and_ones_are_several_labels(kind, tmp_path):
    rows = several_labels.rows()
    path = tmp_path / ("a.tfrecord.gz" if kind else "a.tfrecord")
    records = [example(flat(n), row.tolist()) for n, row in enumerate(rows)]
    source = kl.data.load(write_records(path, records, options=kind))
    assert source.several_labels and (source.pick is None) == bool(kind)
    np.testing.assert_array_equal(source.read_labels(), rows)
    np.testing.assert_array_equal([element["label"] for element in as_numpy(source)], rows)
    np.testing.assert_array_equal(source.subset([2, 5]).read_labels(), rows[[2, 5]])


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ([[1, 0, 1], [1, 0]], "a.tfrecord record 1: the label must be 3 zeros and ones, .* Received: 1 0"),
        ([[1, 0, 1], [0, 2, 0]], "record 1: the label must be 3 zeros and ones, .* Received: 0 2 0"),
        ([[1, 0, 1], [1]], "record 1: the label must be 3 zeros and ones, as that of the first record"),
        (
            [[4], [1, 0, 1]],
            "record 1: the label must be one number, as that of the first record. Received: 1 0 1",
        ),
    ],
)
def test_records_whose_labels_are_of_another_kind_are_named(labels, words, tmp_path):
    records = [example(flat(n), label) for n, label in enumerate(labels)]
    source = kl.data.load(write_records(tmp_path / "a.tfrecord", records))
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        source.read_labels()


def test_lists_of_numbers_are_no_labels_of_records(tmp_path):
    path = write_records(tmp_path / "a.tfrecord", [example(flat(0), [3, 7])])
    with pytest.raises(
        ValueError, match="`image/class/label` must be one number, or .* Received: 3, 7 in the"
    ):
        kl.data.load(path)


def test_bad_records_with_several_labels_are_replaced(tmp_path):
    rows = several_labels.rows()[:4]
    records = [example(b"bad" if n in (0, 3) else flat(n), row.tolist()) for n, row in enumerate(rows)]
    write_records(tmp_path / "a.tfrecord", records)
    with pytest.warns(UserWarning, match="1 file cannot be read"):
        found = as_numpy(kl.data.load(tmp_path / "a.tfrecord", on_error="skip", max_failures=0.5))
    np.testing.assert_array_equal([element["label"] for element in found], rows[[1, 1, 2, 2]])
