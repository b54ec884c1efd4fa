"""Mean average precision, its intervals, and what is kept of it."""

import numpy as np
import pytest

from keras_leoclr.evaluation import average_precision

pytestmark = pytest.mark.backend_free


def example(count=200, classes=6, levels=None, seed=0):
    """Scores, with ties where there are few levels, and labels of which each class has some."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, classes)) < 0.2).astype("uint8")
    labels[0] = 1
    scores = rng.standard_normal((count, classes)) + labels
    return (scores if levels is None else np.round(scores * levels) / levels), labels


@pytest.mark.parametrize("levels", [None, 5, 1, 1e-9])
@pytest.mark.parametrize("count", [1, 3, 200])
def test_average_precision_is_that_of_scikit_learn_also_with_equal_scores(count, levels):
    from sklearn.metrics import average_precision_score

    scores, labels = example(count, levels=levels)
    ours = average_precision.average_precisions(scores, labels)
    theirs = [average_precision_score(labels[:, c], scores[:, c]) for c in range(labels.shape[1])]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    mean = average_precision.mean_average_precision(scores, labels)
    assert mean == pytest.approx(average_precision_score(labels, scores, average="macro"), abs=1e-6)


def test_average_precision_of_images_that_count_several_times_is_that_of_repeated_images():
    from sklearn.metrics import average_precision_score

    scores, labels = example(60, levels=3)
    times = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60))
    rows = np.repeat(np.arange(60), times)
    for column in range(labels.shape[1]):
        ranked = average_precision._Ranked(scores[:, column], labels[:, column])
        repeated = average_precision_score(labels[rows, column], scores[rows, column])
        assert ranked.values(times[:, None])[0] == pytest.approx(repeated, abs=1e-9)


def test_a_class_without_an_image_has_no_average_precision_and_is_left_out_of_the_mean():
    scores, labels = example()
    labels[:, 2] = 0
    each = average_precision.average_precisions(scores, labels)
    assert np.isnan(each[2]) and not np.isnan(np.delete(each, 2)).any()
    assert average_precision.mean_average_precision(scores, labels) == pytest.approx(np.nanmean(each))
    judged = np.arange(6) < 2
    assert average_precision.mean_average_precision(scores, labels, judged) == pytest.approx(each[:2].mean())
    assert np.isnan(average_precision.mean_average_precision(scores, 0 * labels))
    assert average_precision.mean_interval(scores, 0 * labels) is None


def test_scores_and_labels_of_other_shapes_are_refused():
    scores, labels = example()
    with pytest.raises(
        ValueError, match=r"`scores` and `labels` must both be \(M, C\). Received: scores.shape"
    ):
        average_precision.average_precisions(scores[:, :3], labels)


def test_ranks_keep_the_order_and_the_ties():
    scores, labels = example(levels=2)
    kept = average_precision.ranks(scores)
    assert kept.dtype == np.uint16
    np.testing.assert_array_equal(
        average_precision.average_precisions(kept, labels),
        average_precision.average_precisions(scores, labels),
    )


def test_intervals_hold_the_value_of_the_whole_population_about_as_often_as_they_say():
    population, labels = example(20_000, classes=3)
    truth = average_precision.mean_average_precision(population, labels)
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        rows = rng.choice(20_000, 1000)
        low, high = average_precision.mean_interval(population[rows], labels[rows], draws=200)
        held += low <= truth <= high
    assert held >= 52


def test_pairs_of_the_same_images_tell_apart_what_two_intervals_do_not():
    scores, labels = example(400)
    better = scores + 0.1 * labels
    first, second = (average_precision.mean_interval(each, labels) for each in (scores, better))
    low, high = average_precision.paired_interval(scores, better, labels)
    assert 0 < low < high and second[0] < first[1]
    assert average_precision.paired_interval(scores, scores, labels) == (0.0, 0.0)


def test_there_are_fewer_draws_for_very_many_images_and_classes():
    assert average_precision.number_of_draws(2000, 10) == 1000
    assert average_precision.number_of_draws(40_000, 80) == 200
