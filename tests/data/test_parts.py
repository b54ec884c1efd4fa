"""Parts of a source that stand for all of it, also where the source is sorted by class."""

import warnings

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_leoclr import data
from keras_leoclr.data.parts import part_of, some_of, two_parts, with_labels
from tests.sources import as_numpy, example, flat, value_of, values, write_records

pytestmark = pytest.mark.backend_free
CLASSES, EACH = 10, 20
SORTED = np.repeat(np.arange(CLASSES), EACH)


def by_class(label=SORTED):
    """Arrays that are sorted by class; the pixels of an image are its number."""
    image = np.arange(len(label), dtype="uint8")[:, None, None, None] * np.ones((1, 2, 2, 1), "uint8")
    return {"image": image, "label": label}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two TFRecord files that are sorted by class, of pictures of the colour of their number."""
    folder = tmp_path_factory.mktemp("records")
    for half in (0, 1):
        numbers = range(half * 100, half * 100 + 100)
        write_records(folder / f"{half}.tfrecord", [example(flat(n), n // EACH) for n in numbers])
    return folder


@given(missing=st.sets(st.integers(0, 199), max_size=190), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_two_parts_have_labels_and_no_image_in_common(missing, seed):
    label = SORTED.copy()
    label[list(missing)] = -1
    source = data.load(by_class(label))
    bank, queries = two_parts(source, 80, 40, seed)
    drawn = [set(values(part)) for part in (bank, queries)]
    assert not drawn[0] & drawn[1] and not (drawn[0] | drawn[1]) & missing
    known = 200 - len(missing)
    assert (bank.count, queries.count) == ((80, 40) if known >= 120 else (known * 2 // 3, known // 3))
    assert all((part.labels >= 0).all() for part in (bank, queries))
    again = two_parts(source, 80, 40, seed)
    assert [values(part) for part in again] == [values(bank), values(queries)]


@pytest.mark.parametrize("make", [part_of, some_of])
def test_a_part_of_a_sorted_source_has_all_classes(make, records):
    for source in (data.load(by_class()), data.load(str(records / "*.tfrecord"))):
        part = make(source, 60)
        assert part.count == 60 and len(set(part.read_labels())) == CLASSES
        assert make(source, 200) is source
    assert values(make(data.load(by_class()), 60)) == values(make(data.load(by_class()), 60))


def test_two_parts_of_sorted_records_share_the_classes(records):
    bank, queries = two_parts(data.load(str(records / "*.tfrecord")), 100, 50, seed=3)
    assert (bank.count, queries.count) == (100, 50)
    assert set(bank.read_labels()) == set(queries.read_labels()) == set(range(CLASSES))
    drawn = [values(part) for part in (bank, queries)]
    assert not set(drawn[0]) & set(drawn[1])


@given(rows=st.sets(st.integers(0, 199), min_size=1, max_size=30), inner=st.sets(st.integers(0, 29)))
@settings(max_examples=15, deadline=None)
def test_picked_records_are_those_of_the_stream(records, rows, inner):
    source = data.load(str(records / "*.tfrecord"))
    rows = sorted(rows)
    picked = source.subset(np.array(rows))
    assert [value_of(one) for one in as_numpy(picked)] == rows
    assert picked.read_labels().tolist() == [row // EACH for row in rows]
    inner = sorted(number for number in inner if number < len(rows))
    assert values(picked.subset(np.array(inner, int))) == [rows[number] for number in inner]
    names = [one["name"].decode() for one in picked.encoded.as_numpy_iterator()]
    assert names == [f"{records}/{row // 100}.tfrecord record {row % 100}" for row in rows]


def test_only_the_records_that_are_asked_for_are_read(records, tmp_path):
    whole = (records / "0.tfrecord").read_bytes()
    path = tmp_path / "damaged.tfrecord"
    path.write_bytes(whole)
    source = data.load(str(path))
    with path.open("r+b") as file:
        file.truncate(len(whole) // 2)
    assert values(source.subset(np.arange(3))) == [0, 1, 2]
    with pytest.raises(Exception, match="it is cut off within record 99. Write or copy it again"):
        values(source.subset(np.array([99])))


def test_of_a_stream_of_unknown_length_the_first_are_taken_which_is_said(tmp_path):
    path = tmp_path / "a.tfrecord.gz"
    write_records(path, [example(flat(n), n // 5) for n in range(20)], options="GZIP")
    source = data.load(str(path))
    assert source.count is None
    with pytest.warns(UserWarning, match="The first 6 images of a stream of unknown length"):
        assert values(part_of(source, 6)) == list(range(6))
    with pytest.warns(UserWarning, match="The first 9 images of a stream of unknown length"):
        assert [values(part) for part in two_parts(source, 6, 3, 0)] == [list(range(6)), [6, 7, 8]]


def test_a_stream_in_random_order_is_read_from_its_beginning(own_data_set):
    source = data.load("tfds:own", data_dir=own_data_set("tfrecord"))
    assert source.images is None and source.mixed
    first = values(source)
    assert first != sorted(first)
    assert values(part_of(source, 5)) == first[:5]
    assert [values(part) for part in two_parts(source, 5, 3, 0)] == [first[:5], first[5:8]]


def test_other_streams_are_spread_over_their_length():
    stream = tf.data.Dataset.from_tensor_slices(by_class())
    part = part_of(data.as_source(stream), 60)
    assert len(set(part.read_labels())) == CLASSES and len(values(part)) == 60
    assert values(some_of(data.as_source(stream), 3)) == [0, 1, 2]  # not all of it is read for a look


def test_a_slice_of_sorted_arrays_says_which_classes_it_lacks(tmp_path):
    np.savez(tmp_path / "x.npz", **by_class(np.repeat(np.arange(4), 100)))
    with pytest.warns(UserWarning, match=r"images of 1 of the 4 classes in .*x.npz: arrays are"):
        data.load(str(tmp_path / "x.npz"), "train[:25%]")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load(str(tmp_path / "x.npz"), "train[:2%]")  # too few to have all
        data.load(by_class(np.arange(400) % 4), "train[:25%]")


def test_images_with_labels_are_a_source_of_their_own():
    label = SORTED.copy()
    label[:50] = -1
    with pytest.warns(UserWarning, match=r"50 of 200 images of `train` have no label \(-1\)"):
        source, labels = with_labels(data.load(by_class(label)), "train")
    assert source.count == 150 and labels.tolist() == SORTED[50:].tolist() == source.labels.tolist()
    whole = data.load(by_class())
    assert with_labels(whole, "train")[0] is whole
    endless = data.as_source(whole.filter(lambda element: True))  # nobody knows how many images there are
    source, labels = with_labels(endless, "train")
    assert endless.count is None and source.count == len(labels) == whole.count
    nothing = data.load(by_class(label)).subset(np.arange(50))
    with pytest.raises(ValueError, match="`test` must have images with a label. Received: 50 images"):
        with_labels(nothing, "test")
