"""Classifiers of features where an image has several labels."""

import numpy as np
import pytest

from keras_leoclr import evaluation
from keras_leoclr.evaluation import average_precision, label_draws
from keras_leoclr.evaluation.labels import SEVERAL, kind_of
from keras_leoclr.evaluation.linear_on_features import fit_linear
from tests.evaluation.examples import blobs, overlapping

pytestmark = pytest.mark.backend_free


def sets(**options):
    return (*overlapping(**options), *overlapping(150, seed=1))


def slow_scores(train, labels, queries, k, temperature, own=False):
    """Share of each class in the weight of the neighbours' votes, one image at a time."""
    scores = []
    for number, query in enumerate(queries):
        cosine = train @ query / (np.linalg.norm(train, axis=1) * np.linalg.norm(query))
        if own:
            cosine[number] = -np.inf
        near = np.argsort(-cosine, kind="stable")[:k]
        weights = np.exp(cosine[near] / temperature)
        scores.append([weights[labels[near, c] == 1].sum() / weights.sum() for c in range(labels.shape[1])])
    return np.round(scores, 9)


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (30, 0.5)])
def test_the_score_of_a_class_is_the_weighted_share_of_the_neighbours_that_have_it(k, temperature):
    train, labels, test, test_labels = sets()
    found = evaluation.knn(train, labels, test, test_labels, k=k, temperature=temperature)
    slow = slow_scores(train, labels, test, k, temperature)
    expected = average_precision.average_precisions(slow, test_labels)
    np.testing.assert_allclose(found["average_precision"], expected, atol=2e-3)
    assert found["map"] == pytest.approx(expected.mean(), abs=1e-3) and found["left_out"] == []


def test_leave_one_out_leaves_each_image_out():
    features, labels = overlapping()
    slow = slow_scores(features, labels, features, 10, 0.07, own=True)
    expected = average_precision.mean_average_precision(slow, labels)
    assert evaluation.knn_leave_one_out(features, labels, k=10)["map"] == pytest.approx(expected, abs=1e-3)


def test_several_k_within_a_limit_of_memory_are_those_of_single_passes():
    data = sets()
    several = evaluation.knn(*data, k=(1, 20), memory=4 * len(data[0]) * 7)
    for k in (1, 20):
        assert several[k]["map"] == pytest.approx(evaluation.knn(*data, k=k)["map"], abs=1e-6)


def test_a_linear_probe_is_a_logistic_regression_of_each_class():
    from sklearn.linear_model import LogisticRegression

    train, labels, test, _ = sets()
    classifier = fit_linear(train, labels, weight_decays=(0.01,))
    mean, std = train.mean(0), train.std(0)
    for column in range(labels.shape[1]):
        model = LogisticRegression(C=1 / (0.01 * len(train)), tol=1e-8, max_iter=1000)
        model.fit((train - mean) / std, labels[:, column])
        expected = model.decision_function((test - mean) / std)
        np.testing.assert_allclose(classifier.scores(test)[:, column], expected, atol=0.02)


def test_the_weight_decay_is_chosen_on_held_out_images_by_mean_average_precision():
    data = sets()
    found = evaluation.linear_probe(*data, seed=3)
    assert found == evaluation.linear_probe(*data, seed=3)
    assert 0.5 < found["map"] <= 1 and 0.5 < found["held_out_map"] <= 1
    train, labels, test, test_labels = data
    wrong = evaluation.linear_probe(train, labels, test, np.roll(test_labels, 1, axis=1), seed=3)
    assert wrong["weight_decay"] == found["weight_decay"] and wrong["held_out_map"] == found["held_out_map"]
    assert wrong["map"] < found["map"]


def test_a_few_labels_are_enough_images_of_each_class_drawn_from_the_rarest_on():
    _, labels = overlapping(300)
    labels[30:, 4] = 0  # a rare class
    rng = np.random.default_rng(0)
    rows = SEVERAL.some(labels, 5, rng)
    assert (labels[rows].sum(axis=0) >= 5).all() and len(set(rows)) == len(rows) <= 25
    assert labels[rows, 4].sum() == 5  # exactly, as it is drawn first
    result = evaluation.linear_probe_few_labels(*sets(), per_class=5, draws=3)
    assert result["map"] == pytest.approx(np.mean(result["map_draws"])) and len(result["map_draws"]) == 3
    assert 5 <= result["labelled_images"] <= 25
    with pytest.raises(ValueError, match="`per_class` must be from 2 to "):
        evaluation.linear_probe_few_labels(*sets(), per_class=1000)


