"""kNN and the search of nearest neighbours."""

import numpy as np
import pytest

from keras_leoclr import evaluation
from tests.evaluation.examples import blobs


def slow_knn(train, train_labels, test, test_labels, k, temperature):
    """One image at a time, from the definition."""
    hits1 = hits5 = 0
    for feature, label in zip(test, test_labels, strict=True):
        cosine = train @ feature / (np.linalg.norm(train, axis=1) * np.linalg.norm(feature))
        votes = np.zeros(int(max(train_labels.max(), test_labels.max())) + 1)
        for neighbour in np.argsort(-cosine)[:k]:
            votes[train_labels[neighbour]] += np.exp(cosine[neighbour] / temperature)
        order = np.argsort(-votes, kind="stable")
        hits1 += order[0] == label
        hits5 += label in order[: min(5, k)]  # k neighbours vote for k classes at most
    return {"top1": hits1 / len(test), "top5": hits5 / len(test)}


@pytest.mark.backend_free
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (5, 0.07), (30, 0.5), (10_000, 0.07)])
@pytest.mark.parametrize("classes", [2, 9])
def test_knn_follows_its_definition(k, temperature, classes):
    sets = (*blobs(classes=classes), *blobs(per_class=15, classes=classes, spread=2.0, seed=1))
    assert evaluation.knn(*sets, k=k, temperature=temperature) == pytest.approx(
        slow_knn(*sets, k=k, temperature=temperature)
    )


@pytest.mark.backend_free
def test_knn_within_a_limit_of_memory_counts_every_test_image():
    sets = (*blobs(), *blobs(per_class=25, spread=2.0, seed=1))
    whole = evaluation.knn(*sets, k=7)
    assert evaluation.knn(*sets, k=7, memory=7 * 4 * len(sets[0])) == whole
    assert evaluation.knn(*sets, k=7, memory=1) == whole


@pytest.mark.backend_free
@pytest.mark.parametrize("dtype", ["uint8", "uint64"])
def test_labels_may_be_whole_numbers_without_a_sign(dtype):
    train, labels, test, others = *blobs(), *blobs(per_class=15, spread=2.0, seed=1)
    sets = train, labels.astype(dtype), test, others.astype(dtype)
    assert evaluation.knn(*sets, k=5) == evaluation.knn(train, labels, test, others, k=5)
    own = evaluation.knn_leave_one_out(*sets[:2], k=5)
    assert own == evaluation.knn_leave_one_out(train, labels, k=5)


@pytest.mark.backend_free
def test_knn_survives_a_low_temperature():
    sets = (*blobs(), *blobs(per_class=15, seed=1))
    assert evaluation.knn(*sets, k=3, temperature=1e-3) == pytest.approx(
        evaluation.knn(*sets, k=1, temperature=1.0), abs=0.1
    )


@pytest.mark.backend_free
def test_several_k_in_one_pass_are_those_of_single_passes():
    sets = (*blobs(), *blobs(per_class=15, spread=2.0, seed=1))
    several = evaluation.knn(*sets, k=(1, 20, 5000))
    assert several == {k: evaluation.knn(*sets, k=k) for k in (1, 20, 5000)}


@pytest.mark.backend_free
def test_leave_one_out_leaves_each_image_out():
    features, labels = blobs(spread=2.0)
    slow = [
        slow_knn(
            np.delete(features, i, 0), np.delete(labels, i), features[i : i + 1], labels[i : i + 1], 5, 0.07
        )
        for i in range(len(features))
    ]
    found = evaluation.knn_leave_one_out(features, labels, k=5)
    assert found["top1"] == pytest.approx(np.mean([s["top1"] for s in slow]))
    # an image that voted for itself would always be right
    assert evaluation.knn_leave_one_out(features, labels, k=1)["top1"] < 1
    assert evaluation.knn(features, labels, features, labels, k=1)["top1"] == 1


@pytest.mark.backend_free
def test_k_beyond_the_training_set_is_clipped_and_both_are_written_down():
    sets = (*blobs(per_class=5), *blobs(per_class=5, seed=1))
    found = list(evaluation.KNN(*sets, k=(3, 200), leave_one_out=True).run())
    protocols = {(s.name, s.protocol["k"]): s.protocol for s in found}
    assert protocols["knn/top1", 20]["k_asked"] == 200 and "k_asked" not in protocols["knn/top1", 3]
    assert ("knn_train/top1", 19) in protocols


@pytest.mark.backend_free
@pytest.mark.parametrize(("count", "k"), [(30, 7), (3000, 3), (5000, 40), (700, 700)])
@pytest.mark.parametrize("ties", [False, True])
def test_neighbours_are_those_of_a_full_sort(count, k, ties):
    from keras_leoclr.evaluation.neighbour_search import nearest

    rng = np.random.default_rng(0)
    bank = rng.integers(-2, 3, (count, 3)) if ties else rng.standard_normal((count, 3))
    queries = rng.standard_normal((20, 3))
    # a bank sorted by what it resembles is the worst case for bounds from blocks
    bank = bank[np.argsort(bank @ queries[0])]
    found = np.concatenate([rows for *_, rows in nearest(bank, queries, k, memory=4 * count * 6)])
    unit = [x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (bank, queries)]
    cosine = unit[1].astype("float32") @ unit[0].astype("float32").T
    expected = -np.sort(-cosine, axis=1)[:, :k]
    np.testing.assert_allclose(np.take_along_axis(cosine, found, axis=1), expected, atol=1e-5)
    assert all(len(set(row)) == k for row in found)
