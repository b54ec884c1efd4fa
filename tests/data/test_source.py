"""What `load` returns: by number or as a stream, with tf.data's methods, and what is refused in its place."""

import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr.data import Source, as_source
from keras_leoclr.data.source_arguments import with_unknown_labels
from tests.case import random_images
from tests.pictures import jpeg
from tests.sources import example, write_records

pytestmark = pytest.mark.backend_free


def numbered(count=6):
    """A source by number; the label of each image is its number."""
    return kl.data.load({"image": random_images(count), "label": np.arange(count)})


def streamed(count=6):
    return as_source(numbered(count).map(lambda element: element))


def bytes_of(count=6):
    """A stream of encoded pictures."""
    pictures = tf.data.Dataset.from_tensor_slices(random_images(count)).map(tf.io.encode_png)
    labels = tf.data.Dataset.range(count)
    encoded = tf.data.Dataset.zip((pictures, labels)).map(
        lambda image, label: {"image": image, "label": label}
    )
    return Source(encoded=encoded, decode=kl.data.decode_dataset)


KINDS = {"by number": numbered, "stream": streamed, "stream of bytes": bytes_of}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


def labels(source):
    return [int(element["label"]) for element in source]


@every_kind
def test_a_source_says_what_it_holds(make):
    source = make()
    assert (source.count, source.labelled, len(source), int(source.cardinality())) == (6, True, 6, 6)
    assert source.image_shape == ((None, None, 3) if source.encoded is not None else (12, 12, 3))
    assert set(source.element_spec) == {"image", "label"} and source.class_names == ()
    assert (source.images is None) == (make is not numbered)
    np.testing.assert_array_equal(source.read_labels(), np.arange(6))
    assert source.failures.count == 0 and source.failures.total == 6 and bool(source)
    assert "6 images" in repr(source) and "labelled" in repr(source)


@every_kind
def test_parts_of_a_source_are_sources(make):
    source = make()
    parts = {
        source.take(2): [0, 1],
        source.take(-1): [0, 1, 2, 3, 4, 5],
        source.take(99): [0, 1, 2, 3, 4, 5],
        source.skip(4): [4, 5],
        source.skip(4).take(1): [4],
        source.skip(99): [],
        source.subset([5, 0, 3]): [0, 3, 5],
        source.subset(np.array([1, 2, 4])).skip(1): [2, 4],
        source.sample(99, seed=0): [0, 1, 2, 3, 4, 5],
    }
    for part, expected in parts.items():
        assert isinstance(part, Source) and labels(part) == expected == part.read_labels().tolist()
        assert part.count == len(expected) and part.failures is source.failures
        assert (part.images is None) == (source.images is None)
    drawn = labels(source.sample(3, seed=1))
    assert len(drawn) == 3 and drawn == sorted(drawn) == labels(source.sample(3, seed=1))
    np.testing.assert_array_equal(
        next(iter(source.skip(4)))["image"], [element["image"] for element in source][4]
    )
    with pytest.raises(ValueError, match="`rows` must be numbers from 0 below 6, the number of images. Rec"):
        source.subset([2, 6])


@every_kind
def test_pictures_of_a_part_stay_bytes_where_they_can(make):
    part = make().subset([0, 2])
    assert (part.encoded is not None) == (make is bytes_of)


@every_kind
def test_other_methods_of_a_dataset_give_a_dataset(make):
    source = make()
    made = {
        "batch": source.batch(4),
        "map": source.map(lambda element: element["label"]),
        "filter": source.filter(lambda element: element["label"] > 2),
        "enumerate": source.enumerate(),
        "shuffle": source.shuffle(6, seed=0),
        "prefetch": source.prefetch(1),
        "repeat": source.repeat(2),
        "cache": source.cache(),
        "apply": source.apply(lambda dataset: dataset.batch(3)),
        "concatenate": source.concatenate(source.dataset),
        "zip": tf.data.Dataset.zip((source.dataset, source.map(lambda element: element["label"]))),
    }
    counts = {name: len(list(dataset)) for name, dataset in made.items()}
    assert all(isinstance(dataset, tf.data.Dataset) for dataset in made.values())
    assert counts == {"batch": 2, "map": 6, "filter": 3, "enumerate": 6, "shuffle": 6, "prefetch": 6} | {
        "repeat": 12,
        "cache": 6,
        "apply": 2,
        "concatenate": 12,
        "zip": 6,
    }
    assert [int(e["label"]) for e in source.as_numpy_iterator()] == labels(source) == [0, 1, 2, 3, 4, 5]
    assert not isinstance(source, tf.data.Dataset)
    for name in ("number", "_variant_tensor"):
        with pytest.raises(AttributeError, match=f"'Source' object has no attribute '{name}'"):
            getattr(source, name)


