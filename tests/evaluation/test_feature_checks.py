"""Features, labels and options that cannot be used."""

import numpy as np
import pytest

from keras_leoclr import evaluation
from tests.evaluation.examples import blobs


@pytest.mark.backend_free
@pytest.mark.parametrize("score", [evaluation.knn, evaluation.linear_probe])
def test_unusable_features_are_refused(score):
    train, labels = blobs()
    broken = train.copy()
    broken[3, 0] = np.nan
    for arguments, words in [
        ((broken, labels, train, labels), "`train_features` must be finite. Received: 1 rows"),
        ((train, labels[:-1], train, labels), "`train_labels` must be integers, one for each of the 160"),
        ((train, labels.astype(float), train, labels), "`train_labels` must be integers"),
        ((train, labels, train[:, :3], labels), "must be equally wide"),
        ((train, labels - 1, train, labels), "`train_labels` must be >= 0. Received: -1"),
        ((train[0], labels, train, labels), r"`train_features` must be \(N, F\)"),
    ]:
        with pytest.raises(ValueError, match=words):
            score(*arguments)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("score", "options", "words"),
    [
        (evaluation.knn, {"k": 0}, "`k` must be a whole number >= 1. Received: k=0"),
        (evaluation.knn, {"temperature": 0.0}, "`temperature` must be a number > 0"),
        (evaluation.knn, {"temperature": None}, "`temperature` must be a number > 0"),
        (evaluation.knn, {"k": ()}, "`k` must be a whole number >= 1, or several"),
        (evaluation.linear_probe, {"weight_decays": (-1,)}, "`weight_decays` must be numbers >= 0"),
        (evaluation.linear_probe, {"held_out": 1.0}, r"`held_out` must be in \(0, 1\)"),
        (evaluation.linear_probe_few_labels, {"per_class": 41}, "`per_class` must be from 2 to 40"),
    ],
)
def test_bad_option_is_refused(score, options, words):
    with pytest.raises(ValueError, match=words):
        score(*blobs(), *blobs(seed=1), **options)


@pytest.mark.backend_free
def test_classes_that_only_the_test_set_has_count_as_wrong_and_are_named():
    train, test = blobs(classes=3), blobs(classes=4, seed=1)
    for score in (evaluation.knn, evaluation.linear_probe):
        with pytest.warns(
            UserWarning, match="40 of 160 test images are of 1 classes that `train_labels` lacks"
        ):
            assert score(*train, *test)["top1"] <= 0.75
    with pytest.warns(UserWarning):
        lines = list(evaluation.Linear(*train, *test).run())
    assert lines[0].protocol["test_only_classes"] == [3]


@pytest.mark.backend_free
@pytest.mark.parametrize("score", [evaluation.knn, evaluation.linear_probe])
def test_a_single_class_is_refused(score):
    features, labels = blobs()
    with pytest.raises(
        ValueError, match="`train_labels` must be of two classes or more. Received: 160 times 0"
    ):
        score(features, 0 * labels, features, labels)