def test_a_held_out_part_and_a_fraction_have_about_the_same_share_of_every_class():
    _, labels = overlapping(1000)
    labels[40:, 0] = 0
    mask = label_draws.share_of_each_label(labels, 0.2, np.random.default_rng(0))
    assert 150 < mask.sum() < 260 and 1 <= labels[mask, 0].sum() < labels[:, 0].sum()
    np.testing.assert_allclose(labels[mask, 1:].mean(axis=0), labels[:, 1:].mean(axis=0), atol=0.08)
    rows = label_draws.labelled_fraction(labels, 0.1, seed=0)
    assert rows.tolist() != label_draws.labelled_fraction(labels, 0.1, seed=1).tolist()
    assert (labels[rows, 1:].sum(axis=0) >= np.round(0.1 * labels[:, 1:].sum(axis=0))).all()
    assert label_draws.labelled_fraction(labels, 1.0, seed=0).tolist() == list(range(1000))
    with pytest.raises(
        ValueError, match="must leave an image of every class. Received: fraction=0.01, class 0"
    ):
        label_draws.labelled_fraction(labels, 0.01, seed=0)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_class_that_no_image_has_is_named_and_left_out_of_the_mean(part):
    train, labels, test, test_labels = sets()
    (labels if part == "train" else test_labels)[:, 3] = 0
    for score in (evaluation.knn, evaluation.linear_probe):
        with pytest.warns(UserWarning, match="1 of 5 classes are left out .*: the classes 3."):
            found = score(train, labels, test, test_labels)
        assert found["left_out"] == [3]
        assert found["map"] == pytest.approx(np.delete(found["average_precision"], 3).mean())
    with pytest.warns(UserWarning, match="are left out"):
        evaluators = (evaluation.KNN, evaluation.Linear, evaluation.FewLabels)
        scores = [next(kind(train, labels, test, test_labels).run()) for kind in evaluators]
    assert [score.protocol["left_out"] for score in scores] == [[3]] * 3
    assert scores[0].protocol["classes"] == 4


def test_scores_carry_intervals_and_what_a_comparison_needs():
    data = sets()
    found = {score.name: score for kind in (evaluation.KNN, evaluation.Linear) for score in kind(*data).run()}
    assert list(found) == ["knn/map", "linear/map"]
    for score in found.values():
        low, high = score.interval
        assert low < score.value < high and set(score.arrays) == {"ranks", "positives"}
        assert score.protocol["images"] == 150
        value = average_precision.mean_average_precision(score.arrays["ranks"], data[3])
        assert value == pytest.approx(score.value)
    assert found["linear/map"].protocol.keys() >= {"weight_decay", "held_out_map", "seed"}


@pytest.mark.parametrize("score", [evaluation.knn, evaluation.linear_probe])
def test_labels_that_cannot_be_used_are_refused(score):
    train, labels, test, test_labels = sets()
    for arguments, words in [
        (
            (train, labels[:-1], test, test_labels),
            r"`train_labels` with several labels per image must be zeros",
        ),
        ((train, labels + 1, test, test_labels), "Received: uint8 .*, from 1 to 2"),
        ((train, labels.astype(float), test, test_labels), "must be zeros and ones"),
        (
            (train, labels[:, :4], test, test_labels),
            r"of the same C classes. Received: \(200, 4\) and \(150, 5\)",
        ),
        (
            (train, labels[:, 0].astype(int), test, test_labels),
            r"Labels must all be \(N,\), one for each image, or",
        ),
        ((train, 0 * labels, test, test_labels), "must have a class that images of both have"),
    ]:
        with pytest.raises(ValueError, match=words):
            score(*arguments)


def test_one_label_per_image_given_as_several_ranks_the_classes_as_before():
    train, test = blobs(), blobs(seed=1)
    one = evaluation.knn(*train, *test, k=20)["top1"]
    eye = np.eye(4, dtype="uint8")
    several = evaluation.knn(train[0], eye[train[1]], test[0], eye[test[1]], k=20)
    assert kind_of(eye[train[1]]) is SEVERAL
    assert several["map"] > 0.9 * one