def test_a_source_can_be_read_inside_of_a_function_of_tf_data():
    source = numbered()
    nested = tf.data.Dataset.range(2).flat_map(lambda _: source.map(lambda element: element["label"]))
    assert [int(label) for label in nested] == [*range(6)] * 2


def test_a_dataset_is_a_stream_and_a_source_itself():
    source = numbered()
    assert as_source(source) is source
    bare = as_source(tf.data.Dataset.from_tensor_slices(random_images(3)))
    assert (bare.count, bare.labelled, bare.labels) == (3, False, None)
    assert set(bare.element_spec) == {"image"}
    assert as_source(source.filter(lambda element: True)).count is None


def test_labels_are_needed_where_they_are_read():
    source = kl.data.load({"image": random_images()})
    for read in (source.read_labels, lambda: kl.data.image_batches(source, None)):
        with pytest.raises(
            ValueError, match="`source` must have labels.*Received: elements with image alone"
        ):
            read()


pairs = tf.data.Dataset.from_tensor_slices((random_images(), np.arange(4)))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (pairs, r"have dictionaries with `image`.*`.map\(lambda image, label: .*Received: tuples of 2"),
        (pairs.map(lambda *pair: (*pair, 0)), "labels. Received: tuples of 3"),
        (pairs.map(lambda i, _: {"picture": i}), "labels. Received: dictionaries with picture"),
        (numbered().batch(2), r"single images.*`unbatch\(\)`.*Received: images of shape \(None, 12, 12, 3\)"),
        (pairs.map(lambda i, _: i[..., 0]), r"have single images.*shape \(12, 12\)"),
        (bytes_of().encoded, "have decoded pictures; `data.decode_dataset`.*of type string"),
        (random_images(), r"makes a source of arrays. Received: numpy.ndarray of shape \(4, 12, 12, 3\)"),
        (tf.constant(random_images()), r"makes a source of arrays. Received: .*of shape \(4, 12, 12, 3\)"),
        ({"image": random_images()}, r"makes a source of a dictionary of arrays. Received: dict"),
        ("fashion_mnist", r"`data.load\(...\)` opens a name or a path. Received: 'fashion_mnist'"),
        ([1, 2], r"what `data.load` returns, or a tf.data.Dataset of dictionaries with `image` .*list"),
        (None, "what `data.load` returns.*Received: NoneType"),
    ],
)
def test_what_is_no_source_is_refused_by_every_function_that_reads_images(source, words):
    views = kl.LeOCLRViews(8, jit_compile=False)
    for read in (
        as_source,
        lambda x: kl.data.view_dataset(x, views, 2),
        lambda x: kl.data.image_batches(x, views),
    ):
        with pytest.raises(ValueError, match=f"`source` must.*{words}"):
            read(source)
    with pytest.raises(ValueError, match="^`train` must"):
        as_source(source, "train")


def test_large_jpegs_of_a_source_are_reduced(tmp_path):
    (tmp_path / "a").mkdir()
    for number, side in enumerate((30, 80)):
        (tmp_path / "a" / f"{number}.jpg").write_bytes(jpeg(number, side, side))
    records = [example(jpeg(side, side, side), side) for side in (30, 80)]
    write_records(tmp_path / "a.tfrecord", records)

    def sides(source):
        return sorted(element["image"].shape[0] for element in source)

    by_number = kl.data.load(tmp_path / "a")
    stream = kl.data.load(tmp_path / "a.tfrecord")
    for source in (by_number, stream, stream.subset([0, 1]), with_unknown_labels(by_number)):
        reduced = source.reduced(400)
        assert (sides(source), sides(reduced)) == ([30, 80], [20, 30])
        assert sides(reduced.subset([0, 1])) == [20, 30] and reduced.failures is source.failures
        assert reduced.reduced(40) is reduced and source.reduced(None) is source
    assert [int(element["label"]) for element in with_unknown_labels(by_number)] == [-1, -1]
    assert not by_number.labelled
    assert by_number.reduced(40 * 40 + 1) is by_number  # no picture is so large
    own = kl.data.load(tmp_path / "a", least_pixels=10**6)
    assert own.reduced(400) is own
    array = kl.data.load({"image": np.zeros((2, 80, 80, 3), "uint8")})
    assert array.reduced(400) is array
