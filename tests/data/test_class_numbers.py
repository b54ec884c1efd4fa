"""The classes of test images get the numbers that they have in the training images."""

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.data.class_numbers import numbered_as
from keras_leoclr.data.source import Source

pytestmark = pytest.mark.backend_free

IMAGES = np.arange(4 * 4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 4, 3)
ONE, SEVERAL = np.array([0, 1, -1, 1]), np.array([[1, 0], [0, 1], [0, 0], [1, 1]], np.uint8)


def source(labels, *names, stream=False):
    made = kl.data.load({"image": IMAGES[: len(labels)], "label": labels, "class_names": names})
    return Source(dataset=made.dataset, class_names=made.class_names) if stream else made


def of(labels, *names, **options):
    """Training images of the classes in `names`."""
    given = np.eye(len(names), dtype=np.uint8) if np.ndim(labels) == 2 else np.arange(len(names))
    return source(given, *names, **options)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("labels", "expected"),
    [(ONE, [1, 2, -1, 2]), (SEVERAL, [[0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 1]])],
)
def test_labels_follow_the_names_of_the_training_images(labels, expected, stream):
    train, test = of(labels, "ant", "cat", "dog"), source(labels, "cat", "dog", stream=stream)
    made = numbered_as(train, test)
    assert made.class_names == ("ant", "cat", "dog") and made.count == 4
    assert made.read_labels().tolist() == expected
    assert [element["label"].tolist() for element in made.as_numpy_iterator()] == expected
    part = made.subset([1, 3])
    assert part.read_labels().tolist() == [expected[1], expected[3]]
    images = [element["image"] for element in made.as_numpy_iterator()]
    np.testing.assert_array_equal(images, IMAGES)


def test_sources_without_a_difference_stay_as_they_are():
    test = source(ONE, "cat", "dog")
    for train in (of(ONE, "cat", "dog"), source(ONE)):
        assert numbered_as(train, test) is test
    assert numbered_as(of(SEVERAL, "dog", "cat"), test) is test  # the evaluators refuse this pair


def test_a_class_that_no_test_image_has_may_be_missing():
    train, test = of(ONE, "dog", "ant"), source(np.array([1, 1]), "cat", "dog")
    assert numbered_as(train, test).labels.tolist() == [0, 0]
    with pytest.raises(
        ValueError, match="the training images lack.*images of cat, and training images of dog"
    ):
        numbered_as(train, source(ONE, "cat", "dog"))
    with pytest.raises(ValueError, match="images of cat, and"):  # it is not known what a stream has
        numbered_as(train, source(np.array([1, 1]), "cat", "dog", stream=True))
